import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from netgen.errors import CaffeError
from netgen.schema.caffe_pb import Datum
from netgen.schema.datum import TAGGED_FLOAT
from runner.data.datum import Decoder


def float_datum(pixels, label=None):
    c, h, w = pixels.shape
    datum = Datum(channels=c, height=h, width=w, float_data=pixels.ravel().tolist())
    if label is not None:
        datum.label = label
    return datum.SerializeToString()


def byte_datum(pixels, label=None):
    c, h, w = pixels.shape
    return Datum(
        channels=c, height=h, width=w, data=pixels.tobytes(), label=label
    ).SerializeToString()


def packed_datum(pixels, label):
    """What a writer that packs repeated floats makes of it."""
    c, h, w = pixels.shape
    head = Datum(channels=c, height=h, width=w, label=label).SerializeToString()
    payload = pixels.astype("<f4").tobytes()
    assert len(payload) < 128
    return head + bytes([6 << 3 | 2, len(payload)]) + payload


def encoded_datum(image, format, label=3):
    out = io.BytesIO()
    image.save(out, format)
    return Datum(data=out.getvalue(), label=label, encoded=True).SerializeToString()


def check(decode, record, pixels, label):
    values, shape, got = decode(memoryview(record))
    assert values.dtype == pixels.dtype
    assert (shape, got) == (pixels.shape, label)
    np.testing.assert_array_equal(values, pixels.ravel())


@pytest.mark.parametrize("make", [float_datum, byte_datum, packed_datum])
def test_records_that_share_their_frame_are_read_without_protobuf(make, monkeypatch):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 2, 3, 4)).astype(np.uint8)
    if make is not byte_datum:
        images = images.astype(np.float32) - 0.3
    decode = Decoder()
    check(decode, make(images[0], 7), images[0], 7)
    check(decode, make(images[1], 200), images[1], 200)  # a label of two bytes: longer
    monkeypatch.setattr(Decoder, "_parse", None)
    check(decode, make(images[2], 7), images[2], 7)
    check(decode, make(images[3], 200), images[3], 200)


@pytest.mark.parametrize("label", [0, 1, 127, 128, 99999, -1, None])
def test_labels(label):
    pixels = np.ones((1, 2, 2), np.float32)
    decode = Decoder()
    for make in (float_datum, byte_datum):
        for _ in range(2):
            _, _, got = decode(make(pixels, label))
            assert got == (label or 0)


def wire(draw, count):
    """A record of `count` pixels: any order of fields, floats in any form, with the odd field."""
    floats = np.array(
        draw(st.lists(st.floats(width=32, allow_nan=False), min_size=count, max_size=count)), "<f4"
    )
    tagged = np.empty(count, TAGGED_FLOAT)
    tagged["tag"], tagged["value"] = 6 << 3 | 5, floats
    packed = bytes([6 << 3 | 2, 4 * count]) + floats.tobytes()
    parts = [
        Datum(channels=1, height=1, width=count).SerializeToString(),
        Datum(label=draw(st.sampled_from([0, 5, 300]))).SerializeToString(),
        draw(st.sampled_from([tagged.tobytes(), packed])),
    ]
    if draw(st.booleans()):
        data = draw(st.binary(min_size=count, max_size=count))
        parts.append(Datum(data=data).SerializeToString())
    if draw(st.booleans()):
        parts.append(Datum(encoded=False).SerializeToString())
    if draw(st.booleans()):
        parts.append(bytes([6 << 3 | 5, 0, 0, 0, 64]))  # a float too many
    if draw(st.booleans()):
        parts.append(bytes([15 << 3 | 1]) + bytes(8))  # a field that Datum does not have
    return b"".join(draw(st.permutations(parts)))


@given(st.data())
def test_any_sequence_of_records_reads_as_protobuf_reads_it(data):
    decode = Decoder()
    for _ in range(6):
        record = wire(data.draw, data.draw(st.integers(1, 3)))
        datum = Datum.FromString(record)
        values, shape, label = decode(memoryview(record))
        want = list(datum.data or datum.float_data)[: datum.width]
        assert (shape, label) == ((1, 1, datum.width), datum.label)
        assert values.tolist() == want
        assert values.dtype == (np.uint8 if datum.data else np.float32)


PIXELS = np.random.default_rng(1).integers(0, 256, (5, 6, 4)).astype(np.uint8)


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", [0]), ("RGB", [2, 1, 0]), ("RGBA", [2, 1, 0, 3])]
)
def test_encoded_records_are_bgr_as_opencv_has_them(mode, channels):
    pixels = PIXELS[:, :, 0] if mode == "L" else PIXELS[:, :, : len(mode)]
    want = np.atleast_3d(pixels)[:, :, channels].transpose(2, 0, 1)
    check(Decoder(), encoded_datum(Image.fromarray(pixels), "PNG"), want, 3)


def test_an_encoded_palette_is_expanded():
    image = Image.fromarray(PIXELS[:, :, :3]).quantize(8)
    want = np.asarray(image.convert("RGB"))[:, :, ::-1].transpose(2, 0, 1)
    check(Decoder(), encoded_datum(image, "PNG"), want, 3)


def test_force_color_and_force_gray_on_encoded_records():
    gray, color = Image.fromarray(PIXELS[:, :, 0]), Image.fromarray(PIXELS[:, :, :3])
    want = np.repeat(PIXELS[None, :, :, 0], 3, 0)
    check(Decoder(force_color=True), encoded_datum(gray, "PNG"), want, 3)
    r, g, b = PIXELS[:, :, :3].astype(int).transpose(2, 0, 1)
    luma = ((9797 * r + 19234 * g + 3737 * b) >> 15).astype(np.uint8)  # seen in a run of Caffe
    check(Decoder(force_gray=True), encoded_datum(color, "PNG"), luma[None], 3)
    with pytest.raises(CaffeError, match="cannot set both force_color and force_gray"):
        Decoder(True, True)(encoded_datum(gray, "PNG"))


def test_a_jpeg_in_gray_is_its_own_luma():
    smooth = np.linspace(0, 255, 256).reshape(16, 16).astype(np.uint8)
    image = Image.fromarray(np.stack([smooth, smooth.T, 255 - smooth], 2))
    record = encoded_datum(image, "JPEG")
    with Image.open(io.BytesIO(Datum.FromString(record).data)) as again:
        luma = np.asarray(again.convert("YCbCr"))[:, :, 0]
    values, shape, _ = Decoder(force_gray=True)(record)
    assert shape == (1, 16, 16)
    assert np.abs(values.reshape(16, 16).astype(int) - luma).max() <= 1


def test_flags_leave_plain_records_alone():
    pixels = np.zeros((1, 2, 2), np.uint8)
    decode = Decoder(True, True)
    check(decode, byte_datum(pixels, 1), pixels, 1)
    assert decode.unencoded


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (b"\x08", "it is not a Datum"),
        (Datum(height=1, width=1, data=b"x").SerializeToString(), "datum_channels > 0 (0 vs. 0)"),
        (
            Datum(channels=3, height=2, width=2, data=b"12345").SerializeToString(),
            "its shape is 3x2x2, its data holds 5 values",
        ),
        (
            Datum(channels=1, height=2, width=2, float_data=[1, 2]).SerializeToString(),
            "its shape is 1x2x2, its float_data holds 2 values",
        ),
        (
            Datum(channels=1, height=0, width=2).SerializeToString(),
            "its shape is 1x0x2, its float_data holds 0 values",
        ),
        (Datum(data=b"GIF8?", encoded=True).SerializeToString(), "Could not decode datum"),
        (
            encoded_datum(Image.fromarray(PIXELS[:, :, 0].astype(np.uint16)), "PNG"),
            "Image data type must be unsigned byte",
        ),
    ],
)
def test_unusable_records(record, words):
    with pytest.raises(CaffeError) as caught:
        Decoder()(record)
    assert str(caught.value) == words
