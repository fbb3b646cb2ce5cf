"""The same values under another shape, or at other places."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from netgen.from_onnx.graph import Node
from netgen.from_onnx.rules.neuron import with_constant
from netgen.from_onnx.rules.rule import Rule, require
from netgen.from_onnx.rules.shapes import (
    along,
    cut,
    exchanges,
    fixed_convolution,
    permuted,
    require_order,
    reshaped,
    selected,
    tiled,
)
from netgen.from_onnx.targets import Target
from netgen.from_onnx.writer import Blob, Writer


class Reshape(Rule):
    """Whatever gives its values another shape and keeps their order: Flatten or Reshape."""

    operators = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
    moves_only = True

    def requires(self, node: Node, target: Target) -> None:
        require(prod(node.out()) == prod(node.shape()), "it changes the number of values")

    def apply(self, node: Node, net: Writer) -> Blob:
        return reshaped(net, net.input(node), node.out())


class Transpose(Rule):
    """A Reshape where only axes of size 1 change places, else Permute, or fixed products."""

    operators = ("Transpose",)
    moves_only = True

    def order(self, node: Node) -> list[int]:
        return list(node.get("perm") or range(len(node.shape()))[::-1])

    def only_ones_move(self, node: Node) -> bool:
        return not exchanges(node.shape(), self.order(node))

    def requires(self, node: Node, target: Target) -> None:
        require_order(node.shape(), self.order(node), target)

    def apply(self, node: Node, net: Writer) -> Blob:
        return permuted(net, net.input(node), self.order(node))


class Expand(Rule):
    operators = ("Expand",)
    moves_only = True

    def apply(self, node: Node, net: Writer) -> Blob:
        return tiled(net, net.input(node), node.out())


class Tile(Rule):
    operators = ("Tile",)
    moves_only = True

    def requires(self, node: Node, target: Target) -> None:
        require(0 not in node.out(), "nothing is left")

    def apply(self, node: Node, net: Writer) -> Blob:
        top = net.input(node)
        for axis, want in enumerate(node.out()):
            if top.shape[axis] != want:
                tiles = want // top.shape[axis]
                top = net.layer("Tile", [top], f"_axis{axis}", axis=axis, tiles=tiles)
        return top


class ChannelOrder(Rule):
    """Channels in another order, which find_moves finds in what ShuffleNet's exports say.

    It is ShuffleChannel where the target has that, else a fixed 1x1 convolution.
    """

    operators = ("ChannelOrder",)

    def apply(self, node: Node, net: Writer) -> Blob:
        order = node.get("order")
        channels = len(order)
        group = channels // order[1] if channels > 1 and order[1] else 1
        shuffled = np.arange(channels).reshape(group, -1).T.ravel()
        if net.target.knows("ShuffleChannel") and order == shuffled.tolist():
            return net.layer("ShuffleChannel", [net.input(node)], group=group)
        weight = np.eye(channels)[order].reshape(channels, channels, 1, 1)
        return fixed_convolution(net, net.input(node), weight, kernel_size=1)


class PixelOrder(Rule):
    """Channels that become blocks of pixels: a fixed Deconvolution."""

    operators = ("DepthToSpace", "PixelOrder")

    def order(self, node: Node) -> np.ndarray:
        """(C, block, block): the channel of each pixel of a block."""
        if node.op == "PixelOrder":
            return np.asarray(node.get("order"))
        block = int(node.get("blocksize"))
        channels = np.arange(node.shape()[1])
        if node.get("mode", "DCR") == "DCR":
            return channels.reshape(block, block, -1).transpose(2, 0, 1)
        return channels.reshape(-1, block, block)

    def apply(self, node: Node, net: Writer) -> Blob:
        order, channels = self.order(node), node.shape()[1]
        weight = (order == np.arange(channels)[:, None, None, None]).astype(np.float32)
        block = order.shape[1]
        return fixed_convolution(
            net, net.input(node), weight, kind="Deconvolution", kernel_size=block, stride=block
        )


class SpaceToDepth(Rule):
    """Blocks of pixels that become channels: a fixed convolution."""

    operators = ("SpaceToDepth",)

    def apply(self, node: Node, net: Writer) -> Blob:
        block, channels = int(node.get("blocksize")), node.shape()[1]
        pixels = np.eye(block * block).reshape(-1, 1, 1, block, block)
        same = np.eye(channels).reshape(1, channels, channels, 1, 1)
        weight = pixels * same  # (pixels of a block, channels, ...)
        if node.get("mode", "DCR") != "DCR":
            weight = weight.swapaxes(0, 1)
        weight = weight.reshape(-1, channels, block, block)
        return fixed_convolution(net, net.input(node), weight, kernel_size=block, stride=block)


class Pad(Rule):
    """Values around what is there: zeros by fixed products, the border's or mirrored ones by Slice.

    Most zeros around images are taken in by what reads them.
    """

    operators = ("Pad",)

    def requires(self, node: Node, target: Target) -> None:
        mode = node.get("mode", "constant")
        require(mode in ("constant", "edge", "reflect", "wrap"), f"its mode is {mode}")
        before, behind = paddings(node)
        for size, b, e in zip(node.shape(), before, behind, strict=True):
            require(size + min(b, 0) + min(e, 0) > 0, "it cuts everything off")
        _pad_value(node)

    def apply(self, node: Node, net: Writer) -> Blob:
        before, behind = paddings(node)
        mode, top = node.get("mode", "constant"), net.input(node)
        for axis, (b, e) in enumerate(zip(before, behind, strict=True)):
            end = top.shape[axis] + min(e, 0)
            top = cut(net, top, axis, max(-b, 0), end, f"_cut{axis}")
        before, behind = ([max(side, 0) for side in sides] for sides in (before, behind))
        inside = top.shape
        padded = [axis for axis in range(len(inside)) if before[axis] or behind[axis]]
        value = _pad_value(node) if mode == "constant" else 0.0
        images = [axis for axis in padded if axis >= 2 and len(inside) == 4]
        if mode == "constant" and images:
            suffix = "" if images == padded and not value else "_zeros"
            top = zero_border(net, top, before[2:], behind[2:], suffix)
            padded = [axis for axis in padded if axis not in images]
        for axis in padded:
            suffix = "" if axis == padded[-1] and not value else f"_axis{axis}"
            places = np.arange(inside[axis])
            both = (before[axis], behind[axis])
            if mode == "constant":
                rows = np.pad(np.eye(inside[axis]), (both, (0, 0)))
                top = along(net, top, axis, rows, suffix)
            else:
                top = selected(net, top, axis, np.pad(places, both, mode=mode).tolist(), suffix)
        if value:
            border = np.pad(np.zeros(inside), list(zip(before, behind, strict=True)),
                            constant_values=value)  # fmt: skip
            top = with_constant(net, top, without_copies(border), False)
        return top


def zero_border(
    net: Writer, blob: Blob, before: Sequence[int], behind: Sequence[int], suffix: str = ""
) -> Blob:
    """Images with rows and columns of zeros around them, by a fixed convolution."""
    channels = blob.shape[1]
    pad = [max(pair) for pair in zip(before, behind, strict=True)]
    sides = [(p - b, p - e) for p, b, e in zip(pad, before, behind, strict=True)]
    weight = np.pad(np.ones((channels, 1, 1, 1)), [(0, 0), (0, 0), *sides])
    height, width = weight.shape[2:]
    return fixed_convolution(
        net, blob, weight, suffix, group=channels, kernel_h=height, kernel_w=width,
        pad_h=pad[0], pad_w=pad[1],
    )  # fmt: skip


def without_copies(array: np.ndarray) -> np.ndarray:
    """The array with axis of size 1 wherever it has the same values all along an axis."""
    for axis in range(array.ndim):
        first = array.take([0], axis)
        if np.array_equal(array, np.broadcast_to(first, array.shape)):
            array = first
    return array


def _pad_value(node: Node) -> float:
    value = node.setting("value" if node.graph.opset < 11 else "constant_value", 2, 0.0)
    return float(np.reshape(value, -1)[0]) if np.size(value) else 0.0


def paddings(node: Node) -> tuple[list[int], list[int]]:
    """What a Pad adds before and behind each axis, less than 0 where it cuts. Raises Refusal."""
    pads = [int(pad) for pad in node.setting("pads", 1)]
    ndim, axes = len(node.shape()), node.setting("axes", 3)
    if axes is None:
        return pads[:ndim], pads[ndim:]
    before, behind = [0] * ndim, [0] * ndim
    for i, axis in enumerate(axes):
        before[axis], behind[axis] = pads[i], pads[i + len(axes)]
    return before, behind


def zero_pads(node: Node, wanted: float = 0) -> tuple[list[int], list[int]]:
    """What a Pad adds before and behind each axis. Raises Refusal unless that is `wanted`."""
    require(node.get("mode", "constant") == "constant", f"its mode is {node.get('mode')}")
    require(_pad_value(node) == wanted, f"it pads with {_pad_value(node)}")
    before, behind = paddings(node)
    require(min(*before, *behind) >= 0, "it cuts")
    return before, behind
