"""noise_param, and SSD's other changes of images in Data and ImageData.

Numbers marked "OpenCV" are what OpenCV 5.0.0 gives for the same pixels.
"""

import io
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image

from netgen import graph, schema
from netgen.schema import caffe_pb, image
from runner.data import ChangedFeed, DataLayerError
from runner.data.annotated import Annotated, Annotation
from runner.data.distort import to_hsv
from runner.data.draws import Draws
from runner.data.noise import blur, clahe, equalize, spoil

RANDOM = np.random.default_rng(0)
#: a ramp with every level in places
RAMP = (np.add.outer(np.arange(16) * 7, np.arange(16) * 9) % 256).astype(np.uint8)
COLORS = np.stack([RAMP, RAMP.T // 2, 255 - RAMP], -1)


def spoiled(pixels, text):
    return spoil(pixels, schema.parse_text(text, caffe_pb.NoiseParameter), Draws(1, 1))


def test_blur():
    wanted = [45, 47, 54, 62, 71, 80, 89, 98, 107, 116, 125, 134, 143, 151, 158, 160]  # OpenCV
    np.testing.assert_array_equal(blur(RAMP[..., None])[5, :, 0], wanted)
    np.testing.assert_array_equal(spoiled(COLORS, "gauss_blur: true")[5, :, 0], wanted)


def test_hist_eq():
    wanted = [14, 21, 29, 38, 49, 61, 74, 89, 105, 121, 137, 153, 169, 183, 196, 208]  # OpenCV
    np.testing.assert_array_equal(equalize(RAMP)[5], wanted)
    np.testing.assert_array_equal(spoiled(RAMP[..., None], "hist_eq: true")[5, :, 0], wanted)
    np.testing.assert_array_equal(
        spoiled(COLORS, "hist_eq: true")[5, :3], [[12, 0, 197], [21, 3, 188], [30, 5, 179]]
    )  # OpenCV
    flat = np.full((3, 3, 1), 7, np.uint8)
    np.testing.assert_array_equal(spoiled(flat, "hist_eq: true"), flat)


def test_clahe():
    wide = (np.add.outer(np.arange(61) * 3, np.arange(53) * 2) % 256).astype(np.uint8)
    wanted = [87, 118, 123, 127, 132, 136, 136, 141, 146, 150, 154, 155, 166, 181]  # OpenCV
    np.testing.assert_array_equal(clahe(wide)[20, ::4], wanted)
    wanted = [91, 134, 135, 134, 135, 143, 143, 143, 143, 151]  # OpenCV; whole tiles
    np.testing.assert_array_equal(clahe(wide[:48, :40])[20, ::4], wanted)
    wanted = [[143, 130, 255], [152, 134, 255], [161, 136, 255]]  # OpenCV
    np.testing.assert_array_equal(spoiled(COLORS, "clahe: true")[5, :3], wanted)


def test_decolorize():
    wanted = [83, 83, 83, 84, 84, 85, 85, 86, 86, 86, 87, 87, 87, 88, 88, 89]  # OpenCV
    np.testing.assert_array_equal(
        spoiled(COLORS, "decolorize: true")[5], np.repeat(np.reshape(wanted, (16, 1)), 3, 1)
    )


def test_nothing_asked_is_nothing_done():
    np.testing.assert_array_equal(spoiled(COLORS, "prob: 1"), COLORS)


def test_posterize_inverse_and_hsv():
    levels = np.array([0, 63, 64, 200, 255], np.uint8)[None, :, None]
    np.testing.assert_array_equal(
        spoiled(levels, "posterize: true").ravel(), [32, 32, 96, 224, 224]
    )
    np.testing.assert_array_equal(spoiled(levels, "inverse: true"), 255 - levels)
    np.testing.assert_array_equal(spoiled(COLORS, "convert_to_hsv: true"), to_hsv(COLORS))


def test_erode_takes_the_least_of_a_cross():
    pixels = np.full((5, 5, 1), 9, np.uint8)
    pixels[2, 2] = 1
    wanted = np.full((5, 5), 9)
    wanted[2, 1:4] = wanted[1:4, 2] = 1
    np.testing.assert_array_equal(spoiled(pixels, "erode: true")[..., 0], wanted)


def test_jpeg_is_written_and_read_again():
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(COLORS[..., ::-1])).save(file, "JPEG", quality=40)
    again = np.asarray(Image.open(file))[..., ::-1]
    np.testing.assert_array_equal(spoiled(COLORS, "jpeg: 40"), again)
    assert (again != COLORS).any()


def test_salt_and_pepper_is_a_fraction_of_the_pixels():
    pixels = np.zeros((40, 50, 3), np.uint8)
    found = spoiled(
        pixels, "saltpepper: true saltpepper_param { fraction: 0.1 value: 255 value: 7 value: 300 }"
    )
    salted = (found == [255, 7, 44]).all(-1)
    assert 170 < salted.sum() <= 200  # drawn with replacement
    assert (found[~salted] == 0).all()
    np.testing.assert_array_equal(
        found,
        spoiled(
            pixels,
            "saltpepper: true saltpepper_param { fraction: 0.1 value: 255 value: 7 value: 44 }",
        ),
    )


@pytest.mark.parametrize(
    "text, channels, words",
    [
        ("decolorize: true", 1, "an image has 1 channel"),
        ("jpeg: 90", 1, "an image has 1 channel"),
        ("convert_to_lab: true", 3, "Image data type must be unsigned byte"),
        ("saltpepper: true", 3, "Specify either 1 value or as many as channels: 3"),
    ],
)
def test_refused(text, channels, words):
    with pytest.raises(DataLayerError, match=words):
        spoiled(np.zeros((4, 4, channels), np.uint8), text)


def test_annotated_data_spoils_what_it_has_resized():
    layer = schema.parse_text(
        'type: "AnnotatedData" top: "data" top: "label" transform_param { '
        "resize_param { height: 8 width: 6 } noise_param { inverse: true } }",
        caffe_pb.LayerParameter,
    )
    one = Annotated(COLORS, np.empty((0, 4), np.float32), np.empty((0, 3), np.float32))
    values, _ = Annotation(layer, caffe_pb.TEST, 1, lambda *line: None).change(one, Draws(1, 0))
    np.testing.assert_array_equal(values, 255 - image.resize(COLORS, 8, 6).transpose(2, 0, 1))


# --- in Data and ImageData ---


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Three images, as files of a list and as records of an LMDB; as the layers read them."""
    monkeypatch.chdir(tmp_path)
    images = [RANDOM.integers(0, 256, (10 + n, 12, 3)).astype(np.uint8) for n in range(3)]
    with lmdb.open("records") as env, env.begin(write=True) as transaction:
        for number, pixels in enumerate(images):
            Image.fromarray(pixels).save(f"{number}.png")
            datum = caffe_pb.Datum(encoded=True, label=number)
            datum.data = Path(f"{number}.png").read_bytes()
            transaction.put(b"%d" % number, datum.SerializeToString())
    Path("list.txt").write_text("".join(f"{n}.png {n}\n" for n in range(3)))
    return [np.ascontiguousarray(pixels[..., ::-1]) for pixels in images]


SOURCES = {
    "Data": 'data_param { source: "records" backend: LMDB batch_size: 3 }',
    "ImageData": 'image_data_param { source: "list.txt" batch_size: 3 }',
}


def layer_of(kind, transform):
    return schema.parse_text(
        f'name: "d" type: "{kind}" top: "data" top: "label" {SOURCES[kind]} '
        f"transform_param {{ {transform} }}",
        caffe_pb.LayerParameter,
    )


@pytest.mark.parametrize("kind", SOURCES)
def test_images_are_resized_spoiled_and_cut(here, kind):
    layer = layer_of(
        kind,
        "resize_param { height: 8 width: 9 } noise_param { inverse: true } crop_h: 6 crop_w: 5 "
        "mean_value: 3 scale: 0.5 distort_param { brightness_prob: 1 brightness_delta: 99 }",
    )
    assert ChangedFeed.wanted(layer)
    feed = ChangedFeed(layer, caffe_pb.TEST, 1, "cpu", lambda *line: None)
    data, labels = feed.next()
    feed.close()
    wanted = [255 - image.resize(pixels, 8, 9)[1:7, 2:7].transpose(2, 0, 1) for pixels in here]
    np.testing.assert_array_equal(data, (np.float32(wanted) - 3) * 0.5)
    np.testing.assert_array_equal(labels, [0, 1, 2])
    shapes = graph.layer_shapes(layer, [], caffe_pb.TEST, graph.record_shape(layer))
    assert shapes.tops == [data.shape, labels.shape]


@pytest.mark.parametrize("kind", SOURCES)
def test_a_small_side_of_one_image_a_batch(here, kind):
    layer = layer_of(kind, "resize_param { resize_mode: FIT_SMALL_SIZE height: 5 width: 5 }")
    with pytest.raises(DataLayerError, match="Only support batch size of 1"):
        ChangedFeed(layer, caffe_pb.TEST, 1, "cpu", lambda *line: None)
    for param in (layer.data_param, layer.image_data_param):
        param.batch_size = 1
    feed = ChangedFeed(layer, caffe_pb.TEST, 1, "cpu", lambda *line: None)
    assert [feed.next()[0].shape[2:] for _ in range(3)] == [(5, 6), (5, 5), (5, 5)]
    feed.close()
    assert graph.layer_shapes(layer, [], caffe_pb.TEST, (3, 10, 12)).tops[0] == (1, 3, 5, 6)


def test_records_that_are_no_images_are_refused(here):
    with lmdb.open("records") as env, env.begin(write=True) as transaction:
        plain = caffe_pb.Datum(channels=1, height=2, width=2, data=b"abcd")
        transaction.put(b"0", plain.SerializeToString())
    layer = layer_of("Data", "resize_param { height: 8 width: 9 }")
    with pytest.raises(DataLayerError, match=r"want encoded images \(convert_imageset -encoded\)"):
        ChangedFeed(layer, caffe_pb.TEST, 1, "cpu", lambda *line: None)


def test_a_net_that_resizes_is_built(here, build):
    net = build(
        'layer { name: "d" type: "ImageData" top: "x" top: "y" transform_param { resize_param '
        '{ height: 8 width: 9 } } image_data_param { source: "list.txt" batch_size: 2 } }'
    )
    assert net.forward()[1]["x"].shape == (2, 3, 8, 9)
