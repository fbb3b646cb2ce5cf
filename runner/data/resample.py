"""OpenCV's other ways of resizing: nearest, area, cubic and Lanczos, as products of two matrices.

Source: resize.cpp of OpenCV. Its 8-bit code rounds weights to 2**-11, in the vector units of some
processors only to single precision; here they are of single precision, so that values may differ
by one. Linear resizing, the usual one, is exact: netgen.schema.image.resize.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_CUBIC = -0.75  # OpenCV's
_LANCZOS = 4


def resample(pixels: np.ndarray, height: int, width: int, mode: str) -> np.ndarray:
    """Pixels (h, w, channels) uint8 at another size; mode: NEAREST, AREA, CUBIC or LANCZOS4."""
    rows, columns, channels = pixels.shape
    if mode == "AREA" and (height > rows or width > columns):
        mode = "AREA_UP"
    if mode == "NEAREST":
        return pixels[_nearest(rows, height)][:, _nearest(columns, width)]
    weights = _WEIGHTS[mode]
    across = pixels.transpose(0, 2, 1).reshape(-1, columns).astype(np.float32)
    across = across @ weights(columns, width).T
    down = weights(rows, height) @ across.reshape(rows, -1)
    down = down.reshape(height, channels, width).transpose(0, 2, 1)
    return np.rint(down).clip(0, 255).astype(np.uint8)


def _nearest(size: int, wanted: int) -> np.ndarray:
    return np.minimum((np.arange(wanted) * (size / wanted)).astype(int), size - 1)


def _matrix(size: int, places: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(wanted, size): weights (wanted, taps) at places, those outside at the edge."""
    matrix = np.zeros((len(places), size), np.float32)
    rows = np.broadcast_to(np.arange(len(places))[:, None], places.shape)
    np.add.at(matrix, (rows, places.clip(0, size - 1)), weights)
    return matrix


def _windowed(taps: int, kernel: Callable[[np.ndarray], np.ndarray]):
    def weights(size: int, wanted: int) -> np.ndarray:
        place = (np.arange(wanted) + 0.5) * (size / wanted) - 0.5
        first = np.floor(place).astype(int)[:, None] + np.arange(1 - taps // 2, 1 + taps // 2)
        found = kernel(np.abs(place[:, None] - first))
        return _matrix(size, first, found / found.sum(1, keepdims=True))

    return weights


def _cubic(x: np.ndarray) -> np.ndarray:
    a = _CUBIC
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _lanczos(x: np.ndarray) -> np.ndarray:
    return np.where(x < _LANCZOS, np.sinc(x) * np.sinc(x / _LANCZOS), 0)


def _area(size: int, wanted: int) -> np.ndarray:
    """Each value is the mean of what it covers."""
    scale = size / wanted
    low = np.arange(wanted)[:, None] * scale
    cell = np.arange(size)
    covered = np.minimum(low + scale, cell + 1) - np.maximum(low, cell)
    covered = covered.clip(min=0)
    return (covered / covered.sum(1, keepdims=True)).astype(np.float32)


def _area_up(size: int, wanted: int) -> np.ndarray:
    """Where AREA makes larger: each value is of one pixel, or on the border between two."""
    scale = size / wanted
    first = np.floor(np.arange(wanted) * scale).astype(int)
    share = np.arange(1, wanted + 1) - (first + 1) / scale
    share = np.where(share <= 0, 0, share - np.floor(share))[:, None]
    return _matrix(size, first[:, None] + np.arange(2), np.concatenate([1 - share, share], 1))


_WEIGHTS = {
    "AREA": _area,
    "AREA_UP": _area_up,
    "CUBIC": _windowed(4, _cubic),
    "LANCZOS4": _windowed(2 * _LANCZOS, _lanczos),
}
