"""ReLU6 and Axpy."""

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
