"""Layers that several rules need: another shape or order, copies along an axis, fixed products."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from netgen.from_onnx.errors import Refusal
from netgen.from_onnx.graph import Shape
from netgen.from_onnx.targets import Target
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
        if have != want and not net.target.has("Tile"):
            blob = along(net, blob, axis, np.ones((want, 1)), f"{suffix}_tile")
        elif have != want:
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


#: Into how many parts a Slice cuts; more places than that are taken by a fixed product.
_MOST_PARTS = 16


def selected(net: Writer, blob: Blob, axis: int, places: Sequence[int], suffix: str = "") -> Blob:
    """Some places of an axis in any order: cut out by a Slice, and joined again by a Concat."""
    size, runs = blob.shape[axis], list[list[int]]()
    for place in places:
        if runs and runs[-1][1] == place:
            runs[-1][1] += 1
        else:
            runs.append([place, place + 1])
    if len(runs) == 1:
        return cut(net, blob, axis, *runs[0], suffix)
    if len(runs) > _MOST_PARTS:
        return along(net, blob, axis, np.eye(size)[list(places)], suffix)
    points = sorted({edge for run in runs for edge in run} - {0, size})
    names = [f"{suffix}_part{i}" for i in range(1, len(points) + 2)]
    parts = [blob]
    if points:
        parts = net.layers("Slice", [blob], names, slice_point=points, **axis_field(axis))
    starts = [0, *points, size]
    wanted = [
        part for first, end in runs for part in parts[starts.index(first) : starts.index(end)]
    ]
    unused = [part for part in parts if part not in wanted]
    if unused:
        net.silence(unused)
    return net.layer("Concat", wanted, suffix, **axis_field(axis))


def along(net: Writer, blob: Blob, axis: int, matrix: np.ndarray, suffix: str = "") -> Blob:
    """The fixed product of a matrix (outputs, size) with an axis of the blob.

    It is an InnerProduct over the last axis, and a 1x1 convolution whose channels are the axis
    elsewhere.
    """
    shape, outputs = blob.shape, len(matrix)
    if axis == len(shape) - 1:
        return net.layer(
            "InnerProduct", [blob], suffix, weights=[matrix], frozen=True, num_output=outputs,
            bias_term=False, **axis_field(axis),
        )  # fmt: skip
    weight = matrix.reshape(*matrix.shape, 1, 1)
    if axis == 1 and len(shape) == 4:
        return fixed_convolution(net, blob, weight, suffix, kernel_size=1)
    flat = (prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]), 1)
    top = _reshaped(net, blob, flat, f"{suffix}_as_channels", axis > 0)
    top = fixed_convolution(net, top, weight, f"{suffix}_product", kernel_size=1)
    whole = (*shape[:axis], outputs, *shape[axis + 1 :])
    return _reshaped(net, top, whole, suffix, axis > 0)


def _reshaped(net: Writer, blob: Blob, shape: Shape, suffix: str, keeps_batch: bool) -> Blob:
    """The blob under another shape, whose first axis is left open if it has the batch."""
    dims = [-1, *shape[1:]] if keeps_batch else list(shape)
    return net.layer("Reshape", [blob], suffix, shape={"dim": dims})


#: The most axes' sizes that `exchanged` gives a weight of: 4 MB of zeros and ones.
MOST_EXCHANGED = 1024


def exchanges(shape: Shape, order: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """What brings axes into another order: (before, first, second, behind) of each exchange.

    The four are sizes: an exchange has the axes' values under that shape, and the second and the
    third axis of it change places.
    """
    order = [axis for axis in order if shape[axis] != 1]
    have = sorted(order)
    found = []
    for i, axis in enumerate(order):
        j = have.index(axis)
        if j > i:
            count = 1  # of axes that move together
            while j + count < len(have) and order[i : i + count + 1] == have[j : j + count + 1]:
                count += 1
            parts = (have[:i], have[i:j], have[j : j + count], have[j + count :])
            found.append(tuple(prod(shape[a] for a in part) for part in parts))
            have = [*parts[0], *parts[2], *parts[1], *parts[3]]
    return found  # type: ignore[return-value]


def exchanged(net: Writer, blob: Blob, sizes: tuple[int, int, int, int], suffix: str = "") -> Blob:
    """(before, first, second, behind) as (before, second, first, behind), without a Permute.

    A fixed Deconvolution puts the channels, the first, under each other in place of every pixel of
    a column, the second; or a fixed convolution makes channels of the second where that is
    smaller. The top has the latter shape.
    """
    before, first, second, behind = sizes
    if first <= second:
        top = reshaped(net, blob, (before, first, second, behind), f"{suffix}_apart")
        window = {"kernel_h": first, "kernel_w": 1, "stride_h": first, "stride_w": 1}
        weight = np.eye(first).reshape(first, 1, first, 1)
        return fixed_convolution(net, top, weight, suffix, "Deconvolution", **window)
    top = reshaped(net, blob, (before, 1, first * second, behind), f"{suffix}_apart")
    window = {"kernel_h": second, "kernel_w": 1, "stride_h": second, "stride_w": 1}
    weight = np.eye(second).reshape(second, 1, second, 1)
    return fixed_convolution(net, top, weight, suffix, **window)


def permuted(net: Writer, blob: Blob, order: Sequence[int], suffix: str = "") -> Blob:
    """The blob with its axes in another order: a Permute where the target has it."""
    out = tuple(blob.shape[axis] for axis in order)
    moves = exchanges(blob.shape, order)
    if moves and net.target.knows("Permute"):
        return net.layer("Permute", [blob], suffix, order=list(order))
    for i, sizes in enumerate(moves, 1):
        more = f"_exchange{i}" if i < len(moves) else "_exchanged"
        blob = exchanged(net, blob, sizes, f"{suffix}{more}")
    return reshaped(net, blob, out, suffix)


def require_order(shape: Shape, order: Sequence[int], target: Target) -> None:
    """Raise Refusal where `permuted` would need too large a weight."""
    large = [min(a, b) for _, a, b, _ in exchanges(shape, order)]
    if not target.knows("Permute") and max(large, default=0) > MOST_EXCHANGED:
        raise Refusal(
            f"its axes change places, and {target.name} has no Permute (--target ssd has; the "
            f"fixed product in place of it would have {max(large)} x {max(large)} weights)"
        )


def axis_field(axis: int, default: int = 1) -> dict[str, int]:
    """{"axis": axis}, or nothing where that is the default."""
    return {} if axis == default else {"axis": axis}
