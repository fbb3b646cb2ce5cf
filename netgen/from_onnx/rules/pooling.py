"""MaxPool, AveragePool and the global ones, with Caffe's rounding and divisors.

Caffe rounds the size of the output up unless it is told otherwise, pads both sides alike, and
counts the padding in the divisor of a mean. What that makes different from ONNX is mended with
equal numbers: `round_mode: FLOOR`, or how else the target says it, where it can, else what is too
much is cut off the output; a divisor that differs becomes a fixed factor for each place.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def _of_two_axes(values: Sequence[int], fill: int) -> Shape:
    """The values of one or two axes as those of height and width."""
    return (*((fill,) * (2 - len(values))), *values)


class _Pool(Rule):
    """What both poolings share. An image of one axis becomes one of height 1."""

    pool: str

    def window(self, node: Node) -> tuple[Shape, Shape, Shape, Shape, Shape]:
        """Kernel, stride, padding before and behind, and the output, of height and width."""
        kernel = [int(k) for k in node.get("kernel_shape")]
        first, last = pads(node, kernel)
        stride = per_axis(node, "strides", len(kernel))
        return (
            _of_two_axes(kernel, 1),
            _of_two_axes(stride, 1),
            _of_two_axes(first, 0),
            _of_two_axes(last, 0),
            _of_two_axes(node.out()[2:], 1),
        )

    def requires(self, node: Node, target: Target) -> None:
        require(len(node.shape()) in (3, 4), f"it has {len(node.shape()) - 2} spatial axes")
        ndim = len(node.shape()) - 2
        require(set(per_axis(node, "dilations", ndim)) == {1}, "Caffe's Pooling has no dilation")
        require(not node.used(1), "its indices are read, and Caffe has the mask of a MAX alone")
        self.fields(node, target)

    def fields(self, node: Node, target: Target) -> tuple[dict[str, Any], Shape]:
        """The fields of the Pooling, and the size of its output. Raises Refusal."""
        kernel, stride, first, _, out = self.window(node)
        bottom = (*node.shape()[:2], *_of_two_axes(node.shape()[2:], 1))
        fields = {
            "pool": getattr(caffe_pb.PoolingParameter, self.pool),
            **window_fields(
                {"kernel_size": (kernel, None), "stride": (stride, 1), "pad": (first, 0)}
            ),
        }
        sizes = []
        for mode in [{}, *([dict(target.floor)] if target.floor else [])]:
            layer = caffe_pb.LayerParameter(type="Pooling")
            set_parameters(layer, {**fields, **mode})
            param = layer.pooling_param
            try:
                sizes.append(({**fields, **mode}, caffe_graph.pool_geometry(param, bottom).out))
            except caffe_graph.NetError as error:
                raise Refusal(str(error)) from None
            if sizes[-1][1] == out:
                return sizes[-1]
        most, size = sizes[0]
        if any(have < want for have, want in zip(size, out, strict=True)):
            raise Refusal(
                f"Caffe's pooling gives {size[0]} x {size[1]} places where ONNX has "
                f"{out[0]} x {out[1]}"
            )
        return most, size

    def apply(self, node: Node, net: Writer) -> Blob:
        bottom, out = net.input(node), node.out()
        if len(bottom.shape) == 3:
            bottom = reshaped(net, bottom, (*bottom.shape[:2], 1, bottom.shape[2]), "_image")
        fields, _ = self.fields(node, net.target)
        top = net.layer("Pooling", [bottom], **fields)
        for axis, size, suffix in zip((2, 3), _of_two_axes(out[2:], 1), ("_rows", "_columns"),
                                      strict=True):  # fmt: skip
            top = cut(net, top, axis, 0, size, suffix)
        return reshaped(net, self.mended(node, net, top), out, "_line")

    def mended(self, node: Node, net: Writer, top: Blob) -> Blob:
        """The output, once it is the same as ONNX's."""
        return top


class MaxPool(_Pool):
    operators = ("MaxPool",)
    pool = "MAX"


class AveragePool(_Pool):
    operators = ("AveragePool",)
    pool = "AVE"

    def mended(self, node: Node, net: Writer, top: Blob) -> Blob:
        kernel, stride, first, last, out = self.window(node)
        sizes = _of_two_axes(node.shape()[2:], 1)
        counts = bool(node.get("count_include_pad", 0))
        onnx, caffe = np.ones(1), np.ones(1)
        for axis in (0, 1):
            start = np.arange(out[axis]) * stride[axis] - first[axis]
            end = start + kernel[axis]
            size = sizes[axis]
            # ONNX: what of the window lies in the image, or in the image with its padding.
            inside = (
                np.minimum(end, size + last[axis]) - start
                if counts
                else np.minimum(end, size) - np.maximum(start, 0)
            )
            onnx = np.multiply.outer(onnx, inside)
            padded = np.minimum(end, size + first[axis]) - start
            caffe = np.multiply.outer(caffe, padded)
        factors = (caffe / onnx)[0]
        if np.array_equal(factors, np.ones_like(factors)):
            return top
        return net.layer(
            "Scale", [top], "_divisor", weights=[factors], frozen=True, in_place=True,
            axis=2, num_axes=2,
        )  # fmt: skip


class GlobalPool(Rule):
    operators = ("GlobalAveragePool", "GlobalMaxPool")

    def requires(self, node: Node, target: Target) -> None:
        require(len(node.shape()) >= 3, "it has no spatial axes")

    def apply(self, node: Node, net: Writer) -> Blob:
        pool = "MAX" if node.op == "GlobalMaxPool" else "AVE"
        return reshaped(net, pooled_globally(net, net.input(node), pool), node.out(), "_axes")


def pooled_globally(net: Writer, blob: Blob, pool: str) -> Blob:
    """The mean (AVE) or maximum (MAX) of each channel: (N, C, 1, 1)."""
    channels, image = blob.shape[:2], blob.shape[2:]
    if len(image) != 2:
        flat = (*channels, 1, int(np.prod(image)))
        blob = reshaped(net, blob, flat, "_image")
    method = getattr(caffe_pb.PoolingParameter, pool)
    return net.layer("Pooling", [blob], pool=method, global_pooling=True)
