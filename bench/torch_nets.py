"""A deploy net as one writes it in PyTorch for inference: plain functions on channels_last images."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from netgen.schema import caffe_pb


class TorchNet(nn.Module):
    """A net of the layers that the measured nets have, from `data` to `prob`.

    net: a NetParameter. params: {layer: its blobs}, as Net.params gives them.
    """

    def __init__(
        self, net: caffe_pb.NetParameter, params: Mapping[str, Sequence[np.ndarray]]
    ) -> None:
        super().__init__()
        self.steps = []  # plain values: a compiler looks through them, not through messages
        for number, layer in enumerate(net.layer):
            if layer.type in ("Input", "Dropout"):
                continue
            names = []
            for i, blob in enumerate(params.get(layer.name, ())):
                value = torch.tensor(np.array(blob))
                if value.dim() == 4:
                    value = value.contiguous(memory_format=torch.channels_last)
                names.append(f"blob{number}_{i}")
                self.register_buffer(names[-1], value)
            self.steps.append(
                (FUNCTIONS[layer.type](layer), list(layer.bottom), names, layer.top[0])
            )

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the scores, (N, classes)."""
        values = {"data": data.contiguous(memory_format=torch.channels_last)}
        for function, bottoms, names, top in self.steps:
            blobs = [getattr(self, name) for name in names]
            values[top] = function(*[values[bottom] for bottom in bottoms], *blobs)
        return values["prob"]


def _convolution(layer):
    p = layer.convolution_param
    stride, pad, groups = (p.stride or [1])[0], (p.pad or [0])[0], p.group
    return lambda x, weight, bias=None: F.conv2d(x, weight, bias, stride, pad, groups=groups)


def _pooling(layer):
    p = layer.pooling_param
    if p.global_pooling:
        return lambda x: x.mean((2, 3), keepdim=True)
    function = F.max_pool2d if p.pool == p.MAX else F.avg_pool2d
    kernel, stride, pad = p.kernel_size, p.stride, p.pad
    return lambda x: function(x, kernel, stride, pad, ceil_mode=True)


def _lrn(layer):
    p = layer.lrn_param
    size, alpha, beta, k = p.local_size, p.alpha, p.beta, p.k
    if p.norm_region == p.ACROSS_CHANNELS:
        return lambda x: F.local_response_norm(x, size, alpha, beta, k)
    return lambda x: x * (1 + alpha * F.avg_pool2d(x * x, size, 1, size // 2)) ** -beta


def _batch_norm(layer):
    eps = layer.batch_norm_param.eps

    def normalized(x, mean, variance, weight):
        return F.batch_norm(x, mean / weight, variance / weight, eps=eps)

    return normalized


def _eltwise(layer):
    first, second = list(layer.eltwise_param.coeff) or (1.0, 1.0)
    if first == second == 1:
        return lambda x, y: x + y
    return lambda x, y: first * x + second * y


FUNCTIONS = {
    "Convolution": _convolution,
    "InnerProduct": lambda layer: lambda x, *blobs: F.linear(x.flatten(1), *blobs),
    "Pooling": _pooling,
    "LRN": _lrn,
    "BatchNorm": _batch_norm,
    "Scale": lambda layer: lambda x, a, b: x * a.view(-1, 1, 1) + b.view(-1, 1, 1),
    "ReLU": lambda layer: F.relu,
    "Eltwise": _eltwise,
    "Concat": lambda layer: lambda *parts: torch.cat(parts, 1),
    "Crop": lambda layer: lambda x, like: x[:, :, : like.shape[2], : like.shape[3]],
    "Softmax": lambda layer: lambda x: F.softmax(x, 1),
}
