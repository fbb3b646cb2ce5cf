"""caffe.io: messages, the Transformer, images of all kinds, crops."""

import numpy as np
import pytest
from PIL import Image

from caffe import io
from caffe.proto import caffe_pb2

IMAGE = np.random.RandomState(3).uniform(0, 1, (4, 5, 3)).astype(np.float32)


def test_blobs_keep_shape_and_diff():
    array = np.arange(6.0).reshape(1, 2, 3)
    blob = io.array_to_blobproto(array, -array)
    assert list(blob.shape.dim) == [1, 2, 3]
    assert np.array_equal(io.blobproto_to_array(blob), array)
    assert np.array_equal(io.blobproto_to_array(blob, return_diff=True), -array)
    assert io.blobproto_to_array(blob).dtype == np.float64
    old = caffe_pb2.BlobProto(num=1, channels=2, height=1, width=3, data=range(6))
    assert io.blobproto_to_array(old).shape == (1, 2, 1, 3)
    scalar = io.blobproto_to_array(caffe_pb2.BlobProto(data=[7]))
    assert (scalar.shape, scalar.item()) == ((), 7)
    with pytest.raises(ValueError, match="reshape"):
        io.blobproto_to_array(caffe_pb2.BlobProto(data=[1, 2]))
    text = io.arraylist_to_blobprotovector_str([array, array[0]])
    assert [a.shape for a in io.blobprotovector_str_to_arraylist(text)] == [(1, 2, 3), (2, 3)]


@pytest.mark.parametrize(
    ("dtype", "field", "back"),
    [("uint8", "data", "uint8"), ("int8", "float_data", "float64"), ("f4", "float_data", "f8")],
)
def test_datums_hold_bytes_or_floats(dtype, field, back):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    datum = io.array_to_datum(array, 3)
    assert (datum.channels, datum.height, datum.width, datum.label) == (2, 3, 4, 3)
    assert len(getattr(datum, field)) == 24
    assert np.array_equal(io.datum_to_array(datum), array)
    assert io.datum_to_array(datum).dtype == np.dtype(back)
    sliced = array[:, ::2, 1:3]  # not contiguous
    assert np.array_equal(io.datum_to_array(io.array_to_datum(sliced)), sliced)


def test_datums_are_refused():
    assert not io.array_to_datum(np.zeros((1, 1, 1))).HasField("label")
    with pytest.raises(ValueError, match=r"^Incorrect array shape\.$"):
        io.array_to_datum(np.zeros((2, 2)))
    with pytest.raises(TypeError):
        io.array_to_datum(np.zeros((1, 1, 1)), 0.5)


def made(**settings):
    transformer = io.Transformer({"data": (1, 3, 4, 5)})
    transformer.set_transpose("data", (2, 0, 1))
    for name, value in settings.items():
        getattr(transformer, f"set_{name}")("data", value)
    return transformer


def test_the_order_of_a_transformer():
    mean = np.array([10.0, 20.0, 30.0])
    transformer = made(channel_swap=(2, 1, 0), raw_scale=255, mean=mean, input_scale=0.5)
    out = transformer.preprocess("data", IMAGE.copy())
    wanted = (IMAGE.transpose(2, 0, 1)[::-1] * 255 - mean[:, None, None]) * 0.5
    np.testing.assert_allclose(out, wanted, atol=1e-4)
    assert out.dtype == np.float32
    np.testing.assert_allclose(transformer.deprocess("data", out), IMAGE, atol=1e-6)


def test_a_float_image_of_the_right_size_is_changed_in_place_as_in_pycaffe():
    image, double = IMAGE.copy(), IMAGE.astype(float)
    made(raw_scale=2).preprocess("data", image)
    np.testing.assert_array_equal(image, 2 * IMAGE)
    made(raw_scale=2).preprocess("data", double)
    np.testing.assert_array_equal(double, IMAGE)


def test_a_mean_image_of_another_size_is_resized():
    pytest.importorskip("skimage", reason="an extra of caffe.io.resize_image")
    ramp = np.linspace(0, 90, 3 * 8 * 10).reshape(3, 8, 10)
    mean = made(mean=ramp).mean["data"]
    assert mean.shape == (3, 4, 5)
    np.testing.assert_allclose(mean, ramp.reshape(3, 4, 2, 5, 2).mean((2, 4)), atol=1e-4)


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("transpose", (0, 1), "Transpose order needs to have the same number of dimensions"),
        ("channel_swap", (0, 1), "Channel swap needs to have the same number of dimensions"),
        ("mean", np.zeros(2), "Mean channels incompatible with input."),
        ("mean", np.zeros((1, 3, 4, 5)), "Mean shape invalid"),
    ],
)
def test_settings_that_do_not_fit(setting, value, words):
    with pytest.raises(Exception, match=words):
        made(**{setting: value})
    with pytest.raises(Exception, match=r"x is not one of the net inputs: \{'data'"):
        getattr(made(), f"set_{setting}")("x", value)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "I;16", "1", "LA"])
@pytest.mark.parametrize("color", [True, False])
def test_every_kind_of_image(tmp_path, mode, color):
    rng = np.random.RandomState(5)
    rgb = rng.randint(0, 256, (4, 5, 3)).astype(np.uint8)
    if mode == "I;16":
        deep = rng.randint(0, 65536, (4, 5)).astype(np.uint16)
        image, gray = Image.fromarray(deep), deep / 65535
    else:
        image = Image.fromarray(rgb).convert(mode)
        gray = None
    path = tmp_path / "image.png"
    image.save(path)
    loaded = io.load_image(path, color)
    assert loaded.dtype == np.float32
    assert loaded.min() >= 0 and loaded.max() <= 1
    if mode == "LA":
        assert loaded.shape == (4, 5, 2)
    else:
        assert loaded.shape == (4, 5, 3 if color else 1)
    if mode in ("RGB", "RGBA"):
        wanted = rgb / 255 if color else (rgb / 255 @ [0.2125, 0.7154, 0.0721])[:, :, None]
        np.testing.assert_allclose(loaded, wanted, atol=1e-6)
    if mode == "P":
        palette = np.asarray(Image.open(path).convert("RGB")) / 255
        wanted = palette if color else (palette @ [0.2125, 0.7154, 0.0721])[:, :, None]
        np.testing.assert_allclose(loaded, wanted, atol=1e-6)
    if gray is not None:
        np.testing.assert_allclose(loaded[:, :, 0], gray, atol=1e-6)


def test_a_missing_image_is_an_oserror(tmp_path):
    with pytest.raises(OSError, match="none.png"):
        io.load_image(tmp_path / "none.png")


def test_resizing_interpolates_between_centres():
    pytest.importorskip("skimage", reason="an extra of caffe.io.resize_image")
    ramp = np.tile(np.arange(8, dtype=np.float32), (8, 1))[:, :, None]
    small = io.resize_image(ramp, (4, 4))
    np.testing.assert_allclose(small[:, :, 0], np.tile([0.5, 2.5, 4.5, 6.5], (4, 1)), atol=1e-5)
    assert small.dtype == np.float32
    assert (io.resize_image(np.full((3, 3, 1), 7.0), (2, 5)) == np.full((2, 5, 1), 7)).all()
    pytest.importorskip("scipy", reason="an extra of caffe.io.resize_image")
    assert io.resize_image(np.repeat(ramp, 4, 2), (4, 4)).shape == (4, 4, 4)


def test_what_is_missing_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "skimage.transform", None)
    with pytest.raises(ImportError, match=r"pip install scikit-image, or 'caffe-split\[pycaffe\]'"):
        io.resize_image(IMAGE, (2, 2))


def test_ten_crops():
    image = np.arange(5 * 7 * 2, dtype=np.float32).reshape(5, 7, 2)
    crops = io.oversample([image, -image], (2, 3))
    assert crops.shape == (20, 2, 3, 2)
    starts = [(0, 0), (0, 4), (3, 0), (3, 4), (1, 2)]
    for crop, (y, x) in zip(crops, starts, strict=False):
        np.testing.assert_array_equal(crop, image[y : y + 2, x : x + 3])
    np.testing.assert_array_equal(crops[5:10], crops[:5, :, ::-1])
    np.testing.assert_array_equal(crops[10:], -crops[:10])
