"""AnnotatedData's records: an image with boxes, changed at random and cut to the net's input.

Sources: annotated_data_layer.cpp, data_transformer.cpp, sampler.cpp and im_transforms.cpp of
weiliu89/caffe, branch ssd, and of eric612/MobileNet-YOLO for the yolo_data fields; Liu et al.
2016, arXiv 1512.02325, section 2.2. Caffe writes the image as a JPEG again after each of its
steps, and what that does to the pixels is left out here.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from google.protobuf.message import DecodeError

from netgen.errors import CaffeError
from netgen.schema import caffe_pb, image
from runner.data import boxes
from runner.data.distort import distort
from runner.data.draws import Draws
from runner.data.errors import DataLayerError
from runner.data.noise import spoil
from runner.data.resample import resample
from runner.data.samplers import clip, jitter, sample
from runner.data.transform import read_mean
from runner.log import glog

Log = Callable[[str, str], None]

Resize = caffe_pb.ResizeParameter
#: Batches that one of several resize_param is kept for, and how exactly their prob add up to 1.
SIZE_LASTS, PROBABILITY_EPSILON = 10, 1e-3
#: Rows of labels that an image has with yolo_data_type.
YOLO_ROWS = 300
UNIT = np.array([0, 0, 1, 1], np.float32)
_PAD_MODES = {
    Resize.CONSTANT: "constant",
    Resize.MIRRORED: "reflect",
    Resize.REPEAT_NEAREST: "edge",
}


@dataclass(frozen=True)
class Annotated:
    """An image and its boxes.

    pixels: (height, width, channels) uint8, B, G, R. boxes: (n, 4) float32 in units of the image.
    notes: (n, 3) float32, the label, instance and difficulty of each.
    """

    pixels: np.ndarray
    boxes: np.ndarray
    notes: np.ndarray

    @property
    def size(self) -> np.ndarray:
        """Width and height in pixels, float32."""
        return np.array(self.pixels.shape[1::-1], np.float32)


@dataclass(frozen=True, eq=False)
class Batch:
    """values: (N, channels, height, width) float32; labels: float32, as the layer's second top."""

    values: torch.Tensor
    labels: torch.Tensor


class Numbered:
    """A source whose records come with their numbers, counted on from round to round."""

    def __init__(self, source: Any) -> None:
        self._source, self.length = source, source.length

    def records(self, start: int = 0, stride: int = 1) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield (number, key, value) for every stride-th number from `start` on."""
        numbers = itertools.count(start, stride)
        for number, (key, value) in zip(numbers, self._source.records(start, stride), strict=False):
            yield number, key, value


class Annotation:
    """What an AnnotatedData layer makes of a serialized AnnotatedDatum.

    layer: LayerParameter; phase: caffe_pb.TRAIN or TEST; seed: of all that is random, an int that
    may be set anew; log: takes Caffe's lines. Raises
    DataLayerError for parameters that contradict each other, or that are not known here.
    """

    def __init__(self, layer: caffe_pb.LayerParameter, phase: int, seed: int, log: Log) -> None:
        self.seed = seed
        self._param, self._transform = layer.annotated_data_param, layer.transform_param
        self._trains, self._has_labels = phase == caffe_pb.TRAIN, len(layer.top) > 1
        self.boxed = self._has_labels
        self._yolo = self._param.yolo_data_type == 1
        # That fork's data are jittered in every net; here in those that are written for it.
        written = self._yolo or self._param.HasField("yolo_data_jitter")
        self._jitter = self._param.yolo_data_jitter if written else 0
        transform = self._transform
        if transform.force_color and transform.force_gray:
            raise DataLayerError("cannot set both force_color and force_gray")
        self._color = True if transform.force_color else False if transform.force_gray else None
        self._resizes, self._batch_size = list(transform.resize_param), layer.data_param.batch_size
        self._resize = self._resizes[0] if self._resizes else None
        for one in self._resizes:
            for name in ("height", "width"):
                if not getattr(one, name):
                    raise DataLayerError(f"resize_param needs a {name} > 0")
        total = sum(one.prob for one in self._resizes)
        if len(self._resizes) > 1 and abs(total - 1) > PROBABILITY_EPSILON:
            raise DataLayerError(f"the prob of several resize_param must add up to 1 ({total:g})")
        small = any(one.resize_mode == Resize.FIT_SMALL_SIZE for one in self._resizes)
        if small and layer.data_param.batch_size != 1:
            raise DataLayerError("Only support batch size of 1 for FIT_SMALL_SIZE.")
        if transform.HasField("expand_param") and transform.expand_param.max_expand_ratio <= 1:
            raise DataLayerError("max_expand_ratio > 1 is needed in expand_param")
        self._crop = (transform.crop_size or transform.crop_h,
                      transform.crop_size or transform.crop_w)  # fmt: skip
        self._mean = None
        if transform.HasField("mean_file"):
            if transform.mean_value:
                raise DataLayerError("Cannot specify mean_file and mean_value at the same time")
            log(f"Loading mean file from: {transform.mean_file}", "data_transformer.cpp:25")
            mean = read_mean(transform.mean_file)
            self._mean = mean.reshape((1, 1, *mean.shape)[-3:])

    # --- reading ---

    def read(self, record: bytes) -> tuple[Annotated, caffe_pb.AnnotatedDatum]:
        """The image and the boxes as they are stored. Raises DataLayerError if they are not."""
        try:
            stored = caffe_pb.AnnotatedDatum.FromString(bytes(record))
        except DecodeError:
            raise DataLayerError("it is not an AnnotatedDatum") from None
        found, notes = [], []
        for group in stored.annotation_group:
            for one in group.annotation:
                box = one.bbox
                found.append((box.xmin, box.ymin, box.xmax, box.ymax))
                notes.append((group.group_label, one.instance_id, box.difficult))
        return Annotated(
            self._pixels(stored.datum),
            np.array(found, np.float32).reshape(-1, 4),
            np.array(notes, np.float32).reshape(-1, 3),
        ), stored

    def _pixels(self, datum: caffe_pb.Datum) -> np.ndarray:
        if datum.encoded:
            try:
                return image.decode(io.BytesIO(datum.data), self._color)
            except image.UnreadableImage:
                raise DataLayerError("Could not decode datum") from None
        shape = (datum.channels, datum.height, datum.width)
        if min(shape) <= 0 or len(datum.data) != np.prod(shape):
            words = "x".join(map(str, shape))
            raise DataLayerError(f"its shape is {words}, its data holds {len(datum.data)} bytes")
        return np.frombuffer(datum.data, np.uint8).reshape(shape).transpose(1, 2, 0)

    def output_shape(self, given: Annotated) -> tuple[int, int, int]:
        """(channels, height, width) of what becomes of an image."""
        height, width, channels = given.pixels.shape
        if self._resize is not None:
            height, width = resized_shape(height, width, self._resize)
            if self._resize.resize_mode == Resize.FIT_LARGE_SIZE_AND_PAD:
                height, width = self._resize.height, self._resize.width
        return (channels, *(self._crop if all(self._crop) else (height, width)))

    def collect(
        self, records: Iterator[tuple[int, bytes, bytes]], count: int, decode: Any
    ) -> Batch:
        """The batch of the next `count` records of a Numbered source.

        Raises DataLayerError, which names the record.
        """
        values, rows, plain = None, [], []
        for place, (number, key, record) in enumerate(itertools.islice(records, count)):
            if place == 0:
                self._choose(number)
            try:
                given, stored = self.read(record)
                one, left = self.change(given, Draws(self.seed, number))
                if values is None:
                    values = np.empty((count, *one.shape), np.float32)
                if one.shape != values.shape[1:]:
                    raise DataLayerError(
                        f"it becomes an image of shape {one.shape}, others of this batch of "
                        f"{values.shape[1:]}: resize_param or crop_size would make them one"
                    )
                values[place] = one
                if self.boxed:
                    self._check_type(stored)
                    if self._yolo:
                        rows.append(self._centred(left))
                        continue
                    label, instance, difficult = left.notes.T[:, :, None]
                    item = np.full_like(label, place)
                    rows.append(np.hstack([item, label, instance, left.boxes, difficult]))
                elif self._has_labels:
                    if not stored.datum.HasField("label"):
                        raise DataLayerError("Cannot find any label.")
                    plain.append(stored.datum.label)
            except CaffeError as error:
                if key is None:
                    raise  # it names itself
                name = bytes(key).decode("utf-8", "backslashreplace")
                raise DataLayerError(f"record '{name}': {error}") from None
        if not self.boxed:
            labels = np.array(plain, np.float32).reshape(-1, 1, 1, 1)
        elif self._yolo:
            labels = np.stack(rows)[:, None]
        elif sum(map(len, rows)):
            labels = np.concatenate(rows).astype(np.float32)[None, None]
        else:
            labels = np.full((1, 1, 1, 8), -1, np.float32)
        return Batch(torch.from_numpy(values), torch.from_numpy(labels))

    def _choose(self, number: int) -> None:
        """Draw the size of the batch that record `number` begins, if there are several.

        One of them is drawn by its prob every ten batches, from the seed and that number.
        """
        if len(self._resizes) > 1:
            ten = number // (SIZE_LASTS * max(1, self._batch_size))
            # Records' own draws have their numbers from 0 up.
            share = Draws(self.seed, 2**63 + ten).uniform()
            shares = np.cumsum([one.prob for one in self._resizes])
            place = int(np.searchsorted(shares, share, side="right"))
            self._resize = self._resizes[min(place, len(shares) - 1)]

    def _centred(self, given: Annotated) -> np.ndarray:
        """(300, 5): class, from 0, centre and size of each box, and zeros; more are left out."""
        rows = np.zeros((YOLO_ROWS, 5), np.float32)
        wanted = (given.notes[:, 2] == 0) | self._param.train_diffcult
        found = given.boxes[wanted][:YOLO_ROWS]
        rows[: len(found), 0] = given.notes[wanted][:YOLO_ROWS, 0] - 1
        rows[: len(found), 1:3] = (found[:, :2] + found[:, 2:]) / 2
        rows[: len(found), 3:] = found[:, 2:] - found[:, :2]
        return rows

    def look(self, record: bytes) -> tuple[tuple[int, int, int], int]:
        """The shape that records come out with, and the number of this one's boxes.

        The first record also tells whether labels are boxes: `boxed`.
        """
        given, stored = self.read(record)
        shadowed = self._param.HasField("anno_type")
        self.boxed = self._has_labels and (shadowed or stored.HasField("type"))
        if shadowed and self.boxed:
            glog.warning(
                "type stored in AnnotatedDatum is shadowed.", "annotated_data_layer.cpp:72"
            )
        return self.output_shape(given), len(given.boxes)

    def _check_type(self, stored: caffe_pb.AnnotatedDatum) -> None:
        if not stored.HasField("type"):
            raise DataLayerError("Some datum misses AnnotationType.")

    # --- changing ---

    def change(self, given: Annotated, draws: Draws) -> tuple[np.ndarray, Annotated]:
        """Values (channels, height, width) float32 for the net, and the boxes that are left."""
        transform = self._transform
        if transform.HasField("distort_param"):
            pixels = distort(given.pixels, transform.distort_param, draws)
            given = replace(given, pixels=pixels)
        if transform.HasField("expand_param"):
            given = self._expanded(given, draws)
        samplers = self._param.batch_sampler
        if samplers:
            samples = sample(samplers, given.boxes, draws)
            if len(samples):
                given = self._cut(given, samples[draws.below(len(samples))])
        elif self._jitter:
            padded = self._resize is not None and (
                self._resize.resize_mode == Resize.FIT_LARGE_SIZE_AND_PAD
            )
            given = self._cut(given, jitter(self._jitter, padded, draws))
        mirror = transform.mirror and draws.below(2) == 1
        size = given.size
        if self._resize is not None:
            given = replace(
                given,
                pixels=resize(given.pixels, self._resize, draws),
                boxes=resized_boxes(given.boxes, size, self._resize),
            )
        if transform.HasField("noise_param"):
            given = replace(given, pixels=spoil(given.pixels, transform.noise_param, draws))
        return self._cropped(given, size, mirror, draws)

    def _expanded(self, given: Annotated, draws: Draws) -> Annotated:
        """The image somewhere in a larger one of the mean, which it zooms out of."""
        param = self._transform.expand_param
        if draws.uniform() > param.prob or abs(param.max_expand_ratio - 1) < 1e-2:
            return given
        height, width, channels = given.pixels.shape
        ratio = draws.uniform(1, param.max_expand_ratio)
        rows, columns = int(height * ratio), int(width * ratio)
        top = int(draws.uniform(0, rows - height))
        left = int(draws.uniform(0, columns - width))
        fill = np.rint(list(self._transform.mean_value) or [0]).clip(0, 255).astype(np.uint8)
        self._check_mean_values(channels)
        pixels = np.empty((rows, columns, channels), np.uint8)
        pixels[:] = fill
        pixels[top : top + height, left : left + width] = given.pixels
        frame = np.array([-left, -top, columns - left, rows - top], np.float32)
        return self._kept(replace(given, pixels=pixels), frame / np.tile(given.size, 2))

    def _cut(self, given: Annotated, box: np.ndarray) -> Annotated:
        """What lies in a box; whole pixels of it."""
        box = clip(box)
        corners = box * np.tile(given.size, 2)
        (left, top), (width, height) = (
            corners[:2].astype(int),
            (corners[2:] - corners[:2]).astype(int),
        )
        pixels = given.pixels[top : top + max(height, 1), left : left + max(width, 1)]
        return self._kept(replace(given, pixels=pixels), box)

    def _kept(self, given: Annotated, frame: np.ndarray) -> Annotated:
        """Boxes in units of `frame`, a box of the image; those that are to be emitted."""
        chosen = given.boxes
        keep = np.ones(len(chosen), bool)
        if self._transform.HasField("emit_constraint") and len(chosen):
            keep = _emitted(frame, chosen, self._transform.emit_constraint)
        keep &= (chosen[:, :2] < frame[2:]).all(1) & (chosen[:, 2:] > frame[:2]).all(1)
        inside = clip((chosen - np.tile(frame[:2], 2)) / np.tile(frame[2:] - frame[:2], 2))
        keep &= (inside[:, 2:] > inside[:, :2]).all(1)
        return replace(given, boxes=inside[keep], notes=given.notes[keep])

    def _cropped(
        self, given: Annotated, size: np.ndarray, mirror: bool, draws: Draws
    ) -> tuple[np.ndarray, Annotated]:
        """The crop, mirrored, less the mean and scaled; size: the image's before it was resized."""
        rows, columns, channels = given.pixels.shape
        height, width = self._crop if all(self._crop) else (rows, columns)
        if rows < height or columns < width:
            raise DataLayerError(
                f"an image of {rows} x {columns} pixels is smaller than the crop, {height} x {width}"
            )
        top, left = (rows - height) // 2, (columns - width) // 2
        if all(self._crop) and self._trains:
            top, left = draws.below(rows - height + 1), draws.below(columns - width + 1)
        frame = np.array([left, top, left + width, top + height], np.float32)
        frame /= np.tile(given.size, 2)
        given = self._kept(given, frame)
        pixels = given.pixels[top : top + height, left : left + width]
        found = given.boxes
        if mirror:
            pixels = pixels[:, ::-1]
            found = np.stack([1 - found[:, 2], found[:, 1], 1 - found[:, 0], found[:, 3]], 1)
        if self._resize is not None:
            found = _extrapolated(found, size, frame, self._resize)
        values = image.planes(pixels).astype(np.float32)
        if self._mean is not None:
            if self._mean.shape != values.shape:
                raise DataLayerError(
                    f"mean_file has shape {self._mean.shape}, the images have {values.shape}"
                )
            values -= self._mean
        elif self._transform.mean_value:
            self._check_mean_values(channels)
            values -= np.array(self._transform.mean_value, np.float32).reshape(-1, 1, 1)
        if self._transform.scale != 1:
            values *= np.float32(self._transform.scale)
        return values, replace(given, boxes=found)

    def _check_mean_values(self, channels: int) -> None:
        count = len(self._transform.mean_value)
        if count not in (0, 1, channels):
            raise DataLayerError(
                f"Specify either 1 mean_value or as many as channels: {channels} ({count} given)"
            )


class PlainImages(Annotation):
    """What SSD's transform_param makes of the images of a Data or ImageData layer.

    Those layers obey resize_param, noise_param, crop_h and crop_w, but not distort_param and
    expand_param. decode: gives the pixels, shape and label of a record, as `collect` wants it; a
    Decoder refuses records that are no encoded images, as SSD does in other words.
    """

    def __init__(
        self, layer: caffe_pb.LayerParameter, phase: int, seed: int, log: Log, decode: Any
    ) -> None:
        plain = caffe_pb.LayerParameter()
        plain.CopyFrom(layer)
        for name in ("distort_param", "expand_param", "emit_constraint"):
            plain.transform_param.ClearField(name)
        if layer.type == "ImageData":
            plain.data_param.batch_size = layer.image_data_param.batch_size
        super().__init__(plain, phase, seed, log)
        self._decode = decode

    def read(self, record: Any) -> tuple[Annotated, caffe_pb.AnnotatedDatum]:
        values, shape, label = self._decode(record)
        if getattr(self._decode, "unencoded", False):
            raise DataLayerError(
                "resize_param, noise_param, crop_h and crop_w want encoded images "
                "(convert_imageset -encoded)"
            )
        pixels = values.reshape(shape).transpose(1, 2, 0)
        none = Annotated(pixels, np.empty((0, 4), np.float32), np.empty((0, 3), np.float32))
        return none, caffe_pb.AnnotatedDatum(datum=caffe_pb.Datum(label=label))


def _emitted(
    frame: np.ndarray, found: np.ndarray, constraint: caffe_pb.EmitConstraint
) -> np.ndarray:
    """Which boxes may stay in a frame: those with their centre in it, or enough of them."""
    if constraint.emit_type == caffe_pb.EmitConstraint.CENTER:
        center = (found[:, :2] + found[:, 2:]) / 2
        return ((center >= frame[:2]) & (center <= frame[2:])).all(1)
    covered = boxes.coverages(torch.from_numpy(found), torch.from_numpy(frame[None]))
    return (covered[:, 0] > constraint.emit_overlap).numpy()


# --- sizes ---


def resized_shape(height: int, width: int, param: caffe_pb.ResizeParameter) -> tuple[int, int]:
    """Height and width of an image when it is resized, and not padded yet."""
    new_height, new_width = param.height, param.width
    aspect = np.float32(width) / np.float32(height)
    wide = aspect > np.float32(new_width) / np.float32(new_height)
    if param.resize_mode == Resize.WARP:
        return new_height, new_width
    if wide == (param.resize_mode == Resize.FIT_LARGE_SIZE_AND_PAD):
        return max(1, int(np.float32(new_width) / aspect)), new_width
    return new_height, max(1, int(aspect * np.float32(new_height)))


def resize(pixels: np.ndarray, param: caffe_pb.ResizeParameter, draws: Draws) -> np.ndarray:
    """The image resized, with one of the interp_modes that is drawn, and padded if it is to be."""
    height, width = resized_shape(*pixels.shape[:2], param)
    mode = "LINEAR"
    if param.interp_mode:
        mode = Resize.Interp_mode.Name(param.interp_mode[draws.below(len(param.interp_mode))])
    if mode == "LINEAR":
        pixels = image.resize(np.ascontiguousarray(pixels), height, width)
    else:
        pixels = resample(pixels, height, width, mode)
    if param.resize_mode != Resize.FIT_LARGE_SIZE_AND_PAD:
        return pixels
    spare = np.array([param.height - height, param.width - width])
    before = spare // 2
    around = [*zip(before, spare - before, strict=True), (0, 0)]
    how = _PAD_MODES[param.pad_mode]
    if how != "constant":
        return np.pad(pixels, around, how)
    if len(param.pad_value) not in (0, 1, pixels.shape[2]):
        raise DataLayerError(
            f"Specify either 1 pad_value or as many as channels: {pixels.shape[2]}"
        )
    padded = np.empty((param.height, param.width, pixels.shape[2]), np.uint8)
    padded[:] = np.rint(list(param.pad_value) or [0]).clip(0, 255).astype(np.uint8)
    padded[before[0] : before[0] + height, before[1] : before[1] + width] = pixels
    return padded


def resized_boxes(
    found: np.ndarray, size: np.ndarray, param: caffe_pb.ResizeParameter
) -> np.ndarray:
    """Boxes in units of the resized image (UpdateBBoxByResizePolicy).

    found: (n, 4) in units of an image of `size` (width, height).
    """
    new = np.array([param.width, param.height], np.float32)
    padding = np.zeros(2, np.float32)
    if param.resize_mode == Resize.FIT_LARGE_SIZE_AND_PAD:
        aspect = size[0] / size[1]
        if aspect > new[0] / new[1]:
            padding[1] = (new[1] - new[0] / aspect) / 2
        else:
            padding[0] = (new[0] - aspect * new[1]) / 2
    elif param.resize_mode == Resize.FIT_SMALL_SIZE:
        new = _small_size(size, param)
    spans = new - 2 * padding
    low = padding + np.maximum(0, found[:, :2] * size * spans / size)
    high = padding + np.minimum(new, found[:, 2:] * size * spans / size)
    return np.concatenate([low / new, high / new], 1)


def _small_size(size: np.ndarray, param: caffe_pb.ResizeParameter) -> np.ndarray:
    """Width and height, not rounded, of an image whose shorter side fits (FIT_SMALL_SIZE)."""
    aspect = size[0] / size[1]
    if aspect < np.float32(param.width) / np.float32(param.height):
        return np.array([param.width, param.width / aspect], np.float32)
    return np.array([aspect * param.height, param.height], np.float32)


def _extrapolated(
    found: np.ndarray, size: np.ndarray, frame: np.ndarray, param: caffe_pb.ResizeParameter
) -> np.ndarray:
    """Boxes in units of width_scale and height_scale, where FIT_SMALL_SIZE has them."""
    scale = np.array([param.width_scale, param.height_scale], np.float32)
    if param.resize_mode != Resize.FIT_SMALL_SIZE or not scale.all():
        return found
    crop = _small_size(size, param) * (frame[2:] - frame[:2])
    if (crop < scale).any():
        raise DataLayerError("the crop is smaller than width_scale and height_scale")
    return found * np.tile(crop / scale, 2)
