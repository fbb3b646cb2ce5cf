import io
import os
import resource
import zlib

import numpy as np
import pytest
from PIL import Image

from netgen.schema import SchemaError
from netgen.schema.image import ImageError, UnreadableImage, decode, decode_file, planes, resize

PIXELS = np.random.default_rng(3).integers(0, 256, (24, 31, 3)).astype(np.uint8)
SMOOTH = np.linspace(0, 255, 48 * 80 * 3).reshape(48, 80, 3).astype(np.uint8)


def encoded(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file


def test_resizing_gives_the_pixels_of_stock_caffe():
    # ImageData of BVLC 1.0 with OpenCV 4.6, new_height 7 and new_width 3
    pixels = np.random.RandomState(40).randint(0, 256, (4, 5, 3)).astype(np.uint8)
    resized = planes(resize(pixels[:, :, ::-1], 7, 3))
    assert resized[0, :3].tolist() == [[66, 12, 43], [70, 10, 110], [76, 8, 218]]
    assert resized[2].tolist() == [
        [102, 50, 130],
        [124, 97, 108],
        [160, 172, 73],
        [121, 140, 127],
        [87, 96, 181],
        [171, 74, 154],
        [223, 60, 138],
    ]


@pytest.mark.parametrize(
    ("size", "wanted", "sum_of_opencv"),
    [
        ((48, 80), (20, 33), 1830867856),
        ((48, 80), (24, 40), 1821105771),
        ((20, 33), (48, 80), 3174416494),
        ((40, 1), (7, 5), 1534715260),
        ((1, 1), (3, 2), 1051870053),
        ((5, 90), (200, 6), 1761417552),
    ],
)
def test_resizing_is_opencvs_to_the_bit(size, wanted, sum_of_opencv):
    """The checksums are those of cv2.resize, OpenCV 5.0."""
    pixels = np.random.default_rng(7).integers(0, 256, (*size, 3)).astype(np.uint8)
    assert zlib.crc32(resize(pixels, *wanted).tobytes()) == sum_of_opencv


def test_resizing_beside_opencv():
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not needed, only compared")
    random = np.random.default_rng(5)
    for number in range(400):
        height, width, rows, columns = random.integers(1, random.choice([4, 10, 40, 200]), 4)
        if number % 10 == 0:
            height, width = 2 * rows, 2 * columns
        channels = (1, 3)[number % 2]
        pixels = random.integers(0, 256, (height, width, channels)).astype(np.uint8)
        wanted = cv2.resize(pixels, (int(columns), int(rows)), interpolation=cv2.INTER_LINEAR)
        got = resize(pixels, int(rows), int(columns))
        np.testing.assert_array_equal(got, wanted.reshape(got.shape))


def test_an_image_that_has_the_size_is_left_alone():
    assert resize(PIXELS, 24, 31) is PIXELS


@pytest.mark.parametrize(
    ("format", "mode"),
    [
        *((format, mode) for format in ("PNG", "BMP", "TIFF", "GIF") for mode in ("RGB", "L", "P")),
        *((format, mode) for format in ("PPM", "JPEG", "WEBP") for mode in ("RGB", "L")),
        ("JPEG", "CMYK"),
    ],
)
def test_decoding_beside_opencv(format, mode):
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not needed, only compared")
    image = Image.fromarray(SMOOTH if format == "JPEG" else PIXELS)
    image = image.quantize(16) if mode == "P" else image.convert(mode)
    file = encoded(image, format, **({"lossless": True} if format == "WEBP" else {}))
    data = np.frombuffer(file.getvalue(), np.uint8)
    for color, flag in ((True, cv2.IMREAD_COLOR), (False, cv2.IMREAD_GRAYSCALE)):
        wanted = cv2.imdecode(data, flag)
        got = decode(file, color)
        np.testing.assert_array_equal(got, wanted.reshape(got.shape))


def test_grey_levels_of_a_png_are_cut_off():
    """(9797 R + 19234 G + 3737 B) >> 15, as libpng gave stock Caffe on 19,200 pixels."""
    pixels = np.array([[[250, 3, 7], [1, 2, 3]], [[90, 91, 200], [255, 254, 0]]], np.uint8)
    wanted = [[77, 1], [103, 225]]
    assert decode(encoded(Image.fromarray(pixels)), False)[:, :, 0].tolist() == wanted
    alpha = np.dstack([pixels, pixels[:, :, :1]])
    assert decode(encoded(Image.fromarray(alpha)), False)[:, :, 0].tolist() == wanted
    palette = Image.fromarray(pixels).quantize(4)
    r, g, b = np.asarray(palette.convert("RGB")).astype(int).transpose(2, 0, 1)
    got = decode(encoded(palette), False)[:, :, 0]
    np.testing.assert_array_equal(got, (9797 * r + 19234 * g + 3737 * b) >> 15)


def test_a_png_of_16_bits_gives_its_high_byte():
    wide = np.array([[0, 255, 256], [32767, 65280, 65535]], np.uint16)
    file = encoded(Image.fromarray(wide))
    assert decode(file, False)[:, :, 0].tolist() == [[0, 0, 1], [127, 255, 255]]
    np.testing.assert_array_equal(decode(file, True), np.repeat(decode(file, False), 3, 2))
    with pytest.raises(ImageError, match="Image data type must be unsigned byte"):
        decode(file)


@pytest.mark.parametrize("turn", [3, 6, 8])
def test_the_orientation_of_a_camera_is_obeyed_unless_the_file_is_read_as_it_is(turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    file = encoded(Image.fromarray(SMOOTH), "JPEG", exif=exif)
    plain = decode(file)
    turned = np.rot90(plain, {3: 2, 6: -1, 8: 1}[turn])
    np.testing.assert_array_equal(decode(file, True), turned)
    assert decode(file, False).shape[:2] == turned.shape[:2]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # what Pillow says of it
@pytest.mark.parametrize("exif", [b"Exif\0\0nothing", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_a_broken_orientation_asks_for_nothing(exif):
    file = encoded(Image.fromarray(SMOOTH), "JPEG", exif=exif)
    np.testing.assert_array_equal(decode(file, True), decode(file))


@pytest.mark.parametrize("transparency", [3, bytes(range(0, 160, 10))])
def test_alpha_of_a_palette_is_left_out_where_colour_is_asked_for(transparency):
    palette = Image.fromarray(PIXELS).quantize(16)
    file = encoded(palette, transparency=transparency)
    bgr = np.asarray(palette.convert("RGB"))[:, :, ::-1]
    np.testing.assert_array_equal(decode(file, True), bgr)
    np.testing.assert_array_equal(decode(file)[:, :, :3], bgr)
    assert decode(file).shape[2] == 4 and decode(file, False).shape[2] == 1


def test_what_cannot_be_decoded(tmp_path):
    whole = encoded(Image.fromarray(PIXELS)).getvalue()
    for data in (b"", b"no image", whole[:200]):
        with pytest.raises(UnreadableImage):
            decode(io.BytesIO(data), True)
    with pytest.raises(UnreadableImage, match="No such file"):
        decode(str(tmp_path / "none.png"), True)
    with pytest.raises(ImageError, match="must be unsigned byte"):
        decode(encoded(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"), True)


def test_a_jpeg_that_breaks_off_is_grey_from_there_on(tmp_path):
    """As OpenCV's imread has it; the pixels were compared with those of OpenCV 5.0."""
    file = encoded(Image.fromarray(SMOOTH), "JPEG").getvalue()
    path = tmp_path / "half.jpg"
    path.write_bytes(file[: len(file) * 4 // 5])
    told = []
    half, whole = decode_file(str(path), True, told.append), decode(io.BytesIO(file), True)
    rows = (half == whole).all((1, 2))
    assert rows[:16].all() and not rows[-16:].any()
    (line,) = told
    assert "half.jpg: image file is truncated" in line and "what is missing is grey" in line
    with pytest.raises(UnreadableImage):
        decode(io.BytesIO(path.read_bytes()), True)
    path.write_bytes(file[:300])
    with pytest.raises(UnreadableImage):
        decode_file(str(path), True, told.append)
    path.write_bytes(encoded(Image.fromarray(SMOOTH)).getvalue()[:300])
    with pytest.raises(UnreadableImage):
        decode_file(str(path), True, told.append)


def test_a_machine_without_descriptors_is_no_broken_picture(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(path)
    decode(str(path))  # with Pillow's plugins loaded
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(path, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(SchemaError) as caught:
            decode(str(path))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert str(caught.value) == f"{path}: Too many open files"
    assert not isinstance(caught.value, ImageError)
