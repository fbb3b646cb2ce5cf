"""ReLU6 and Axpy."""

import torch
import torch.nn.functional as F

from runner.layers.base import Elementwise, Layer, Tensors


class ReLU6(Elementwise, type="ReLU6"):
    """min(max(x, 0), 6) (MobileNet, Howard et al. 2017); relu6_param may give a negative_slope."""

    takes_bfloat16 = True

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        slope = self.param.relu6_param.negative_slope
        if not slope:
            return F.relu6(x)  # no gradient at 0 and at 6, as in the forks
        return F.hardtanh(F.leaky_relu(x, slope), -float("inf"), 6.0)


class Axpy(Layer, type="Axpy"):
    """bottom[0], one factor a channel, times bottom[1] plus bottom[2] (SENet, Hu et al. 2018)."""

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        factors, x, y = bottoms
        spread = factors.reshape(*x.shape[:2], *[1] * (x.dim() - 2))
        return [torch.addcmul(y, spread, x)]
