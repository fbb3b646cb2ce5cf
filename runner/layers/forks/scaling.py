"""ReLU6, Axpy, ChannelScale, MaskPooling."""

import torch

from runner.layers.base import Elementwise, Layer, Tensors
from runner.layers.neuron import rectified


class ReLU6(Elementwise, type="ReLU6"):
    """min(max(x, 0), 6) (MobileNet, Howard et al. 2017); relu6_param may give a negative_slope."""

    takes_bfloat16 = True

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        return rectified(x, self.param.relu6_param.negative_slope, at_most_6=True)


class Axpy(Layer, type="Axpy"):
    """bottom[0], one factor a channel, times bottom[1] plus bottom[2] (SENet, Hu et al. 2018)."""

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        factors, x, y = bottoms
        spread = factors.reshape(*x.shape[:2], *[1] * (x.dim() - 2))
        return [torch.addcmul(y, spread, x)]


class ChannelScale(Layer, type="ChannelScale"):
    """bottom[0], its channels at each place times bottom[1] there (NormFace, Wang et al. 2017)."""

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x, factors = bottoms
        return [x * factors.reshape(x.shape[0], 1, *x.shape[2:])]


class MaskPooling(Layer, type="MaskPooling"):
    """Features times the mask of their region (MNC, Dai et al. 2016)."""

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        features, masks = bottoms
        return [features * masks]
