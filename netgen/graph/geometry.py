"""Kernel, stride, pad and dilation of sliding windows, read from their parameter messages.

Sources: base_conv_layer.cpp (LayerSetUp), conv_layer.cpp and deconv_layer.cpp
(compute_output_shape), pooling_layer.cpp (LayerSetUp and Reshape).
"""

from collections.abc import Sequence
from typing import NamedTuple

from netgen.graph.errors import NetError, require, require_equal
from netgen.graph.shape import Shape, legacy_dim
from netgen.schema import caffe_pb


class Geometry(NamedTuple):
    """The window of a convolution: one int per spatial axis in each field."""

    kernel: Shape
    stride: Shape
    pad: Shape
    dilation: Shape


class PoolGeometry(NamedTuple):
    """The window of a pooling and the size of its top: (height, width) in each field."""

    kernel: Shape
    stride: Shape
    pad: Shape
    out: Shape


def conv_geometry(
    layer_param: caffe_pb.LayerParameter | caffe_pb.ConvolutionParameter, ndim_spatial: int
) -> Geometry:
    """The Geometry of a Convolution, Deconvolution or Im2col over ndim_spatial axes.

    layer_param: its LayerParameter, or the ConvolutionParameter itself. A repeated field holds
    one value for all axes or one per axis; the fields that end in `_h` and `_w` are for two
    axes, and stand in its place. Raises NetError in Caffe's words.
    """
    param = (
        layer_param
        if isinstance(layer_param, caffe_pb.ConvolutionParameter)
        else layer_param.convolution_param
    )
    kernel = _per_axis(param, "kernel_size", "kernel", ndim_spatial)
    require(all(kernel), "Filter dimensions must be nonzero.")
    stride = _per_axis(param, "stride", "stride", ndim_spatial, default=1)
    require(all(stride), "Stride dimensions must be nonzero.")
    pad = _per_axis(param, "pad", "pad", ndim_spatial, default=0)
    dilation = _per_axis(param, "dilation", None, ndim_spatial, default=1)
    require(all(dilation), "Dilation dimensions must be nonzero.")
    return Geometry(kernel, stride, pad, dilation)


def _per_axis(
    param: caffe_pb.ConvolutionParameter,
    field: str,
    short: str | None,
    ndim: int,
    default: int | None = None,
) -> Shape:
    values = tuple(getattr(param, field))
    if short and (param.HasField(f"{short}_h") or param.HasField(f"{short}_w")):
        require_equal(ndim, 2, f"{short}_h & {short}_w can only be used for 2D convolution.")
        require(not values, f"Either {field} or {short}_h/w should be specified; not both.")
        return getattr(param, f"{short}_h"), getattr(param, f"{short}_w")
    if not values and default is not None:
        return (default,) * ndim
    if len(values) not in (1, ndim):
        raise NetError(
            f"{field} must be specified once, or once per spatial dimension "
            f"({field} specified {len(values)} times; {ndim} spatial dims)."
        )
    return values * ndim if len(values) == 1 else values


_ONE_SIDED = ("pad_l", "pad_r", "pad_t", "pad_b")


def conv_margins(param: caffe_pb.ConvolutionParameter, ndim_spatial: int) -> Shape:
    """The zeros that forks' pad_l, pad_r, pad_t and pad_b add on each side, or () if none.

    Raises NetError if they are given beside pad, or for other than two axes.
    """
    margins = tuple(getattr(param, name) for name in _ONE_SIDED)
    if not any(margins):
        return ()
    require_equal(
        2, ndim_spatial, "pad_l, pad_r, pad_t & pad_b can only be used for 2D convolution."
    )
    require(
        not (any(param.pad) or param.pad_h or param.pad_w),
        "Either pad or pad_l/r/t/b should be specified; not both.",
    )
    return margins


def with_margins(sizes: Shape, margins: Shape) -> Shape:
    """The height and width of an image with conv_margins' zeros around it."""
    if not margins:
        return sizes
    left, right, top, bottom = margins
    return sizes[0] + top + bottom, sizes[1] + left + right


def conv_out(sizes: Shape, geometry: Geometry) -> Shape:
    """The spatial output of a convolution: trunc((in + 2 pad - extent) / stride) + 1 per axis."""
    out = []
    for size, kernel, stride, pad, dilation in zip(sizes, *geometry, strict=True):
        room = size + 2 * pad - (dilation * (kernel - 1) + 1)
        # C++ division truncates: a window with less than one stride missing still fits once.
        out.append(int(room / stride) + 1)
    return _nonempty(out, sizes, geometry)


def deconv_out(sizes: Shape, geometry: Geometry) -> Shape:
    """The spatial output of a deconvolution: stride (in - 1) + extent - 2 pad per axis."""
    out = [
        stride * (size - 1) + dilation * (kernel - 1) + 1 - 2 * pad
        for size, kernel, stride, pad, dilation in zip(sizes, *geometry, strict=True)
    ]
    return _nonempty(out, sizes, geometry)


def pool_geometry(pooling_param: caffe_pb.PoolingParameter, bottom_shape: Shape) -> PoolGeometry:
    """The PoolGeometry of a PoolingParameter on a 4-D bottom (N, C, H, W).

    The output is rounded up unless round_mode is FLOOR, or as the forks' ceil_mode says, which
    counts more; with padding the last window must
    start inside the image or its leading pad. Its pad leaves out that of pool_margins. Raises
    NetError in Caffe's words.
    """
    p = pooling_param
    if p.global_pooling:
        require(
            not (p.HasField("kernel_size") or p.HasField("kernel_h") or p.HasField("kernel_w")),
            "With Global_pooling: true Filter size cannot specified",
        )
    else:
        require(
            p.HasField("kernel_size") != (p.HasField("kernel_h") and p.HasField("kernel_w")),
            "Filter size is kernel_size OR kernel_h and kernel_w; not both",
        )
    pad = _pair(p, "pad", "pad is pad OR pad_h and pad_w are required.")
    stride = _pair(p, "stride", "Stride is stride OR stride_h and stride_w are required.")
    if p.global_pooling:
        kernel = (legacy_dim(bottom_shape, 2), legacy_dim(bottom_shape, 3))
    elif p.HasField("kernel_size"):
        kernel = (p.kernel_size, p.kernel_size)
    else:
        kernel = (p.kernel_h, p.kernel_w)
    require(all(kernel), "Filter dimensions cannot be zero.")
    require(all(stride), "Stride dimensions cannot be zero.")
    if p.global_pooling:
        require(
            pad == (0, 0) and stride == (1, 1),
            "With Global_pooling: true; only pad = 0 and stride = 1",
        )
    if any(pad):
        require(
            p.pool != caffe_pb.PoolingParameter.STOCHASTIC,
            "Padding implemented only for average and max pooling.",
        )
        require(
            pad[0] < kernel[0] and pad[1] < kernel[1],
            f"pad {pad[0]} {pad[1]} must be smaller than kernel {kernel[0]} {kernel[1]}",
        )
    require_equal(
        4,
        len(bottom_shape),
        "Input must have 4 axes, corresponding to (num, channels, height, width)",
    )
    sizes = tuple(bottom_shape[2:])
    left, right, above, below = pool_margins(p) or (pad[1], pad[1], pad[0], pad[0])
    around = ((above, below), (left, right))
    windows = zip(sizes, kernel, stride, around, strict=True)
    floor = p.round_mode == caffe_pb.PoolingParameter.FLOOR
    if p.HasField("ceil_mode"):
        floor = not p.ceil_mode
    padded = any(map(any, around))
    out = [_pooled(floor, padded, *window) for window in windows]
    return PoolGeometry(kernel, stride, pad, _nonempty(out, sizes, (kernel, stride, pad)))


def _pair(param: caffe_pb.PoolingParameter, field: str, words: str) -> tuple[int, int]:
    one, h, w = (param.HasField(f) for f in (field, f"{field}_h", f"{field}_w"))
    require((not one and h and w) or (not h and not w), words)
    if h:
        return getattr(param, f"{field}_h"), getattr(param, f"{field}_w")
    return (getattr(param, field),) * 2


def pool_margins(param: caffe_pb.PoolingParameter) -> Shape:
    """The padding of forks' pad_l, pad_r, pad_t and pad_b on each side, or () if there is none.

    Raises NetError if they are given beside pad.
    """
    margins = tuple(getattr(param, name) for name in _ONE_SIDED)
    if not any(margins):
        return ()
    for name in ("pad", "pad_h", "pad_w"):
        require(
            not param.HasField(name),
            f"Either {name} or pad_l/r/t/b should be specified; not both.",
        )
    return margins


def _pooled(
    floor: bool, padded: bool, size: int, kernel: int, stride: int, pads: tuple[int, int]
) -> int:
    room = size + sum(pads) - kernel
    out = (room // stride if floor else -(-room // stride)) + 1
    if padded and (out - 1) * stride >= size + pads[0]:
        out -= 1
    return out


def _nonempty(out: Sequence[int], sizes: Shape, geometry: Sequence[Shape]) -> Shape:
    if min(out, default=1) < 1:
        kernel, stride, pad = (" ".join(map(str, g)) for g in geometry[:3])
        raise NetError(
            f"output would be empty ({' '.join(map(str, out))}): kernel {kernel}, stride {stride}, "
            f"pad {pad} do not fit input {' '.join(map(str, sizes))}"
        )
    return tuple(out)
