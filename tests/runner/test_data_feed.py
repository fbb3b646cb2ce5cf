import io
import os
import pickle

import lmdb
import numpy as np
import pytest
import torch
from PIL import Image

from netgen import nets, schema
from netgen.schema import caffe_pb
from runner.data import DataFeed, DataLayerError, memory, source

MODES = {"resident": "1000", "streaming": "0"}
RESTART = ("Restarting data prefetching from start.", "data_layer.cpp:73")


@pytest.fixture(params=MODES)
def mode(request, monkeypatch):
    monkeypatch.setenv(memory.VARIABLE, MODES[request.param])
    return request.param


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class Feed(DataFeed):
    """A feed of a Data layer given as text, which keeps its log lines in `lines`."""

    def __init__(self, data="", transform="", tops=2, phase=caffe_pb.TRAIN, seed=1, path="a"):
        top = 'top: "data" top: "label"' if tops == 2 else 'top: "data"'
        layer = schema.parse_text(
            f'name: "d" type: "Data" {top} transform_param {{ {transform} }} '
            f'data_param {{ source: "{path}" backend: LMDB batch_size: 4 }}',
            caffe_pb.LayerParameter,
        )
        layer.data_param.MergeFrom(schema.parse_text(data, caffe_pb.DataParameter))
        self.lines = []
        super().__init__(layer, phase, seed, "cpu", lambda *line: self.lines.append(line))


def put(datums, path="a"):
    env = lmdb.open(path, map_size=1 << 24)
    with env.begin(write=True) as txn:
        for i, datum in enumerate(datums):
            txn.put(b"%05d" % i, datum.SerializeToString())
    env.close()


def datums(count, shape=(3, 6, 6)):
    """Records labelled 0, 1, ...; the first pixel is the label."""
    c, h, w = shape
    rng = np.random.default_rng(0)
    for i in range(count):
        data = rng.integers(0, 256, c * h * w).astype(np.uint8)
        data[0] = i
        yield caffe_pb.Datum(channels=c, height=h, width=w, data=data.tobytes(), label=i)


def labels(feed, batches):
    return [feed.next()[1].tolist() for _ in range(batches)]


def test_batches_run_over_the_end(mode):
    put(datums(6))
    feed = Feed()
    assert labels(feed, 5) == [[0, 1, 2, 3], [4, 5, 0, 1], [2, 3, 4, 5], [0, 1, 2, 3], [4, 5, 0, 1]]
    assert feed.lines == [
        ("Opened lmdb a", "db_lmdb.cpp:35"),
        ("output data size: 4,3,6,6", "data_layer.cpp:45"),
        RESTART,
        RESTART,
        RESTART,
    ]
    feed.close()


def test_a_batch_may_hold_a_small_source_several_times(mode):
    put(datums(2))
    feed = Feed("batch_size: 5")
    assert labels(feed, 2) == [[0, 1, 0, 1, 0], [1, 0, 1, 0, 1]]
    assert feed.lines.count(RESTART) == 5
    feed.close()


def test_data_and_labels(mode):
    put(datums(6))
    feed = Feed(transform="scale: 0.5 mean_value: 1")
    data, label = feed.next()
    assert data.shape == feed.data_shape == (4, 3, 6, 6)
    assert label.shape == (4,)
    assert data.dtype == label.dtype == torch.float32 and data.is_contiguous()
    assert data[:, 0, 0, 0].tolist() == [-0.5, 0, 0.5, 1]
    want = np.stack([np.frombuffer(d.data, np.uint8).reshape(3, 6, 6) for d in datums(4)])
    np.testing.assert_array_equal(data.numpy(), (want.astype(np.float32) - 1) * np.float32(0.5))
    feed.close()


def test_only_a_stream_keeps_the_source_open(mode):
    put(datums(6))
    feed = Feed()
    assert (os.path.realpath("a") in source._open_sources) == (mode == "streaming")
    feed.close()


@pytest.mark.parametrize("shape", [(5, 1, 1), (1, 4, 7)])
def test_flat_and_gray_records(mode, shape):
    put(datums(6, shape))
    feed = Feed()
    assert feed.next()[0].shape == feed.data_shape == (4, *shape)
    feed.close()


def test_one_top_has_no_labels(mode):
    put(datums(6))
    feed = Feed(tops=1)
    assert feed.next()[1] is None
    feed.close()


AUGMENTED = "crop_size: 3 mirror: true mean_value: 3 scale: 0.1"


def batches(feed, count):
    return torch.stack([feed.next()[0] for _ in range(count)])


def test_streaming_changes_no_bit(monkeypatch):
    put(datums(7))
    got = []
    for setting in MODES.values():
        monkeypatch.setenv(memory.VARIABLE, setting)
        for prefetch in (0, 1, 4):
            feed = Feed(f"prefetch: {prefetch}", AUGMENTED)
            got.append(batches(feed, 9))
            feed.close()
    assert all(torch.equal(got[0], other) for other in got)


def test_augmentation_depends_on_the_seed_alone():
    put(datums(7))
    first = batches(Feed(transform=AUGMENTED), 4)
    assert torch.equal(first, batches(Feed(transform=AUGMENTED), 4))
    assert not torch.equal(first, batches(Feed(transform=AUGMENTED, seed=2), 4))
    assert batches(Feed(transform=AUGMENTED, seed=-1), 1).shape == (1, 4, 3, 3, 3)


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_a_saved_state_continues_bit_for_bit(mode, taken):
    put(datums(7))
    run = Feed(transform=AUGMENTED)
    batches(run, taken) if taken else None
    state = pickle.loads(pickle.dumps(run.state()))
    assert {type(value) for value in state.values()} == {int}
    wanted, run.lines = batches(run, 6), []
    again = Feed(transform=AUGMENTED, seed=99)
    batches(again, 3)
    again.load_state(state)
    again.lines = []
    assert torch.equal(batches(again, 6), wanted)
    assert len(again.lines) == (4 * (taken + 6)) // 7 - 4 * taken // 7
    run.close()
    again.close()


def test_a_state_of_other_records_is_refused():
    put(datums(7))
    state = Feed().state()
    put(datums(9), "b")
    with pytest.raises(
        DataLayerError, match=r"had 7 records then and has 9 now \(layer 'd', source"
    ):
        Feed(path="b").load_state(state)


def test_train_and_test_layers_share_the_pixels_and_keep_their_own_place(monkeypatch):
    put(datums(7))
    for setting in MODES.values():
        monkeypatch.setenv(memory.VARIABLE, setting)
        train, test = Feed(), Feed("batch_size: 3", phase=caffe_pb.TEST)
        assert labels(train, 2) == [[0, 1, 2, 3], [4, 5, 6, 0]]
        assert labels(test, 2) == [[0, 1, 2], [3, 4, 5]]
        assert labels(train, 1) == [[1, 2, 3, 4]]
        train.close()
        test.close()


def test_the_mean_file(mode):
    put(datums(6, (1, 4, 4)))
    mean = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    schema.write_binary(schema.array_to_blob(mean), "mean.binaryproto")
    transform = 'mean_file: "mean.binaryproto" crop_size: 2'
    feed = Feed(transform=transform, phase=caffe_pb.TEST)
    assert feed.lines[1] == (
        "Loading mean file from: mean.binaryproto",
        "data_transformer.cpp:25",
    )
    shape = (1, 4, 4)
    want = np.stack([np.frombuffer(d.data, np.uint8).reshape(shape) for d in datums(4, shape)])
    want = (want - mean)[:, :, 1:3, 1:3]
    np.testing.assert_array_equal(feed.next()[0].numpy(), want)
    feed.close()


def test_records_of_several_sizes_are_cropped_to_one(mode):
    put([*datums(2, (3, 6, 6)), *datums(2, (3, 4, 9))])
    feed = Feed(transform="crop_size: 4", phase=caffe_pb.TEST)
    assert feed.next()[0].shape == feed.data_shape == (4, 3, 4, 4)
    feed.close()
    feed = Feed()
    with pytest.raises(
        DataLayerError, match=r"height <= datum_height \(6 vs. 4\) \(layer 'd', source"
    ):
        feed.next()
    feed.close()
    feed = Feed("batch_size: 2")  # each batch has one size of its own, as Caffe allows
    assert [feed.next()[0].shape[2:] for _ in range(2)] == [(6, 6), (4, 9)]
    feed.close()


def test_encoded_records(mode):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    put([caffe_pb.Datum(encoded=True, data=out.getvalue(), label=4)])
    feed = Feed(transform="force_color: true")
    data, label = feed.next()
    np.testing.assert_array_equal(data[0], pixels[:, :, ::-1].transpose(2, 0, 1))
    assert label.tolist() == [4] * 4
    assert not [line for line in feed.lines if "encoded" in line[0]]
    feed.close()
    feed = Feed(transform="force_gray: true")
    assert feed.data_shape == (4, 1, 5, 6)
    feed.close()


def test_force_color_on_plain_records_is_only_remarked():
    put(datums(3))
    remark = ("force_color and force_gray only for encoded datum", "data_transformer.cpp:152")
    assert remark in Feed(transform="force_color: true").lines


def test_rand_skip_and_force_encoded_color_do_nothing():
    put(datums(7))
    assert labels(Feed("rand_skip: 3 force_encoded_color: true"), 1) == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("data", "transform", "words"),
    [
        ("backend: LEVELDB", "", "it is an LMDB: write `backend: LMDB` in data_param"),
        ("batch_size: 0", "", "data_param needs a batch_size > 0"),
        ('source: "b"', "", "mdb_status == 0 (2 vs. 0) No such file or directory"),
        ("", "crop_size: 7", "datum_height >= crop_size (6 vs. 7)"),
        ("", 'mean_file: "m"', "File not found: m"),
        (
            "",
            'mean_file: "m" mean_value: 1',
            "Cannot specify mean_file and mean_value at the same time",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line_naming_the_layer(data, transform, words):
    put(datums(3))
    with pytest.raises(DataLayerError) as caught:
        Feed(data, transform)
    line = str(caught.value)
    path = "b" if "source" in data else "a"
    assert words in line and line.endswith(f"(layer 'd', source '{path}')") and "\n" not in line


def test_an_omitted_backend_is_leveldb():
    put(datums(3))
    layer = caffe_pb.LayerParameter(name="d", type="Data", top=["data"])
    layer.data_param.source, layer.data_param.batch_size = "a", 1
    with pytest.raises(DataLayerError, match="Failed to open leveldb a: it is an LMDB"):
        DataFeed(layer, caffe_pb.TRAIN, 0, "cpu", print)


@pytest.mark.parametrize("folder", source.COMMANDS)
def test_missing_records_of_a_bundled_net_name_the_command_that_makes_them(folder):
    with pytest.raises(DataLayerError, match="No such file or directory") as raised:
        source.open_source(f"data/{folder}/train_lmdb")
    command = str(raised.value).partition("; this makes it: ")[2]
    program, words = command[:19], command[19:].split()
    assert program == "python -m data_prep"
    from data_prep import cli
    from data_prep.pipeline import Options

    given = cli._parser().parse_args(words)
    options = cli._options(given) if words[0] == "cifar10" else Options(0, None, None, 1, None)
    assert cli._folder(words[0], options) == f"data/{folder}"


def test_missing_records_of_ones_own_pictures_name_the_command_that_makes_them():
    with pytest.raises(
        DataLayerError, match="makes it: python -m data_prep images PICTURES -o a/b$"
    ):
        source.open_source("a/b/test_lmdb")
    with pytest.raises(DataLayerError, match="No such file or directory$"):
        source.open_source("a/b/other_lmdb")


def test_every_bundled_nets_records_have_a_command():
    for name in nets.NETS:
        param = nets.build_net(name, nets.NetOptions())
        sources = {layer.data_param.source for layer in param.layer if layer.type == "Data"}
        assert {path.split("/")[1] for path in sources} <= set(source.COMMANDS)


def test_shuffle_gives_every_record_once_an_epoch_in_another_order():
    put(datums(250, (1, 40, 40)))  # on pages of their own
    feed = Feed("shuffle: true batch_size: 50")
    assert ("Shuffling data", "data_reader.cpp:198") in feed.lines
    epochs = []
    for _ in range(2):
        batches = [feed.next() for _ in range(5)]
        for data, numbers in batches:
            np.testing.assert_array_equal(data[:, 0, 0, 0], numbers)
        epochs.append([n for _, numbers in batches for n in numbers.tolist()])
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(250))
    assert epochs[0] != epochs[1] != list(range(250))
    again = Feed("shuffle: true batch_size: 50", seed=2)
    again.load_state({**feed.state(), "image": 250})
    assert [n for _ in range(5) for n in again.next()[1].tolist()] == epochs[1]
    feed.close(), again.close()
