"""Pictures brought into the form that the records had on which a net was trained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from netgen.errors import CaffeError
from netgen.schema import Preprocessing, image
from runner.log import glog

Size = tuple[int, int]
Planes = tuple[int, int, int]


@dataclass(frozen=True)
class Treatment:
    """What becomes of a picture before a net sees it: what became of its training's.

    shape: (C, H, W) of the net's input. preprocessing: of the data set, None for B, G, R or grey
    levels as OpenCV reads them. size: (height, width) that pictures are resized to where no
    preprocessing says; None for those of a mean image, else of the input. mean: (C, H, W) of a
    record or (C, 1, 1), float32. scale: the factor after the mean is subtracted. mean_from: what
    the errors call the mean. Raises CaffeError where these do not fit each other.
    """

    shape: Planes
    preprocessing: Preprocessing | None = None
    size: Size | None = None
    mean: np.ndarray | None = None
    scale: float = 1.0
    mean_from: str = "the mean"

    def __post_init__(self) -> None:
        if self.shape[0] not in (1, 3):  # classification.cpp of Caffe's examples
            raise CaffeError(
                f"Input layer should have 1 or 3 channels. (the net's input is {by(self.shape)})"
            )
        records = self.records
        if records[0] != self.shape[0]:
            raise CaffeError(
                f"the net's input is {by(self.shape)}, the records of its data set {by(records)}"
            )
        mean = self.shape if self.mean is None else self.mean.shape
        if mean[0] != self.shape[0]:
            raise CaffeError(
                "Number of channels of mean file doesn't match input layer. "
                f"({self.mean_from} is {by(mean)}, the net's input {by(self.shape)})"
            )
        if self.mean is not None and mean[1:] not in ((1, 1), records[1:]):
            raise CaffeError(f"{self.mean_from} is {by(mean)}, the records are {by(records)}")
        if records[1] < self.shape[1] or records[2] < self.shape[2]:
            raise CaffeError(
                f"records of {by(records)} are smaller than the net's input, {by(self.shape)}"
            )

    @property
    def records(self) -> Planes:
        """(C, H, W) of what a picture becomes, before the net's input is cut out of it."""
        if self.preprocessing is not None:
            return self.preprocessing.record_shape
        if self.size is not None:
            return self.shape[0], *self.size
        if self.mean is not None and self.mean.shape[1:] != (1, 1):
            return self.shape[0], *self.mean.shape[1:]
        return self.shape

    def read(self, path: str) -> np.ndarray:
        """The (C, h, w) uint8 pixels of an image file, resized as OpenCV does, channels in order.

        Raises CaffeError, without the path, for a file that cannot be decoded.
        """
        found = self.preprocessing
        channels, *size = self.records if found is None else found.image_shape
        pixels = image.decode_file(
            path, channels == 3, lambda line: glog.warning(line, "io.cpp:75")
        )
        pixels = image.resize(pixels, *size)
        if found is not None and found.channel_order == "RGB":
            pixels = pixels[:, :, ::-1]
        return image.planes(pixels)

    def apply(self, pictures: Iterable[np.ndarray]) -> np.ndarray:
        """(N, C, H, W) float32 for the net's input, of N pictures that `read` gave.

        The centre is cut out, rounded down, as Caffe's Data layer does in the phase TEST
        (data_transformer.cpp), and the mean taken at the same place.
        """
        batch = np.stack(list(pictures))
        if self.preprocessing is None:
            batch = batch.astype(np.float32)
        else:
            batch = self.preprocessing.records(batch)
        _, height, width = self.shape
        top, left = (batch.shape[2] - height) // 2, (batch.shape[3] - width) // 2
        centre = np.s_[..., top : top + height, left : left + width]
        batch = np.ascontiguousarray(batch[centre])
        if self.mean is not None:
            batch -= self.mean if self.mean.shape[1:] == (1, 1) else self.mean[centre]
        if self.scale != 1:
            batch *= np.float32(self.scale)
        return batch


def by(shape: Iterable[int]) -> str:
    """A shape as people write it: 3x32x32."""
    return "x".join(map(str, shape))
