"""LabelSpecificAdd, LiftedStructSimilaritySoftmaxLoss, MarginInnerProduct: learning distances."""

from math import prod

from netgen.graph.errors import require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import axis_of


@rule("LabelSpecificAdd", bottoms=2, tops=(1, 2))
def label_specific_add(setup: Setup) -> LayerShapes:
    """Scores (N, ...) and labels (N); a second top has the bias."""
    scores, labels = setup.bottoms
    require(len(scores) >= 2, "bottom[0] must be (N, C)")
    require_equal(scores[0], prod(labels), "there must be one label a record")
    return LayerShapes([scores, (1,)][: setup.num_tops])


@rule("LiftedStructSimilaritySoftmaxLoss", bottoms=2, automatic_top=True)
def lifted_struct_similarity_softmax_loss(setup: Setup) -> LayerShapes:
    """Embeddings (N, D) and labels (N)."""
    features, labels = setup.bottoms
    require(len(features) >= 2, "bottom[0] must be (N, D)")
    require_equal(1, prod(features[2:]), "bottom[0] must be (N, D) or (N, D, 1, 1)")
    require_equal(
        features[:1], labels[:1], "The data and label should have the same first dimension."
    )
    require_equal(1, prod(labels[1:]), "there must be one label a record")
    return LayerShapes([()])


@rule("MarginInnerProduct", bottoms=2, tops=(1, 2))
def margin_inner_product(setup: Setup) -> LayerShapes:
    """Features and labels to scores; a second top has the weight of the plain product.

    One blob (outputs, K), where K flattens the bottom from `axis` on.
    """
    param, (features, labels) = setup.layer.margin_inner_product_param, setup.bottoms
    require(param.num_output > 0, "num_output must be positive")
    axis = axis_of(features, param.axis)
    rows, inputs = prod(features[:axis]), prod(features[axis:])
    require_equal(features[:1], labels[:1], "Number of labels must match number of output")
    require_equal(rows, prod(labels), "there must be one label a row of the product")
    tops = [(*features[:axis], param.num_output), (1,)]
    return LayerShapes(
        tops[: setup.num_tops],
        [(param.num_output, inputs)],
        rows * inputs * param.num_output,
        axis=axis,
    )
