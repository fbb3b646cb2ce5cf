"""Pooling with Caffe's output size and divisor, and SPP, which is made of poolings.

Caffe rounds the output size up, and a window may hang over the padded edge. Torch's ceil_mode
means the same for some geometries only; for the others the bottom is padded here.

In all functions x is (N, C, H, W), and kernel, stride, pad and out are a graph.PoolGeometry's.
"""

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from netgen import graph
from netgen.graph import Shape
from netgen.schema import caffe_pb
from runner.layers.base import Layer, Tensors

FLT_MAX = torch.finfo(torch.float32).max


def _torch_out(size: int, kernel: int, stride: int, pad: int, ceil_mode: bool) -> int:
    """The output size of torch's pooling on one axis."""
    span = size + 2 * pad - kernel
    out = (-(-span // stride) if ceil_mode else span // stride) + 1
    if ceil_mode and (out - 1) * stride >= size + pad:
        out -= 1
    return out


@functools.cache
def _native_ceil_mode(
    sizes: Shape, kernel: Shape, stride: Shape, pad: Shape, out: Shape
) -> bool | None:
    """The ceil_mode with which torch's pooling has Caffe's windows on (H, W), or None."""
    if any(2 * p > k for p, k in zip(pad, kernel, strict=True)):
        return None
    for ceil_mode in (False, True):
        axes = zip(sizes, kernel, stride, pad, out, strict=True)
        if all(_torch_out(n, k, s, p, ceil_mode) == o for n, k, s, p, o in axes):
            return ceil_mode
    return None


def _padded(
    x: torch.Tensor, kernel: Shape, stride: Shape, pad: Shape, out: Shape, value: float
) -> torch.Tensor:
    """x padded, or cut, so that exactly `out` full windows fit."""
    sides = []
    for axis in (1, 0):
        need = (out[axis] - 1) * stride[axis] + kernel[axis]
        sides += [pad[axis], need - x.shape[2 + axis] - pad[axis]]
    return F.pad(x, sides, value=value)


def max_pool(
    x: torch.Tensor,
    kernel: Shape,
    stride: Shape,
    pad: Shape,
    out: Shape,
    with_mask: bool = False,
) -> Tensors:
    """Caffe's MAX pooling. with_mask adds a top: the index h * width + w of each winner."""
    ceil_mode = _native_ceil_mode(x.shape[2:], kernel, stride, pad, out)
    if ceil_mode is not None:
        found = F.max_pool2d(x, kernel, stride, pad, ceil_mode=ceil_mode, return_indices=with_mask)
        return [found[0], found[1].float()] if with_mask else [found]
    wide = _padded(x, kernel, stride, pad, out, -FLT_MAX)
    top, index = F.max_pool2d(wide, kernel, stride, return_indices=True)
    if not with_mask:
        return [top]
    h, w = index // wide.shape[3] - pad[0], index % wide.shape[3] - pad[1]
    mask = torch.where(top == -FLT_MAX, -1, h * x.shape[3] + w)
    return [top, mask.float()]


def _window_sizes(
    size: int,
    kernel: int,
    stride: int,
    pad: int,
    out: int,
    device: torch.device,
    count_pad: bool = True,
) -> torch.Tensor:
    """How many cells each window covers on one axis, perhaps with padding, not what lies beyond."""
    start = torch.arange(out, device=device) * stride - pad
    if count_pad:
        return (start + kernel).clamp(max=size + pad) - start
    return ((start + kernel).clamp(max=size) - start.clamp(min=0)).clamp(min=1)


def ave_pool(
    x: torch.Tensor,
    kernel: Shape,
    stride: Shape,
    pad: Shape,
    out: Shape,
    count_pad: bool = True,
) -> torch.Tensor:
    """Caffe's AVE pooling, whose divisor counts padding but not what hangs over it.

    Without count_pad it is the forks' AVE_EXC_PAD, whose divisor counts neither.
    """
    if tuple(kernel) == tuple(x.shape[2:]) and not any(pad):
        return x.mean((2, 3), keepdim=True)
    ceil_mode = _native_ceil_mode(x.shape[2:], kernel, stride, pad, out)
    if ceil_mode is not None:
        return F.avg_pool2d(x, kernel, stride, pad, ceil_mode, count_include_pad=count_pad)
    wide = _padded(x, kernel, stride, pad, out, 0.0)
    means = F.avg_pool2d(wide, kernel, stride)  # torch.onnx overlooks divisor_override
    rows, columns = (
        _window_sizes(x.shape[2 + a], kernel[a], stride[a], pad[a], out[a], x.device, count_pad)
        for a in (0, 1)
    )
    return means * (kernel[0] * kernel[1]) / (rows[:, None] * columns)


def _refuse_stochastic(
    layer: Layer, param: caffe_pb.PoolingParameter | caffe_pb.SPPParameter
) -> None:
    if param.pool == type(param).STOCHASTIC:
        raise graph.NetError(
            f"layer '{layer.name}': STOCHASTIC pooling is not implemented, use MAX or AVE"
        )


class Pooling(Layer, type="Pooling"):
    """MAX, whose second top is the mask, and AVE over the last two of four axes.

    The forks' AVE_EXC_PAD is AVE without the padding.
    """

    takes_bfloat16 = True

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        shapes = super().setup(bottoms)
        _refuse_stochastic(self, self.param.pooling_param)
        return shapes

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x, p = bottoms[0], self.param.pooling_param
        shapes = self.shapes_of(x)
        (window,) = shapes.pools
        if shapes.margins:
            return self._with_margins(x, window, *shapes.margins)
        if p.pool == caffe_pb.PoolingParameter.MAX:
            return max_pool(x, *window, with_mask=len(self.param.top) > 1)
        return [ave_pool(x, *window, p.pool == caffe_pb.PoolingParameter.AVE)]

    def _with_margins(
        self, x: torch.Tensor, window: graph.PoolGeometry, left: int, right: int, top: int, low: int
    ) -> Tensors:
        """The tops where each side has a padding of its own (Synopsys's fork)."""
        sides, pool = (left, right, top, low), self.param.pooling_param.pool
        if pool == caffe_pb.PoolingParameter.MAX:
            wide = F.pad(x, sides, value=-FLT_MAX)
            tops = max_pool(wide, *window, with_mask=len(self.param.top) > 1)
            if len(tops) > 1:
                row, column = tops[1] // wide.shape[3] - top, tops[1] % wide.shape[3] - left
                tops[1] = torch.where(tops[0] == -FLT_MAX, -1, row * x.shape[3] + column)
            return tops
        means = ave_pool(F.pad(x, sides), *window)
        if pool == caffe_pb.PoolingParameter.AVE:
            return [means]
        inside = ave_pool(F.pad(torch.ones_like(x[:1, :1]), sides), *window)
        return [torch.where(inside > 0, means / inside, 0)]


class SPP(Layer, type="SPP"):
    """Pools into 1, 2x2, 4x4, ... bins, flattened and concatenated (He et al. 2014).

    With one level the top is that of the pooling, not flattened.
    """

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        shapes = super().setup(bottoms)
        _refuse_stochastic(self, self.param.spp_param)
        return shapes

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x, pool = bottoms[0], self.param.spp_param.pool
        parts = [
            max_pool(x, *window)[0] if pool == caffe_pb.SPPParameter.MAX else ave_pool(x, *window)
            for window in self.shapes_of(x).pools
        ]
        return parts if len(parts) == 1 else [torch.cat([part.flatten(1) for part in parts], 1)]
