"""InnerProduct, Embed, Parameter (the *_layer.cpp or .hpp of those names)."""

from math import prod

from netgen.graph.errors import require
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import Shape, axis_of


@rule("InnerProduct")
def inner_product(setup: Setup) -> LayerShapes:
    """Weight (N, K), or (K, N) if transposed, with K the count of the bottom from `axis` on."""
    param = setup.layer.inner_product_param
    (bottom,) = setup.bottoms
    axis = axis_of(bottom, param.axis)
    n, k = param.num_output, prod(bottom[axis:])
    require(n > 0, "num_output must be positive")
    require(
        not (param.normalize and param.transpose), "normalize is not implemented with transpose"
    )
    weight = (k, n) if param.transpose else (n, k)
    params: list[Shape] = [weight, (n,)] if param.bias_term else [weight]
    macs = prod(bottom[:axis]) * n * k
    return LayerShapes([(*bottom[:axis], n)], params, macs, axis=axis)


@rule("Embed")
def embed(setup: Setup) -> LayerShapes:
    """A row of the weight (input_dim, num_output) for every index in the bottom."""
    param = setup.layer.embed_param
    (bottom,) = setup.bottoms
    n, k = param.num_output, param.input_dim
    require(n > 0, "EmbedLayer num_output must be positive.")
    require(k > 0, "EmbedLayer input_dim must be positive.")
    return LayerShapes([(*bottom, n)], [(k, n), (n,)] if param.bias_term else [(k, n)])


@rule("Parameter", bottoms=0)
def parameter(setup: Setup) -> LayerShapes:
    shape = tuple(setup.layer.parameter_param.shape.dim)
    return LayerShapes([shape], [shape])
