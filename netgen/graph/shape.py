"""Arithmetic on blob shapes (tuples of ints), with Blob's checks and words (blob.hpp, blob.cpp)."""

from collections.abc import Sequence
from math import prod

from netgen.graph.errors import NetError, require

#: The size of a blob along each of its axes.
Shape = tuple[int, ...]

MAX_AXES = 32  # kMaxBlobAxes
INT_MAX = 2**31 - 1


def shape_string(shape: Sequence[int]) -> str:
    """`2 3 4 (24)`: the dimensions and the count, as Caffe prints a blob."""
    return "".join(f"{d} " for d in shape) + f"({prod(shape)})"


def canonical_axis(axis: int, ndim: int, shape: Shape | None = None) -> int:
    """The index in 0..ndim-1 of an axis that may be negative (-1 is the last).

    shape: only completes the message. Raises NetError when the axis is out of range.
    Source: Blob::CanonicalAxisIndex.
    """
    if not -ndim <= axis < ndim:
        tail = "" if shape is None else f" with shape {shape_string(shape)}"
        raise NetError(f"axis {axis} out of range for {ndim}-D Blob{tail}")
    return axis % ndim


def axis_of(shape: Shape, axis: int) -> int:
    """canonical_axis of a shape."""
    return canonical_axis(axis, len(shape), shape)


def dim(shape: Shape, axis: int) -> int:
    """The size of one axis. Raises NetError, not IndexError, when there is none."""
    return shape[axis_of(shape, axis)]


def legacy_dim(shape: Shape, axis: int) -> int:
    """The num, channels, height or width (axis 0..3) of a blob of at most 4 axes; 1 if missing."""
    require(len(shape) <= 4, "Cannot use legacy accessors on Blobs with > 4 axes.")
    return shape[axis] if axis < len(shape) else 1


def check_blob(shape: Shape) -> None:
    """Raise NetError unless a blob of this shape can exist."""
    require(
        len(shape) <= MAX_AXES,
        f"blob has {len(shape)} axes; at most {MAX_AXES} are possible",
    )
    require(min(shape, default=0) >= 0, f"negative dimension in blob shape {shape_string(shape)}")
    require(prod(shape) <= INT_MAX, f"blob size exceeds INT_MAX: {shape_string(shape)}")
