"""DenseBlock: a block of DenseNet in one layer."""

import torch
import torch.nn.functional as F

from netgen.schema import caffe_pb
from runner.layers.base import Context, Layer, Tensors, constant_filler
from runner.layers.forks.normalizing import normalized

#: The least that cuDNN adds to a variance.
EPS = 1e-5


class DenseBlock(Layer, type="DenseBlock"):
    """Transitions, each of which adds growthRate channels to its input (Huang et al. 2017).

    Of caffe_ocr, a fork for reading text. A transition is batch normalization, ReLU and a
    convolution of 3 x 3; with use_BC normalization, ReLU and a convolution of 1 x 1 to
    4 growthRate channels come before. It computes what the fork does on a GPU: the variance of a batch
    is the biased one, moving_average_fraction of each batch's mean and unbiased variance goes
    into the running ones, and these are used in phase TEST. The last blob is for the fork's CPU
    code, which is another layer: it keeps sums.
    """

    def __init__(self, param: caffe_pb.LayerParameter, context: Context) -> None:
        super().__init__(param, context)
        if self.phase == caffe_pb.TRAIN:
            self.untraceable = "it normalizes with the batch's own statistics"

    def fillers(self) -> list[caffe_pb.FillerParameter]:
        p = self.param.denseblock_param
        learned = [p.Filter_Filler, p.BN_Scaler_Filler, p.BN_Bias_Filler]
        kinds = [*learned, constant_filler(0), constant_filler(1)] * (1 + p.use_BC)
        return [kind for kind in kinds for _ in range(p.numTransition)] + [constant_filler(0)]

    def specs(self) -> list[caffe_pb.ParamSpec]:
        if self.param.param:  # a net that was written with all of them
            return list(self.param.param)
        p = self.param.denseblock_param
        learns = [1, 1, 1, 0, 0] * (1 + p.use_BC)
        rates = [rate for rate in learns for _ in range(p.numTransition)] + [0]
        return [caffe_pb.ParamSpec(lr_mult=rate, decay_mult=rate) for rate in rates]

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        (x,), p = bottoms, self.param.denseblock_param
        count = p.numTransition
        for i in range(count):
            filters, *statistics = blobs[i : 5 * count : count]
            y = self._normalized(x, *statistics)
            if p.use_BC:
                bottleneck, *statistics = blobs[5 * count + i : 10 * count : count]
                y = self._normalized(F.conv2d(y, bottleneck), *statistics)
            y = F.conv2d(y, filters, padding=1)
            if p.use_dropout and p.dropout_amount and self.phase == caffe_pb.TRAIN:
                drawn = torch.rand(y.shape, generator=self.context.random, device=y.device)
                y = y * (drawn >= p.dropout_amount) / (1 - p.dropout_amount)
            x = torch.cat([x, y], 1)
        return [x]

    def _normalized(
        self,
        x: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor,
        mean: torch.Tensor,
        variance: torch.Tensor,
    ) -> torch.Tensor:
        if self.phase == caffe_pb.TEST:
            running = mean.detach().reshape(-1), variance.detach().reshape(-1)
            return F.batch_norm(x, *running, scale.reshape(-1), bias.reshape(-1), eps=EPS).relu()
        top, of_batch, spread = normalized(x, scale, bias, EPS)
        values, share = x.numel() // x.shape[1], self.param.denseblock_param.moving_average_fraction
        with torch.no_grad():
            mean.lerp_(of_batch, share)
            variance.lerp_(spread * (values / max(values - 1, 1)), share)
        return top.relu()
