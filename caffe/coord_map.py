"""Where a pixel of one blob lies in another, through the layers between them.

A map is (axis, a, b): coordinate x along the spatial axes from `axis` on becomes a x + b; axis
None fits any. It aligns the maps of fully convolutional nets, and sets the Crop layers that they
need (Long, Shelhamer and Darrell 2015, arXiv 1411.4038).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netgen.builder import Function, Top, layers

Map = tuple[Any, Any, Any]

#: layers that keep every pixel where it is
PASS_THROUGH_LAYERS = [
    "AbsVal",
    "BNLL",
    "BatchNorm",
    "Bias",
    "Dropout",
    "ELU",
    "Eltwise",
    "Exp",
    "LRN",
    "Log",
    "MVN",
    "PReLU",
    "Power",
    "ReLU",
    "Scale",
    "Sigmoid",
    "Split",
    "TanH",
    "Threshold",
]


class UndefinedMapException(Exception):
    """A layer through which no pixel can be followed, such as an InnerProduct."""


class AxisMismatchException(Exception):
    """Two maps along different axes, which cannot follow each other."""


def conv_params(fn: Function) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """(axis, stride, extent of the kernel, pad) of a convolution or pooling layer.

    Raises AssertionError for the fields of single axes (kernel_h, ...), which are not followed.
    """
    params = fn.params.get("convolution_param", fn.params)
    assert not {"kernel_h", "kernel_w", "pad_h", "pad_w", "stride_h", "stride_w"} & set(params), (
        "kernel_h, pad_h, stride_h and the like cannot be followed: use kernel_size, pad, stride"
    )
    kernel, stride, pad, dilation = (
        np.array(params.get(name, default), ndmin=1)
        for name, default in (("kernel_size", 1), ("stride", 1), ("pad", 0), ("dilation", 1))
    )
    return params.get("axis", 1), stride, dilation * (kernel - 1) + 1, pad


def crop_params(fn: Function) -> tuple[int, np.ndarray]:
    """(axis, offset) of a Crop layer."""
    params = fn.params.get("crop_param", fn.params)
    return params.get("axis", 2), np.array(params.get("offset", 0), ndmin=1)


def coord_map(fn: Function) -> Map:
    """The map from a layer's input to its output. Raises UndefinedMapException."""
    if fn.type_name in ("Convolution", "Pooling", "Im2col"):
        axis, stride, extent, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (extent - 1) / 2) / stride
    if fn.type_name == "Deconvolution":
        axis, stride, extent, pad = conv_params(fn)
        return axis, stride, (extent - 1) / 2 - pad
    if fn.type_name in PASS_THROUGH_LAYERS:
        return None, 1, 0
    if fn.type_name == "Crop":
        axis, offset = crop_params(fn)
        return axis - 1, 1, -offset  # a Crop counts its axis from the first that it cuts
    raise UndefinedMapException(f"no coordinates go through a {fn.type_name} layer")


def compose(base_map: Map, next_map: Map) -> Map:
    """base_map after next_map. Raises AxisMismatchException."""
    axis, a, b = base_map
    next_axis, next_a, next_b = next_map
    if axis is None:
        axis = next_axis
    elif next_axis not in (None, axis):
        raise AxisMismatchException(f"axis {axis} does not fit axis {next_axis}")
    return axis, a * next_a, a * next_b + b


def inverse(coord_map: Map) -> Map:
    """The map in the other direction."""
    axis, a, b = coord_map
    return axis, 1 / a, -b / a


def coord_map_from_to(top_from: Top, top_to: Top) -> Map:
    """The map from the coordinates of one Top to those of another.

    Both must come from a common Top through layers that can be followed. Raises RuntimeError
    where they do not.
    """
    identity: Map = (None, 1, 0)
    down = {top_from: identity}  # each Top above top_from: the map from it to top_from
    _climb(top_from, down)
    up = {top_to: identity}
    for top in _climb(top_to, up):
        if top in down:
            return compose(up[top], inverse(down[top]))
    raise RuntimeError("Could not compute map between tops; are they connected by spatial layers?")


def _climb(top: Top, maps: dict[Top, Map]) -> list[Top]:
    """Add to `maps` every Top above `top` with its map to it; the Tops, nearest first."""
    order = [top]
    for here in order:
        try:
            through = coord_map(here.fn)
        except UndefinedMapException:
            continue
        inputs = here.fn.inputs[:1] if here.fn.type_name == "Crop" else here.fn.inputs
        for above in inputs:
            if above not in maps:
                maps[above] = compose(maps[here], through)
                order.append(above)
    return order


def crop(top_from: Top, top_to: Top) -> Top:
    """A Crop layer that cuts `top_from` to what lies under `top_to`.

    Raises AssertionError where the two are scaled to each other, or where the offset is negative
    or no whole number, RuntimeError where they are not connected.
    """
    axis, a, b = coord_map_from_to(top_from, top_to)
    a, b = np.atleast_1d(a), np.atleast_1d(b)
    assert (a == 1).all(), f"scale mismatch on crop (a = {a})"
    assert (b <= 0).all(), f"cannot crop negative offset (b = {b})"
    assert (np.round(b) == b).all(), f"cannot crop noninteger offset (b = {b})"
    offset = [int(value) for value in -np.round(b)]
    return layers.Crop(top_from, top_to, crop_param={"axis": axis + 1, "offset": offset})
