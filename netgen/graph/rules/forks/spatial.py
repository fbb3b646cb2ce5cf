"""NdConvolution and NdPooling: windows over any number of axes, as for videos."""

from math import prod

from netgen.graph.errors import require, require_equal
from netgen.graph.geometry import Geometry, PoolGeometry, conv_out
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import Shape, shape_string
from netgen.schema import caffe_pb


def _window(
    param: caffe_pb.ConvolutionParameter | caffe_pb.PoolingParameter, bottom: Shape
) -> tuple[Shape, Shape, Shape]:
    """Kernel, stride and pad, one for each axis behind the second."""
    require(param.HasField("kernel_shape"), "Kernel shape is required.")
    kernel = tuple(param.kernel_shape.dim)
    require_equal(
        len(bottom) - 2,
        len(kernel),
        f"kernel_shape must have one size for each axis of "
        f"{shape_string(bottom)} behind the second",
    )
    stride = tuple(param.stride_shape.dim) if param.HasField("stride_shape") else (1,) * len(kernel)
    pad = tuple(param.pad_shape.dim) if param.HasField("pad_shape") else (0,) * len(kernel)
    require_equal(len(kernel), len(pad), "Kernel and Pad shape don't match !")
    require_equal(len(kernel), len(stride), "Kernel and Stride shape don't match !")
    require(min(kernel) > 0, "Filter dimensions cannot be zero.")
    require(min(stride) > 0, "Stride dimensions cannot be zero.")
    require(min(pad) >= 0, "pad must not be negative")
    return kernel, stride, pad


@rule("NdConvolution", bottoms=(1, None), tops=(1, None), one_top_per_bottom=True)
def nd_convolution(setup: Setup) -> LayerShapes:
    """Convolution, whose top leaves out axes of size 1 behind the channels."""
    param, first = setup.layer.convolution_param, setup.bottoms[0]
    kernel, stride, pad = _window(param, first)
    channels, outputs, group = first[1], param.num_output, param.group
    require(outputs > 0, "num_output must be positive")
    require(group > 0, "group must be positive")
    require_equal(0, channels % group, "the channels must be a multiple of group")
    require_equal(0, outputs % group, "Number of output should be multiples of group.")
    for other in setup.bottoms[1:]:
        require(other == first, "Inputs must have same shape.")
    geometry = Geometry(kernel, stride, pad, (1,) * len(kernel))
    out = conv_out(first[2:], geometry)
    weight = (outputs, channels // group, *kernel)
    tops = [(first[0], outputs, *(size for size in out if size > 1))] * len(setup.bottoms)
    macs = len(tops) * first[0] * prod(out) * prod(weight)
    params: list[Shape] = [weight, (outputs,)] if param.bias_term else [weight]
    return LayerShapes(tops, params, macs, axis=1, geometry=geometry)


@rule("NdPooling")
def nd_pooling(setup: Setup) -> LayerShapes:
    """The output is rounded up; with padding the last window starts inside or in the leading pad."""
    param, (bottom,) = setup.layer.pooling_param, setup.bottoms
    kernel, stride, pad = _window(param, bottom)
    require(
        param.pool in (caffe_pb.PoolingParameter.MAX, caffe_pb.PoolingParameter.AVE),
        "Unknown pooling method.",
    )
    if param.global_pooling:
        kernel = tuple(bottom[2:])
    out = []
    for size, k, s, p in zip(bottom[2:], kernel, stride, pad, strict=True):
        count = -(-(size + 2 * p - k) // s) + 1
        if p and (count - 1) * s >= size + p:
            count -= 1
        require(count >= 1, f"a window of {k} does not fit into {size} with pad {p}")
        require(p < k, f"pad {p} must be smaller than kernel {k}")
        out.append(count)
    return LayerShapes(
        [(*bottom[:2], *out)], pools=(PoolGeometry(kernel, stride, pad, tuple(out)),)
    )
