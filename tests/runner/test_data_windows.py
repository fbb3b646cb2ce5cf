"""WindowData: the file, the draws, and windows warped as Caffe warps them."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from netgen import schema
from netgen.schema import caffe_pb
from netgen.schema.image import resize
from runner.data import DataLayerError, WindowFeed
from runner.data.windows import Windows


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


IMAGES = np.random.default_rng(4).integers(0, 256, (2, 23, 31, 3)).astype(np.uint8)
BGR = IMAGES[:, :, :, ::-1]
FILE = """# 0
0.png
3
23
31
4
5 0.9 1 2 20 21
7 0.5 0 0 30 22
3 0.4 2 2 6 6
2 0.1 10 10 30 22
# 1
1.png
3 23 31
1
1 0 0 0 30 22
"""


def put(text=FILE):
    for number, pixels in enumerate(IMAGES):
        Image.fromarray(pixels).save(f"{number}.png")
    Path("w.txt").write_text(text)


def layer(param="", transform="", crop=8):
    one = schema.parse_text(
        'name: "d" type: "WindowData" top: "data" top: "label" '
        f"transform_param {{ crop_size: {crop} {transform} }} "
        'window_data_param { source: "w.txt" batch_size: 5 fg_fraction: 0.5 bg_threshold: 0.3 }',
        caffe_pb.LayerParameter,
    )
    one.window_data_param.MergeFrom(schema.parse_text(param, caffe_pb.WindowDataParameter))
    return one


@pytest.fixture
def feed():
    made = []

    def make(param="", transform="", seed=1, rank=0, count=1):
        lines = []
        one = layer(param, transform)
        made.append(
            WindowFeed(one, caffe_pb.TRAIN, seed, "cpu", lambda *x: lines.append(x), rank, count)
        )
        made[-1].lines = lines
        return made[-1]

    yield make
    for one in made:
        one.close()


def warped(corners, mirror=False, param="", transform="", crop=8):
    """Window `corners` (x1, y1, x2, y2) of the first image."""
    return Windows(layer(param, transform, crop), 1, 1, lambda *line: None)._warp(
        0, corners, mirror
    )


def test_batches_are_background_first_then_foreground(feed):
    put()
    feed = feed()
    seen = set()
    for _ in range(20):
        data, label = feed.next()
        assert data.shape == feed.data_shape == (5, 3, 8, 8) and data.dtype == torch.float32
        assert label.dtype == torch.float32 and label[:3].tolist() == [0, 0, 0]
        assert set(label[3:].tolist()) <= {5, 7}
        seen |= {(float(a), float(b)) for a, b in zip(label, data.sum((1, 2, 3)), strict=True)}
    assert len(seen) == 4  # two windows of each kind; the one of overlap 0.4 is neither


def test_the_log(feed):
    put()
    lines = [line for line, _ in feed('root_folder: "./"').lines]
    assert lines == [
        "Window data layer:\n"
        "  foreground (object) overlap threshold: 0.5\n"
        "  background (non-object) overlap threshold: 0.3\n"
        "  foreground sampling fraction: 0.5\n"
        "  cache_images: 0\n"
        "  root_folder: ./",
        "num: 0 ./0.png 3 23 31 windows to process: 4",
        "Number of images: 2",
        "class 0 has 2 samples",
        "class 5 has 1 samples",
        "class 7 has 1 samples",
        "Amount of context padding: 0",
        "Crop mode: warp",
        "output data size: 5,3,8,8",
    ]


def test_a_window_is_warped_to_the_crop():
    put()
    part = resize(BGR[0, 2:22, 1:21], 8, 8).transpose(2, 0, 1)
    np.testing.assert_array_equal(warped((1, 2, 20, 21)), part)
    np.testing.assert_array_equal(warped((1, 2, 20, 21), mirror=True), part[:, :, ::-1])


def test_context_grows_the_window_about_its_middle():
    put()
    # 8 of 8 - 2 * 2: twice the window of 6 x 6, from 10 - 3 to 16 + 3, the last one included
    part = resize(BGR[0, 5:18, 7:20], 8, 8).transpose(2, 0, 1)
    np.testing.assert_array_equal(warped((10, 8, 15, 13), param="context_pad: 2"), part)


def test_what_leaves_the_image_is_zero_and_never_less_the_mean():
    put()
    # Twice the window of 6 x 6 at the upper left: -3 to 9; of 13 rows 3 are outside, which is
    # 3 * 8 / 13, so 2 of 8, and 10 inside become 6.
    part = resize(BGR[0, :10, :10], 6, 6).transpose(2, 0, 1).astype(np.float32)
    want = np.zeros((3, 8, 8), np.float32)
    want[:, 2:, 2:] = (part - 3) * np.float32(0.5)
    got = warped((0, 0, 5, 5), param="context_pad: 2 scale: 0.5", transform="mean_value: 3")
    np.testing.assert_array_equal(got, want)
    mirrored = warped((0, 0, 5, 5), True, "context_pad: 2 scale: 0.5", "mean_value: 3")
    want = np.zeros((3, 8, 8), np.float32)
    want[:, 2:, :6] = ((part - 3) * np.float32(0.5))[:, :, ::-1]
    np.testing.assert_array_equal(mirrored, want)


def test_square_mode_extends_the_shorter_side():
    put()
    # 12 wide, 4 high: 4 more rows on both sides, and as with context the row behind the last
    part = resize(BGR[0, 5:18, 8:21], 8, 8).transpose(2, 0, 1)
    np.testing.assert_array_equal(warped((8, 9, 19, 12), param='crop_mode: "square"'), part)


@pytest.mark.parametrize(
    ("param", "total"),
    [
        ("", 150023851),
        ('crop_mode: "square"', 132461078),
        ("context_pad: 1", 142049346),
        ('context_pad: 3 crop_mode: "square"', 61436457),
    ],
)
def test_every_window_as_opencv_and_caffes_steps_give_it(param, total):
    """The sums are those of Caffe's steps written out with OpenCV 5.0's resize and flip."""
    put()
    random = np.random.default_rng(9)
    sums = 0
    for _ in range(40):
        (x1, x2), (y1, y2) = np.sort(random.integers(0, 31, 2)), np.sort(random.integers(0, 23, 2))
        values = warped(
            (int(x1), int(y1), int(x2), int(y2)), bool(random.integers(2)), param, crop=9
        )
        sums += int((values * np.arange(1, 244).reshape(3, 9, 9)).sum(dtype=np.float64))
    assert sums == total


def test_the_mean_files_middle_is_taken_off():
    put()
    mean = np.random.default_rng(0).uniform(0, 255, (1, 3, 12, 12)).astype(np.float32)
    schema.write_binary(schema.array_to_blob(mean), "mean.binaryproto")
    plain = warped((1, 2, 20, 21))
    got = warped((1, 2, 20, 21), transform='mean_file: "mean.binaryproto"')
    np.testing.assert_array_equal(got, plain - mean[0, :, 2:10, 2:10])


def test_cached_images_are_not_read_again(feed):
    put()
    cached, read = feed("cache_images: true"), feed()
    wanted = [read.next() for _ in range(4)]
    Path("0.png").unlink()
    Path("1.png").unlink()
    for data, label in wanted:
        got = cached.next()
        assert torch.equal(got[0], data) and torch.equal(got[1], label)


@pytest.mark.parametrize("taken", [0, 1, 4])
def test_a_saved_state_continues_bit_for_bit(feed, taken):
    put()
    run = feed(transform="mirror: true")
    for _ in range(taken):
        run.next()
    state = pickle.loads(pickle.dumps(run.state()))
    wanted = [run.next() for _ in range(5)]
    again = feed(transform="mirror: true", seed=8)
    again.next()
    again.load_state(state)
    for data, label in wanted:
        got = again.next()
        assert torch.equal(got[0], data) and torch.equal(got[1], label)


def test_workers_draw_windows_of_their_own(feed):
    put()
    pair = [feed(transform="mirror: true", rank=rank, count=2) for rank in (0, 1)]
    batches = [[worker.next() for _ in range(6)] for worker in pair]
    assert all((label[:3] == 0).all() and (label[3:] > 0).all() for _, label in sum(batches, []))
    assert any(not torch.equal(a[0], b[0]) for a, b in zip(*batches, strict=True))


@pytest.mark.parametrize(
    ("text", "param", "transform", "words"),
    [
        (None, "", "", "Failed to open window file w.txt: No such file or directory"),
        ("", "", "", "Window file is empty"),
        ("0.png 3", "", "", "image 0 of the window file should begin with #, not 0.png"),
        ("# 0 0.png 3 23 31", "", "", "image 0 of the window file breaks off"),
        ("# 1 0.png 3 23 31 0", "", "", "is called # 1; they are to be counted from 0"),
        ("# 0 0.png 1 23 31 0", "", "", "should have 3 channels, not 1"),
        ("# 0 0.png 3 23 31 2 1 1 0 0 9 9", "", "", "has fewer than 2 windows"),
        ("# 0 0.png 3 x 31 0", "", "", "image 0 of the window file: could not convert"),
        ("# 0 0.png 3 23 nan 0", "", "", "a number is not finite"),
        ("# 0 0.png 3 23 31 1 0 1 0 0 9 9", "", "", "label > 0 (0 vs. 0)"),
        ("# 0 0.png 3 23 31 1 1 1 0 0 9 9", "", "", "bg_windows_.size() > 0 (0 vs. 0)"),
        ("# 0 0.png 3 23 31 1 1 0 0 0 9 9", "", "", "fg_windows_.size() > 0 (0 vs. 0)"),
        (FILE.replace("0.png", "no.png"), "cache_images: true", "", "open or find file no.png"),
        (FILE, "context_pad: 4", "", "context_pad 4 on both sides leaves nothing of crop_size 8"),
        (FILE, "", "mean_value: 1 mean_value: 2", "Specify either 1 mean_value or as many as"),
        (FILE, "", 'mean_file: "m"', "File not found: m"),
        (FILE.replace("10 10 30 22", "10 10 31 22").replace("1 0 0 0 30 22", "1 1 0 0 30 22"),
         "", "", "window 10 10 31 22 of 0.png does not lie in its 31x23 pixels"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_line_naming_the_layer(feed, text, param, transform, words):
    put(text or "")
    if text is None:
        Path("w.txt").unlink()
    with pytest.raises(DataLayerError) as caught:
        feed(param, transform)
    line = str(caught.value)
    assert words in line and line.endswith("(layer 'd', source 'w.txt')") and "\n" not in line


def test_a_mean_that_is_too_small():
    put()
    schema.write_binary(schema.array_to_blob(np.zeros((1, 3, 7, 7), np.float32)), "m")
    with pytest.raises(DataLayerError, match="mean_file 'm' is 3x7x7, which has no 3x8x8 at row"):
        warped((0, 0, 5, 5), transform='mean_file: "m"')
