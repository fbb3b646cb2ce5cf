"""ImageData's list of image files as a source of records."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from netgen import graph
from netgen.schema import caffe_pb, image
from netgen.schema.image_list import parse_image_list
from runner.data.errors import DataLayerError
from runner.data.order import shuffled
from runner.data.resample import resample
from runner.log import glog

Log = Callable[[str, str], None]

#: where a picture that is not whole is told of
warn = functools.partial(glog.warning, where="io.cpp:75")


class ImageList:
    """The lines `path label` of a text file, round and round (BVLC image_data_layer.cpp).

    A record's value is (path, label); calling the list with one decodes it. Each line is split
    at its last space, and the label is read as C's atoi does: 0.7 is 0, a word is 0. With
    shuffle, every epoch has an order of its own, drawn from `seed`; rand_skip passes over a
    random number of lines, less than rand_skip, once. Both may be set anew by `seed`.

    log: takes Caffe's lines. Raises DataLayerError for a list without a line, for a rand_skip that
    passes over all of them, and when called, for an image that cannot be read.
    """

    #: Where Caffe's lines come from, and what they call the records.
    told_in = {
        "opened": "image_data_layer.cpp:38",
        "shuffled": "image_data_layer.cpp:53",
        "counted": "image_data_layer.cpp:63",
        "skipped": "image_data_layer.cpp:70",
    }
    records_are = "images"

    def __init__(
        self,
        param: caffe_pb.ImageDataParameter | caffe_pb.DenseImageDataParameter,
        seed: int,
        log: Log,
    ) -> None:
        self._size = (param.new_height, param.new_width)
        self._shorter = getattr(param, "new_dim", 0)
        self._cubic = getattr(param, "bicubic", False)
        self._is_color, self._root = param.is_color, param.root_folder
        self._shuffle, self._rand_skip = param.shuffle, param.rand_skip
        log(f"Opening file {param.source}", self.told_in["opened"])
        self._lines = self.read(_text(param.source))
        if not self._lines:
            raise DataLayerError("File is empty")
        self.length = len(self._lines)
        if self._shuffle:
            log("Shuffling data", self.told_in["shuffled"])
        log(f"A total of {self.length} {self.records_are}.", self.told_in["counted"])
        self.seed = seed
        if self._rand_skip:
            log(f"Skipping first {self._skip} data points.", self.told_in["skipped"])
            if self._skip >= self.length:
                raise DataLayerError(f"Not enough points to skip ({self.length} vs. {self._skip})")

    @property
    def seed(self) -> int:
        """What the orders and the lines skipped are drawn from."""
        return self._seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._seed = seed
        self._epoch, self._order = None, None
        self._skip = seed % self._rand_skip if self._rand_skip else 0

    @staticmethod
    def read(text: bytes) -> list:
        """[(path, label)] of the lines of a list's text."""
        return parse_image_list(text)

    def records(self, start: int = 0, stride: int = 1) -> Iterator[tuple[None, tuple]]:
        """Yield (None, (path, label)) of every stride-th line from number `start` on, for ever."""
        for place in itertools.count(self._skip + start, stride):
            epoch, index = divmod(place, self.length)
            if self._shuffle:
                if epoch != self._epoch:
                    self._epoch, self._order = epoch, shuffled(self.length, self._seed, epoch)
                index = self._order[index]
            yield None, self._lines[index]

    def pixels(self, path: str, color: bool) -> np.ndarray:
        """The pixels of an image below root_folder, as `image.decode_file` gives them."""
        try:
            return image.decode_file(self._root + path, color, warn)
        except image.UnreadableImage as error:
            raise DataLayerError(f"Could not load {path}: {error}") from None

    def __call__(self, line: tuple) -> tuple[np.ndarray, tuple[int, int, int], int]:
        """The pixels of a line's image, its shape (C, H, W), and its label."""
        path, label = line
        pixels = self.pixels(path, self._is_color)
        if self._shorter:
            size = graph.shorter_side(*pixels.shape[:2], self._shorter)
            if self._cubic:
                pixels = resample(pixels, *size, "CUBIC")
            else:
                pixels = image.resize(pixels, *size)
        elif all(self._size):
            pixels = image.resize(pixels, *self._size)
        pixels = image.planes(pixels)
        return pixels.ravel(), pixels.shape, label


def _text(source):
    try:
        with open(source, "rb") as file:
            return file.read()
    except OSError as error:
        raise DataLayerError(f"File is empty: {error.strerror}") from None
