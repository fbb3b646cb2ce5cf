"""Flip, Permute, Reorg, Reverse, ShuffleChannel, Transpose: the same values at other places."""

from netgen.graph.errors import require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import dim, shape_string


@rule("Flip")
def flip(setup: Setup) -> LayerShapes:
    setup.refuse_in_place()
    (bottom,) = setup.bottoms
    require(len(bottom) <= 4, f"Flip takes at most 4 axes, not {shape_string(bottom)}")
    return LayerShapes([bottom])


@rule("Permute")
def permute(setup: Setup) -> LayerShapes:
    """The axes that `order` names, and then the others as they were."""
    setup.refuse_in_place()
    (bottom,), named = setup.bottoms, list(setup.layer.permute_param.order)
    for axis in named:
        require(
            axis < len(bottom),
            f"order should be less than the input dimension. ({axis} vs. {len(bottom)})",
        )
    require(len(set(named)) == len(named), "there are duplicate orders")
    order = (*named, *(axis for axis in range(len(bottom)) if axis not in named))
    return LayerShapes([tuple(bottom[axis] for axis in order)], order=order)


@rule("Reorg")
def reorg(setup: Setup) -> LayerShapes:
    """Blocks of stride x stride pixels become channels; with `reverse` channels become blocks."""
    setup.refuse_in_place()
    param, (bottom,) = setup.layer.reorg_param, setup.bottoms
    require_equal(4, len(bottom), "Reorg needs 4 axes")
    require(param.HasField("stride"), "Reorg Layer need stride param.")
    stride, (num, channels, height, width) = param.stride, bottom
    require(stride > 0, "stride must be positive")
    require_equal(
        0, channels % stride**2, f"{channels} channels are not a multiple of {stride} x {stride}"
    )
    if param.reverse:
        return LayerShapes([(num, channels // stride**2, height * stride, width * stride)])
    for name, size in (("height", height), ("width", width)):
        require_equal(0, size % stride, f"{name} {size} is not a multiple of stride {stride}")
    return LayerShapes([(num, channels * stride**2, height // stride, width // stride)])


@rule("Reverse")
def reverse(setup: Setup) -> LayerShapes:
    setup.refuse_in_place()
    axis, (bottom,) = setup.layer.reverse_param.axis, setup.bottoms
    require(
        0 <= axis < len(bottom),
        f"axis must be one of bottom's, and not negative ({axis} of {shape_string(bottom)})",
    )
    return LayerShapes([bottom], axis=axis)


@rule("ShuffleChannel")
def shuffle_channel(setup: Setup) -> LayerShapes:
    (bottom,) = setup.bottoms
    group, channels = setup.layer.shuffle_channel_param.group, dim(bottom, 1)
    require(group > 0, "group must be greater than 0")
    require_equal(0, channels % group, f"Wrong group size: {channels} channels, group {group}")
    return LayerShapes([bottom])


@rule("Transpose")
def transpose(setup: Setup) -> LayerShapes:
    """Permute with all axes named."""
    setup.refuse_in_place()
    (bottom,), order = setup.bottoms, tuple(setup.layer.transpose_param.dim)
    require(
        sorted(order) == list(range(len(bottom))),
        f"transpose_param must name each of the {len(bottom)} axes once, not {list(order)}",
    )
    return LayerShapes([tuple(bottom[axis] for axis in order)], order=order)
