"""Both layers called Normalize, and both called BN."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from netgen import graph
from netgen.schema import caffe_pb
from runner.layers.base import Layer, Tensors, constant_filler
from runner.layers.gradient import custom_gradient

#: What face forks add to the sum of squares.
FACE_EPS = 1e-6


class Normalize(Layer, type="Normalize"):
    """The bottom over its L2 norm (ParseNet, Liu et al. 2015; used by SSD).

    With norm_param it is SSD's layer: the norm over all values of a record, or over the channels
    at each place, sqrt(sum + eps), and then a learned scale. Its gradient leaves the scale out
    of the projection, which matters where channels have scales of their own. Without norm_param
    it is that of face forks (NormFace, Wang et al. 2017), over the channels and with no blob; the
    norm is L2 or L1, and a second top has the norms, which only with bp_norm hand a gradient down.
    """

    def fillers(self) -> list[caffe_pb.FillerParameter]:
        p = self.param.norm_param
        if not self.param.HasField("norm_param"):
            return []
        return [p.scale_filler if p.HasField("scale_filler") else constant_filler(1)]

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        (x,), p = bottoms, self.param.norm_param
        if not blobs:
            return self._of_faces(x)
        axes = tuple(range(1, x.dim())) if p.across_spatial else (1,)
        norm = (x.square().sum(axes, keepdim=True) + p.eps).sqrt()
        scale = blobs[0].reshape(-1, *[1] * (x.dim() - 2))  # (1 or C, 1, 1)
        if p.channel_shared:
            return [x / norm * scale]
        with torch.no_grad():
            unit = x / norm

        def backward(upstream):
            along = (unit * upstream).sum(axes, keepdim=True)
            others = tuple(axis for axis in range(x.dim()) if axis != 1)
            return (upstream - unit * along) / norm * scale, (unit * upstream).sum(others)

        return [custom_gradient(unit * scale, [x, blobs[0]], backward)]

    def _of_faces(self, x: torch.Tensor) -> Tensors:
        p, norms_too = self.param.normalize_param, len(self.param.top) == 2
        if p.normalize_type == "L1":
            norm = x.abs().sum(1, keepdim=True) + FACE_EPS
        else:
            norm = (x.square().sum(1, keepdim=True) + FACE_EPS).sqrt()
        unit = x / norm
        if p.fix_gradient:
            kept, along = unit.detach(), x.detach().sign() if p.normalize_type == "L1" else unit
            along = along.detach()

            def backward(upstream: torch.Tensor) -> list[torch.Tensor]:
                return [upstream - along * (kept * upstream).sum(1, keepdim=True)]

            unit = custom_gradient(unit, [x], backward)
        return [unit, norm if p.bp_norm else norm.detach()] if norms_too else [unit]


def _a_channel(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """One value a channel as something that broadcasts against x."""
    return values.reshape(1, -1, *[1] * (x.dim() - 2))


class BN(Layer, type="BN"):
    """Batch normalization with its own scale and shift (Ioffe and Szegedy 2015), of two kinds.

    Blobs are (1, C, 1, 1). SegNet's has a scale and a shift. bn_mode LEARN uses the statistics of the batch in both
    phases, and may give them as tops; INFERENCE only scales and shifts. Its gradients are those
    of the last batch of iter_size. PSPNet's (of yjxiong's fork) has slope, bias, and running
    mean and variance; the statistics become momentum times themselves plus
    (1 - momentum) times the batch's. They are used in TEST, and in both phases with `frozen`,
    which also keeps slope and bias from learning. In both the variance is the biased one.
    """

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        shapes = super().setup(bottoms)
        self.segnets = len(shapes.params) == 2
        if self.segnets:
            self.rewrites = (0, 1)
            if self.param.bn_param.bn_mode == caffe_pb.BNParameter.LEARN:
                self.untraceable = "it normalizes with the batch's own statistics"
        return shapes

    def fillers(self) -> list[caffe_pb.FillerParameter]:
        p = self.param.bn_param
        if self.segnets:
            return [p.scale_filler, p.shift_filler]
        return [p.slope_filler, p.bias_filler, constant_filler(0), constant_filler(p.frozen)]

    def specs(self) -> list[caffe_pb.ParamSpec]:
        specs = list(self.param.param)
        if self.segnets:
            return specs
        specs += [caffe_pb.ParamSpec() for _ in range(4 - len(specs))]
        for spec in specs[0 if self.param.bn_param.frozen else 2 :]:
            spec.lr_mult = spec.decay_mult = 0
        return specs

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        (x,) = bottoms
        return self._segnets(x, *blobs) if self.segnets else [self._pspnets(x, *blobs)]

    def _segnets(self, x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> Tensors:
        if self.param.bn_param.bn_mode == caffe_pb.BNParameter.INFERENCE:
            with torch.no_grad():  # Caffe leaves these tops as they were: zero
                unused = [torch.zeros_like(scale) for _ in self.param.top[1:]]
            return [x * _a_channel(scale, x) + _a_channel(shift, x), *unused]
        top, mean, variance = normalized(x, scale, shift, eps=1e-9)
        return [top, mean, variance][: len(self.param.top)]

    def _pspnets(
        self,
        x: torch.Tensor,
        slope: torch.Tensor,
        bias: torch.Tensor,
        mean: torch.Tensor,
        variance: torch.Tensor,
    ) -> torch.Tensor:
        p = self.param.bn_param
        slope, bias = slope.reshape(-1), bias.reshape(-1)
        if p.frozen or self.phase == caffe_pb.TEST:
            running = mean.detach().reshape(-1), variance.detach().reshape(-1)
            if p.frozen:
                slope, bias = slope.detach(), bias.detach()
            return F.batch_norm(x, *running, slope, bias, eps=p.eps)
        top, batch_mean, batch_variance = normalized(x, slope, bias, eps=p.eps)
        with torch.no_grad():
            for running, of_batch in ((mean, batch_mean), (variance, batch_variance)):
                running.mul_(p.momentum).add_(of_batch.reshape(running.shape), alpha=1 - p.momentum)
        return top


def normalized(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, eps: float) -> Tensors:
    """x normalised by its channels' statistics, scaled and shifted; and these statistics.

    The means and the biased variances are (1, C, 1, 1), without gradients.
    """
    axes = (0, *range(2, x.dim()))
    with torch.no_grad():
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    if x.numel() > x.shape[1]:
        scale, shift = scale.reshape(-1), shift.reshape(-1)
        top = F.batch_norm(x, None, None, scale, shift, training=True, eps=eps)
    else:  # torch refuses one value a channel, of which nothing but the shift is left
        top = (x - x) / eps**0.5 * _a_channel(scale, x) + _a_channel(shift, x)
    return [top, mean.reshape(1, -1, 1, 1), variance.reshape(1, -1, 1, 1)]
