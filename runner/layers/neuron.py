"""Elementwise layers: activations, powers, dropout."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from netgen import graph
from netgen.schema import caffe_pb
from runner.layers.base import Elementwise
from runner.layers.in_place import Gradient, Rereading


def rectified(x: torch.Tensor, slope: float, at_most_6: bool) -> torch.Tensor:
    """max(x, 0) + slope * min(x, 0), or 6 where that is more; there and at 6 no gradient flows."""
    if at_most_6:
        return F.hardtanh(F.leaky_relu(x, slope), -math.inf, 6.0) if slope else F.relu6(x)
    return F.leaky_relu(x, slope) if slope else torch.relu(x)


class ReLU(Rereading, type="ReLU"):
    """max(x, 0) + negative_slope * min(x, 0); with the forks' relu6 at most 6."""

    takes_bfloat16 = True

    def surprising(self) -> bool:
        return self.param.relu_param.negative_slope < 0

    def overwritten_by(self, types: set[str], left: Callable[[], torch.Tensor]) -> bool:
        if types == {"Dropout"} and not (self.surprising() or self.param.relu_param.relu6):
            # Dropout leaves the sign, which is all that is read, but where it lets none through.
            return False
        return super().overwritten_by(types, left)

    def gradient(self, x: torch.Tensor, y: torch.Tensor, upstream: torch.Tensor) -> torch.Tensor:
        p = self.param.relu_param
        gradient = torch.where(x > 0, upstream, upstream * p.negative_slope)
        return gradient * (x < 6) if p.relu6 else gradient

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        p = self.param.relu_param
        return rectified(x, p.negative_slope, p.relu6)


class Sigmoid(Rereading, type="Sigmoid"):
    """1 / (1 + exp(-x))."""

    reads_bottom, reads_top = False, True

    def gradient(self, x: torch.Tensor, y: torch.Tensor, upstream: torch.Tensor) -> torch.Tensor:
        return upstream * y * (1 - y)

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(x)


class TanH(Rereading, type="TanH"):
    """tanh(x)."""

    reads_bottom, reads_top = False, True

    def gradient(self, x: torch.Tensor, y: torch.Tensor, upstream: torch.Tensor) -> torch.Tensor:
        return upstream * (1 - y * y)

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x)


class AbsVal(Elementwise, type="AbsVal"):
    """|x|."""

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        return x.abs()


class BNLL(Rereading, type="BNLL"):
    """log(1 + exp(x)), without overflow."""

    def gradient(self, x: torch.Tensor, y: torch.Tensor, upstream: torch.Tensor) -> torch.Tensor:
        return upstream * torch.sigmoid(x)

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        return F.softplus(x, threshold=50)


class ELU(Rereading, type="ELU"):
    """x above 0, alpha * (exp(x) - 1) below."""

    reads_top = True

    def surprising(self) -> bool:
        return self.param.elu_param.alpha < 0

    def gradient(self, x: torch.Tensor, y: torch.Tensor, upstream: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, upstream, upstream * (y + self.param.elu_param.alpha))

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        return F.elu(x, self.param.elu_param.alpha)


class Swish(Rereading, type="Swish"):
    """x * sigmoid(beta * x)."""

    reads_bottom, reads_top = False, True

    def value_and_gradient(self, x: torch.Tensor) -> tuple[torch.Tensor, Gradient]:
        beta = self.param.swish_param.beta
        gate = torch.sigmoid(beta * x)
        return x * gate, lambda x, y, upstream: upstream * (beta * y + gate * (1 - beta * y))

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.param.swish_param.beta * x)


class Clip(Rereading, type="Clip"):
    """x held between min and max."""

    what = "lets every gradient through"

    def gradient(self, x: torch.Tensor, y: torch.Tensor, upstream: torch.Tensor) -> torch.Tensor:
        p = self.param.clip_param
        return upstream * ((x >= p.min) & (x <= p.max))

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        return x.clamp(self.param.clip_param.min, self.param.clip_param.max)


class Threshold(Elementwise, type="Threshold"):
    """1 where x > threshold, else 0; no gradient."""

    no_force_backward = (0,)
    refuses_backward_to = (0,)

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        return (x.detach() > self.param.threshold_param.threshold).to(x.dtype)


class Power(Rereading, type="Power"):
    """(shift + scale * x) ** power."""

    what = "loses the gradient that comes from above"

    @property
    def reads_bottom(self) -> bool:
        return self.surprising() and self.param.power_param.power != 1

    @property
    def reads_top(self) -> bool:
        return self.reads_bottom and self.param.power_param.power != 2

    def surprising(self) -> bool:
        return self.param.power_param.power * self.param.power_param.scale != 0

    def gradient(self, x: torch.Tensor, y: torch.Tensor, upstream: torch.Tensor) -> torch.Tensor:
        p = self.param.power_param
        factor = p.power * p.scale
        if p.power == 1:
            derivative = torch.full_like(x, factor)
        elif p.power == 2:
            derivative = factor * (p.scale * x + p.shift)
        elif p.shift == 0:
            derivative = p.power * (y / x)
        else:
            derivative = factor * y / (p.scale * x + p.shift)
        # In place, the derivative has overwritten what it should have been multiplied with.
        return derivative.square() if self.in_place else derivative * upstream

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        p = self.param.power_param
        if p.power * p.scale == 0:  # The top is a constant, whatever x is; 0 ** 0 is 1.
            return torch.full_like(x, p.shift) ** p.power
        if p.scale != 1:
            x = x * p.scale
        if p.shift != 0:
            x = x + p.shift
        return x if p.power == 1 else x**p.power


def _log_base(base: float) -> float:
    """ln(base), where -1 stands for e."""
    return 1.0 if base == -1 else math.log(base)


class Exp(Rereading, type="Exp"):
    """base ** (shift + scale * x); base -1 is e."""

    reads_bottom, reads_top = False, True

    def gradient(self, x: torch.Tensor, y: torch.Tensor, upstream: torch.Tensor) -> torch.Tensor:
        p = self.param.exp_param
        return upstream * y * (_log_base(p.base) * p.scale)

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        p = self.param.exp_param
        return torch.exp(_log_base(p.base) * (p.shift + p.scale * x))


class Log(Rereading, type="Log"):
    """log_base(shift + scale * x); base -1 is e."""

    what = "loses the gradient that comes from above"

    def gradient(self, x: torch.Tensor, y: torch.Tensor, upstream: torch.Tensor) -> torch.Tensor:
        p = self.param.log_param
        derivative = p.scale / _log_base(p.base) / (p.scale * x + p.shift)
        return derivative.square() if self.in_place else derivative * upstream

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        p = self.param.log_param
        return torch.log(p.shift + p.scale * x) / _log_base(p.base)


class Dropout(Elementwise, type="Dropout"):
    """In TRAIN, zeroes each value with probability dropout_ratio, and scales the others up.

    Fields of forks: with sample_weights_test, of SegNet, it does so in TEST as well; without
    scale_train, of Faster R-CNN's Caffe, nothing is scaled up in TRAIN and all is scaled down in
    TEST.
    """

    takes_bfloat16 = True

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        ratio = self.param.dropout_param.dropout_ratio
        if not 0 <= ratio < 1:
            raise graph.NetError(
                f"layer '{self.name}': dropout_ratio must be at least 0 and below 1 ({ratio:g})"
            )
        if self.param.dropout_param.sample_weights_test:
            self.untraceable = "it draws at random"
        return super().setup(bottoms)

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        param = self.param.dropout_param
        ratio = param.dropout_ratio
        if self.phase == caffe_pb.TEST and not param.sample_weights_test:
            return x if param.scale_train else x * (1 - ratio)
        kept = self._kept(x, ratio).to(x.dtype)
        return x * (kept.mul_(1 / (1 - ratio)) if param.scale_train else kept)

    def _kept(self, x: torch.Tensor, ratio: float) -> torch.Tensor:
        """A mask in the shape and layout of x: 32 random bits a value, against a threshold.

        So does Caffe on a GPU. A drawn number of 64 bits serves two values, which takes a CPU a
        fifth of the time of bernoulli_.
        """
        if not ratio:
            return torch.ones_like(x, dtype=torch.bool)
        drawn = torch.empty((x.numel() + 1) // 2, dtype=torch.int64, device=x.device)
        bits = drawn.random_(-(2**63), None, generator=self.context.random).view(torch.int32)
        like = torch.empty_like(x, dtype=torch.bool)  # dense, with the axes in the order of x
        bits = bits[: x.numel()].as_strided(like.shape, like.stride())
        return torch.ge(bits, min(round(ratio * 2**32), 2**32 - 1) - 2**31, out=like)
