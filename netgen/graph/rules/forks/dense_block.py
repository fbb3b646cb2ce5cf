"""DenseBlock: a block of DenseNet in one layer."""

from math import prod

from netgen.graph.errors import require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import Shape


@rule("DenseBlock")
def dense_block(setup: Setup) -> LayerShapes:
    """Blobs, one of each kind a transition: filters, scales, biases, means, variances.

    With use_BC there are five more kinds, of the bottlenecks; then a last blob of one value.
    """
    setup.refuse_in_place()
    param, (bottom,) = setup.layer.denseblock_param, setup.bottoms
    require_equal(4, len(bottom), "DenseBlock needs 4 axes")
    require(param.numTransition > 0, "numTransition must be positive")
    require(param.growthRate > 0, "growthRate must be positive")
    count, growth = param.numTransition, param.growthRate
    inputs = [bottom[1] + i * growth for i in range(count)]
    between = [4 * growth if param.use_BC else channels for channels in inputs]
    params: list[Shape] = [(growth, channels, 3, 3) for channels in between]
    params += [(1, channels, 1, 1) for channels in inputs] * 4
    macs = sum(9 * growth * channels for channels in between)
    if param.use_BC:
        params += [(4 * growth, channels, 1, 1) for channels in inputs]
        params += [(1, 4 * growth, 1, 1)] * (4 * count)
        macs += sum(4 * growth * channels for channels in inputs)
    params.append((1,))
    require(
        len(setup.layer.param) in (0, len(params)),
        f"DenseBlock takes no param, or one for each of its {len(params)} blobs",
    )
    top = (bottom[0], bottom[1] + count * growth, *bottom[2:])
    return LayerShapes([top], params, macs * bottom[0] * prod(bottom[2:]))
