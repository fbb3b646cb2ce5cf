"""Pooling and SPP (pooling_layer.cpp, spp_layer.cpp)."""

from math import prod

from netgen.graph.errors import require, require_equal
from netgen.graph.geometry import pool_geometry, pool_margins
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import legacy_dim
from netgen.schema import caffe_pb


def _pooling_tops(layer: caffe_pb.LayerParameter) -> tuple[int, int]:
    """Max pooling can also give the mask of its maxima."""
    return (1, 2 if layer.pooling_param.pool == caffe_pb.PoolingParameter.MAX else 1)


@rule("Pooling", tops=_pooling_tops)
def pooling(setup: Setup) -> LayerShapes:
    (bottom,) = setup.bottoms
    window = pool_geometry(setup.layer.pooling_param, bottom)
    margins = pool_margins(setup.layer.pooling_param)
    tops = [(*bottom[:2], *window.out)] * setup.num_tops
    return LayerShapes(tops, pools=(window,), margins=margins)


@rule("SPP")
def spp(setup: Setup) -> LayerShapes:
    """A pyramid of poolings to 1, 4, 16, ... bins, flattened and joined.

    With one level the result is not flattened, as in Caffe.
    """
    param = setup.layer.spp_param
    (bottom,) = setup.bottoms
    sizes = legacy_dim(bottom, 2), legacy_dim(bottom, 3)
    require(all(sizes), "Input dimensions cannot be zero.")
    require_equal(
        4,
        len(bottom),
        "Input must have 4 axes, corresponding to (num, channels, height, width)",
    )
    require(param.pyramid_height > 0, "pyramid_height must be positive")
    levels = tuple(
        pool_geometry(_level(param, i, sizes), bottom) for i in range(param.pyramid_height)
    )
    if len(levels) == 1:
        return LayerShapes([(*bottom[:2], *levels[0].out)], pools=levels)
    bins = sum(prod(level.out) for level in levels)
    return LayerShapes([(bottom[0], bottom[1] * bins)], pools=levels)


def _level(
    param: caffe_pb.SPPParameter, level: int, sizes: tuple[int, int]
) -> caffe_pb.PoolingParameter:
    """The pooling of one pyramid level, padded so that 2**level windows cover each axis."""
    bins = 2**level
    (kernel_h, pad_h), (kernel_w, pad_w) = (
        (-(-size // bins), (-(-size // bins) * bins - size + 1) // 2) for size in sizes
    )
    return caffe_pb.PoolingParameter(
        pool=caffe_pb.SPPParameter.PoolMethod.Name(param.pool),
        kernel_h=kernel_h,
        kernel_w=kernel_w,
        stride_h=kernel_h,
        stride_w=kernel_w,
        pad_h=pad_h,
        pad_w=pad_w,
    )
