"""NdConvolution and NdPooling: windows over any number of axes, as for videos."""

import torch.nn.functional as F

from netgen.schema import caffe_pb
from runner.layers.base import Layer, Tensors
from runner.layers.linear import Convolution
from runner.layers.pooling import FLT_MAX

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


class NdConvolution(Convolution, type="NdConvolution"):
    """Convolution over up to three axes, by kernel_shape (C3D, Tran et al. 2015, in video-caffe).

    Axes of size 1 behind the channels are left out of the top.
    """

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        tops = super().forward(bottoms, blobs)
        shapes = self.shapes_of(*bottoms).tops
        return [top.reshape(shape) for top, shape in zip(tops, shapes, strict=True)]


class NdPooling(Layer, type="NdPooling"):
    """MAX and AVE over up to three axes, by kernel_shape (C3D, Tran et al. 2015, in video-caffe).

    AVE divides by the whole window, whatever of it is padding or hangs over it.
    """

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        (x,), pool = bottoms, self.param.pooling_param.pool
        (window,) = self.shapes_of(x).pools
        sides = []
        for size, kernel, stride, pad, out in zip(x.shape[2:], *window, strict=True):
            sides = [pad, (out - 1) * stride + kernel - size - pad, *sides]
        largest = pool == caffe_pb.PoolingParameter.MAX
        wide = F.pad(x, sides, value=-FLT_MAX if largest else 0.0)
        function = (_MAX if largest else _AVE)[len(window.kernel)]
        return [function(wide, window.kernel, window.stride)]
