"""LRN, BatchNorm, MVN, Scale, Bias and PReLU."""

import torch
import torch.nn.functional as F

from netgen import graph
from netgen.schema import caffe_pb
from runner.layers.base import Elementwise, Layer, constant_filler
from runner.layers.gradient import custom_gradient


class LRN(Elementwise, type="LRN"):
    """Local response normalization, across channels or within each."""

    def apply(self, x):
        p = self.param.lrn_param
        if p.norm_region == caffe_pb.LRNParameter.ACROSS_CHANNELS:
            return F.local_response_norm(x, p.local_size, p.alpha, p.beta, p.k)
        mean_square = F.avg_pool2d(x * x, p.local_size, 1, (p.local_size - 1) // 2)
        return x * (1 + p.alpha * mean_square) ** -p.beta  # Caffe ignores k here


class BatchNorm(Layer, type="BatchNorm"):
    """Normalises each channel of axis 1; its blobs hold decayed *sums* of the statistics.

    blobs: sum of means (C), sum of unbiased variances (C), sum of weights (1); each TRAIN
    forward decays all three by moving_average_fraction and adds the batch's. What is used
    at test time is the first two over the third.
    """

    takes_bfloat16 = True

    def setup(self, bottoms):
        p = self.param.batch_norm_param
        given = p.HasField("use_global_stats")
        self.global_stats = p.use_global_stats if given else self.phase == caffe_pb.TEST
        return super().setup(bottoms)

    def specs(self):
        """The statistics are no parameters: lr_mult is 0 (what is given, the rule checked)."""
        specs = list(self.param.param)
        return specs + [caffe_pb.ParamSpec(lr_mult=0) for _ in range(3 - len(specs))]

    def forward(self, bottoms, blobs):
        x, p = bottoms[0], self.param.batch_norm_param
        mean_sum, var_sum, weight = (blob.detach() for blob in blobs)
        if self.global_stats:
            scale = torch.where(weight == 0, torch.zeros_like(weight), 1 / weight)
            return [F.batch_norm(x, mean_sum * scale, var_sum * scale, eps=p.eps)]
        if x.numel() == x.shape[1]:  # one value a channel: torch refuses what Caffe computes
            mean, var = x.detach().reshape(-1), torch.zeros_like(mean_sum)
            top = (x - x) / p.eps**0.5
        else:
            # With momentum 1 the "running" statistics come back as this batch's own,
            # the variance times m / (m - 1), which is what Caffe accumulates.
            mean, var = torch.zeros_like(mean_sum), torch.zeros_like(var_sum)
            top = F.batch_norm(x, mean, var, training=True, momentum=1.0, eps=p.eps)
        with torch.no_grad():
            decay = p.moving_average_fraction
            mean_sum.mul_(decay).add_(mean)
            var_sum.mul_(decay).add_(var)
            weight.mul_(decay).add_(1)
        return [top]


class MVN(Elementwise, type="MVN"):
    """Subtracts the mean of each map (or record) and divides by its deviation plus eps.

    The gradient takes the deviation for deviation plus eps throughout, as Caffe's does. The
    top has four axes, whatever the bottom has.
    """

    def apply(self, x):
        p, tops = self.param.mvn_param, self.shapes_for([x.shape]).tops
        shape = (x.shape[0], -1) if p.across_channels else (*x.shape[:2], -1)
        rows = x.reshape(shape)
        rows = rows - rows.mean(-1, keepdim=True)
        if not p.normalize_variance:
            return rows.reshape(tops[0])
        rows = rows.detach()
        deviation = rows.square().mean(-1, keepdim=True).sqrt() + p.eps
        top = rows / deviation

        def backward(upstream):
            g = upstream.reshape(shape)
            g = g - g.mean(-1, keepdim=True) - top * (g * top).mean(-1, keepdim=True)
            return [(g / deviation).reshape(x.shape)]

        return custom_gradient(top.reshape(tops[0]), [x], backward)


def _axis(param, bottoms):
    """Where bottom[1], or the learned blob, starts on bottom[0]; a scalar fits anywhere."""
    if len(bottoms) > 1 and not bottoms[1]:
        return 0
    return graph.canonical_axis(param.axis, len(bottoms[0]))


def _broadcast(factor, x, axis):
    """View `factor`, whose axes are x's from `axis` on, so that it broadcasts against x."""
    shape = [1] * axis + list(factor.shape) + [1] * (x.dim() - axis - factor.dim())
    return factor.reshape(shape).to(x.dtype)


class Scale(Layer, type="Scale"):
    """bottom[0] times bottom[1], or times a learned blob of its axes; perhaps plus a bias."""

    takes_bfloat16 = True

    def setup(self, bottoms):
        shapes = super().setup(bottoms)
        self.axis = _axis(self.param.scale_param, bottoms)
        return shapes

    def holds_a_layer(self):
        return self.param.scale_param.bias_term  # a Bias

    def fillers(self):
        p = self.param.scale_param
        weight = p.filler if p.HasField("filler") else constant_filler(1)
        learned = [] if len(self.param.bottom) > 1 else [weight]
        return learned + ([p.bias_filler] if p.bias_term else [])

    def forward(self, bottoms, blobs):
        x = bottoms[0]
        factor = bottoms[1] if len(bottoms) > 1 else blobs[0]
        top = x * _broadcast(factor, x, self.axis)
        if self.param.scale_param.bias_term:
            top = top + _broadcast(blobs[-1], x, self.axis)
        return [top]


class Bias(Layer, type="Bias"):
    """bottom[0] plus bottom[1], or plus a learned blob of its axes."""

    takes_bfloat16 = True

    def setup(self, bottoms):
        shapes = super().setup(bottoms)
        self.axis = _axis(self.param.bias_param, bottoms)
        return shapes

    def fillers(self):
        return [] if len(self.param.bottom) > 1 else [self.param.bias_param.filler]

    def forward(self, bottoms, blobs):
        x = bottoms[0]
        term = bottoms[1] if len(bottoms) > 1 else blobs[0]
        return [x + _broadcast(term, x, self.axis)]


class PReLU(Layer, type="PReLU"):
    """max(x, 0) + slope * min(x, 0), a slope a channel (or one, channel_shared)."""

    takes_bfloat16 = True

    def fillers(self):
        p = self.param.prelu_param
        return [p.filler if p.HasField("filler") else constant_filler(0.25)]

    def forward(self, bottoms, blobs):
        return [F.prelu(bottoms[0], blobs[0].reshape(-1).to(bottoms[0].dtype))]
