"""What noise_param does to an image (ApplyNoise of SSD's im_transforms.cpp).

Pixels are (height, width, channels) uint8, colours in the order B, G, R. The kinds are OpenCV's of
8 bits, in the arithmetic of OpenCV 4, which rounds as integers do. As in SSD, prob is not obeyed.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from netgen.schema import caffe_pb
from runner.data.distort import to_hsv
from runner.data.draws import Draws
from runner.data.errors import DataLayerError

_SHIFT, _HALF = 14, 1 << 13
_BLUR = np.array([9, 29, 55, 70, 55, 29, 9], np.int64)  # 7 taps of sigma 1.5, in 256ths
_TILES, _CLIP = 8, 4  # CLAHE's
_POSTERS = 64


def spoil(pixels: np.ndarray, param: caffe_pb.NoiseParameter, draws: Draws) -> np.ndarray:
    """The image after every kind of noise that is asked for, in SSD's order.

    Raises DataLayerError for what needs three channels of an image that has not, for salt and
    pepper without a value, and for convert_to_lab, after which SSD refuses its own image.
    """
    if param.decolorize:
        pixels = np.repeat(_gray(_colored(pixels, "decolorize")), 3, axis=2)
    if param.gauss_blur:
        pixels = blur(pixels)
    if param.hist_eq:
        pixels = _on_brightness(pixels, equalize)
    if param.clahe:
        pixels = _on_brightness(pixels, clahe)
    if param.jpeg > 0:
        pixels = _as_jpeg(pixels, int(param.jpeg))
    if param.erode:
        pixels = _eroded(pixels)
    if param.posterize:
        pixels = pixels // _POSTERS * _POSTERS + _POSTERS // 2
    if param.inverse:
        pixels = 255 - pixels
    if param.saltpepper:
        pixels = _salted(pixels, param.saltpepper_param, draws)
    if param.convert_to_hsv:
        pixels = to_hsv(_colored(pixels, "convert_to_hsv"))
    if param.convert_to_lab:
        raise DataLayerError("Image data type must be unsigned byte (noise_param convert_to_lab)")
    return pixels


def _colored(pixels: np.ndarray, what: str) -> np.ndarray:
    if pixels.shape[2] != 3:
        raise DataLayerError(
            f"noise_param {what} changes colours: an image has {pixels.shape[2]} channel(s), not 3"
        )
    return pixels


def _gray(pixels: np.ndarray) -> np.ndarray:
    total = pixels.astype(np.int64) @ np.array([3735, 19235, 9798])
    return ((total + (1 << 14)) >> 15).astype(np.uint8)[..., None]


def _on_brightness(pixels: np.ndarray, change) -> np.ndarray:
    """The image whose Y of Y, Cr, Cb is changed, or which is changed itself if it is gray."""
    if pixels.shape[2] == 1:
        return change(pixels[..., 0])[..., None]
    blue, green, red = (
        _colored(pixels, "hist_eq or clahe")[..., c].astype(np.int64) for c in range(3)
    )
    y = (1868 * blue + 9617 * green + 4899 * red + _HALF) >> _SHIFT
    cr = (((red - y) * 11682 + (128 << _SHIFT) + _HALF) >> _SHIFT).clip(0, 255) - 128
    cb = (((blue - y) * 9241 + (128 << _SHIFT) + _HALF) >> _SHIFT).clip(0, 255) - 128
    y = change(y.astype(np.uint8)).astype(np.int64)
    blue = y + ((29049 * cb + _HALF) >> _SHIFT)
    green = y + ((-5636 * cb - 11698 * cr + _HALF) >> _SHIFT)
    red = y + ((22987 * cr + _HALF) >> _SHIFT)
    return np.stack([blue, green, red], -1).clip(0, 255).astype(np.uint8)


def blur(pixels: np.ndarray) -> np.ndarray:
    """A Gaussian of 7 x 7 and sigma 1.5; beyond an edge the image is mirrored about its pixel."""
    values = pixels.astype(np.int64)
    for axis in (1, 0):
        around = [(0, 0)] * 3
        around[axis] = (3, 3)
        size = values.shape[axis]
        wide = np.pad(values, around, "reflect" if size > 1 else "edge")
        taps = [np.take(wide, range(i, i + size), axis) for i in range(7)]
        values = sum(weight * tap for weight, tap in zip(_BLUR.tolist(), taps, strict=True))
    return ((values + (1 << 15)) >> 16).astype(np.uint8)


def equalize(values: np.ndarray) -> np.ndarray:
    """Gray levels (height, width) spread so that all are about equally frequent."""
    counts = np.bincount(values.ravel(), minlength=256)
    first = int(counts.nonzero()[0][0])
    rest = values.size - counts[first]
    if not rest:
        return values
    table = np.zeros(256, np.float32)
    above = np.cumsum(counts[first + 1 :]).astype(np.float32)
    table[first + 1 :] = above * (np.float32(255) / np.float32(rest))
    return np.rint(table).clip(0, 255).astype(np.uint8)[values]


def clahe(values: np.ndarray) -> np.ndarray:
    """Contrast-limited adaptive equalization: 8 x 8 tiles, a clip limit of 4 (Zuiderveld 1994)."""
    rows, columns = values.shape
    more = [-rows % _TILES, -columns % _TILES]
    wide = values
    if any(more):  # OpenCV then adds a whole tile's rest to both
        more = [_TILES - rows % _TILES, _TILES - columns % _TILES]
        wide = np.pad(values, [(0, more[0]), (0, more[1])], "reflect")
    height, width = wide.shape[0] // _TILES, wide.shape[1] // _TILES
    tiles = wide.reshape(_TILES, height, _TILES, width).transpose(0, 2, 1, 3)
    area = height * width
    tables = np.empty((_TILES, _TILES, 256), np.float32)
    for place in np.ndindex(_TILES, _TILES):
        counts = _clipped(np.bincount(tiles[place].ravel(), minlength=256), area)
        table = np.cumsum(counts).astype(np.float32) * (np.float32(255) / np.float32(area))
        tables[place] = np.rint(table).clip(0, 255)
    (up, down, low), (left, right, near) = _between(rows, height), _between(columns, width)
    low, near = low[:, None], near[None]
    ones = np.float32(1)
    at = [[tables[a[:, None], b[None], values] for b in (left, right)] for a in (up, down)]
    upper = at[0][0] * (ones - near) + at[0][1] * near
    lower = at[1][0] * (ones - near) + at[1][1] * near
    return np.rint(upper * (ones - low) + lower * low).clip(0, 255).astype(np.uint8)


def _clipped(counts: np.ndarray, area: int) -> np.ndarray:
    """A histogram without what is above the limit, which is dealt out over all levels."""
    limit = max(int(_CLIP * area / 256), 1)
    spare = int((counts - limit).clip(min=0).sum())
    counts = counts.clip(max=limit) + spare // 256
    residual = spare % 256
    if residual:
        step = max(256 // residual, 1)
        counts[np.arange(0, 256, step)[:residual]] += 1
    return counts


def _between(size: int, tile: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two tiles that a place lies between, and how far from the first."""
    place = np.arange(size, dtype=np.float32) * (np.float32(1) / np.float32(tile)) - np.float32(0.5)
    first = np.floor(place).astype(int)
    share = place - first.astype(np.float32)
    return first.clip(min=0), (first + 1).clip(max=_TILES - 1), share


def _as_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Written as a JPEG and read again, which gives three channels."""
    file = io.BytesIO()
    rgb = np.ascontiguousarray(_colored(pixels, "jpeg")[..., ::-1])
    Image.fromarray(rgb).save(file, "JPEG", quality=min(quality, 100))
    return np.asarray(Image.open(file).convert("RGB"))[..., ::-1]


def _eroded(pixels: np.ndarray) -> np.ndarray:
    """The smallest of each pixel and its four neighbours."""
    wide = np.pad(pixels, [(1, 1), (1, 1), (0, 0)], constant_values=255)
    sides = (wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:])
    return np.minimum.reduce([pixels, *sides])


def _salted(pixels: np.ndarray, param: caffe_pb.SaltPepperParameter, draws: Draws) -> np.ndarray:
    """A fraction of the pixels, drawn with replacement, with the values instead."""
    height, width, channels = pixels.shape
    if len(param.value) not in (1, channels):
        raise DataLayerError(
            f"Specify either 1 value or as many as channels: {channels} (saltpepper_param)"
        )
    pixels = pixels.copy()
    values = [int(value) % 256 for value in param.value]
    for _ in range(int(np.float32(param.fraction) * width * height)):
        column, row = draws.below(width), draws.below(height)
        pixels[row, column] = values
    return pixels
