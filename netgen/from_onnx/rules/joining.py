"""Concat, Split, Slice, Gather: Concat, Slice, Embed."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from netgen.from_onnx.graph import Node
from netgen.from_onnx.rules.rule import Rule, require
from netgen.from_onnx.rules.shapes import (
    axis_field,
    cut,
    fixed_convolution,
    reshaped,
    selected,
)
from netgen.from_onnx.targets import Target
from netgen.from_onnx.writer import Blob, Writer


class Concat(Rule):
    operators = ("Concat",)
    moves_only = True

    def apply(self, node: Node, net: Writer) -> Blob:
        blobs = [net.input(node, i) for i in range(len(node.inputs))]
        if len(blobs) == 1:
            return blobs[0]
        return net.layer("Concat", blobs, **axis_field(node.axis(1, len(blobs[0].shape))))


class Split(Rule):
    """Slice; parts that nobody reads are silenced."""

    operators = ("Split",)
    moves_only = True

    def requires(self, node: Node, target: Target) -> None:
        for i in range(len(node.outputs)):
            require(0 not in node.out(i), "a part of it is empty")

    def apply(self, node: Node, net: Writer) -> list[Blob]:
        bottom, axis = net.input(node), node.axis(0)
        sizes = [node.out(i)[axis] for i in range(len(node.outputs))]
        if len(sizes) == 1:
            return [bottom]
        points = {} if len(set(sizes)) == 1 else {"slice_point": list(accumulate(sizes))[:-1]}
        suffixes = [f"_{i}" for i in range(1, len(sizes) + 1)]
        parts = net.layers("Slice", [bottom], suffixes, **axis_field(axis), **points)
        unused = [part for i, part in enumerate(parts) if not node.used(i)]
        if unused:
            net.silence(unused)
        return parts


class Slice(Rule):
    """A Slice for each axis that is cut; every n-th pixel by a fixed convolution.

    Places in other steps, or backwards, are put together again.
    """

    operators = ("Slice",)
    moves_only = True

    def ranges(self, node: Node) -> list[tuple[int, range]]:
        """(axis, the places that stay) of each axis that is cut."""
        starts, ends = node.setting("starts", 1), node.setting("ends", 2)
        axes = node.setting("axes", 3) or list(range(len(starts)))
        steps = node.setting("steps", 4) or [1] * len(starts)
        shape = node.shape()
        found = []
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            axis = axis % len(shape)
            places = range(shape[axis])[start:end:step]
            if places != range(shape[axis]):
                found.append((axis, places))
        return sorted(found, key=lambda pair: pair[0])

    def requires(self, node: Node, target: Target) -> None:
        for _, places in self.ranges(node):
            require(len(places), "nothing is left")

    def apply(self, node: Node, net: Writer) -> Blob:
        top, strides = net.input(node), [1, 1]
        ranges = self.ranges(node)
        images = [
            axis
            for axis, r in ranges
            if r.step > 1 and len(r) > 1 and axis >= 2 and len(top.shape) == 4
        ]
        left = len(ranges) + bool(images)
        for axis, places in ranges:
            left -= 1
            suffix = f"_axis{axis}" if left else ""
            if axis in images:
                strides[axis - 2] = places.step
                top = cut(net, top, axis, places[0], top.shape[axis], suffix)
            else:
                top = selected(net, top, axis, places, suffix)
        return strided(net, top, strides)


def strided(net: Writer, blob: Blob, strides: list[int], suffix: str = "") -> Blob:
    """Every n-th row and column of the images."""
    if strides == [1, 1]:
        return blob
    channels = blob.shape[1]
    stride = {"stride": strides[0]}
    if strides[0] != strides[1]:
        stride = {"stride_h": strides[0], "stride_w": strides[1]}
    weight = np.ones((channels, 1, 1, 1))
    return fixed_convolution(net, blob, weight, suffix, group=channels, kernel_size=1, **stride)


class Gather(Rule):
    """Places of an axis by a Slice and a Concat; rows of a learned table by Embed."""

    operators = ("Gather",)
    moves_only = True

    def requires(self, node: Node, target: Target) -> None:
        if node.constant(0) is not None:
            require(node.weights(0, "table").ndim == 2 and not node.get("axis", 0),
                    "its table has other axes than Embed's (entries, values)")  # fmt: skip
            return
        index = node.constant(1)
        require(index is not None, "which places it takes depends on the net's input")

    def apply(self, node: Node, net: Writer) -> Blob:
        if node.constant(0) is not None:
            table = node.weights(0, "table")
            return net.layer(
                "Embed", [net.input(node, 1)], weights=[table], input_dim=table.shape[0],
                num_output=table.shape[1], bias_term=False,
            )  # fmt: skip
        bottom, axis = net.input(node), node.axis(0)
        index = np.asarray(node.constant(1))
        places = [int(place) % bottom.shape[axis] for place in index.ravel()]
        top = selected(net, bottom, axis, places, "" if index.ndim == 1 else "_part")
        return reshaped(net, top, node.out())
