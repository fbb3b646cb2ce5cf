"""Random changes of an image's colours (ApplyDistort of SSD's im_transforms.cpp).

Pixels are (height, width, 3) uint8 in the order B, G, R. Hue and saturation are OpenCV's of 8 bits,
the hue from 0 to 180.
"""

from __future__ import annotations

import numpy as np

from netgen.schema import caffe_pb
from runner.data.draws import Draws
from runner.data.errors import DataLayerError

_SHIFT = 12
_DIVISORS = np.maximum(np.arange(256), 1)
_SATURATION = np.rint((255 << _SHIFT) / _DIVISORS).astype(np.int64)
_HUE = np.rint((180 << _SHIFT) / (6 * _DIVISORS)).astype(np.int64)
_SATURATION[0] = _HUE[0] = 0
#: Which of v, p, q, t are blue, green and red in each sixth of the hues.
_SECTORS = np.array([[1, 3, 0], [1, 0, 2], [3, 0, 1], [0, 2, 1], [0, 1, 3], [2, 1, 0]])


def distort(pixels: np.ndarray, param: caffe_pb.DistortionParameter, draws: Draws) -> np.ndarray:
    """Brightness, contrast, saturation, hue and order of the channels, each with its probability.

    Contrast comes second or last of the first four, with even chances. Raises DataLayerError for
    ranges that are none and for images without three channels.
    """
    if pixels.shape[2] != 3:
        raise DataLayerError(
            f"distort_param changes colours: an image has {pixels.shape[2]} channel(s), not 3"
        )
    early = draws.uniform() > 0.5
    pixels = _brightness(pixels, param, draws)
    if early:
        pixels = _contrast(pixels, param, draws)
    if draws.uniform() < param.saturation_prob:
        by = _between(draws, "saturation", param.saturation_lower, param.saturation_upper)
        hsv = to_hsv(pixels)
        hsv[..., 1] = _scaled(hsv[..., 1], by, 0)
        pixels = from_hsv(hsv)
    if draws.uniform() < param.hue_prob:
        by = draws.uniform(-param.hue_delta, param.hue_delta)
        hsv = to_hsv(pixels)
        hsv[..., 0] = _scaled(hsv[..., 0], 1, by)
        pixels = from_hsv(hsv)
    if not early:
        pixels = _contrast(pixels, param, draws)
    if draws.uniform() < param.random_order_prob:
        order = [0, 1, 2]
        for i in (2, 1):
            j = draws.below(i + 1)
            order[i], order[j] = order[j], order[i]
        pixels = pixels[..., order]
    return pixels


def _brightness(pixels, param, draws):
    if draws.uniform() >= param.brightness_prob:
        return pixels
    if param.brightness_delta < 0:
        raise DataLayerError("brightness_delta must be non-negative.")
    return _scaled(pixels, 1, draws.uniform(-param.brightness_delta, param.brightness_delta))


def _contrast(pixels, param, draws):
    if draws.uniform() >= param.contrast_prob:
        return pixels
    return _scaled(pixels, _between(draws, "contrast", param.contrast_lower, param.contrast_upper))


def _between(draws, name, lower, upper):
    if lower < 0:
        raise DataLayerError(f"{name} lower must be non-negative.")
    if upper < lower:
        raise DataLayerError(f"{name} upper must be >= lower.")
    return draws.uniform(lower, upper)


def _scaled(pixels, by, plus=0.0):
    """by x + plus, rounded and cut off at 0 and 255 (cv::Mat::convertTo)."""
    values = pixels.astype(np.float32) * np.float32(by) + np.float32(plus)
    return np.rint(values).clip(0, 255).astype(np.uint8)


def to_hsv(pixels: np.ndarray) -> np.ndarray:
    """Hue 0..179, saturation and value 0..255 of B, G, R; (height, width, 3) uint8."""
    blue, green, red = (pixels[..., c].astype(np.int64) for c in range(3))
    value = pixels.max(-1).astype(np.int64)
    spread = value - pixels.min(-1)
    half = 1 << (_SHIFT - 1)
    saturation = (spread * _SATURATION[value] + half) >> _SHIFT
    hue = np.where(
        value == red,
        green - blue,
        np.where(value == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    hue = (hue * _HUE[spread] + half) >> _SHIFT
    hue = hue + 180 * (hue < 0)
    return np.stack([hue, saturation, value], -1).astype(np.uint8)


def from_hsv(hsv: np.ndarray) -> np.ndarray:
    """B, G, R of hue, saturation and value; hues from 180 on go round once more."""
    hue = hsv[..., 0].astype(np.float32) * np.float32(6 / 180) % np.float32(6)
    saturation, value = (hsv[..., c].astype(np.float32) / np.float32(255) for c in (1, 2))
    sector = np.floor(hue).astype(int) % 6
    part = hue - np.floor(hue)
    table = np.stack(
        [
            value,
            value * (1 - saturation),
            value * (1 - saturation * part),
            value * (1 - saturation * (1 - part)),
        ],
        -1,
    )
    found = np.take_along_axis(table, _SECTORS[sector], -1)
    return np.rint(found * 255).clip(0, 255).astype(np.uint8)
