"""DenseImageData's list of pairs, an image and the image of its labels, as a source of records."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from netgen.schema import caffe_pb
from runner.data import image
from runner.data.draws import Draws
from runner.data.errors import DataLayerError
from runner.data.images import ImageList, Log
from runner.data.resample import resample


class DenseImageList(ImageList):
    """The pairs of paths of a text file, round and round (SegNet's dense_image_data_layer.cpp).

    A record's value is (its number, image path, label path); calling the list with one decodes
    it to the planes of the image with that of the labels below them, so that both are flipped and
    cut alike. Labels are the grey levels of their image, and are resized to the nearest pixel.
    What is drawn for a record depends on the seed and its number alone.

    Raises DataLayerError as ImageList does, and when called, for labels of another size than the
    image's and for a crop that is larger than the image.
    """

    told_in = {
        "opened": "dense_image_data_layer.cpp:41",
        "shuffled": "dense_image_data_layer.cpp:51",
        "counted": "dense_image_data_layer.cpp:56",
        "skipped": "dense_image_data_layer.cpp:63",
    }
    records_are = "examples"

    def __init__(self, param: caffe_pb.DenseImageDataParameter, seed: int, log: Log) -> None:
        super().__init__(param, seed, log)
        self._mirror, self._crop = param.mirror, (param.crop_height, param.crop_width)

    @staticmethod
    def read(text: bytes) -> list:
        """The pairs of a list's text; white space is between the paths, and between pairs."""
        paths = [path.decode(errors="surrogateescape") for path in text.split()]
        return list(zip(paths[::2], paths[1::2], strict=False))

    def records(self, start: int = 0, stride: int = 1) -> Iterator[tuple[None, tuple]]:
        """Yield (None, (number, image path, label path)) as ImageList yields its lines."""
        for place, (_, pair) in enumerate(super().records(start, stride)):
            yield None, (start + place * stride, *pair)

    def __call__(self, line: tuple) -> tuple[np.ndarray, tuple[int, int, int], int]:
        """The planes of a pair, image and labels, their shape (C + 1, H, W), and 0."""
        number, path, label_path = line
        pixels, labels = self.pixels(path, self._is_color), self.pixels(label_path, False)
        if all(self._size):
            pixels = image.resize(pixels, *self._size)
            labels = resample(labels, *self._size, "NEAREST")
        if pixels.shape[:2] != labels.shape[:2]:
            raise DataLayerError(
                f"Input and label image heights and widths must match: {path} has "
                f"{_size(pixels)}, {label_path} {_size(labels)}"
            )
        both = np.concatenate([pixels, labels], axis=2)
        draws = Draws(self.seed, number)
        if self._mirror and draws.below(2):
            both = both[:, ::-1]
        if all(self._crop):
            height, width = self._crop
            rows, columns = both.shape[0] - height, both.shape[1] - width
            if rows < 0 or columns < 0:
                raise DataLayerError(
                    f"crop_height and crop_width: {height} x {width} is larger than the "
                    f"{_size(pixels)} of {path}"
                )
            top, left = draws.below(rows + 1), draws.below(columns + 1)
            both = both[top : top + height, left : left + width]
        both = image.planes(both)
        return both.ravel(), both.shape, 0


def _size(pixels):
    return f"{pixels.shape[0]} x {pixels.shape[1]}"
