"""Conv and ConvTranspose.

Caffe pads both sides of an axis alike. Where ONNX does not, the kernel grows by zeros on the side
that has less padding, which gives the same numbers in every Caffe, without another layer. A transposed convolution is
cut off where the other is padded, and its kernel grows in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netgen.from_onnx.graph import Node, Shape
from netgen.from_onnx.rules.rule import Rule, require
from netgen.from_onnx.rules.window import pads, per_axis, window_fields
from netgen.from_onnx.targets import Target
from netgen.from_onnx.writer import Blob, Writer


def _grown(
    weight: np.ndarray, before: Sequence[int], behind: Sequence[int], dilation: Shape
) -> np.ndarray:
    """The weight with zeros before and behind its kernel, in pixels of the image."""
    sides = [(b // d, e // d) for b, e, d in zip(before, behind, dilation, strict=True)]
    return np.pad(weight, [(0, 0), (0, 0), *sides])


class _Windowed(Rule):
    """What both convolutions share."""

    kind: str

    def sides(self, node: Node) -> tuple[Shape, Shape]:
        """The padding of a convolution, or what is cut off a transposed one, of each side."""
        return pads(node, node.shape(1)[2:])

    def requires(self, node: Node, target: Target) -> None:
        weight = node.weights(1, "weight")
        if node.has(2):
            node.weights(2, "bias")
        first, last = self.sides(node)
        require(weight.ndim >= 3, f"it has {weight.ndim - 2} spatial axes")
        dilation = per_axis(node, "dilations", weight.ndim - 2)
        for b, e, d in zip(first, last, dilation, strict=True):
            require(max(b, e) >= 0, f"its padding is negative ({b} and {e})")
            require(
                (b - e) % d == 0,
                f"the zeros before ({b}) and behind ({e}) differ by no multiple of the dilation",
            )

    def apply(self, node: Node, net: Writer) -> Blob:
        weight, (first, last) = node.weights(1, "weight"), self.sides(node)
        ndim = weight.ndim - 2
        dilation = per_axis(node, "dilations", ndim)
        both = [max(pair) for pair in zip(first, last, strict=True)]
        before, behind = (
            tuple(b - side for b, side in zip(both, sides, strict=True)) for sides in (first, last)
        )
        weight = _grown(weight, before, behind, dilation)
        group = int(node.get("group", 1))
        outputs = weight.shape[0] if self.kind == "Convolution" else weight.shape[1] * group
        bias = [node.weights(2, "bias")] if node.has(2) else []
        return net.layer(
            self.kind,
            [net.input(node)],
            weights=[weight, *bias],
            num_output=outputs,
            **({} if bias else {"bias_term": False}),
            **window_fields(
                {
                    "kernel_size": (weight.shape[2:], None),
                    "pad": (both, 0),
                    "stride": (per_axis(node, "strides", ndim), 1),
                    "dilation": (dilation, 1),
                }
            ),
            **({"group": group} if group > 1 else {}),
        )


class Conv(_Windowed):
    operators = ("Conv",)
    kind = "Convolution"


class ConvTranspose(_Windowed):
    """The output has stride (size - 1) + extent places, less what is cut off each side."""

    operators = ("ConvTranspose",)
    kind = "Deconvolution"

    def sides(self, node: Node) -> tuple[Shape, Shape]:
        kernel, ndim = node.shape(1)[2:], len(node.shape()) - 2
        stride, dilation = per_axis(node, "strides", ndim), per_axis(node, "dilations", ndim)
        extra = node.get("output_padding") or [0] * ndim
        full = [
            s * (size - 1) + d * (k - 1) + 1
            for size, k, s, d in zip(node.shape()[2:], kernel, stride, dilation, strict=True)
        ]
        auto = node.get("auto_pad", "NOTSET")
        if node.get("output_shape") or auto in ("SAME_UPPER", "SAME_LOWER"):
            # What is cut off is told by the output; see ONNX's ConvTranspose.
            wanted = node.out()[2:]
            totals = [f + e - w for f, e, w in zip(full, extra, wanted, strict=True)]
            halves = [(t // 2, t - t // 2) for t in totals]
            if auto != "SAME_UPPER":
                halves = [(more, less) for less, more in halves]
            first, last = (tuple(half[i] for half in halves) for i in (0, 1))
        else:
            first, last = pads(node, kernel)
        return first, tuple(side - more for side, more in zip(last, extra, strict=True))
