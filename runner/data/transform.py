"""transform_param on whole batches: crop, mirror, mean, scale.

The random choices are data. `draw` makes those of a batch from nothing but a seed and the
numbers of its images, so that they can be listed, repeated, and do not depend on how images
are dealt into batches; `table` and `gather` obey them, with one gather for crop and mirror.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from netgen import schema
from netgen.schema import caffe_pb
from runner.data.decoded import Decoded
from runner.data.errors import DataLayerError


class Draws(NamedTuple):
    """The choices for n images, (n,) int64 each: mirror 0 or 1, the crop's first row, column."""

    mirror: np.ndarray
    h_off: np.ndarray
    w_off: np.ndarray


class Transform:
    """One layer's transform_param (BVLC data_transformer.cpp).

    param: TransformationParameter; phase: caffe_pb.TRAIN or TEST; device: where records will
    be; log: takes Caffe's lines; noun: what the errors call a record, as Caffe's do. Raises DataLayerError for contradictions, SchemaError for a mean
    file that cannot be read.
    """

    def __init__(
        self,
        param: caffe_pb.TransformationParameter,
        phase: int,
        device: torch.device,
        log: Callable[[str, str], None],
        noun: str = "datum",
    ) -> None:
        self._noun = noun
        self.crop_size = param.crop_size
        self.mirror = param.mirror
        self.scale = param.scale
        self.random_crop = phase == caffe_pb.TRAIN and self.crop_size > 0
        self.mean_values = torch.tensor(list(param.mean_value), device=device).view(-1, 1, 1)
        self.mean = self.mean_shape = None
        self._indices = {}
        if param.HasField("mean_file"):
            if len(self.mean_values):
                raise DataLayerError("Cannot specify mean_file and mean_value at the same time")
            log(f"Loading mean file from: {param.mean_file}", "data_transformer.cpp:25")
            mean = read_mean(param.mean_file)
            # Blob's legacy axes: missing ones, on the right, are 1.
            self.mean_shape = (*mean.shape, 1, 1, 1, 1)[1:4]
            self.mean = torch.from_numpy(mean.reshape(-1)).to(device)

    def output_shape(self, shapes: np.ndarray) -> tuple[int, ...]:
        """(C, H, W) of the batch whose records have these shapes, (n, 3) int64.

        Raises DataLayerError, in the words of Caffe's checks, where they do not fit each other,
        the crop or the mean.
        """
        crop = self.crop_size
        channels, height, width = shapes.T
        noun = self._noun
        _require(height, ">=", crop, f"{noun}_height >= crop_size")
        _require(width, ">=", crop, f"{noun}_width >= crop_size")
        if self.mean is not None:
            means = self.mean_shape
            _require(channels, "==", means[0], f"{noun}_channels == data_mean_.channels()")
            _require(height, "==", means[1], f"{noun}_height == data_mean_.height()")
            _require(width, "==", means[2], f"{noun}_width == data_mean_.width()")
        _require(channels, "==", channels[0], f"{noun}_channels == channels")
        if len(self.mean_values) not in (0, 1, channels[0]):
            raise DataLayerError(
                f"Specify either 1 mean_value or as many as channels: {channels[0]} "
                f"({len(self.mean_values)} given)"
            )
        if not crop:
            for name, sizes in (("height", height), ("width", width)):
                if sizes.min() < sizes[0]:
                    raise DataLayerError(f"{name} <= {noun}_{name} ({sizes[0]} vs. {sizes.min()})")
                _require(sizes, "==", sizes[0], f"{noun}_{name} == {name}")
        return self._size(shapes[0])

    def _size(self, shape):
        channels, height, width = map(int, shape)
        return (channels, self.crop_size or height, self.crop_size or width)

    def draw(self, seed: int, first: int, shapes: np.ndarray, stride: int = 1) -> Draws:
        """Draws for every stride-th image of a run from number `first` on, of shapes (n, 3).

        mirror is random in both phases, the crop in TRAIN only, where every offset that fits
        is as likely; in TEST it is the centre, rounded down. Raises DataLayerError as
        `output_shape` does.
        """
        self.output_shape(shapes)
        mirror = np.zeros(len(shapes), np.int64)
        spare = shapes[:, 1:] - self.crop_size if self.crop_size else np.zeros_like(shapes[:, 1:])
        offsets = spare // 2
        if self.mirror or self.random_crop:
            # A counter-based generator: image i owns the four words at counter i.
            words = np.random.Philox(counter=first, key=seed).random_raw(4 * len(shapes) * stride)
            words = words.reshape(-1, 4)[::stride]
            if self.mirror:
                mirror = (words[:, 0] >> 63).astype(np.int64)
            if self.random_crop:
                offsets = (words[:, 1:3] % (spare + 1).astype(np.uint64)).astype(np.int64)
        return Draws(mirror, offsets[:, 0], offsets[:, 1])

    def table(self, records: Decoded, draws: Draws) -> np.ndarray:
        """Where the images of a Decoded of n lie once cropped and mirrored: (6, n) int64.

        draws: what `draw` gave for the records' shapes, which it has checked. Rows: first pixel
        and direction of each output row, pixels a channel and a row, start of the record, label.
        """
        width = self._size(records.shapes[0])[2]
        _, rows, row = records.shapes.T
        origin = records.starts + draws.h_off * row + draws.w_off + draws.mirror * (width - 1)
        direction = 1 - 2 * draws.mirror
        return np.stack([origin, direction, rows * row, row, records.starts, records.labels])

    def gather(self, table: torch.Tensor, records: Decoded) -> tuple[torch.Tensor, torch.Tensor]:
        """Data (n, C, H, W) and labels (n,), float32: nothing but work for the device.

        table: `table`'s, as a tensor beside the records' values; records: those that it is
        of, or more. Each value is (x - mean) * scale in float32; mean_file is taken at the
        uncropped, unmirrored place.
        """
        values = records.values
        shape = (table.shape[1], *self._size(records.shapes[0]))
        size = shape[1] * shape[2] * shape[3]
        if self.crop_size or self.mirror or values.numel() != len(records) * size:
            take = self._slices if values.device.type == "cpu" else self._pixels
            data, mean = take(table, values, shape)
        else:  # whole images, one behind the other
            data = values.view(-1, size).index_select(0, table[4] // size).view(shape)
            mean = self.mean.view(shape[1:]) if self.mean is not None else None
        data = _floats(data)
        if mean is not None:
            data.sub_(mean)
        elif len(self.mean_values):
            data.sub_(self.mean_values)
        if self.scale != 1:
            data.mul_(self.scale)
        return data, table[5].float()

    def _pixels(self, table, values, shape):
        """Values one by one, each from its place, and the mean from those places or None."""
        origin, direction, area, row, start, _ = table.view(6, -1, 1, 1, 1).unbind()
        c, h, w = self._axes(*shape[1:], values.device)
        index = ((origin + c * area + h * row) + direction * w).view(-1)
        data = values.index_select(0, index).view(shape)
        if self.mean is None:
            return data, None
        place = (index.view(shape) - start).view(-1)
        return data, self.mean.index_select(0, place).view(shape)

    def _slices(self, table, values, shape):
        """As _pixels, image by image: without a device of many threads that is faster."""
        values, data = values.numpy(), np.empty(shape, np.float32)
        mean = None if self.mean is None else np.empty(shape, np.float32)
        channels, height, width = shape[1:]
        for i, (origin, direction, area, row, start, _) in enumerate(table.numpy().T.tolist()):
            corner = origin - start - (width - 1 if direction < 0 else 0)
            top, left = divmod(corner, row)
            place = np.s_[:, top : top + height, left : left + width]
            size = (channels, area // row, row)
            data[i] = values[start : start + channels * area].reshape(size)[place][..., ::direction]
            if mean is not None:
                mean[i] = self.mean.numpy().reshape(size)[place][..., ::direction]
        return torch.from_numpy(data), None if mean is None else torch.from_numpy(mean)

    def _axes(self, *sizes_and_device):
        """Indices along C, H and W, to broadcast; made once."""
        if sizes_and_device not in self._indices:
            channels, height, width, device = sizes_and_device
            c = torch.arange(channels, device=device).view(-1, 1, 1)
            h = torch.arange(height, device=device).view(-1, 1)
            self._indices[sizes_and_device] = c, h, torch.arange(width, device=device)
        return self._indices[sizes_and_device]


def read_mean(path: str) -> np.ndarray:
    """The array of a mean file (BlobProto). Raises DataLayerError or SchemaError in one line."""
    blob = schema.read_blob(path)
    try:
        return schema.blob_to_array(blob)
    except schema.SchemaError as error:
        raise DataLayerError(f"mean_file '{path}': {error}") from None


def _floats(values):
    """The values as float32; on a CPU in NumPy's memory.

    NumPy asks the kernel for large pages, torch does not, and a batch of large images takes four
    times as long in small ones.
    """
    if values.dtype == torch.float32 or values.device.type != "cpu":
        return values.float()
    return torch.from_numpy(np.empty(values.shape, np.float32)).copy_(values)


def upload(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """A host array on the device, without waiting for it."""
    tensor = torch.from_numpy(array)
    if device.type != "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def _require(values, relation, bound, words):
    good = values >= bound if relation == ">=" else values == bound
    if not good.all():
        raise DataLayerError(f"{words} ({values[good.argmin()]} vs. {bound})")
