"""Lists of pairs, an image and the image of its labels, as a source of records."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from netgen import graph
from netgen.schema import caffe_pb, image
from netgen.schema.image_list import atoi
from runner.data.draws import Draws
from runner.data.errors import DataLayerError
from runner.data.images import ImageList, Log
from runner.data.resample import resample


class DenseImageList(ImageList):
    """The pairs of paths of a text file, round and round (SegNet's dense_image_data_layer.cpp).

    A record's value is (its number, image path, label path); calling the list with one decodes
    it to the planes of the image with that of the labels below them, so that both are flipped and
    cut alike. Labels are the grey levels of their image, and are resized to the nearest pixel.
    What is drawn for a record depends on the seed and its number alone. mirror, crop: whether
    half of the pairs are flipped; height and width of what is cut at random, 0 for all.

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
    crop_is = "crop_height and crop_width"

    def __init__(
        self,
        param: caffe_pb.DenseImageDataParameter | caffe_pb.ImageDataParameter,
        mirror: bool,
        crop: tuple[int, int],
        seed: int,
        log: Log,
    ) -> None:
        super().__init__(param, seed, log)
        self._mirror, self._crop = mirror, crop

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
        """The planes of a pair, image and labels, their shape (C + 1, H, W), and a number."""
        number, path, label = line
        pixels = self.pixels(path, self._is_color)
        if all(self._size):
            pixels = image.resize(pixels, *self._size)
        both = self._joined(pixels, self._labels(label, pixels), path, label)
        draws = Draws(self.seed, number)
        if self._mirror and draws.below(2):
            both = both[:, ::-1]
        both = self._prepared(both, draws)
        if all(self._crop):
            rows, columns = (
                size - wanted for size, wanted in zip(both.shape[:2], self._crop, strict=True)
            )
            if rows < 0 or columns < 0:
                height, width = self._crop
                raise DataLayerError(
                    f"{self.crop_is}: {height} x {width} is larger than the "
                    f"{_size(pixels)} of {path}"
                )
            top, left = self._corner(rows, columns, draws)
            both = both[top : top + self._crop[0], left : left + self._crop[1]]
        both = image.planes(both)
        return both.ravel(), both.shape, self._told(*pixels.shape[:2])

    def _labels(self, label: str, pixels: np.ndarray) -> np.ndarray:
        """The labels (H, W, 1) of an image, resized as it was."""
        labels = self.pixels(label, False)
        return self._resized(labels) if all(self._size) else labels

    def _resized(self, labels: np.ndarray) -> np.ndarray:
        return resample(labels, *self._size, "NEAREST")

    def _prepared(self, both: np.ndarray, draws: Draws) -> np.ndarray:
        """What the crop is cut from."""
        return both

    def _corner(self, rows: int, columns: int, draws: Draws) -> tuple[int, int]:
        """Where the crop begins, of what is left over."""
        return draws.below(rows + 1), draws.below(columns + 1)

    def _told(self, height: int, width: int) -> int:
        """What is told of an image besides its planes; its size before the crop is given."""
        return 0

    def _joined(self, pixels, labels, path, label_path):
        if pixels.shape[:2] != labels.shape[:2]:
            raise DataLayerError(
                f"Input and label image heights and widths must match: {path} has "
                f"{_size(pixels)}, {label_path} {_size(labels)}"
            )
        return np.concatenate([pixels, labels], axis=2)


class EdgeList(DenseImageList):
    """The pairs of ImageLabelmapData (HED, Xie and Tu 2015; image_labelmap_data_layer.cpp).

    transform_param's mirror and crop_size are drawn for both images, in TEST as well. A label is
    1 where its grey level is above 127, and else 0.
    """

    told_in = {
        "opened": "image_labelmap_data_layer.cpp:39",
        "shuffled": "image_labelmap_data_layer.cpp:49",
        "counted": "image_labelmap_data_layer.cpp:54",
        "skipped": "image_labelmap_data_layer.cpp:61",
    }
    records_are = "images"
    crop_is = "crop_size"

    def _resized(self, labels: np.ndarray) -> np.ndarray:
        return image.resize(labels, *self._size)

    def _joined(self, pixels, labels, path, label_path):
        return super()._joined(pixels, (labels > 127).astype(np.uint8), path, label_path)


class SegList(DenseImageList):
    """The images of ImageSegData and their labels (DeepLab v2, PSPNet; image_seg_data_layer.cpp).

    label_type: PIXEL reads an image of labels, IMAGE gives all pixels the number beside the path,
    NONE gives them ignore_label. Both are flipped, scaled by one of scale_factors, filled up to
    the crop behind their ends, the image with the mean and the labels with ignore_label, and cut
    at random in TRAIN, in the middle in TEST.
    """

    told_in = {
        "opened": "image_seg_data_layer.cpp:44",
        "shuffled": "image_seg_data_layer.cpp:60",
        "counted": "image_seg_data_layer.cpp:65",
        "skipped": "image_seg_data_layer.cpp:72",
    }
    records_are = "images"

    def __init__(self, layer: caffe_pb.LayerParameter, phase: int, seed: int, log: Log) -> None:
        param, transform = layer.image_data_param, layer.transform_param
        self._type, self._trains = param.label_type, phase == caffe_pb.TRAIN
        super().__init__(param, transform.mirror, graph.seg_crop(transform), seed, log)
        self._factors = list(transform.scale_factors)
        self._mean = np.array(list(transform.mean_value) or [0], np.float32)
        self._ignored = min(max(param.ignore_label, 0), 255)

    @staticmethod
    def read(text: bytes) -> list:
        """The first word of each line, and the second, or ""."""
        lines = text.split(b"\n")
        if not lines[-1]:
            lines.pop()
        words = [[w.decode(errors="surrogateescape") for w in line.split()[:2]] for line in lines]
        return [tuple((found + ["", ""])[:2]) for found in words]

    def _labels(self, label: str, pixels: np.ndarray) -> np.ndarray:
        if self._type == caffe_pb.ImageDataParameter.PIXEL:
            return super()._labels(label, pixels)
        value = self._ignored
        if self._type == caffe_pb.ImageDataParameter.IMAGE:
            value = min(max(atoi(label.encode(errors="surrogateescape")), 0), 255)
        return np.full((*pixels.shape[:2], 1), value, np.uint8)

    def _resized(self, labels: np.ndarray) -> np.ndarray:
        return image.resize(labels, *self._size)

    def _prepared(self, both: np.ndarray, draws: Draws) -> np.ndarray:
        if self._factors:
            both = _scaled(both, self._factors[draws.below(len(self._factors))])
        return self._filled(both) if all(self._crop) else both

    def _corner(self, rows: int, columns: int, draws: Draws) -> tuple[int, int]:
        return super()._corner(rows, columns, draws) if self._trains else (rows // 2, columns // 2)

    def _told(self, height: int, width: int) -> int:
        """height * 2**31 + width, of what the crop leaves."""
        limits = self._crop if all(self._crop) else (height, width)
        return min(height, limits[0]) << 31 | min(width, limits[1])

    def _filled(self, both: np.ndarray) -> np.ndarray:
        """At least as large as the crop."""
        rows, columns, planes = both.shape
        size = (max(rows, self._crop[0]), max(columns, self._crop[1]))
        if size == (rows, columns):
            return both
        wide = np.empty((*size, planes), np.float32)
        wide[..., :-1], wide[..., -1] = self._mean, self._ignored
        wide[:rows, :columns] = both
        return wide


def _scaled(both, factor):
    if factor == 1:
        return both
    size = [int(np.float32(side) * np.float32(factor)) for side in both.shape[:2]]
    pixels = image.resize(np.ascontiguousarray(both[..., :-1]), *size)
    return np.concatenate([pixels, resample(both[..., -1:], *size, "NEAREST")], axis=2)


def _size(pixels):
    return f"{pixels.shape[0]} x {pixels.shape[1]}"
