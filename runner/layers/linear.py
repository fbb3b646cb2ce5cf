"""Convolution, Deconvolution, InnerProduct and others that multiply by learned weights.

Torch lays weights out as Caffe does.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from netgen import graph
from netgen.schema import caffe_pb
from runner.layers.base import Context, Layer, Tensors

#: What NormFace's InnerProduct adds to the sum of squares of a row.
NORMALIZE_EPS = 1e-6

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_DECONV = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _overhang(sizes: graph.Shape, geometry: graph.Geometry, margins: graph.Shape = ()) -> list[int]:
    """The zeros (F.pad's sides) to add: the margins, and behind an axis smaller than the window.

    Caffe rounds towards zero there, so that a window fits if less than a stride is missing.
    """
    if margins:
        left, right, top, bottom = margins
        inside = _overhang((sizes[0] + top + bottom, sizes[1] + left + right), geometry)
        return [m + more for m, more in zip(margins, inside or (0,) * 4, strict=True)]
    windows = zip(sizes, geometry.kernel, geometry.pad, geometry.dilation, strict=True)
    missing = [max(0, d * (k - 1) + 1 - n - 2 * p) for n, k, p, d in windows]
    return [side for zeros in reversed(missing) for side in (0, zeros)] if any(missing) else []


def _touches(sizes: graph.Shape, geometry: graph.Geometry) -> bool:
    """Whether on every axis some window of a convolution has a cell that is not padding."""
    axes = zip(
        sizes, geometry.kernel, geometry.stride, geometry.pad, geometry.dilation, strict=True
    )
    return all(
        any(
            0 <= cell * d - p + start < n
            for cell in range(k)
            for start in range(0, n + 2 * p - d * (k - 1), s)
        )
        for n, k, s, p, d in axes
    )


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """x in the layout that oneDNN and cuDNN convolve fastest, and that the next layers keep."""
    n, channels, height, width = x.shape
    if channels == 1:  # it is in both layouts, and only the strides tell which one is meant
        return x.reshape(n, height, width, 1).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


class Convolution(Layer, type=("Convolution", "ConvolutionDepthwise", "DepthwiseConvolution")):
    """Weight (out, in / group, *kernel), bias (out); axes before `axis` are batch axes.

    Every bottom gives one top, with the same weights.
    """

    takes_bfloat16 = True

    functions = _CONV

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        shapes = super().setup(bottoms)
        window = shapes.geometry
        self.axis, self.spatial = shapes.axis, len(window.kernel)
        if self.spatial > 3:
            raise graph.NetError(
                f"layer '{self.name}': {self.spatial} spatial axes; "
                f"at most 3 are supported by {self.param.type}"
            )
        self.options, self.overhang = {"groups": self._groups(bottoms[0])}, []
        if self.spatial:
            self.options["stride"] = window.stride
            self.options["padding"] = window.pad
            self.options["dilation"] = window.dilation
            if self.functions is _CONV:
                sizes = bottoms[0][self.axis + 1 :]
                self.overhang = _overhang(sizes, window, shapes.margins)
                if not _touches(sizes, window):
                    # oneDNN (3.12, of PyTorch 2.13) ends the process with SIGSEGV there.
                    zeros = [p for pad in reversed(window.pad) for p in (pad, pad)]
                    more = self.overhang or [0] * len(zeros)
                    self.overhang = [a + b for a, b in zip(zeros, more, strict=True)]
                    self.options["padding"] = (0,) * self.spatial
        return shapes

    def _groups(self, bottom: graph.Shape) -> int:
        if self.param.type == "ConvolutionDepthwise":
            return bottom[self.axis]
        return self.param.convolution_param.group

    def fillers(self) -> list[caffe_pb.FillerParameter]:
        p = self.param.convolution_param
        return [p.weight_filler, p.bias_filler] if p.bias_term else [p.weight_filler]

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        weight, bias = blobs if len(blobs) == 2 else (blobs[0], None)
        return [self._one(x, weight, bias) for x in bottoms]

    def _one(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        if self.overhang:
            x = F.pad(x, self.overhang)
        if self.spatial == 2 and x.dim() == 4:
            x = channels_last(x)
        if self.axis == 1 and self.spatial:
            return self.functions[self.spatial](x, weight, bias, **self.options)
        batch = x.shape[: self.axis]
        y = x.reshape(-1, *x.shape[self.axis :])
        if self.spatial:
            y = self.functions[self.spatial](y, weight, bias, **self.options)
        else:  # There is nothing to slide over: the window has one place.
            y = self.functions[1](y[..., None], weight[..., None], bias, **self.options)[..., 0]
        return y.reshape(*batch, *y.shape[1:])


class Deconvolution(Convolution, type="Deconvolution"):
    """The transpose of Convolution; weight (in, out / group, *kernel)."""

    functions = _DECONV


class InnerProduct(Layer, type="InnerProduct"):
    """Weight (N, K), or (K, N) with `transpose`; K flattens the bottom from `axis` on.

    With `normalize` (NormFace, Wang et al. 2017) every forward scales the rows of the blob to
    length 1, in place; their gradient is that of the plain product.
    """

    takes_bfloat16 = True

    def __init__(self, param: caffe_pb.LayerParameter, context: Context) -> None:
        super().__init__(param, context)
        if param.inner_product_param.normalize:
            self.takes_bfloat16 = False
            self.untraceable = "it normalizes its weights in place"

    def fillers(self) -> list[caffe_pb.FillerParameter]:
        p = self.param.inner_product_param
        return [p.weight_filler, p.bias_filler] if p.bias_term else [p.weight_filler]

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x = bottoms[0].flatten(self.shapes.axis)
        weight, bias = blobs if len(blobs) == 2 else (blobs[0], None)
        if self.param.inner_product_param.normalize:
            with torch.no_grad():
                weight.mul_((weight.square().sum(1, keepdim=True) + NORMALIZE_EPS).rsqrt())
        if self.param.inner_product_param.transpose:
            weight = weight.t()
        return [F.linear(x, weight, bias)]


class Embed(Layer, type="Embed"):
    """The rows of a weight (input_dim, num_output) whose indices the bottom holds."""

    refuses_backward_to = (0,)
    no_force_backward = (0,)

    def fillers(self) -> list[caffe_pb.FillerParameter]:
        p = self.param.embed_param
        return [p.weight_filler, p.bias_filler] if p.bias_term else [p.weight_filler]

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        p = self.param.embed_param
        index = bottoms[0].detach().long()
        try:
            top = F.embedding(index, blobs[0])
        except IndexError:
            low, high = (int(v) for v in torch.aminmax(index))
            raise graph.NetError(
                f"layer '{self.name}': index {low if low < 0 else high} is outside "
                f"input_dim {p.input_dim}"
            ) from None
        return [top + blobs[1] if p.bias_term else top]


class Im2col(Layer, type="Im2col"):
    """The patches a convolution would multiply, as channels (2 spatial axes)."""

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        shapes = super().setup(bottoms)
        if len(shapes.geometry.kernel) != 2:
            raise graph.NetError(f"layer '{self.name}': Im2col is supported with 2 spatial axes")
        self.overhang = _overhang(bottoms[0][shapes.axis + 1 :], shapes.geometry)
        return shapes

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x = bottoms[0]
        shapes = self.shapes_of(x)
        window = shapes.geometry
        if self.overhang:
            x = F.pad(x, self.overhang)
        images = x.reshape(-1, *x.shape[shapes.axis :])
        columns = F.unfold(images, window.kernel, window.dilation, window.pad, window.stride)
        return [columns.reshape(shapes.tops[0])]


class Parameter(Layer, type="Parameter"):
    """The layer's blob, of parameter_param.shape, as its top.

    In Caffe both share one gradient, so that of the batches of iter_size the last one counts.
    """

    rewrites = (0,)

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        return [torch.clone(blobs[0])]
