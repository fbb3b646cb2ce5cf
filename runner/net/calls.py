"""The steps of a net for use: a layer each, or several that are computed as one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from runner.layers.linear import channels_last
from runner.net.wiring import Node


class Call:
    """One layer, or several that are computed as one; bottoms and tops are numbers of values."""

    def __init__(self, node: Node, bottoms: list[int], tops: list[int]) -> None:
        self.node, self.bottoms, self.tops = node, bottoms, tops
        self.behind: list[Node] = []  # BatchNorm, Scale and Bias that are in its weights
        self.sums = self.rectified = False
        self.run: Callable[[list[torch.Tensor]], list[torch.Tensor]] = self._layer
        #: its top from its bottoms in operators of PyTorch that `scripted` can join with others'
        self.plain: Callable[..., torch.Tensor] | None = None

    def _layer(self, bottoms: list[torch.Tensor]) -> list[torch.Tensor]:
        return self.node.layer.forward(bottoms, self.node.blobs)

    def pack(self, shape: list[int]) -> None:
        """Lay out a convolution's weights, those of what is behind it included.

        shape: of its bottom. Rounding apart, what `run` then gives is what the layers give.
        """
        weight, bias = _folded(self.node, self.behind)
        options = self.node.layer.options
        window = [list(options[name]) for name in ("padding", "stride", "dilation")]
        groups = options["groups"]
        reordered = torch._C._nn.mkldnn_reorder_conv2d_weight(
            weight.to_mkldnn(), *window, groups, shape
        )
        plain = torch.ops.mkldnn._convolution_pointwise.default
        binary = torch.ops.mkldnn._convolution_pointwise.binary
        # oneDNN's own ReLU makes 0 of a NaN, and a net that has overflowed would seem to be sound.
        end = torch.relu_ if self.rectified else lambda top: top

        def alone(bottoms):
            x = channels_last(bottoms[0])
            return [end(plain(x, reordered, bias, *window, groups, "none", [], ""))]

        def added(bottoms):
            x, other = map(channels_last, bottoms)
            top = binary(x, other, reordered, bias, *window, groups, "add", 1.0, None, [], None)
            return [end(top)]

        def in_plain(x, *others):
            top = F.conv2d(channels_last(x), weight, bias, **options)
            top = top + others[0] if others else top
            return torch.clamp_min(top, 0.0) if self.rectified else top

        self.run, self.plain = added if self.sums else alone, in_plain

    def pack_product(self) -> None:
        """Put an inner product's weights in the order of channels_last images."""
        weight = self.node.blobs[0].detach()
        if self.node.layer.param.inner_product_param.transpose:
            weight = weight.t()
        bias = self.node.blobs[1].clone() if len(self.node.blobs) > 1 else None
        channels, *sides = self.node.bottom_shapes[0][1:]
        images = len(sides) == 2 and sides != [1, 1]
        if images:
            weight = weight.reshape(-1, channels, *sides).permute(0, 2, 3, 1)
        weight = weight.flatten(1).clone(memory_format=torch.contiguous_format)

        def product(bottoms):
            x = bottoms[0].permute(0, 2, 3, 1) if images else bottoms[0]
            return [F.linear(x.flatten(1), weight, bias)]

        self.run = product

    def crop(self) -> None:
        """Crop to the size that the second bottom has at set-up, without it."""
        like = torch.empty(self.node.bottom_shapes[1], device="meta")
        self.bottoms = self.bottoms[:1]
        self.run = lambda bottoms: self.node.layer.forward([bottoms[0], like], [])


def _folded(node, behind):
    """(weight, bias) of a convolution with the layers behind it, computed in float64."""
    weight = node.blobs[0].double()
    bias = node.blobs[1].double() if len(node.blobs) > 1 else weight.new_zeros(len(weight))
    for after in behind:
        factor, term = _product_and_sum(after)
        weight, bias = weight * factor.view(-1, 1, 1, 1), bias * factor + term
    return weight.float(), bias.float()


def _product_and_sum(node):
    """(factor, term) of each channel, float64."""
    blobs = [blob.double() for blob in node.blobs]
    if node.param.type == "BatchNorm":
        mean, variance, weight = blobs
        share = torch.where(weight == 0, 0.0, 1 / weight)
        factor = (variance * share + node.param.batch_norm_param.eps).rsqrt()
        return factor, -mean * share * factor
    if node.param.type == "Bias":
        return torch.ones_like(blobs[0]), blobs[0]
    has_bias = node.param.scale_param.bias_term
    return blobs[0], blobs[1] if has_bias else torch.zeros_like(blobs[0])
