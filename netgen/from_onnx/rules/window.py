"""Windows: kernels, strides, dilations and paddings of convolutions and poolings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netgen.from_onnx.errors import Refusal
from netgen.from_onnx.graph import Node, Shape


def per_axis(node: Node, name: str, ndim: int) -> Shape:
    """The attribute `strides` or `dilations`, one for each spatial axis; 1 by default."""
    values = node.get(name) or [1] * ndim
    return tuple(int(value) for value in values)


def pads(node: Node, kernel: Sequence[int]) -> tuple[Shape, Shape]:
    """The zeros before and behind each spatial axis, auto_pad worked out.

    With SAME_UPPER and SAME_LOWER the output has ceil(size / stride) places, and an odd zero is
    behind or before. Raises Refusal for another auto_pad.
    """
    ndim = len(kernel)
    auto = node.get("auto_pad", "NOTSET")
    if auto == "NOTSET":
        values = [int(value) for value in node.get("pads") or [0] * (2 * ndim)]
        return tuple(values[:ndim]), tuple(values[ndim:])
    if auto == "VALID":
        return (0,) * ndim, (0,) * ndim
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise Refusal(f"auto_pad {auto} is not one of ONNX's")
    strides, dilations = per_axis(node, "strides", ndim), per_axis(node, "dilations", ndim)
    first, last = [], []
    for size, k, stride, dilation in zip(node.shape()[2:], kernel, strides, dilations, strict=True):
        extent = dilation * (k - 1) + 1
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        less, more = total // 2, total - total // 2
        first.append(less if auto == "SAME_UPPER" else more)
        last.append(more if auto == "SAME_UPPER" else less)
    return tuple(first), tuple(last)


def window_fields(fields: dict[str, tuple[Sequence[int], int | None]]) -> dict[str, Any]:
    """The fields of a window as a person writes them.

    fields: {"kernel_size" | "pad" | "stride" | "dilation": (values of each axis, the default)}.
    One value for equal axes; *_h and *_w for two that differ; a list for other numbers of axes;
    nothing for the default.
    """
    found: dict[str, Any] = {}
    for name, (values, default) in fields.items():
        if len(set(values)) == 1:
            if values[0] != default:
                found[name] = values[0]
        elif len(values) == 2 and name != "dilation":
            short = name.removesuffix("_size")
            found[f"{short}_h"], found[f"{short}_w"] = values
        else:
            found[name] = list(values)
    return found
