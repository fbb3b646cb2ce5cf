"""LRN, MVN, Softmax, BatchNorm, Scale, Bias (the *_layer.cpp of those names)."""

from netgen.graph.errors import require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import Shape, axis_of, dim, legacy_dim
from netgen.schema import caffe_pb


@rule("LRN")
def lrn(setup: Setup) -> LayerShapes:
    (bottom,) = setup.bottoms
    size = setup.layer.lrn_param.local_size
    require(size % 2 == 1, f"LRN only supports odd values for local_size ({size})")
    require_equal(
        4,
        len(bottom),
        "Input must have 4 axes, corresponding to (num, channels, height, width)",
    )
    return LayerShapes([bottom])


@rule("MVN")
def mvn(setup: Setup) -> LayerShapes:
    """The top has four axes whatever the bottom has, as in Caffe."""
    (bottom,) = setup.bottoms
    return LayerShapes([tuple(legacy_dim(bottom, i) for i in range(4))])


@rule("Softmax")
def softmax(setup: Setup) -> LayerShapes:
    (bottom,) = setup.bottoms
    return LayerShapes([bottom], axis=axis_of(bottom, setup.layer.softmax_param.axis))


@rule("BatchNorm")
def batch_norm(setup: Setup) -> LayerShapes:
    """Blobs: sums of means (C) and of variances (C), and the scale factor (1), none trained."""
    (bottom,) = setup.bottoms
    for spec in setup.layer.param[:3]:
        require(
            spec.lr_mult == 0,
            "Cannot configure batch normalization statistics as layer parameters. "
            f"(lr_mult {spec.lr_mult:g} vs. 0)",
        )
    channels = dim(bottom, 1)
    return LayerShapes([bottom], [(channels,), (channels,), (1,)])


@rule("Bias", bottoms=(1, 2))
def bias(setup: Setup) -> LayerShapes:
    return _broadcast(setup, setup.layer.bias_param, "bias")


@rule("Scale", bottoms=(1, 2))
def scale(setup: Setup) -> LayerShapes:
    """Blobs: the scale unless it is the second bottom, then the bias if there is one."""
    param = setup.layer.scale_param
    shapes = _broadcast(setup, param, "scale")
    if param.bias_term:
        shapes.params += shapes.params or [setup.bottoms[1]]
    return shapes


def _broadcast(
    setup: Setup, param: caffe_pb.ScaleParameter | caffe_pb.BiasParameter, name: str
) -> LayerShapes:
    """The shapes of a layer whose own blob, or second bottom, covers some axes of bottom[0]."""
    bottom = setup.bottoms[0]
    if len(setup.bottoms) == 2:
        covering = setup.bottoms[1]
        # A scalar covers nothing, so that its axis does not matter.
        axis = axis_of(bottom, param.axis) if covering else 0
        _check_extent(bottom, axis, len(covering), name)
        for i, size in enumerate(covering):
            require_equal(
                bottom[axis + i],
                size,
                f"dimension mismatch between bottom[0]->shape({axis + i}) and {name}->shape({i})",
            )
        return LayerShapes([bottom], axis=axis)
    axis = axis_of(bottom, param.axis)
    require(
        param.num_axes >= -1,
        "num_axes must be non-negative, or -1 to extend to the end of bottom[0] "
        f"({param.num_axes})",
    )
    end = len(bottom) if param.num_axes == -1 else axis + param.num_axes
    _check_extent(bottom, axis, end - axis, name)
    return LayerShapes([bottom], [bottom[axis:end]], axis=axis)


def _check_extent(bottom: Shape, axis: int, extent: int, name: str) -> None:
    require(
        len(bottom) >= axis + extent,
        f"{name} blob's shape extends past bottom[0]'s shape when applied "
        f"starting with bottom[0] axis = {axis} ({len(bottom)} vs. {axis + extent})",
    )
