"""A stand-in for CIFAR-10 on machines without it: drawn shapes and textures, ten classes.

Every image is a figure of random place, size, turn and colour on a background with its own
random colours and gradient, under noise. Most figures are brighter than their background,
so single pixels say a little about the class; the arrangement of edges says the rest. So
a linear classifier gets some of it right and a small convolutional net most.
"""

from __future__ import annotations

import numpy as np

from data_prep.dataset import IMAGE_BYTES, IMAGE_SHAPE, OFFICIAL_COUNTS, Dataset
from data_prep.progress import slices

NAMES = ("disc", "ring", "square", "frame", "triangle",
         "cross", "rows", "columns", "checkers", "dots")  # fmt: skip
NOTE = "synthetic stand-in, drawn by data_prep: not CIFAR-10, not photographs"
CHUNK = 500
BRIGHTER = 0.8  # of the figures, than their background
NOISE = 8.0  # standard deviation, of 255


def make_synthetic(limit: int | None = None) -> Dataset:
    """The Dataset of 50,000 and 10,000 drawn images, or the first `limit` of each part.

    It is always the same one: every 500 images have a random stream of their own.
    """
    train, test = (
        _part(number, count if limit is None else min(limit, count), what)
        for number, (count, what) in enumerate(
            zip(OFFICIAL_COUNTS, ("drawing training images", "drawing test images"), strict=True)
        )
    )
    return Dataset("synthetic", *train, *test, NAMES, {"form": "synthetic", "note": NOTE})


def _part(number: int, count: int, what: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = np.empty((count, IMAGE_BYTES), np.uint8), np.empty(count, np.uint8)
    for part in slices(count, CHUNK, what):
        size = part.stop - part.start
        stream = np.random.RandomState([number, part.start])
        some_labels = stream.randint(0, len(NAMES), CHUNK)
        images[part] = _draw(some_labels, stream)[:size]
        labels[part] = some_labels[:size]
    return images, labels


def _draw(labels: np.ndarray, stream: np.random.RandomState) -> np.ndarray:
    """(len(labels), 3072) uint8 images of these classes."""
    count, (channels, height, width) = len(labels), IMAGE_SHAPE
    uniform = lambda low, high, *shape: stream.uniform(low, high, (count, *shape, 1, 1))  # noqa: E731

    y, x = np.mgrid[:height, :width].astype(np.float64)
    across, down = x - uniform(11, 20), y - uniform(11, 20)
    turn, radius = uniform(-0.3, 0.3), uniform(7, 12)
    u = (np.cos(turn) * across + np.sin(turn) * down) / radius
    v = (np.cos(turn) * down - np.sin(turn) * across) / radius
    inside = np.empty((count, height, width), bool)
    for label, shape in enumerate(_SHAPES):
        mine = labels == label
        inside[mine] = shape(u[mine], v[mine])

    paper = uniform(50, 205, channels)
    tilt = uniform(-2, 2, channels) * (x - 16) + uniform(-2, 2, channels) * (y - 16)
    ink = uniform(0, 80, channels) * np.where(uniform(0, 1, 1) < BRIGHTER, 1, -1)
    pixels = paper + tilt + ink * inside[:, None]
    pixels += stream.normal(0, NOISE, pixels.shape)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8).reshape(count, -1)


def _box(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(u), np.abs(v))


def _stripes(t: np.ndarray) -> np.ndarray:
    return np.sin(3 * np.pi * t) > 0


# Whether a point of the figure's own square, u and v from -1 to 1, is inked.
_SHAPES = (
    lambda u, v: np.hypot(u, v) < 1,
    lambda u, v: (np.hypot(u, v) < 1) & (np.hypot(u, v) > 0.6),
    lambda u, v: _box(u, v) < 0.85,
    lambda u, v: (_box(u, v) < 0.9) & (_box(u, v) > 0.5),
    lambda u, v: (v < 0.8) & (np.abs(u) < (v + 1) * 0.55),
    lambda u, v: (_box(u, v) < 1) & (np.minimum(np.abs(u), np.abs(v)) < 0.28),
    lambda u, v: (_box(u, v) < 0.9) & _stripes(v),
    lambda u, v: (_box(u, v) < 0.9) & _stripes(u),
    lambda u, v: (_box(u, v) < 0.9) & (_stripes(u) ^ _stripes(v)),
    lambda u, v: np.hypot(np.abs(u) - 0.55, np.abs(v) - 0.55) < 0.38,
)
