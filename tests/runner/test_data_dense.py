"""DenseImageData: pairs of an image and an image of labels, flipped, cut and resized alike."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netgen import schema
from netgen.schema import caffe_pb
from runner.data import DataLayerError, DenseImageFeed

SIZE = (5, 7)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pairs():
    """Five images whose first channel, as read (blue), tells the label of every pixel."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (5, *SIZE, 3)).astype(np.uint8)
    labels = images[..., 2] % 11
    for number in range(5):
        Image.fromarray(images[number]).save(f"{number}.png")
        Image.fromarray(labels[number]).save(f"labels{number}.png")
    lines = [f"{n}.png labels{n}.png\n" for n in range(5)]
    Path("list.txt").write_text("".join(lines))
    return images[..., ::-1].transpose(0, 3, 1, 2), labels[:, None]


def layer_of(param="", transform="", source="list.txt"):
    return schema.parse_text(
        f'name: "d" type: "DenseImageData" top: "data" top: "label" transform_param {{ {transform} }} '
        f'dense_image_data_param {{ source: "{source}" batch_size: 2 {param} }}',
        caffe_pb.LayerParameter,
    )


@pytest.fixture
def feed():
    """feed(param, transform, ...): a DenseImageFeed, closed at the end; its log in `lines`."""
    made = []

    def make(param="", transform="", phase=caffe_pb.TRAIN, seed=1, rank=0, count=1):
        lines = []
        layer = layer_of(param, transform)
        made.append(
            DenseImageFeed(layer, phase, seed, "cpu", lambda *line: lines.append(line), rank, count)
        )
        made[-1].lines = lines
        return made[-1]

    yield make
    for one in made:
        one.close()


def batches(feed, count):
    """Data and labels of the next batches, one behind the other, as whole numbers."""
    drawn = [feed.next() for _ in range(count)]
    return [np.concatenate([one[i].numpy() for one in drawn]) for i in (0, 1)]


def test_pairs_in_order_and_over_the_end(feed, pairs):
    one = feed()
    assert (one.data_shape, one.label_shape) == ((2, 3, *SIZE), (2, 1, *SIZE))
    data, labels = batches(one, 3)
    order = [0, 1, 2, 3, 4, 0]
    np.testing.assert_array_equal(data, pairs[0][order])
    np.testing.assert_array_equal(labels, pairs[1][order])
    assert ("A total of 5 examples.", "dense_image_data_layer.cpp:56") in one.lines


def test_white_space_parts_the_paths(feed, pairs):
    Path("list.txt").write_text("0.png\tlabels0.png\n\n  3.png\n labels3.png 4.png")
    np.testing.assert_array_equal(batches(feed(), 1)[1], pairs[1][[0, 3]])


def test_mean_and_scale_are_the_datas(feed, pairs):
    data, labels = batches(
        feed(transform="mean_value: 10 mean_value: 20 mean_value: 30 scale: 0.5"), 1
    )
    mean = np.array([10, 20, 30], np.float32).reshape(3, 1, 1)
    np.testing.assert_array_equal(data, (pairs[0][:2] - mean) * np.float32(0.5))
    np.testing.assert_array_equal(labels, pairs[1][:2])


def test_mean_file_has_the_size_after_the_crop(feed, pairs):
    mean = np.arange(3 * 2 * 3, dtype=np.float32).reshape(1, 3, 2, 3)
    blob = caffe_pb.BlobProto(num=1, channels=3, height=2, width=3, data=mean.ravel())
    Path("mean.binaryproto").write_bytes(blob.SerializeToString())
    cropped = feed("crop_height: 2 crop_width: 3")
    data, _ = batches(cropped, 1)
    meant, _ = batches(feed("crop_height: 2 crop_width: 3", 'mean_file: "mean.binaryproto"'), 1)
    np.testing.assert_array_equal(meant, data - mean)
    with pytest.raises(DataLayerError, match=r"mean_file is of \(3, 2, 3\), the data \(3, 5, 7\)"):
        feed(transform='mean_file: "mean.binaryproto"')


@pytest.mark.parametrize("phase", [caffe_pb.TRAIN, caffe_pb.TEST])
def test_image_and_labels_are_mirrored_and_cropped_alike(feed, pairs, phase):
    data, labels = batches(feed("mirror: true crop_height: 3 crop_width: 4", phase=phase), 40)
    assert labels.shape == (80, 1, 3, 4)
    np.testing.assert_array_equal(data[:, :1] % 11, labels)
    places = set()
    for number, got in enumerate(data):
        whole = pairs[0][number % 5]
        places |= {
            (flip, top, left)
            for flip in (1, -1)
            for top in range(3)
            for left in range(4)
            if np.array_equal(whole[..., ::flip][:, top : top + 3, left : left + 4], got)
        }
    assert len(places) > 20  # of 24


def test_labels_are_resized_to_the_nearest(feed, pairs):
    data, labels = batches(feed("new_height: 10 new_width: 14"), 1)
    np.testing.assert_array_equal(labels, pairs[1][:2].repeat(2, axis=2).repeat(2, axis=3))
    assert data.shape == (2, 3, 10, 14)


def test_workers_deal_the_pairs_and_a_run_goes_on(feed, pairs):
    how = "shuffle: true mirror: true crop_height: 3 crop_width: 3"
    whole, _ = batches(feed(how), 4)
    dealt = [batches(feed(how, rank=rank, count=2), 2)[0] for rank in range(2)]
    np.testing.assert_array_equal(np.stack(dealt, 1).reshape(whole.shape), whole)
    first = feed(how)
    first.next()
    state = pickle.loads(pickle.dumps(first.state()))
    other = feed(how, seed=99)
    other.load_state(state)
    np.testing.assert_array_equal(batches(other, 3)[0], whole[2:])


def test_what_cannot_be_used(feed, pairs):
    with pytest.raises(DataLayerError, match="3 x 8 is larger than the 5 x 7 of 0.png"):
        feed("crop_height: 3 crop_width: 8")
    Image.fromarray(pairs[1][0, 0, :, :5]).save("labels0.png")
    with pytest.raises(DataLayerError, match="must match: 0.png has 5 x 7, labels0.png 5 x 5"):
        feed()
    Path("labels0.png").unlink()
    with pytest.raises(DataLayerError, match="layer 'd', source 'list.txt'") as error:
        feed()
    assert "Could not load labels0.png" in str(error.value)
    Path("list.txt").write_text("alone.png\n")
    with pytest.raises(DataLayerError, match="File is empty"):
        feed()


def test_a_net_of_it_trains(build, pairs):
    net = build(
        f"layer {{ {layer_of('mirror: true', 'scale: 0.004')} }}"
        """layer { name: "c" type: "Convolution" bottom: "data" top: "c"
             convolution_param { num_output: 11 kernel_size: 1
                                 weight_filler { type: "xavier" } } }
           layer { name: "l" type: "SoftmaxWithLoss" bottom: "c" bottom: "label" top: "l" }"""
    )
    loss, _ = net.forward_backward()
    assert 0 < float(loss) < 10


def test_describe_knows_its_shape(pairs):
    from netgen import graph

    layer = layer_of()
    assert graph.record_shape(layer) == (3, *SIZE)
    layer.dense_image_data_param.crop_height = layer.dense_image_data_param.crop_width = 4
    shapes = graph.layer_shapes(layer, [], caffe_pb.TRAIN)
    assert shapes.tops == [(2, 3, 4, 4), (2, 1, 4, 4)]


@pytest.mark.parametrize(
    "param, transform, words",
    [
        ("new_height: 3", "", "new_height and new_width to be set at the same time. (3 and 0)"),
        ("crop_width: 3", "", "crop_height and crop_width to be set at the same time. (0 and 3)"),
        ("", "mirror: true", "would mirror or crop the images without their labels"),
        ("", "crop_size: 3", "would mirror or crop the images without their labels"),
    ],
)
def test_refused_fields(build, pairs, param, transform, words):
    from netgen.graph import NetError

    with pytest.raises(NetError) as error:
        build(f"layer {{ {layer_of(param, transform)} }}")
    assert words in str(error.value)
