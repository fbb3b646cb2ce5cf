"""Convolution, Deconvolution, Im2col (base_conv_layer.cpp, im2col_layer.cpp).

Two names of forks are Convolution's. DepthwiseConvolution means one with as many groups as
channels, and leaves it to `group` to say so; ConvolutionDepthwise has them whatever `group` says.
"""

from math import prod

from netgen.graph.errors import require, require_equal
from netgen.graph.geometry import (
    conv_geometry,
    conv_margins,
    conv_out,
    deconv_out,
    with_margins,
)
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import axis_of, shape_string


@rule(
    "Convolution",
    "ConvolutionDepthwise",
    "Deconvolution",
    "DepthwiseConvolution",
    bottoms=(1, None),
    tops=(1, None),
    one_top_per_bottom=True,
)
def convolution(setup: Setup) -> LayerShapes:
    """Weight (out, in / group, *kernel), Deconvolution's (in, out / group, *kernel); bias (out)."""
    param = setup.layer.convolution_param
    first = setup.bottoms[0]
    axis = axis_of(first, param.axis)
    sizes = first[axis + 1 :]
    geometry = conv_geometry(param, len(sizes))
    margins = conv_margins(param, len(sizes))
    channels, outputs, group = first[axis], param.num_output, param.group
    if setup.layer.type == "ConvolutionDepthwise":
        group = channels
    require(outputs > 0, "num_output must be positive")
    require(group > 0, "group must be positive")
    require(channels % group == 0, f"{channels} channels are not a multiple of group {group}")
    require_equal(0, outputs % group, "Number of output should be multiples of group.")
    for i, other in enumerate(setup.bottoms[1:], 1):
        require(
            other == first,
            f"shape mismatch - bottom[0]: {shape_string(first)} "
            f"vs. bottom[{i}]: {shape_string(other)}",
        )
    if setup.layer.type == "Deconvolution":
        require(not margins, "pad_l, pad_r, pad_t & pad_b are a Convolution's alone")
        out = deconv_out(sizes, geometry)
        weight = (channels, outputs // group, *geometry.kernel)
        positions = prod(sizes)
    else:
        out = conv_out(with_margins(sizes, margins), geometry)
        weight = (outputs, channels // group, *geometry.kernel)
        positions = prod(out)
    tops = [(*first[:axis], outputs, *out)] * len(setup.bottoms)
    params = [weight, (outputs,)] if param.bias_term else [weight]
    macs = len(tops) * prod(first[:axis]) * positions * prod(weight)
    return LayerShapes(tops, params, macs, axis=axis, geometry=geometry, margins=margins)


@rule("Im2col")
def im2col(setup: Setup) -> LayerShapes:
    param = setup.layer.convolution_param
    (bottom,) = setup.bottoms
    axis = axis_of(bottom, param.axis)
    sizes = bottom[axis + 1 :]
    require(sizes, f"no spatial axes after axis {axis} in {shape_string(bottom)}")
    geometry = conv_geometry(param, len(sizes))
    require(
        not conv_margins(param, len(sizes)), "pad_l, pad_r, pad_t & pad_b are a Convolution's alone"
    )
    channels = bottom[axis] * prod(geometry.kernel)
    top = (*bottom[:axis], channels, *conv_out(sizes, geometry))
    return LayerShapes([top], axis=axis, geometry=geometry)
