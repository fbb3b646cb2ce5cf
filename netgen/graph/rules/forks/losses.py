"""SmoothL1Loss, L1Loss, DiceCoefLoss, CenterLoss, and the losses that mine hard examples (OHEM)."""

from math import prod

from netgen.graph.errors import require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.rules.losses import check_labels
from netgen.graph.shape import Shape, axis_of, legacy_dim, shape_string


def _check_alike(bottoms: list[Shape]) -> None:
    first = bottoms[0]
    for i, other in enumerate(bottoms[1:], 1):
        require(
            [legacy_dim(other, axis) for axis in range(4)]
            == [legacy_dim(first, axis) for axis in range(4)],
            f"bottom[0] and bottom[{i}] must have the same shape "
            f"({shape_string(first)} vs. {shape_string(other)})",
        )


@rule("SmoothL1Loss", bottoms=(2, 4), automatic_top=True)
def smooth_l1(setup: Setup) -> LayerShapes:
    """Predictions and targets; perhaps weights inside the loss; then perhaps some outside."""
    _check_alike(setup.bottoms)
    return LayerShapes([()])


@rule("SmoothL1LossOHEM", bottoms=(2, 3), tops=(1, 2), automatic_top=True)
def smooth_l1_ohem(setup: Setup) -> LayerShapes:
    """A second top has the loss of each place, summed over the channels."""
    _check_alike(setup.bottoms)
    num, _, height, width = (legacy_dim(setup.bottoms[0], axis) for axis in range(4))
    return LayerShapes([(), (num, 1, height, width)][: setup.num_tops])


@rule("SoftmaxWithLossOHEM", bottoms=2, tops=(1, 3), automatic_top=True)
def softmax_with_loss_ohem(setup: Setup) -> LayerShapes:
    """A second top has the probabilities, a third the loss of each label."""
    scores, labels = setup.bottoms
    require_equal(
        scores[:1], labels[:1], "The data and label should have the same first dimension."
    )
    axis = axis_of(scores, setup.layer.softmax_param.axis)
    check_labels(scores, labels, axis, "softmax axis")
    return LayerShapes([(), scores, labels][: setup.num_tops], axis=axis)


@rule("CenterLoss", bottoms=2, automatic_top=True)
def center_loss(setup: Setup) -> LayerShapes:
    """One blob, the centres (classes, K), where K flattens the bottom from `axis` on."""
    param, (features, labels) = setup.layer.center_loss_param, setup.bottoms
    require(param.num_output > 0, "num_output must be positive")
    axis = axis_of(features, param.axis)
    require_equal(
        features[:1], labels[:1], "The data and label should have the same first dimension."
    )
    require_equal(1, prod(labels[1:]), "there must be one label a record")
    require_equal(
        features[0], prod(features[:axis]), "axes between the first and `axis` must have size 1"
    )
    return LayerShapes([()], [(param.num_output, prod(features[axis:]))], axis=axis)


@rule("L1Loss", "AbsLoss", "DiceCoefLoss", bottoms=2, automatic_top=True)
def l1_loss(setup: Setup) -> LayerShapes:
    """Predictions and targets of one size."""
    x, target = setup.bottoms
    require_equal(x[:1], target[:1], "The data and label should have the same first dimension.")
    require_equal(prod(x[1:]), prod(target[1:]), "Inputs must have the same dimension.")
    return LayerShapes([()])
