"""Layers that several rules need: another shape, copies along an axis, fixed convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from netgen.from_onnx.graph import Shape
from netgen.from_onnx.writer import Blob, Writer


def reshaped(net: Writer, blob: Blob, shape: Sequence[int], suffix: str = "") -> Blob:
    """The blob under another shape: itself, a Flatten, or a Reshape that leaves the batch open."""
    shape = tuple(shape)
    if blob.shape == shape:
        return blob
    keeps_batch = bool(shape) and bool(blob.shape) and shape[0] == blob.shape[0]
    if keeps_batch and len(shape) == 2 and len(blob.shape) > 2:
        return net.layer("Flatten", [blob], suffix)
    dims = list(shape)
    if keeps_batch:
        dims[0] = 0
    elif dims and blob.shape and dims[0] % blob.shape[0] == 0 and prod(shape[1:]):
        dims[0] = -1
    return net.layer("Reshape", [blob], suffix, shape={"dim": dims})


def tiled(net: Writer, blob: Blob, shape: Shape, suffix: str = "") -> Blob:
    """The blob copied along its axes of size 1 to a shape that it broadcasts to."""
    ones = len(shape) - len(blob.shape)
    blob = reshaped(net, blob, (1,) * ones + blob.shape, f"{suffix}_axes")
    for axis, (have, want) in enumerate(zip(blob.shape, shape, strict=True)):
        if have != want:
            blob = net.layer("Tile", [blob], f"{suffix}_tile", axis=axis, tiles=want)
    return blob


def cut(net: Writer, blob: Blob, axis: int, start: int, end: int, suffix: str = "") -> Blob:
    """The values from start to end on an axis, by a Slice; what is cut off is silenced."""
    size = blob.shape[axis]
    if (start, end) == (0, size):
        return blob
    points = [point for point in (start, end) if 0 < point < size]
    names = [suffix, *(f"{suffix}_rest{i}" for i in range(1, len(points) + 1))]
    if start > 0:
        names[0], names[1] = names[1], names[0]
    parts = net.layers("Slice", [blob], names, slice_point=points, **axis_field(axis))
    wanted = parts[1 if start > 0 else 0]
    net.silence([part for part in parts if part is not wanted])
    return wanted


def fixed_convolution(
    net: Writer,
    blob: Blob,
    weight: np.ndarray,
    suffix: str = "",
    kind: str = "Convolution",
    **params: object,
) -> Blob:
    """A convolution without bias whose weight does not learn."""
    outputs = weight.shape[0]
    if kind == "Deconvolution":
        outputs = weight.shape[1] * int(params.get("group", 1))  # type: ignore[call-overload]
    return net.layer(
        kind, [blob], suffix, weights=[weight], frozen=True, num_output=outputs,
        bias_term=False, **params,
    )  # fmt: skip


def axis_field(axis: int, default: int = 1) -> dict[str, int]:
    """{"axis": axis}, or nothing where that is the default."""
    return {} if axis == default else {"axis": axis}
