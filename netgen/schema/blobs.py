"""BlobProto to and from NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netgen.schema.caffe_pb import BlobProto
from netgen.schema.files import SchemaError
from netgen.schema.wire import LENGTH, tag, varint

_LEGACY_AXES = ("num", "channels", "height", "width")


def blob_shape(blob: BlobProto) -> tuple[int, ...]:
    """The shape of a BlobProto as a tuple: `shape`, or the four axes of older files.

    Any legacy axis makes it a 4-D blob; a blob with neither is a scalar, shape ().
    """
    if any(blob.HasField(axis) for axis in _LEGACY_AXES):
        return tuple(getattr(blob, axis) for axis in _LEGACY_AXES)
    return tuple(blob.shape.dim)


def blob_to_array(blob: BlobProto) -> NDArray[np.float32]:
    """A BlobProto's values (double_data where there are any, else data) as a new float32 array.

    Raises SchemaError where their number does not fit the shape.
    """
    shape = blob_shape(blob)
    doubles = _packed(blob, "double_data", "<f8")
    values = doubles if doubles.size else _packed(blob, "data", "<f4")
    count = int(np.prod(shape, dtype=np.int64))
    if min(shape, default=1) < 0 or values.size != count:
        words = " ".join(map(str, shape))
        raise SchemaError(f"a blob of shape {words} ({count}) holds {values.size} values")
    return values.astype(np.float32).reshape(shape)


def array_to_blob(
    array: ArrayLike, blob: BlobProto | None = None, diff: ArrayLike | None = None
) -> BlobProto:
    """Store an array as float32 in `blob` (its old contents go), or in a new BlobProto.

    diff: array of the same shape, stored beside it. A scalar gets no shape, as in Caffe.
    """
    array = np.asarray(array)
    if blob is None:
        blob = BlobProto()
    else:
        blob.Clear()
    if array.ndim:
        blob.shape.dim.extend(array.shape)
    _merge_packed(blob, "data", array)
    if diff is not None:
        _merge_packed(blob, "diff", diff)
    return blob


# protobuf's repeated fields convert element by element; the wire form of a packed field is
# the array itself, so going through it is some fifty times faster.


def _merge_packed(blob: BlobProto, name: str, array: ArrayLike) -> None:
    data = np.ascontiguousarray(array, dtype="<f4").tobytes()
    if data:
        number = BlobProto.DESCRIPTOR.fields_by_name[name].number
        blob.MergeFromString(tag(number, LENGTH) + varint(len(data)) + data)


def _packed(blob: BlobProto, name: str, dtype: str) -> NDArray:
    """The values of a packed field, as a read-only array."""
    count = len(getattr(blob, name))
    if not count:
        return np.empty(0, dtype)
    alone = BlobProto()
    alone.CopyFrom(blob)
    alone.DiscardUnknownFields()
    for field in BlobProto.DESCRIPTOR.fields:
        if field.name != name:
            alone.ClearField(field.name)
    wire = alone.SerializeToString()  # tag, length, values
    return np.frombuffer(wire, dtype, count, len(wire) - count * np.dtype(dtype).itemsize)
