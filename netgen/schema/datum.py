"""A Datum's wire form and NumPy arrays, in both directions.

protobuf is the authority on what a record means, but takes some 50 ns a float: a minute for
a large set. All records of a set are written by one NumPy assignment. When they are read,
records of one set differ only in their pixels and labels, so what protobuf found in a record's
other bytes is remembered, and the next record with the same bytes there is a strided view of its
payload.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from google.protobuf.message import DecodeError

from netgen.schema.caffe_pb import Datum
from netgen.schema.files import SchemaError
from netgen.schema.wire import FIXED32, FIXED64, LENGTH, VARINT, read_varint, tag, varint

if TYPE_CHECKING:
    from numpy.typing import NDArray

Buffer: TypeAlias = "bytes | memoryview"
Shape: TypeAlias = tuple[int, int, int]

_NUMBER = {field.name: field.number for field in Datum.DESCRIPTOR.fields}
_DATA, _FLOAT_DATA = _NUMBER["data"], _NUMBER["float_data"]

#: How a `repeated float` that is not [packed] lies on the wire: tag byte, value, tag byte, ...
TAGGED_FLOAT = np.dtype([("tag", "u1"), ("value", "<f4")])
_FLOAT_TAG = tag(_FLOAT_DATA, FIXED32)[0]
_BYTES = np.dtype("u1")
_FLOATS = np.dtype("<f4")

#: Bytes around the payload that are worth remembering: shape, label, flags.
_LONGEST_FRAME = 64
_MOST_FRAMES = 1 << 16  # labels may all differ


def encode_datums(images: NDArray, labels: Sequence[int] | NDArray | None) -> Iterator[bytes]:
    """Yield the serialized Datum of every image, byte for byte what protobuf writes.

    images: (N, C, H, W), uint8 stored as data, other real values as float_data; labels: (N,)
    int32, or None for records without one. All floats are laid out by one NumPy assignment, about forty times faster than
    filling messages.
    """
    count, *shape = images.shape
    size = int(np.prod(shape))
    header = b"".join(
        tag(_NUMBER[name], VARINT) + varint(value)
        for name, value in zip(("channels", "height", "width"), shape, strict=True)
    )
    label_tag = tag(_NUMBER["label"], VARINT)
    told = [b""] * count
    if labels is not None:
        told = [label_tag + varint(label) for label in np.asarray(labels).tolist()]
    if images.dtype == np.uint8:
        header += tag(_DATA, LENGTH) + varint(size)
        for image, label in zip(images, told, strict=True):
            yield header + image.tobytes() + label
        return
    body = np.empty((count, size), TAGGED_FLOAT)
    body["tag"] = _FLOAT_TAG
    body["value"] = images.reshape(body.shape)
    for row, label in zip(body, told, strict=True):
        yield header + label + row.tobytes()


class DatumReader:
    """Reads the records of one source.

    unencoded: whether a record that holds plain pixels came by.
    """

    def __init__(self) -> None:
        self.unencoded = False
        # record length -> (start, stop, dtype of payload, known frames)
        self._layouts: dict[int, tuple[int, int, np.dtype, dict]] = {}

    def __call__(self, record: Buffer) -> tuple[NDArray, Shape, int]:
        """Pixels, shape and label of a serialized Datum.

        record: bytes-like. Returns (1-D uint8 or float32 array in C, H, W order, which may be
        a view of the record; (C, H, W); int). `data` bytes go before `float_data`, as in Caffe.
        Raises SchemaError, in a few words, for what is no usable Datum, and what decode_image
        raises.
        """
        layout = self._layouts.get(len(record))
        if layout is not None:
            start, stop, dtype, frames = layout
            known = frames.get((bytes(record[:start]), bytes(record[stop:])))
            if known is not None:
                pixels = _payload(record, start, stop, dtype)
                if pixels is not None:
                    shape, count, label = known
                    return pixels[:count], shape, label
        return self._parse(bytes(record))

    def decode_image(self, data: bytes) -> NDArray:
        """The (C, H, W) uint8 array of an encoded image: of those who know image files."""
        raise SchemaError("its image is encoded")

    def _parse(self, record: bytes) -> tuple[NDArray, Shape, int]:
        try:
            datum = Datum.FromString(record)
        except DecodeError:
            raise SchemaError("it is not a Datum") from None
        if datum.encoded:
            image = self.decode_image(datum.data)
            return image.ravel(), image.shape, datum.label
        self.unencoded = True
        shape = (datum.channels, datum.height, datum.width)
        if shape[0] <= 0:
            raise SchemaError(f"datum_channels > 0 ({shape[0]} vs. 0)")
        count = shape[0] * shape[1] * shape[2]
        pixels: NDArray
        if datum.data:
            field, pixels = "data", np.frombuffer(datum.data, _BYTES)
        else:
            field, pixels = "float_data", np.array(datum.float_data, _FLOATS)
        if min(shape) <= 0 or pixels.size < count:
            words = "x".join(map(str, shape))
            raise SchemaError(f"its shape is {words}, its {field} holds {pixels.size} values")
        pixels = pixels[:count]
        self._remember(record, pixels, shape, datum.label)
        return pixels, shape, datum.label

    def _remember(self, record: bytes, pixels: NDArray, shape: Shape, label: int) -> None:
        """Keep where this record's payload lies, if looking there alone is sound."""
        span = _payload_span(record, pixels.size)
        if span is None:
            return
        start, stop, dtype = span
        frame = (record[:start], record[stop:])
        # A payload may come in parts or twice; such records stay with protobuf.
        if (
            stop > len(record)
            or _payload(record, start, stop, dtype) is None
            or _payload_span(frame[1], 0) is not None
            or len(frame[0] + frame[1]) > _LONGEST_FRAME
        ):
            return
        layout = self._layouts.setdefault(len(record), (start, stop, dtype, {}))
        if layout[:3] == (start, stop, dtype) and len(layout[3]) < _MOST_FRAMES:
            layout[3][frame] = (shape, pixels.size, label)


def _payload(record: Buffer, start: int, stop: int, dtype: np.dtype) -> NDArray | None:
    """The values between `start` and `stop`, or None if other fields lie among them."""
    values = np.frombuffer(record[start:stop], dtype)
    if dtype is not TAGGED_FLOAT:
        return values
    return values["value"] if (values["tag"] == _FLOAT_TAG).all() else None


def _payload_span(record: bytes, count: int) -> tuple[int, int, np.dtype] | None:
    """(start, stop, dtype) of a valid Datum's first payload of `count` values, or None."""
    at = 0
    while at < len(record):
        field, after = read_varint(record, at)
        number, kind = field >> 3, field & 7
        if number == _FLOAT_DATA and kind == FIXED32:
            return at, at + count * TAGGED_FLOAT.itemsize, TAGGED_FLOAT
        if kind == VARINT:
            after = read_varint(record, after)[1]
        elif kind == LENGTH:
            size, after = read_varint(record, after)
            if number in (_DATA, _FLOAT_DATA):
                return after, after + size, _BYTES if number == _DATA else _FLOATS
            after += size
        elif kind in (FIXED64, FIXED32):
            after += 8 if kind == FIXED64 else 4
        else:
            return None
        at = after
    return None
