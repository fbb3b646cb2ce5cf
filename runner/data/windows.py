"""WindowData's windows into images as a source of records (BVLC window_data_layer.cpp)."""

from __future__ import annotations

import io
import itertools
import math
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from netgen.schema import caffe_pb, image
from runner.data.errors import DataLayerError
from runner.data.images import warn
from runner.data.transform import read_mean
from runner.log import glog

Log = Callable[[str, str], None]

_FLOAT = np.float32
_CHANNELS = 3  # Caffe reads every image of a window file in colour


class Span(NamedTuple):
    """One axis of a window: first and last pixel taken, how many they become, zeros before."""

    first: int
    last: int
    size: int
    before: int


class Windows:
    """Windows drawn at random: in each batch first background, then foreground.

    layer: a LayerParameter of type WindowData; seed: of the draws, an int that may be set anew;
    workers: how many draw together. Record number n is drawn from the seed and n alone, and is
    one of the place n // workers % batch_size of a batch. Calling the object with a number gives
    that record: the window warped to crop_size x crop_size, with its context, mirrored, less
    the mean and scaled, as float32; zero where the context leaves the image.

    Raises DataLayerError in one line for a window file that cannot be used, and when called for an
    image or a window that cannot.
    """

    def __init__(self, layer: caffe_pb.LayerParameter, seed: int, workers: int, log: Log):
        param, transform = layer.window_data_param, layer.transform_param
        self.seed, self._workers = seed, workers
        self._batch = param.batch_size
        self._backgrounds = self._batch - int(_FLOAT(self._batch) * _FLOAT(param.fg_fraction))
        self._crop, self._mirror = transform.crop_size, transform.mirror
        self._context, self._square = param.context_pad, param.crop_mode == "square"
        self._scale = _FLOAT(param.scale)
        if (self._context or self._square) and 2 * self._context >= self._crop:
            raise DataLayerError(
                f"context_pad {self._context} on both sides leaves nothing of "
                f"crop_size {self._crop}"
            )
        if transform.HasField("mean_file"):
            log(f"Loading mean file from: {transform.mean_file}", "data_transformer.cpp:25")
        log(_summary(param), "window_data_layer.cpp:53")
        self._read(param, log)
        log(f"Amount of context padding: {param.context_pad}", "window_data_layer.cpp:165")
        log(f"Crop mode: {param.crop_mode}", "window_data_layer.cpp:168")
        for name, windows in (("fg", self._foreground), ("bg", self._background)):
            if not len(windows):
                raise DataLayerError(f"{name}_windows_.size() > 0 (0 vs. 0)")
        self.length = len(self._foreground) + len(self._background)
        self._mean = self._mean_of(transform)
        self._cached = [_bytes(path) if param.cache_images else None for path in self._images]

    def records(self, start: int = 0, stride: int = 1) -> Iterator[tuple[None, int]]:
        """Yield (None, n) for every stride-th number n from `start` on, for ever."""
        return ((None, number) for number in itertools.count(start, stride))

    def __call__(self, number: int) -> tuple[np.ndarray, tuple[int, int, int], int]:
        """Values, shape (3, crop_size, crop_size) and label of record `number`."""
        words = np.random.Philox(key=self.seed, counter=number).random_raw(2)
        is_background = number // self._workers % self._batch < self._backgrounds
        windows = self._background if is_background else self._foreground
        place, label, *corners = map(int, windows[int(words[0]) % len(windows)])
        values = self._warp(place, corners, self._mirror and bool(words[1] >> np.uint64(63)))
        return values.ravel(), values.shape, label

    # --- the file ---

    def _read(self, param, log):
        self._images, chosen, labels = [], ([], []), {0: 0}
        for name, size, windows in _parse(param.source):
            number = len(self._images)
            self._images.append(param.root_folder + name)
            overlaps = windows[:, 1].astype(_FLOAT)
            is_foreground = overlaps >= _FLOAT(param.fg_threshold)
            is_background = ~is_foreground & (overlaps < _FLOAT(param.bg_threshold))
            table = np.column_stack([np.full(len(windows), number), windows[:, [0, 2, 3, 4, 5]]])
            table = table.astype(np.int32)
            table[is_background, 1] = 0
            least = table[is_foreground, 1].min(initial=1)
            if least <= 0:
                raise DataLayerError(f"label > 0 ({least} vs. 0) in a foreground window of {name}")
            for rows, keep in zip(chosen, (is_foreground, is_background), strict=True):
                rows.append(table[keep])
                for label, count in zip(
                    *np.unique(rows[-1][:, 1], return_counts=True), strict=True
                ):
                    labels[int(label)] = labels.get(int(label), 0) + int(count)
            if number % 100 == 0:
                words = f"num: {number} {self._images[-1]} {' '.join(map(str, size))} "
                words += f"windows to process: {len(windows)}"
                log(words, "window_data_layer.cpp:148")
        self._foreground, self._background = map(np.concatenate, chosen)
        log(f"Number of images: {len(self._images)}", "window_data_layer.cpp:157")
        for label in sorted(labels):
            log(f"class {label} has {labels[label]} samples", "window_data_layer.cpp:161")

    # --- the mean ---

    def _mean_of(self, transform):
        """What is taken off a whole window: (3, crop, crop), (3 or 1, 1, 1), or 0."""
        if not transform.HasField("mean_file"):
            values = list(transform.mean_value)
            if len(values) not in (0, 1, _CHANNELS):
                raise DataLayerError(
                    f"Specify either 1 mean_value or as many as channels: {_CHANNELS} "
                    f"({len(values)} given)"
                )
            return np.array(values or [0], np.float32).reshape(-1, 1, 1)
        path = transform.mean_file
        mean = read_mean(path)
        mean = mean.reshape((1, 1, 1, *mean.shape)[-3:])
        channels, height, width = mean.shape
        start = (width - self._crop) // 2
        if channels != _CHANNELS or start < 0 or start + self._crop > height:
            raise DataLayerError(
                f"mean_file '{path}' is {channels}x{height}x{width}, which has no "
                f"{_CHANNELS}x{self._crop}x{self._crop} at row and column {start}"
            )
        return mean[:, start : start + self._crop, start : start + self._crop]

    # --- one window ---

    def _warp(self, place, corners, mirror):
        """Window `corners` (x1, y1, x2, y2) of image number `place`: (3, crop, crop) float32."""
        name, cached = self._images[place], self._cached[place]
        try:
            if cached is None:
                pixels = image.decode_file(name, True, warn)
            else:
                pixels = image.decode(io.BytesIO(cached), True)
        except image.UnreadableImage as error:
            raise DataLayerError(f"Could not open or find file {name}: {error}") from None
        height, width, _ = pixels.shape
        x1, y1, x2, y2 = corners
        halves = (x2 - x1 + 1) / 2, (y2 - y1 + 1) / 2
        if self._square:
            halves = (max(halves),) * 2
        x = self._span(x1, x2, halves[0], width, mirror)
        y = self._span(y1, y2, halves[1], height, False)
        if x is None or y is None:
            where = " ".join(map(str, corners))
            raise DataLayerError(
                f"window {where} of {name} does not lie in its {width}x{height} pixels"
            )
        part = image.resize(pixels[y.first : y.last + 1, x.first : x.last + 1], y.size, x.size)
        if mirror:
            part = part[:, ::-1]
        values = np.zeros((_CHANNELS, self._crop, self._crop), _FLOAT)
        inside = np.s_[:, y.before : y.before + y.size, x.before : x.before + x.size]
        mean = np.broadcast_to(self._mean, values.shape)[inside]
        values[inside] = (part.transpose(2, 0, 1).astype(_FLOAT) - mean) * self._scale
        return values

    def _span(self, low, high, half, length, mirror):
        """The Span of pixels low to high of `length` along an axis, None if there is none.

        half: half the extent around the middle, in pixels. With context, or in square mode, the
        extent grows so that after warping context_pad pixels lie on both sides; what then lies
        outside the image becomes zeros. Rounding and float32 are as in Caffe.
        """
        size, before = self._crop, 0
        if self._context or self._square:
            grow = _FLOAT(half) * (_FLOAT(self._crop) / _FLOAT(self._crop - 2 * self._context))
            middle = _FLOAT(low) + _FLOAT((high - low + 1) / 2)
            low, high = _round(middle - grow), _round(middle + grow)
            if high < low:
                return None
            share = _FLOAT(self._crop) / _FLOAT(high - low + 1)
            outside = max(0, -low), max(0, high - length + 1)
            low, high = low + outside[0], high - outside[1]
            size = _round(_FLOAT(high - low + 1) * share)
            before = _round(_FLOAT(outside[mirror]) * share)
            size = min(size, self._crop - before)
        if not 0 <= low <= high < length or size <= 0:
            return None
        return Span(low, high, size, before)


def _round(value):
    """C's round: halves go away from zero."""
    return int(math.copysign(math.floor(abs(float(value)) + 0.5), value))


def _summary(param):
    return (
        "Window data layer:\n"
        f"  foreground (object) overlap threshold: {glog.number(param.fg_threshold)}\n"
        f"  background (non-object) overlap threshold: {glog.number(param.bg_threshold)}\n"
        f"  foreground sampling fraction: {glog.number(param.fg_fraction)}\n"
        f"  cache_images: {int(param.cache_images)}\n"
        f"  root_folder: {param.root_folder}"
    )


def _bytes(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise DataLayerError(f"Could not open or find file {path}: {error.strerror}") from None


def _parse(source):
    """Yield (path, (channels, height, width), windows) of every image of a window file.

    windows: (n, 6) float64, a row class, overlap, x1, y1, x2, y2.
    """
    try:
        with open(source, "rb") as file:
            words = file.read().split()
    except OSError as error:
        raise DataLayerError(f"Failed to open window file {source}: {error.strerror}") from None
    if len(words) < 2:
        raise DataLayerError("Window file is empty")
    at = number = 0
    while at < len(words):
        image = f"image {number} of the window file"
        if words[at] != b"#":
            raise DataLayerError(f"{image} should begin with #, not {_text(words[at])}")
        if len(words) < at + 7:
            raise DataLayerError(f"{image} breaks off")
        name = _text(words[at + 2])
        index, *size, count = _numbers([words[at + 1], *words[at + 3 : at + 7]], image).tolist()
        if index != number:
            raise DataLayerError(f"{image} is called # {index:g}; they are to be counted from 0")
        if size[0] != _CHANNELS:
            raise DataLayerError(f"{image} should have {_CHANNELS} channels, not {size[0]:g}")
        start, at = at + 7, at + 7 + 6 * int(count)
        if at > len(words) or count < 0:
            raise DataLayerError(f"{image} has fewer than {count:g} windows")
        yield name, tuple(map(int, size)), _numbers(words[start:at], image).reshape(-1, 6)
        number += 1


def _numbers(words, image):
    try:
        values = np.array(words, bytes).astype(np.float64)
    except ValueError as error:
        raise DataLayerError(f"{image}: {error}") from None
    if not np.isfinite(values).all():
        raise DataLayerError(f"{image}: a number is not finite")
    return values


def _text(word):
    return os.fsdecode(word)
