"""One Datum's bytes to pixels.

protobuf is the authority on what a record means, but takes some 50 ns a float: a minute for
a large set. Records of one set differ only in their pixels and labels, so what protobuf found
in a record's other bytes is remembered, and the next record with the same bytes there is a
strided view of its payload.
"""

import io

import numpy as np
from google.protobuf.message import DecodeError

from netgen.schema import caffe_pb
from runner.data import image
from runner.data.errors import DataError

#: How a `repeated float` that is not [packed] lies on the wire: tag byte, value, tag byte, ...
TAGGED_FLOAT = np.dtype([("tag", "u1"), ("value", "<f4")])
FLOAT_TAG = 6 << 3 | 5
BYTES = np.dtype("u1")
FLOATS = np.dtype("<f4")

#: Bytes around the payload that are worth remembering: shape, label, flags.
_LONGEST_FRAME = 64
_MOST_FRAMES = 1 << 16  # labels may all differ


class Decoder:
    """Decodes the records of one source.

    force_color, force_gray: as in transform_param; they change encoded records only. Whether
    one was asked for in vain is seen in `unencoded`: True once a plain record came by.
    """

    def __init__(self, force_color=False, force_gray=False):
        self.force_color = force_color
        self.force_gray = force_gray
        self.unencoded = False
        self._layouts = {}  # record length -> (start, stop, dtype of payload, known frames)

    def __call__(self, record):
        """Pixels, shape and label of a serialized Datum.

        record: bytes-like. Returns (1-D uint8 or float32 array in C, H, W order, which may be
        a view of the record; (C, H, W); int). `data` bytes go before `float_data`, as in Caffe.
        Raises DataError, in a few words, for what is no usable Datum.
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

    def _parse(self, record):
        try:
            datum = caffe_pb.Datum.FromString(record)
        except DecodeError:
            raise DataError("it is not a Datum") from None
        if datum.encoded:
            pixels = self._decode_image(datum.data)
            return pixels.ravel(), pixels.shape, datum.label
        self.unencoded = True
        shape = (datum.channels, datum.height, datum.width)
        if shape[0] <= 0:
            raise DataError(f"datum_channels > 0 ({shape[0]} vs. 0)")
        count = shape[0] * shape[1] * shape[2]
        if datum.data:
            field, pixels = "data", np.frombuffer(datum.data, BYTES)
        else:
            field, pixels = "float_data", np.array(datum.float_data, FLOATS)
        if min(shape) <= 0 or pixels.size < count:
            raise DataError(f"its shape is {_times(shape)}, its {field} holds {pixels.size} values")
        pixels = pixels[:count]
        self._remember(record, pixels, shape, datum.label)
        return pixels, shape, datum.label

    def _remember(self, record, pixels, shape, label):
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

    def _decode_image(self, data):
        """An encoded image as OpenCV gives it: BGR(A) or gray, uint8, (C, H, W)."""
        if self.force_color and self.force_gray:
            raise DataError("cannot set both force_color and force_gray")
        color = True if self.force_color else False if self.force_gray else None
        try:
            return image.planes(image.decode(io.BytesIO(data), color))
        except image.UnreadableImage:
            raise DataError("Could not decode datum") from None


def _payload(record, start, stop, dtype):
    """The values between `start` and `stop`, or None if other fields lie among them."""
    values = np.frombuffer(record[start:stop], dtype)
    if dtype is not TAGGED_FLOAT:
        return values
    return values["value"] if (values["tag"] == FLOAT_TAG).all() else None


def _payload_span(record, count):
    """(start, stop, dtype) of a valid Datum's first payload of `count` values, or None."""
    at = 0
    while at < len(record):
        tag, after = _varint(record, at)
        number, wire = tag >> 3, tag & 7
        if number == 6 and wire == 5:
            return at, at + count * TAGGED_FLOAT.itemsize, TAGGED_FLOAT
        if wire == 0:
            after = _varint(record, after)[1]
        elif wire == 2:
            size, after = _varint(record, after)
            if number in (4, 6):
                return after, after + size, BYTES if number == 4 else FLOATS
            after += size
        elif wire in (1, 5):
            after += 8 if wire == 1 else 4
        else:
            return None
        at = after
    return None


def _varint(record, at):
    """The varint at `at` and the position behind it."""
    value = shift = 0
    while True:
        byte = record[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _times(shape):
    return "x".join(map(str, shape))
