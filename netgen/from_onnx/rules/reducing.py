"""Reductions and ArgMax."""

from __future__ import annotations

from math import prod

import numpy as np

from netgen.from_onnx.graph import Node
from netgen.from_onnx.rules.neuron import Row, power, run_row
from netgen.from_onnx.rules.pooling import pooled_globally
from netgen.from_onnx.rules.rule import Rule, require
from netgen.from_onnx.rules.shapes import along, axis_field, reshaped
from netgen.from_onnx.targets import Target
from netgen.from_onnx.writer import Blob, Writer
from netgen.schema import caffe_pb

#: {operator: (what is done to each value before, the core, and what is done to the result)}
_REDUCTIONS: dict[str, tuple[Row, str, Row]] = {
    "ReduceL1": ([("AbsVal", {})], "SUM", []),
    "ReduceL2": ([power(exponent=2)], "SUM", [power(exponent=0.5)]),
    "ReduceLogSum": ([], "SUM", [("Log", {})]),
    "ReduceMax": ([], "MAX", []),
    "ReduceMean": ([], "MEAN", []),
    "ReduceMin": ([power(-1)], "MAX", [power(-1)]),
    "ReduceSum": ([], "SUM", []),
    "ReduceSumSquare": ([power(exponent=2)], "SUM", []),
}
#: What Reduction does to each value by itself: {what is done before, and a sum: its operation}.
_WITHIN = {"AbsVal": "ASUM", "Power": "SUMSQ"}


class Reduce(Rule):
    """Over images a global Pooling, over the last axes Reduction, elsewhere one of two.

    Sums and means are fixed 1x1 convolutions whose channels are the axis, maxima a Pooling that
    is as high as the axis.
    """

    operators = tuple(_REDUCTIONS)

    def axes(self, node: Node) -> list[int]:
        axes, ndim = node.setting("axes", 1), len(node.shape())
        if not axes:
            return [] if node.get("noop_with_empty_axes") else list(range(ndim))
        return sorted(axis % ndim for axis in axes)

    def requires(self, node: Node, target: Target) -> None:
        require(0 not in node.shape(), "it reduces nothing")
        self.axes(node)

    def apply(self, node: Node, net: Writer) -> Blob:
        before, core, after = _REDUCTIONS[node.op]
        top, axes = net.input(node), self.axes(node)
        ndim = len(top.shape)
        reduction = core != "MAX" and net.target.has("Reduction")
        if axes and reduction and axes == list(range(axes[0], ndim)) and not (
            core == "MEAN" and axes[0] == 2 and ndim >= 4
        ):  # fmt: skip
            name = _WITHIN[before[0][0]] if before else core
            operation = getattr(caffe_pb.ReductionParameter, name)
            top = net.layer(
                "Reduction", [top], "_reduced" if after else "", operation=operation,
                **axis_field(axes[0], default=0),
            )  # fmt: skip
        else:
            top = run_row(net, top, before, "_each") if before else top
            top = self.reduced(net, top, axes, core, "_reduced" if after else "")
        top = run_row(net, top, after) if after else top
        return reshaped(net, top, node.out(), "_axes")

    def reduced(self, net: Writer, top: Blob, axes: list[int], core: str, suffix: str) -> Blob:
        """The SUM, MEAN or MAX over axes; other axes may be joined in the top."""
        ndim = len(top.shape)
        if axes == list(range(2, ndim)) and ndim >= 4 and core != "SUM":
            return pooled_globally(net, top, "MAX" if core == "MAX" else "AVE", suffix)
        while axes:
            first, end = axes[-1], axes[-1] + 1
            axes = axes[:-1]
            while axes and axes[-1] == first - 1:
                first, axes = axes[-1], axes[:-1]
            name = f"{suffix}_axis{first}" if axes else suffix
            shape = top.shape
            before, size, behind = (
                prod(shape[a:b]) for a, b in ((0, first), (first, end), (end, ndim))
            )
            if core == "MAX":
                top = reshaped(net, top, (before, 1, size, behind), f"{name}_image")
                top = net.layer(
                    "Pooling", [top], name, pool=caffe_pb.PoolingParameter.MAX,
                    kernel_h=size, kernel_w=1,
                )  # fmt: skip
            else:
                value = 1 if core == "SUM" else 1 / size
                if end - first > 1:
                    top = reshaped(net, top, (before, size, behind), f"{name}_joined")
                axis = first if end - first == 1 else 1
                top = along(net, top, axis, np.full((1, size), value), name)
            if axes:
                one = (*shape[:first], *[1] * (end - first), *shape[end:])
                top = reshaped(net, top, one, f"{name}_axes")
        return top


class ArgMax(Rule):
    """The place of the largest value on an axis.

    Of equal values Caffe takes the last, and ONNX, unless it is told otherwise, the first: the
    values are put in the opposite order by a fixed product, and the place is counted from the end.
    """

    operators = ("ArgMax", "ArgMin")

    def apply(self, node: Node, net: Writer) -> Blob:
        top, axis = net.input(node), node.axis(0)
        size, last = node.shape()[axis], node.get("select_last_index", 0)
        sign = 1 if node.op == "ArgMax" else -1
        if last and sign < 0:
            top = run_row(net, top, [power(-1)], "_minus")
        elif not last:
            top = along(net, top, axis, sign * np.eye(size)[::-1], "_backwards")
        top = net.layer("ArgMax", [top], "" if last else "_from_end", axis=axis)
        if not last:
            top = run_row(net, top, [power(-1, size - 1)])
        return reshaped(net, top, node.out(), "_axes")
