"""The losses, whose scalar top is made up if the layer names none (loss_layer.cpp and others)."""

from math import prod

from netgen.graph.errors import require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import Shape, axis_of, dim, legacy_dim


def check_labels(scores: Shape, labels: Shape, axis: int, axis_name: str) -> None:
    """Raise NetError unless there is one label for each prediction along `axis` of the scores."""
    require_equal(
        prod(scores[:axis]) * prod(scores[axis + 1 :]),
        prod(labels),
        "Number of labels must match number of predictions; "
        f"e.g., if {axis_name} == 1 and prediction shape is (N, C, H, W), "
        "label count (number of labels) must be N*H*W, with integer values in {0, 1, ..., C-1}.",
    )


def _check_batch(setup: Setup) -> None:
    require_equal(
        dim(setup.bottoms[0], 0),
        dim(setup.bottoms[1], 0),
        "The data and label should have the same first dimension.",
    )


@rule("EuclideanLoss", bottoms=2, automatic_top=True)
def euclidean(setup: Setup) -> LayerShapes:
    _check_batch(setup)
    a, b = (prod(bottom[1:]) for bottom in setup.bottoms)
    require_equal(a, b, "Inputs must have the same dimension.")
    return LayerShapes([()])


@rule("HingeLoss", bottoms=2, automatic_top=True)
def hinge(setup: Setup) -> LayerShapes:
    _check_batch(setup)
    return LayerShapes([()])


@rule("MultinomialLogisticLoss", bottoms=2, automatic_top=True)
def multinomial_logistic(setup: Setup) -> LayerShapes:
    _check_batch(setup)
    _check_one_value(setup.bottoms[1], "label", first_axis=1)
    return LayerShapes([()])


@rule("SigmoidCrossEntropyLoss", bottoms=2, automatic_top=True)
def sigmoid_cross_entropy(setup: Setup) -> LayerShapes:
    _check_batch(setup)
    a, b = map(prod, setup.bottoms)
    require_equal(a, b, "SIGMOID_CROSS_ENTROPY_LOSS layer inputs must have the same count.")
    return LayerShapes([()])


@rule("ContrastiveLoss", bottoms=3, automatic_top=True)
def contrastive(setup: Setup) -> LayerShapes:
    """Two blobs of vectors (N, C) and whether each pair is similar (N)."""
    a, b, similar = setup.bottoms
    require_equal(legacy_dim(a, 1), legacy_dim(b, 1), "bottom[0] and bottom[1] differ in channels")
    _check_one_value(a, "bottom[0]", first_axis=2)
    _check_one_value(b, "bottom[1]", first_axis=2)
    _check_one_value(similar, "bottom[2]", first_axis=1)
    _check_batch(setup)
    return LayerShapes([()])


def _check_one_value(shape: Shape, name: str, first_axis: int) -> None:
    for axis in range(first_axis, 4):
        axis_name = ("num", "channels", "height", "width")[axis]
        require_equal(1, legacy_dim(shape, axis), f"{name} must have {axis_name} 1")


@rule("SoftmaxWithLoss", bottoms=2, tops=(1, 2), automatic_top=True)
def softmax_with_loss(setup: Setup) -> LayerShapes:
    """A second top has the probabilities."""
    _check_batch(setup)
    scores, labels = setup.bottoms
    axis = axis_of(scores, setup.layer.softmax_param.axis)
    check_labels(scores, labels, axis, "softmax axis")
    if setup.layer.loss_param.weight_by_label_freqs:
        given = len(setup.layer.loss_param.class_weighting)
        require_equal(
            given,
            scores[axis],
            "Number of class weight values does not match the number of classes.",
        )
    return LayerShapes([(), scores][: setup.num_tops], axis=axis)


@rule("InfogainLoss", bottoms=(2, 3), tops=(1, 2), automatic_top=True)
def infogain(setup: Setup) -> LayerShapes:
    """The matrix (C, C) is the third bottom or a file; a second top has the probabilities."""
    param = setup.layer.infogain_loss_param
    require(
        not setup.layer.loss_param.HasField("normalize"),
        'normalize is deprecated. use "normalization"',
    )
    require(
        len(setup.bottoms) == 3 or param.HasField("source"),
        "Infogain matrix source must be specified.",
    )
    _check_batch(setup)
    scores, labels = setup.bottoms[:2]
    axis = axis_of(scores, param.axis)
    check_labels(scores, labels, axis, "infogain axis")
    if len(setup.bottoms) == 3:
        require_equal(
            scores[axis] ** 2, prod(setup.bottoms[2]), "the infogain matrix must be (C, C)"
        )
    return LayerShapes([(), scores][: setup.num_tops], axis=axis)
