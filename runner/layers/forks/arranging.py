"""Flip, Permute, Reorg, Reverse, ShuffleChannel, Transpose: the same values at other places."""

import torch

from runner.layers.base import Elementwise, Layer, Tensors


class Flip(Elementwise, type="Flip"):
    """The bottom (N, C, H, W) mirrored, as faces are (NormFace, Wang et al. 2017)."""

    takes_bfloat16 = True

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        p = self.param.flip_param
        return x.flip(
            [a for a, on in ((2, p.flip_height), (3, p.flip_width)) if on and a < x.dim()]
        )


class Permute(Layer, type=("Permute", "Transpose")):
    """The bottom with its axes in another order (SSD, Liu et al. 2016).

    As Transpose, of caffe_ocr, a fork for reading text, it names them all.
    """

    takes_bfloat16 = True

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        return [bottoms[0].permute(self.shapes_of(*bottoms).order)]


class Reorg(Layer, type="Reorg"):
    """Blocks of stride x stride pixels become channels, or back (YOLO v2, Redmon et al. 2017).

    Without `reverse` it is darknet's layer, which reads the bottom's memory as if it were
    (N, C / stride^2, H stride, W stride), whatever its shape is.
    """

    takes_bfloat16 = True

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        (x,) = bottoms
        stride, (num, channels, height, width) = self.param.reorg_param.stride, x.shape
        fewer = channels // stride**2
        if self.param.reorg_param.reverse:
            blocks = x.reshape(num, stride, stride, fewer, height, width)
            moved = blocks.permute(0, 3, 4, 1, 5, 2)
        else:
            blocks = x.reshape(num, fewer, height, stride, width, stride)
            moved = blocks.permute(0, 3, 5, 1, 2, 4)
        return [moved.reshape(self.shapes_of(x).tops[0])]


class Reverse(Layer, type="Reverse"):
    """The bottom with one axis reversed, for bidirectional nets (Schuster and Paliwal 1997)."""

    takes_bfloat16 = True

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        return [bottoms[0].flip(self.shapes.axis)]


class ShuffleChannel(Elementwise, type="ShuffleChannel"):
    """Channel i of group g comes to place i * group + g (ShuffleNet, Zhang et al. 2018)."""

    takes_bfloat16 = True

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        group = self.param.shuffle_channel_param.group
        return x.unflatten(1, (group, -1)).transpose(1, 2).reshape(x.shape)
