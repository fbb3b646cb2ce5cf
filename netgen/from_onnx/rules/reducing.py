"""Reductions and ArgMax."""

from __future__ import annotations

import numpy as np

from netgen.from_onnx.graph import Node
from netgen.from_onnx.rules.neuron import power, run_row
from netgen.from_onnx.rules.pooling import pooled_globally
from netgen.from_onnx.rules.rule import Rule, require
from netgen.from_onnx.rules.shapes import axis_field, fixed_convolution, reshaped
from netgen.from_onnx.targets import Target
from netgen.from_onnx.writer import Blob, Writer
from netgen.schema import caffe_pb


class Reduce(Rule):
    """Over images by a global Pooling, over channels by a fixed 1x1 convolution, else Reduction.

    Reduction reduces all axes from one on.
    """

    operators = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceL1", "ReduceL2", "ReduceSumSquare")

    def axes(self, node: Node) -> list[int]:
        axes, ndim = node.setting("axes", 1), len(node.shape())
        if not axes:
            return [] if node.get("noop_with_empty_axes") else list(range(ndim))
        return sorted(axis % ndim for axis in axes)

    def is_images(self, node: Node) -> bool:
        """Whether it is a mean or maximum over all axes of the images."""
        ndim = len(node.shape())
        whole = self.axes(node) == list(range(2, ndim)) and ndim >= 4
        return node.op in ("ReduceMean", "ReduceMax") and whole

    def is_channels(self, node: Node) -> bool:
        linear = node.op in ("ReduceMean", "ReduceSum")
        return linear and self.axes(node) == [1] and len(node.shape()) == 4

    def requires(self, node: Node, target: Target) -> None:
        axes, ndim = self.axes(node), len(node.shape())
        require(axes, "it reduces nothing")
        trailing = axes == list(range(axes[0], ndim)) and node.op != "ReduceMax"
        require(
            trailing or self.is_images(node) or self.is_channels(node),
            f"it reduces the axes {axes} of {ndim}, and Reduction all from one on"
            + (" (not their maximum)" if node.op == "ReduceMax" else ""),
        )

    def apply(self, node: Node, net: Writer) -> Blob:
        bottom, axes = net.input(node), self.axes(node)
        if self.is_images(node):
            top = pooled_globally(net, bottom, "MAX" if node.op == "ReduceMax" else "AVE")
        elif self.is_channels(node):
            channels = bottom.shape[1]
            value = 1 if node.op == "ReduceSum" else 1 / channels
            top = fixed_convolution(net, bottom, np.full((1, channels, 1, 1), value), kernel_size=1)
        else:
            name = {"ReduceMean": "MEAN", "ReduceSum": "SUM", "ReduceL1": "ASUM"}
            operation = getattr(caffe_pb.ReductionParameter, name.get(node.op, "SUMSQ"))
            root = node.op == "ReduceL2"
            top = net.layer(
                "Reduction", [bottom], "_squares" if root else "", operation=operation,
                **axis_field(axes[0], default=0),
            )  # fmt: skip
            if root:
                top = run_row(net, top, [power(exponent=0.5)])
        return reshaped(net, top, node.out(), "_axes")


class ArgMax(Rule):
    """The place of the largest value on an axis.

    Of equal values Caffe takes the last, and ONNX, unless it is told otherwise, the first: the
    values are put in the opposite order by a fixed product, and the place is counted from the end.
    """

    operators = ("ArgMax",)

    def requires(self, node: Node, target: Target) -> None:
        axis, ndim = node.axis(0), len(node.shape())
        last = node.get("select_last_index", 0)
        require(
            last or axis == ndim - 1 or (axis == 1 and ndim > 2),
            f"of equal values Caffe's ArgMax takes the last, and axis {axis} of {ndim} cannot be "
            "turned around",
        )

    def apply(self, node: Node, net: Writer) -> Blob:
        top, axis = net.input(node), node.axis(0)
        size, ndim = node.shape()[axis], len(node.shape())
        if node.get("select_last_index", 0):
            return reshaped(net, net.layer("ArgMax", [top], axis=axis), node.out(), "_axes")
        backwards = np.eye(size)[::-1]
        if axis == 1 and ndim > 2:
            weight = backwards.reshape(size, size, *[1] * (ndim - 2))
            top = fixed_convolution(net, top, weight, "_backwards", kernel_size=1)
        else:
            top = net.layer(
                "InnerProduct", [top], "_backwards", weights=[backwards], frozen=True,
                num_output=size, bias_term=False, **axis_field(axis),
            )  # fmt: skip
        top = net.layer("ArgMax", [top], "_from_end", axis=axis)
        return reshaped(net, run_row(net, top, [power(-1, size - 1)]), node.out(), "_axes")
