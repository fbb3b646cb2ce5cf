"""ImageSegData and ImageLabelmapData: images and their labels, flipped, scaled and cut alike."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netgen import graph, schema
from netgen.schema import caffe_pb, image
from runner.data import DataLayerError, EdgeFeed, SegFeed
from runner.data.resample import resample

SIZE = (5, 7)
KINDS = {"ImageSegData": SegFeed, "ImageLabelmapData": EdgeFeed}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pairs():
    """Four images whose labels are their blue channel; (4, 3, 5, 7) and (4, 1, 5, 7)."""
    images = np.random.default_rng(0).integers(0, 256, (4, *SIZE, 3)).astype(np.uint8)
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(f"{number}.png")
        Image.fromarray(pixels[..., 2]).save(f"labels{number}.png")
    Path("list.txt").write_text("".join(f"{n}.png labels{n}.png\n" for n in range(4)))
    bgr = images[..., ::-1].transpose(0, 3, 1, 2)
    return bgr, bgr[:, :1]


def layer_of(kind, param="", transform=""):
    tops = 'top: "data" top: "label"' + (' top: "dim"' if kind == "ImageSegData" else "")
    return schema.parse_text(
        f'name: "d" type: "{kind}" {tops} transform_param {{ {transform} }} '
        f'image_data_param {{ source: "list.txt" batch_size: 4 {param} }}',
        caffe_pb.LayerParameter,
    )


@pytest.fixture
def batch():
    """batch(kind, param, transform, phase): the first batch, as arrays."""
    feeds = []

    def make(kind, param="", transform="", phase=caffe_pb.TRAIN):
        layer = layer_of(kind, param, transform)
        feed = KINDS[kind](layer, phase, 1, "cpu", lambda *line: None)
        feeds.append(feed)
        tops = [top.numpy() for top in feed.next()]
        shapes = graph.layer_shapes(layer, [], phase, graph.record_shape(layer)).tops
        assert [top.shape for top in tops] == shapes  # what describe says
        return tops

    yield make
    for feed in feeds:
        feed.close()


def test_labels_of_pixels(batch, pairs):
    data, labels, sizes = batch("ImageSegData", "label_type: PIXEL", "mean_value: 3 scale: 0.5")
    np.testing.assert_array_equal(data, (pairs[0].astype(np.float32) - 3) * 0.5)
    np.testing.assert_array_equal(labels, pairs[1])
    np.testing.assert_array_equal(
        sizes, np.broadcast_to(np.reshape(SIZE, (1, 1, 1, 2)), (4, 1, 1, 2))
    )


@pytest.mark.parametrize("kind, value", [("IMAGE", "words"), ("NONE", None)])
def test_labels_of_images(batch, pairs, kind, value):
    Path("list.txt").write_text("0.png 7\n1.png 300\n2.png -2\n3.png\n")
    _, labels, _ = batch("ImageSegData", f"label_type: {kind} ignore_label: 9")
    wanted = [7, 255, 0, 0] if value else [9] * 4
    np.testing.assert_array_equal(
        labels, np.broadcast_to(np.reshape(wanted, (4, 1, 1, 1)), labels.shape)
    )


def test_a_crop_beyond_the_image_is_the_mean_and_ignored(batch, pairs):
    data, labels, sizes = batch(
        "ImageSegData", "label_type: PIXEL", "crop_height: 8 crop_width: 9 mean_value: 1.5"
    )
    assert data.shape == (4, 3, 8, 9)
    np.testing.assert_array_equal(data[..., :5, :7], pairs[0] - np.float32(1.5))
    np.testing.assert_array_equal(labels[..., :5, :7], pairs[1])
    outside = np.ones((8, 9), bool)
    outside[:5, :7] = False
    assert (data[..., outside] == 0).all() and (labels[..., outside] == 255).all()
    np.testing.assert_array_equal(sizes[:, 0, 0], [SIZE] * 4)


@pytest.mark.parametrize("kind", KINDS)
def test_both_are_mirrored_and_cut_alike(batch, pairs, kind):
    data, labels, *sizes = batch(kind, "label_type: PIXEL", "crop_size: 3 mirror: true")
    blue = data[:, :1] if kind == "ImageSegData" else data[:, :1] > 127
    np.testing.assert_array_equal(labels, blue)
    turned = 0
    for image_, found in zip(pairs[0], data, strict=True):
        places = [
            (top, left, flip)
            for top in range(3)
            for left in range(5)
            for flip in (1, -1)
            if (image_[:, top : top + 3, left : left + 3][..., ::flip] == found).all()
        ]
        ((_, _, flip),) = places
        turned += flip == -1
    assert turned  # by this seed
    if sizes:
        np.testing.assert_array_equal(sizes[0], np.full((4, 1, 1, 2), 3))


def test_the_middle_is_cut_in_test(batch, pairs):
    data, labels, _ = batch("ImageSegData", "label_type: PIXEL", "crop_size: 3", caffe_pb.TEST)
    np.testing.assert_array_equal(data, pairs[0][..., 1:4, 2:5])
    np.testing.assert_array_equal(labels, pairs[1][..., 1:4, 2:5])


def test_scale_factors_resize_labels_to_the_nearest(batch, pairs):
    data, labels, sizes = batch(
        "ImageSegData", "label_type: PIXEL", "scale_factors: 1.5 crop_height: 7 crop_width: 10"
    )
    for i in range(4):
        pixels = np.ascontiguousarray(pairs[0][i].transpose(1, 2, 0))
        np.testing.assert_array_equal(data[i], image.resize(pixels, 7, 10).transpose(2, 0, 1))
        nearest = resample(np.ascontiguousarray(pixels[..., :1]), 7, 10, "NEAREST")
        np.testing.assert_array_equal(labels[i, 0], nearest[..., 0])
    np.testing.assert_array_equal(sizes[:, 0, 0], [SIZE] * 4)


def test_edges_are_above_127(batch, pairs):
    data, labels = batch("ImageLabelmapData", "", "mean_value: 104 mean_value: 117 mean_value: 123")
    np.testing.assert_array_equal(data, pairs[0] - np.float32([[[104]], [[117]], [[123]]]))
    np.testing.assert_array_equal(labels, pairs[1] > 127)


def test_edges_are_resized_before_they_are_told(batch, pairs):
    _, labels = batch("ImageLabelmapData", "new_height: 3 new_width: 4")
    for i in range(4):
        grey = image.resize(np.ascontiguousarray(pairs[1][i].transpose(1, 2, 0)), 3, 4)
        np.testing.assert_array_equal(labels[i, 0], grey[..., 0] > 127)


@pytest.mark.parametrize(
    "kind, param, transform, words",
    [
        ("ImageSegData", "", 'mean_file: "m"', "ImageSegDataLayer does not support mean file"),
        ("ImageSegData", "", "crop_height: 3", "either specify crop_size or both"),
        (
            "ImageLabelmapData",
            "",
            'mean_file: "m" crop_size: 3',
            "mean_file together with crop_size",
        ),
        ("ImageSegData", "", "scale_factors: 2", "scale_factors give images of other sizes"),
        ("ImageSegData", "new_dim: 4", "", "new_dim is a field of ImageData alone"),
    ],
)
def test_refused(kind, param, transform, words):
    with pytest.raises(graph.NetError, match=words):
        graph.layer_shapes(layer_of(kind, param, transform), [], caffe_pb.TRAIN, (3, 5, 7))


def test_labels_of_another_size_are_refused(batch, pairs):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save("labels0.png")
    with pytest.raises(DataLayerError, match="heights and widths must match"):
        batch("ImageSegData", "label_type: PIXEL")


def test_image_data_has_numbers_whatever_label_type_says(tmp_path):
    net = tmp_path / "net.prototxt"
    net.write_text(
        'layer { name: "d" type: "ImageData" top: "x" top: "y" '
        'image_data_param { source: "l" new_height: 3 new_width: 3 label_type: PIXEL } }'
    )
    notes = []
    schema.read_net(net, notes)
    assert notes == [
        "skipped, since it changes no result here: "
        "ImageDataParameter.label_type, which ImageSegData obeys (1)"
    ]
