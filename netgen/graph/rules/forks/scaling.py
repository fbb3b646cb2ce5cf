"""ReLU6, Axpy, ChannelScale, MaskPooling."""

from math import prod

from netgen.graph.errors import require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import shape_string


@rule("ReLU6")
def relu6(setup: Setup) -> LayerShapes:
    return LayerShapes(list(setup.bottoms))


@rule("Axpy", bottoms=3)
def axpy(setup: Setup) -> LayerShapes:
    """One factor a channel (N, C) or (N, C, 1, 1), what it scales (N, C, H, W), what is added."""
    factors, x, y = setup.bottoms
    require(
        len(factors) >= 2 and factors[2:] in ((), (1, 1)),
        f"bottom[0] must be (N, C) or (N, C, 1, 1), not {shape_string(factors)}",
    )
    require_equal(factors[:2], x[:2], "bottom[0] must have one factor for each map of bottom[1]")
    require(
        x == y,
        f"bottom[1] and bottom[2] must have one shape ({shape_string(x)} vs. {shape_string(y)})",
    )
    return LayerShapes([x])


@rule("ChannelScale", bottoms=2)
def channel_scale(setup: Setup) -> LayerShapes:
    """Features (N, C, H, W), and one factor for each of their places."""
    x, factors = setup.bottoms
    require(len(x) >= 2, f"bottom[0] must be (N, C) or more, not {shape_string(x)}")
    require_equal(x[:1], factors[:1], "both bottoms must have one batch size")
    require_equal(
        x[0] * prod(x[2:]), prod(factors), "bottom[1] must have one factor for each place"
    )
    return LayerShapes([x])


@rule("MaskPooling", bottoms=2)
def mask_pooling(setup: Setup) -> LayerShapes:
    """Features (N, C, H, W) and masks (N, 1, H, W)."""
    x, masks = setup.bottoms
    require_equal(4, len(x), "MaskPooling needs 4 axes")
    wanted = (x[0], 1, *x[2:])
    require(
        masks == wanted,
        f"the masks must be {shape_string(wanted)}, not {shape_string(masks)}",
    )
    return LayerShapes([x])
