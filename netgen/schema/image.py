"""Image files decoded and resized to the very pixels that Caffe has from OpenCV.

Pillow decodes them (both use libjpeg and libpng); what OpenCV does with the pixels after that,
grey levels and bilinear resizing in fixed point, is done here. Whoever makes records of pictures
and whoever reads pictures that lie in records or in files has the same pixels from here.
"""

from __future__ import annotations

import errno
import functools
import io
import struct
from collections.abc import Callable
from typing import IO

import numpy as np
from PIL import Image, ImageOps

from netgen.schema.files import SchemaError

# What Pillow raises for a file that is missing, no image, or not a whole one.
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)
# Errors of the system that say nothing of the picture.
_OF_THE_MACHINE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE}

_JPEG, _END_OF_JPEG = b"\xff\xd8", b"\xff\xd9"

# Grey is (a R + b G + c B + rounding) >> shift. libpng makes it for OpenCV while it reads a PNG;
# OpenCV's readers of plain bitmaps and its own conversion each have other numbers.
_GRAY_OF_PNG = (9797, 19234, 3737, 0, 15)
_GRAY_OF_BITMAP = (4899, 9617, 1868, 1 << 13, 14)
_GRAY = (9798, 19235, 3735, 1 << 14, 15)
_GRAY_OF = {
    "PNG": _GRAY_OF_PNG,
    "BMP": _GRAY_OF_BITMAP,
    "PPM": _GRAY_OF_BITMAP,
    "TIFF": _GRAY_OF_BITMAP,
}


class ImageError(SchemaError):
    """A picture that cannot be used as it is; one line."""


class UnreadableImage(ImageError):
    """A file that cannot be decoded; str(error) says why."""


def decode(file: str | IO[bytes], color: bool | None = None) -> np.ndarray:
    """The pixels of an image file as OpenCV's imread gives them.

    file: path or binary file. color: True for three channels, whatever the file has; False for
    one; None for the file's own, with alpha, and not turned the way its EXIF orientation asks,
    which the other two obey. Returns (height, width, channels) uint8, channels in the order
    B, G, R, A. Raises UnreadableImage for what cannot be decoded, and ImageError, in Caffe's
    words, for pixels of more than a byte a channel that nobody asked to cut down. Where it is the
    machine that fails (too many open files, a disk that does not answer) and not the picture, that
    is another SchemaError.
    """
    try:
        with Image.open(file) as image:
            return _decode(image, color)
    except ImageError:
        raise
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
            raise SchemaError(f"{error.filename or file}: {error.strerror}") from None
        raise UnreadableImage(error) from None


def decode_file(path: str, color: bool, warn: Callable[[str], object]) -> np.ndarray:
    """The pixels of the image file at `path`, as `decode` gives them.

    A JPEG that breaks off is decoded as far as it goes and is grey from there on, as OpenCV reads
    it from a file (not from a Datum); warn is told in one line. Raises as `decode` does.
    """
    try:
        return decode(path, color)
    except UnreadableImage as error:
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            raise error from None
        if not data.startswith(_JPEG):
            raise
        pixels = decode(io.BytesIO(data + _END_OF_JPEG), color)
        warn(f"{path}: {error}: what is missing is grey")
        return pixels


def _decode(image: Image.Image, color: bool | None) -> np.ndarray:
    if color is False and image.format == "JPEG":
        image.draft("L", image.size)  # the file's own luma, which libjpeg gives to OpenCV
    gray = _GRAY_OF.get(image.format or "", _GRAY)
    turn = color is not None and "exif" in image.info
    if image.mode.startswith(("I", "F")):
        image = _high_byte(image, color)
    if turn:
        image = _upright(image)
    if image.mode in ("1", "L") and not color:
        return np.asarray(image.convert("L"))[:, :, None]
    if color is None and _has_alpha(image):
        return np.asarray(image.convert("RGBA"))[:, :, [2, 1, 0, 3]]
    if image.mode == "CMYK" and image.format == "JPEG":
        pixels, gray = _without_ink(255 - np.asarray(image)), _GRAY_OF_BITMAP
    else:  # Pillow warns of a palette that is translucent here and there, unless alpha is kept
        palette = image.mode in ("P", "PA")
        pixels = np.asarray(image.convert("RGBA" if palette else "RGB"))[:, :, :3]
    return _to_gray(pixels, *gray) if color is False else pixels[:, :, ::-1]


def planes(pixels: np.ndarray) -> np.ndarray:
    """Pixels (height, width, channels) in Caffe's order: (channels, height, width), contiguous."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF asks; broken EXIF asks for nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except _UNREADABLE:
        return image


def _high_byte(image: Image.Image, color: bool | None) -> Image.Image:
    """A grey image of 16 bits a pixel as one of 8."""
    wide = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    if color is None or not wide:
        raise ImageError("Image data type must be unsigned byte")
    return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))


def _without_ink(cmyk: np.ndarray) -> np.ndarray:
    """R, G, B of a JPEG of C, M, Y, K as it lies in the file, 255 for no ink."""
    black = cmyk[:, :, 3:].astype(np.int32)
    return (black - ((255 - cmyk[:, :, :3]) * black >> 8)).astype(np.uint8)


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info


def _to_gray(
    rgb: np.ndarray, red: int, green: int, blue: int, rounding: int, shift: int
) -> np.ndarray:
    channels = rgb.astype(np.int32)
    total = red * channels[:, :, 0] + green * channels[:, :, 1] + blue * channels[:, :, 2]
    return ((total + rounding) >> shift).astype(np.uint8)[:, :, None]


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear resizing as OpenCV's resize(..., INTER_LINEAR) does it, to the bit.

    pixels: (h, w, channels) uint8; returns (height, width, channels) uint8. Weights are whole
    multiples of 2**-11; products are cut off twice on the way (OpenCV's resize.cpp: 4 bits
    after the horizontal pass, 16 after the vertical one). Halving is the mean of four pixels.
    """
    rows, columns, channels = pixels.shape
    if (rows, columns) == (height, width):
        return pixels
    if (rows, columns) == (2 * height, 2 * width):
        wide = pixels.astype(np.uint16)
        pairs = wide[0::2] + wide[1::2]
        return ((pairs[:, 0::2] + pairs[:, 1::2] + 2) >> 2).astype(np.uint8)
    left, right, left_weight, right_weight = _across(columns, width, channels)
    above, below, above_weight, below_weight = _down(rows, height)
    if 2 * height < rows:  # most rows are nobody's neighbour
        pixels = pixels[np.concatenate([above, below])]
        above, below = np.arange(height), np.arange(height, 2 * height)
    lines = pixels.reshape(len(pixels), columns * channels)
    mixed = lines.take(left, axis=1, mode="clip") * left_weight
    mixed += lines.take(right, axis=1, mode="clip") * right_weight
    mixed >>= 4
    total = mixed.take(above, axis=0, mode="clip")
    total *= above_weight
    total >>= 16
    other = mixed.take(below, axis=0, mode="clip")
    other *= below_weight
    other >>= 16
    total += other
    total += 2
    total >>= 2
    return total.astype(np.uint8).reshape(height, width, channels)


@functools.lru_cache(128)
def _across(size: int, wanted: int, channels: int) -> tuple[np.ndarray, ...]:
    """For every value of a row: the places of its two neighbours in the row, and their weights."""
    first, fraction = _places(size, wanted)
    outside = (first < 0) | (first >= size - 1)
    first = np.clip(first, 0, size - 1)
    second = np.minimum(first + 1, size - 1)
    weights = _weights(np.where(outside, np.float32(0), fraction))
    channel = np.arange(channels)
    places = ((place[:, None] * channels + channel).ravel() for place in (first, second))
    return *places, *(np.repeat(weight, channels) for weight in weights)


@functools.lru_cache(128)
def _down(size: int, wanted: int) -> tuple[np.ndarray, ...]:
    """For every row: its two neighbours, and their weights as columns."""
    first, fraction = _places(size, wanted)
    neighbours = (np.clip(row, 0, size - 1) for row in (first, first + 1))
    return *neighbours, *(weight[:, None] for weight in _weights(fraction))


def _places(size: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the centres of `wanted` pixels lie among `size`: whole part and fraction."""
    scale = 1.0 / (wanted / size)
    place = ((np.arange(wanted) + 0.5) * scale - 0.5).astype(np.float32)
    whole = np.floor(place)
    return whole.astype(np.int64), place - whole


def _weights(fraction: np.ndarray) -> tuple[np.ndarray, ...]:
    one = np.float32(1)
    return tuple(np.rint(part * 2048).astype(np.int32) for part in (one - fraction, fraction))
