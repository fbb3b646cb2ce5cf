"""ImageData: lines, labels, orders, sizes; "run" marks what was seen in a run of stock Caffe."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from netgen import schema
from netgen.schema import caffe_pb, image
from runner.data import DataLayerError, ImageFeed
from runner.data.resample import resample


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def feed():
    """feed(param, transform, ...): an ImageFeed of list.txt, closed at the end; its log in `lines`."""
    made = []

    def make(param="", transform="", phase=caffe_pb.TRAIN, seed=1, rank=0, count=1):
        layer = schema.parse_text(
            'name: "d" type: "ImageData" top: "data" top: "label" '
            f"transform_param {{ {transform} }} "
            'image_data_param { source: "list.txt" batch_size: 2 }',
            caffe_pb.LayerParameter,
        )
        layer.image_data_param.MergeFrom(schema.parse_text(param, caffe_pb.ImageDataParameter))
        lines = []
        made.append(
            ImageFeed(layer, phase, seed, "cpu", lambda *line: lines.append(line), rank, count)
        )
        made[-1].lines = lines
        return made[-1]

    yield make
    for one in made:
        one.close()


def put(count=5, shape=(4, 5, 3), name="{}.png", text="{}.png {}\n"):
    """Images 0, 1, ... of random pixels and a list of them; returns the pixels."""
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, shape).astype(np.uint8) for _ in range(count)]
    for number, pixels in enumerate(images):
        Image.fromarray(pixels.squeeze()).save(name.format(number))
    Path("list.txt").write_text("".join(text.format(n, n) for n in range(count)))
    return images


def labels(feed, batches):
    return [feed.next()[1].tolist() for _ in range(batches)]


def test_batches_are_bgr_and_run_over_the_end(feed):
    images = put(5)
    feed = feed()
    data, label = feed.next()
    assert feed.data_shape == data.shape == (2, 3, 4, 5) and label.shape == (2,)
    assert data.dtype == label.dtype == torch.float32
    want = np.stack([pixels[:, :, ::-1].transpose(2, 0, 1) for pixels in images[:2]])
    np.testing.assert_array_equal(data, want)
    assert labels(feed, 4) == [[2, 3], [4, 0], [1, 2], [3, 4]]
    assert feed.lines == [
        ("Opening file list.txt", "image_data_layer.cpp:38"),
        ("A total of 5 images.", "image_data_layer.cpp:63"),
        ("output data size: 2,3,4,5", "image_data_layer.cpp:90"),
    ]


def test_sizes_and_labels_as_stock_read_them(feed):
    """The lines, shapes, labels and means of a run of stock with batch 1."""
    random = np.random.RandomState(40)
    Path("images").mkdir()
    for name, shape in (("a.png", (4, 5, 3)), ("b b.png", (6, 3, 3)), ("c.png", (2, 2, 3))):
        Image.fromarray(random.randint(0, 256, shape).astype(np.uint8)).save(f"images/{name}")
    Path("list.txt").write_bytes(b"a.png 7\r\nb b.png 2\nc.png 0.7\na.png -3\n")
    feed = feed('batch_size: 1 root_folder: "images/"')
    got = []
    for _ in range(5):
        data, label = feed.next()
        means = data.mean((0, 2, 3)).tolist()
        got.append((tuple(data.shape), label.tolist(), [round(mean, 4) for mean in means]))
    assert got == [
        ((1, 3, 4, 5), [7], [128.9, 167.5, 128.3]),
        ((1, 3, 6, 3), [2], [141.0, 142.1111, 128.4444]),
        ((1, 3, 2, 2), [0], [102.75, 123.5, 99.75]),
        ((1, 3, 4, 5), [-3], [128.9, 167.5, 128.3]),
        ((1, 3, 4, 5), [7], [128.9, 167.5, 128.3]),
    ]


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("0.png", 0),  # run: no space, so the whole line is the path, and its label what atoi says
        ("0.png ", 0),
        ("0.png +3", 3),
        ("0.png cat", 0),
        ("0.png 3cats", 3),
        ("0.png 99999999999", 2**31 - 1),
    ],
)
def test_labels_are_read_as_atoi_does(feed, line, label):
    put(1)
    Path("list.txt").write_text(line)
    assert labels(feed("batch_size: 1"), 1) == [[np.float32(label)]]


def test_the_transform_is_the_one_of_data(feed):
    """run: batches of two, cropped in the middle, less three means, halved."""
    pixels = np.random.RandomState(40).randint(0, 256, (4, 5, 3)).astype(np.uint8)
    Image.fromarray(pixels).save("a.png")
    Path("list.txt").write_text("a.png 1\na.png 2\na.png 3\n")
    transform = "mean_value: 10 mean_value: 20 mean_value: 30 scale: 0.5 crop_size: 2"
    feed = feed(transform=transform, phase=caffe_pb.TEST)
    data, label = feed.next()
    assert label.tolist() == [1, 2] and labels(feed, 2) == [[3, 1], [2, 3]]
    want = [
        [[19.5, -1.0], [104.5, 22.5]],
        [[102.0, 26.5], [55.5, 89.5]],
        [[21.5, 75.5], [-4, 34.5]],
    ]
    assert data[1].tolist() == want


def test_images_are_resized_before_they_are_cropped(feed):
    put(2, (9, 12, 3))
    assert feed("new_height: 6 new_width: 8").data_shape == (2, 3, 6, 8)
    assert feed("new_height: 6 new_width: 8", "crop_size: 5").data_shape == (2, 3, 5, 5)


def test_grey_files_and_grey_batches(feed):
    images = put(2)
    r, g, b = images[0].astype(int).transpose(2, 0, 1)
    gray, _ = feed("is_color: false").next()
    np.testing.assert_array_equal(gray[0, 0], (9797 * r + 19234 * g + 3737 * b) >> 15)
    images = put(2, (4, 5, 1))
    color, _ = feed().next()
    np.testing.assert_array_equal(color[1], np.repeat(images[1].transpose(2, 0, 1), 3, 0))


def test_shuffled_epochs_hold_every_image_once_in_orders_of_their_own(feed):
    put(5)
    shuffled = feed("shuffle: true")
    assert ("Shuffling data", "image_data_layer.cpp:53") in shuffled.lines
    order = sum(labels(shuffled, 10), [])
    epochs = [order[start : start + 5] for start in range(0, 20, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 2
    assert order == sum(labels(feed("shuffle: true"), 10), [])
    assert order != sum(labels(feed("shuffle: true", seed=2), 10), [])


def test_rand_skip_passes_over_the_first_lines_once(feed):
    put(5)
    starts = set()
    for seed in range(8):
        skipping = feed("rand_skip: 3", seed=seed)
        first, *others = sum(labels(skipping, 4), [])
        assert others[:7] == [(first + step) % 5 for step in range(1, 8)]
        assert (f"Skipping first {int(first)} data points.", "image_data_layer.cpp:70") in (
            skipping.lines
        )
        starts.add(first)
    assert starts == {0, 1, 2}


AUGMENTED = "crop_size: 3 mirror: true mean_value: 3 scale: 0.1"


@pytest.mark.parametrize("taken", [0, 1, 4])
def test_a_saved_state_continues_bit_for_bit(feed, taken):
    put(5)
    param = "shuffle: true rand_skip: 3"
    run = feed(param, AUGMENTED)
    labels(run, taken)
    state = pickle.loads(pickle.dumps(run.state()))
    wanted = [run.next() for _ in range(6)]
    again = feed(param, AUGMENTED, seed=99)
    labels(again, 3)
    again.load_state(state)
    for data, label in wanted:
        got = again.next()
        assert torch.equal(got[0], data) and torch.equal(got[1], label)


def test_a_state_of_another_list_is_refused(feed):
    put(5)
    state = feed().state()
    put(4)
    with pytest.raises(DataLayerError, match="had 5 records then and has 4 now"):
        feed().load_state(state)


@pytest.mark.parametrize("param", ["", "shuffle: true"])
def test_workers_deal_what_one_reads(feed, param):
    put(5)
    alone = feed(f"batch_size: 4 {param}", AUGMENTED)
    pair = [feed(param, AUGMENTED, rank=rank, count=2) for rank in (0, 1)]
    for _ in range(4):
        whole, together = alone.next(), [worker.next() for worker in pair]
        for tensor, parts in zip(whole, zip(*together, strict=True), strict=True):
            assert torch.equal(tensor[0::2], parts[0]) and torch.equal(tensor[1::2], parts[1])


@pytest.mark.parametrize(
    ("text", "param", "transform", "words"),
    [
        (None, "", "", "File is empty: No such file or directory"),
        ("", "", "", "File is empty"),
        ("none.png 1\n", "", "", "Could not load none.png: [Errno 2] No such file or directory"),
        ("\n0.png 1\n", "", "", "Could not load :"),
        ("list.txt 1\n", "", "", "Could not load list.txt: cannot identify image file"),
        ("0.png 1\n", "", "crop_size: 5", "img_height >= crop_size (4 vs. 5)"),
        ("0.png 1\n", "rand_skip: 9", "", "Not enough points to skip (1 vs. 7)"),
        ("0.png 1\n", "", 'mean_file: "m"', "File not found: m"),
    ],
)
def test_what_cannot_be_used_is_one_line_naming_the_layer(feed, text, param, transform, words):
    put(1)
    Path("list.txt").unlink() if text is None else Path("list.txt").write_text(text)
    with pytest.raises(DataLayerError) as caught:
        feed(param, transform, seed=7)
    line = str(caught.value)
    assert words in line and line.endswith("(layer 'd', source 'list.txt')") and "\n" not in line


def test_images_of_other_sizes_in_a_batch_are_refused_in_caffes_words(feed):
    """run: "width <= img_width (7 vs. 4)"."""
    put(1, (4, 7, 3), "wide{}.png")
    put(1, (4, 4, 3), "{}.png")
    Path("list.txt").write_text("wide0.png 1\n0.png 2\n")
    mixed = feed()
    with pytest.raises(DataLayerError, match=r"width <= img_width \(7 vs. 4\) \(layer 'd', source"):
        mixed.next()
    assert feed(transform="crop_size: 3").next()[0].shape == (2, 3, 3, 3)


def test_a_broken_image_is_told_when_it_is_reached_and_again(feed):
    put(4)
    Path("3.png").write_bytes(b"no image")
    broken = feed()
    assert labels(broken, 1) == [[0, 1]]
    for _ in range(2):
        with pytest.raises(DataLayerError, match=r"^Could not load 3.png: .*\(layer 'd', source"):
            broken.next()


@pytest.mark.parametrize("cubic", [False, True])
@pytest.mark.parametrize("shape, size", [((8, 5, 3), (6, 4)), ((5, 8, 3), (4, 6))])
def test_new_dim_is_the_shorter_side(feed, cubic, shape, size):
    """6 = round(4 * 8 / 5 = 6.4) of the longer side (caffe-pro's io.cpp)."""
    images = put(2, shape)
    data, _ = feed(f"new_dim: 4 bicubic: {str(cubic).lower()}").next()
    assert data.shape == (2, 3, *size)
    bgr = np.ascontiguousarray(images[0][..., ::-1])
    wanted = resample(bgr, *size, "CUBIC") if cubic else image.resize(bgr, *size)
    np.testing.assert_array_equal(data[0], wanted.transpose(2, 0, 1))
