"""MaxPool, AveragePool and the global ones, with Caffe's rounding and divisors.

Caffe rounds the size of the output up unless it is told otherwise, pads both sides alike, and
counts the padding in the divisor of a mean. What that makes different from ONNX is mended with
equal numbers: `round_mode: FLOOR`, or how else the target says it, where it can, else what is too
much is cut off the output; a divisor that differs becomes a fixed factor for each place.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np

from netgen import graph as caffe_graph
from netgen.builder import set_parameters
from netgen.from_onnx.errors import Refusal
from netgen.from_onnx.graph import Node, Shape
from netgen.from_onnx.rules.rule import Rule, require
from netgen.from_onnx.rules.shapes import cut, reshaped
from netgen.from_onnx.rules.window import pads, per_axis, window_fields
from netgen.from_onnx.targets import Target
from netgen.from_onnx.writer import Blob, Writer
from netgen.schema import caffe_pb


@dataclass(frozen=True)
class _Window:
    """A pooling over height and width: what of it is one number for each of the two axes.

    size: of the image; first, last: the padding before and behind; out: of the output. counts:
    whether the divisor of a mean counts the padding.
    """

    size: Shape
    kernel: Shape
    stride: Shape
    first: Shape
    last: Shape
    out: Shape
    counts: bool


def _windows(node: Node) -> list[_Window]:
    """What is pooled over one after another.

    An image of one axis has height 1. One of three axes is pooled over its last two, and then
    over the first: of maxima and means of rectangles it makes those of boxes.
    """
    kernel = [int(k) for k in node.get("kernel_shape")]
    first, last = pads(node, kernel)
    stride = per_axis(node, "strides", len(kernel))
    axes = list(zip(node.shape()[2:], kernel, stride, first, last, node.out()[2:], strict=True))
    pairs = [(_untouched(1), *axes)] if len(axes) == 1 else [tuple(axes[-2:])]
    if len(axes) == 3:
        pairs.append((axes[0], _untouched(prod(node.out()[3:]))))
    counts = bool(node.get("count_include_pad", 0))
    return [_Window(*zip(*pair, strict=True), counts) for pair in pairs]


def _untouched(size: int) -> tuple[int, ...]:
    """What _Window has of an axis that is not pooled over."""
    return (size, 1, 1, 0, 0, size)


class _Pool(Rule):
    """What both poolings share."""

    pool: str

    def requires(self, node: Node, target: Target) -> None:
        ndim = len(node.shape()) - 2
        require(ndim in (1, 2, 3), f"it has {ndim} spatial axes")
        require(set(per_axis(node, "dilations", ndim)) == {1}, "Caffe's Pooling has no dilation")
        require(not node.used(1), "its indices are read, and Caffe has the mask of a MAX alone")
        for window in _windows(node):
            self.fields(window, target)

    def fields(self, window: _Window, target: Target) -> tuple[dict[str, Any], Shape, Shape]:
        """The fields of a Pooling, its padding, and how many places of its output come first.

        Caffe pads both sides alike: where it has to be more than ONNX has before the image, whole
        strides of it, so many places are in front of those that are wanted. Raises Refusal.
        """
        choices = [
            range(first, max(kernel, first + 1), stride)
            for first, kernel, stride in zip(
                window.first, window.kernel, window.stride, strict=True
            )
        ]
        refusal = Refusal("")
        found = None
        for pad in sorted(product(*choices), key=sum):
            for mode in [{}, *([dict(target.floor)] if target.floor else [])]:
                fields = {
                    "pool": getattr(caffe_pb.PoolingParameter, self.pool),
                    **window_fields(
                        {
                            "kernel_size": (window.kernel, None),
                            "stride": (window.stride, 1),
                            "pad": (pad, 0),
                        }
                    ),
                    **mode,
                }
                layer = caffe_pb.LayerParameter(type="Pooling")
                set_parameters(layer, fields)
                try:
                    geometry = caffe_graph.pool_geometry(layer.pooling_param, (1, 1, *window.size))
                except caffe_graph.NetError as error:
                    refusal = Refusal(str(error))
                    continue
                before = tuple(
                    (p - f) // s for p, f, s in zip(pad, window.first, window.stride, strict=True)
                )
                enough = [
                    have - skipped - want
                    for have, skipped, want in zip(geometry.out, before, window.out, strict=True)
                ]
                if not any((*enough, *before)):
                    return fields, pad, before
                if found is None and min(enough) >= 0:
                    found = fields, pad, before
                elif found is None:
                    refusal = Refusal(
                        f"Caffe's pooling gives {geometry.out[0]} x {geometry.out[1]} places where "
                        f"ONNX has {window.out[0]} x {window.out[1]}"
                    )
        if found is None:
            raise refusal
        return found

    def apply(self, node: Node, net: Writer) -> Blob:
        top, shape = net.input(node), node.shape()
        windows = _windows(node)
        lead = (shape[0], shape[1])
        if len(shape) == 5:
            planes = (shape[0], shape[1] * shape[2], *shape[3:])
            top = reshaped(net, top, planes, "_as_planes")
            top = self.pooled(net, top, windows[0], "_planes")
            rest = prod(windows[0].out)
            top = reshaped(net, top, (*lead, shape[2], rest), "_as_lines")
        elif len(shape) == 3:
            top = reshaped(net, top, (*lead, 1, shape[2]), "_image")
        top = self.pooled(net, top, windows[-1], "")
        return reshaped(net, top, node.out(), "_line")

    def pooled(self, net: Writer, blob: Blob, window: _Window, suffix: str) -> Blob:
        """The Pooling, and what gives it ONNX's numbers at ONNX's places."""
        fields, pad, before = self.fields(window, net.target)
        top = net.layer("Pooling", [blob], suffix, **fields)
        for axis, name in ((0, "_rows"), (1, "_columns")):
            end = before[axis] + window.out[axis]
            top = cut(net, top, axis + 2, before[axis], end, f"{suffix}{name}")
        return self.mended(net, top, window, pad, suffix)

    def mended(self, net: Writer, top: Blob, window: _Window, pad: Shape, suffix: str) -> Blob:
        """The output, once its values are ONNX's; pad: Caffe's padding."""
        return top


class MaxPool(_Pool):
    operators = ("MaxPool",)
    pool = "MAX"


class AveragePool(_Pool):
    operators = ("AveragePool",)
    pool = "AVE"

    def mended(self, net: Writer, top: Blob, window: _Window, pad: Shape, suffix: str) -> Blob:
        onnx, caffe = np.ones(1), np.ones(1)
        for axis in (0, 1):
            start = np.arange(window.out[axis]) * window.stride[axis] - window.first[axis]
            end = start + window.kernel[axis]
            size = window.size[axis]
            # ONNX: what of the window lies in the image, or in the image with its padding.
            inside = (
                np.minimum(end, size + window.last[axis]) - start
                if window.counts
                else np.minimum(end, size) - np.maximum(start, 0)
            )
            onnx = np.multiply.outer(onnx, inside)
            padded = np.minimum(end, size + pad[axis]) - start
            caffe = np.multiply.outer(caffe, padded)
        factors = (caffe / onnx)[0]
        if np.array_equal(factors, np.ones_like(factors)):
            return top
        return net.layer(
            "Scale", [top], f"{suffix}_divisor", weights=[factors], frozen=True, in_place=True,
            axis=2, num_axes=2,
        )  # fmt: skip


class GlobalPool(Rule):
    operators = ("GlobalAveragePool", "GlobalMaxPool")

    def requires(self, node: Node, target: Target) -> None:
        require(len(node.shape()) >= 3, "it has no spatial axes")

    def apply(self, node: Node, net: Writer) -> Blob:
        pool = "MAX" if node.op == "GlobalMaxPool" else "AVE"
        return reshaped(net, pooled_globally(net, net.input(node), pool), node.out(), "_axes")


def pooled_globally(net: Writer, blob: Blob, pool: str, suffix: str = "") -> Blob:
    """The mean (AVE) or maximum (MAX) of each channel: (N, C, 1, 1)."""
    channels, image = blob.shape[:2], blob.shape[2:]
    if len(image) != 2:
        flat = (*channels, 1, int(np.prod(image)))
        blob = reshaped(net, blob, flat, f"{suffix}_image")
    method = getattr(caffe_pb.PoolingParameter, pool)
    return net.layer("Pooling", [blob], suffix, pool=method, global_pooling=True)
