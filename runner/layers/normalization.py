"""LRN, BatchNorm, MVN, Scale, Bias and PReLU."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from netgen import graph
from netgen.schema import caffe_pb
from runner.layers.base import Layer, Tensors, constant_filler
from runner.layers.in_place import Gradient, Rereading


def _over_channels(x: torch.Tensor, size: int) -> torch.Tensor:
    """The sums over `size` neighbouring channels."""
    side = (size - 1) // 2
    return F.pad(x, (0, 0, 0, 0, side, side)).unfold(1, size, 1).sum(-1)


class LRN(Rereading, type="LRN"):
    """Local response normalization, across channels or within each channel."""

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        region = self.param.lrn_param.norm_region
        self.across = self.reads_top = region == caffe_pb.LRNParameter.ACROSS_CHANNELS
        if self.across:
            self.what = "loses its bottom and the gradient that comes from above"
        return super().setup(bottoms)

    def _mean(self, x: torch.Tensor) -> torch.Tensor:
        """The mean of the neighbourhood of each value in its channel."""
        size = self.param.lrn_param.local_size
        return F.avg_pool2d(x, size, 1, (size - 1) // 2)

    def _scale(self, x: torch.Tensor) -> torch.Tensor:
        p = self.param.lrn_param
        if self.across:
            return p.k + p.alpha / p.local_size * _over_channels(x * x, p.local_size)
        return 1 + p.alpha * self._mean(x * x)  # Caffe ignores k here

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        p = self.param.lrn_param
        if self.across and self.in_place:
            return self._scale(x) ** (-2 * p.beta)
        if self.across:
            return F.local_response_norm(x, p.local_size, p.alpha, p.beta, p.k)
        return x * self._scale(x) ** -p.beta

    def value_and_gradient(self, x: torch.Tensor) -> tuple[torch.Tensor, Gradient]:
        p, scale = self.param.lrn_param, self._scale(x)
        factor = scale**-p.beta

        def across(x, y, upstream):
            # In place, the factor has overwritten what it should have been multiplied with.
            direct = factor * (factor if self.in_place else upstream)
            ratio = (direct if self.in_place else upstream) * y / scale
            others = _over_channels(ratio, p.local_size)
            return direct - 2 * p.alpha * p.beta / p.local_size * x * others

        def within(x, y, upstream):
            others = self._mean(-p.beta * p.alpha * factor / scale * x * upstream)
            return factor * upstream + 2 * x * others

        return self.apply(x), across if self.across else within


class BatchNorm(Layer, type="BatchNorm"):
    """Normalises each channel of axis 1; its blobs hold decayed *sums* of the statistics.

    blobs: sum of means (C), sum of unbiased variances (C), sum of weights (1); each TRAIN
    forward decays all three by moving_average_fraction and adds those of the batch. A test uses
    the first two divided by the third. Where forward is given two blobs more, they are the
    factor and bias of a Scale layer that it then does as well.
    """

    takes_bfloat16 = True
    ignores_propagate_down = True

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        p = self.param.batch_norm_param
        given = p.HasField("use_global_stats")
        self.global_stats = p.use_global_stats if given else self.phase == caffe_pb.TEST
        if not self.global_stats:
            self.untraceable = "it normalizes with the batch's own statistics"
        return super().setup(bottoms)

    def specs(self) -> list[caffe_pb.ParamSpec]:
        """The ParamSpecs: statistics do not learn, so that lr_mult is 0 where none is given."""
        specs = list(self.param.param)
        return specs + [caffe_pb.ParamSpec(lr_mult=0) for _ in range(3 - len(specs))]

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x, p = bottoms[0], self.param.batch_norm_param
        mean_sum, var_sum, weight = (blob.detach() for blob in blobs[:3])
        affine = blobs[3:]
        if self.global_stats:
            scale = torch.where(weight == 0, torch.zeros_like(weight), 1 / weight)
            return [F.batch_norm(x, mean_sum * scale, var_sum * scale, *affine, eps=p.eps)]
        if x.numel() == x.shape[1]:  # one value a channel: torch refuses what Caffe computes
            mean, var = x.detach().reshape(-1), torch.zeros_like(mean_sum)
            top = (x - x) / p.eps**0.5
            for blob, apply in zip(affine, (torch.mul, torch.add), strict=False):
                top = apply(top, _broadcast(blob, x, 1))
        else:
            # With momentum 1 the "running" statistics come back as this batch's own,
            # the variance times m / (m - 1), which is what Caffe accumulates.
            mean, var = torch.zeros_like(mean_sum), torch.zeros_like(var_sum)
            top = F.batch_norm(x, mean, var, *affine, training=True, momentum=1.0, eps=p.eps)
        with torch.no_grad():
            decay = p.moving_average_fraction
            mean_sum.mul_(decay).add_(mean)
            var_sum.mul_(decay).add_(var)
            weight.mul_(decay).add_(1)
        return [top]


class MVN(Rereading, type="MVN"):
    """Subtracts the mean of each map (or record) and divides by its deviation plus eps.

    As in Caffe, the gradient takes deviation plus eps for the deviation throughout, and the top
    has four axes, whatever the bottom has.
    """

    what = "loses the gradient that comes from above"
    reads_bottom = False

    def surprising(self) -> bool:
        return self.param.mvn_param.normalize_variance

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        shapes = super().setup(bottoms)
        self.reads_top = self.by_hand = self.surprising()
        return shapes

    def _rows(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(*x.shape[: 1 if self.param.mvn_param.across_channels else 2], -1)

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        rows = self._rows(x)
        rows = rows - rows.mean(-1, keepdim=True)
        if self.surprising():
            rows = rows / self._deviation(rows)
        return rows.reshape(self.shapes_of(x).tops[0])

    def _deviation(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.square().mean(-1, keepdim=True).sqrt() + self.param.mvn_param.eps

    def value_and_gradient(self, x: torch.Tensor) -> tuple[torch.Tensor, Gradient]:
        rows = self._rows(x)
        deviation = self._deviation(rows - rows.mean(-1, keepdim=True))

        def gradient(_, y, upstream):
            y, g = y.reshape(rows.shape), upstream.reshape(rows.shape)
            along = y * (g * y).mean(-1, keepdim=True)
            if self.in_place:  # `along` has overwritten g by now.
                g = -2 * (along + along.sum(-1, keepdim=True))
            else:
                g = g - g.mean(-1, keepdim=True) - along
            return (g / deviation).reshape(x.shape)

        return self.apply(x), gradient


def _broadcast(factor: torch.Tensor, x: torch.Tensor, axis: int) -> torch.Tensor:
    """A view of `factor`, whose axes are those of x from `axis` on, that broadcasts against x."""
    shape = [1] * axis + list(factor.shape) + [1] * (x.dim() - axis - factor.dim())
    return factor.reshape(shape).to(x.dtype)


class Scale(Layer, type="Scale"):
    """bottom[0] times bottom[1], or times a learned blob, and perhaps plus a learned bias."""

    takes_bfloat16 = True

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        shapes = super().setup(bottoms)
        if len(bottoms) == 1 and math.prod(bottoms[0][: shapes.axis]) == 1:
            scales = math.prod(shapes.params[0])
            if scales > 1 or math.prod(bottoms[0]) == 1:
                self.rewrites = (0,)  # Caffe writes its only record's sums over the last batch's
        return shapes

    def holds_a_layer(self) -> bool:
        return self.param.scale_param.bias_term  # a Bias

    def fillers(self) -> list[caffe_pb.FillerParameter]:
        p = self.param.scale_param
        weight = p.filler if p.HasField("filler") else constant_filler(1)
        learned = [] if len(self.param.bottom) > 1 else [weight]
        return learned + ([p.bias_filler] if p.bias_term else [])

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x = bottoms[0]
        factor = bottoms[1] if len(bottoms) > 1 else blobs[0]
        top = x * _broadcast(factor, x, self.shapes.axis)
        if self.param.scale_param.bias_term:
            top = top + _broadcast(blobs[-1], x, self.shapes.axis)
        return [top]


class Bias(Layer, type="Bias"):
    """bottom[0] plus bottom[1], or plus a learned blob."""

    takes_bfloat16 = True

    def fillers(self) -> list[caffe_pb.FillerParameter]:
        return [] if len(self.param.bottom) > 1 else [self.param.bias_param.filler]

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x = bottoms[0]
        term = bottoms[1] if len(bottoms) > 1 else blobs[0]
        return [x + _broadcast(term, x, self.shapes.axis)]


class PReLU(Layer, type="PReLU"):
    """max(x, 0) + slope * min(x, 0), with a slope for each channel, or one for all of them."""

    takes_bfloat16 = True

    def fillers(self) -> list[caffe_pb.FillerParameter]:
        p = self.param.prelu_param
        return [p.filler if p.HasField("filler") else constant_filler(0.25)]

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        return [F.prelu(bottoms[0], blobs[0].reshape(-1).to(bottoms[0].dtype))]
