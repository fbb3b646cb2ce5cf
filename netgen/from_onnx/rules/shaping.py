"""The same values under another shape, or at other places."""

from __future__ import annotations

from math import prod

import numpy as np

from netgen.from_onnx.graph import Node
from netgen.from_onnx.rules.rule import Rule, require
from netgen.from_onnx.rules.shapes import fixed_convolution, reshaped, tiled
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
    """A Reshape where only axes of size 1 change places, else Permute."""

    operators = ("Transpose",)
    moves_only = True

    def order(self, node: Node) -> list[int]:
        return list(node.get("perm") or range(len(node.shape()))[::-1])

    def only_ones_move(self, node: Node) -> bool:
        wide = [axis for axis in self.order(node) if node.shape()[axis] != 1]
        return wide == sorted(wide)

    def requires(self, node: Node, target: Target) -> None:
        require(
            self.only_ones_move(node) or target.knows("Permute"),
            f"its axes change places, and {target.name} has no Permute (--target ssd has)",
        )

    def apply(self, node: Node, net: Writer) -> Blob:
        if self.only_ones_move(node):
            return reshaped(net, net.input(node), node.out())
        return net.layer("Permute", [net.input(node)], order=self.order(node))


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
    """Zeros around images, by a fixed convolution; most are taken in by what reads them."""

    operators = ("Pad",)

    def requires(self, node: Node, target: Target) -> None:
        before, behind = zero_pads(node)
        require(len(node.shape()) == 4, "it does not pad images")
        require(not any((*before[:2], *behind[:2])), "it pads other axes than those of images")

    def apply(self, node: Node, net: Writer) -> Blob:
        before, behind = (sides[2:] for sides in zero_pads(node))
        channels = node.shape()[1]
        pad = [max(pair) for pair in zip(before, behind, strict=True)]
        weight = np.pad(
            np.ones((channels, 1, 1, 1)),
            [
                (0, 0),
                (0, 0),
                *((p - b, p - e) for p, b, e in zip(pad, before, behind, strict=True)),
            ],
        )
        height, width = weight.shape[2:]
        return fixed_convolution(
            net, net.input(node), weight, group=channels, kernel_h=height, kernel_w=width,
            pad_h=pad[0], pad_w=pad[1],
        )  # fmt: skip


def zero_pads(node: Node, wanted: float = 0) -> tuple[list[int], list[int]]:
    """What a Pad adds before and behind each axis. Raises Refusal unless that is `wanted`."""
    require(node.get("mode", "constant") == "constant", f"its mode is {node.get('mode')}")
    value = node.setting("value" if node.graph.opset < 11 else "constant_value", 2, 0.0)
    require(value == wanted, f"it pads with {value}")
    pads = [int(pad) for pad in node.setting("pads", 1)]
    ndim, axes = len(node.shape()), node.setting("axes", 3)
    require(min(pads, default=0) >= 0, "it cuts")
    if axes is None:
        return pads[:ndim], pads[ndim:]
    before, behind = [0] * ndim, [0] * ndim
    for i, axis in enumerate(axes):
        before[axis], behind[axis] = pads[i], pads[i + len(axes)]
    return before, behind
