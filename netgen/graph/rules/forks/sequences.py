"""ContinuationIndicator, CtcLoss, LabelsequenceAccuracy: labelling sequences."""

from netgen.graph.errors import require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import shape_string


@rule("ContinuationIndicator", bottoms=0)
def continuation_indicator(setup: Setup) -> LayerShapes:
    param = setup.layer.continuation_indicator_param
    require(param.batch_size > 0, "The batch size should be greater than 0.")
    require(param.time_step > 0, "The time step should be greater than 0.")
    return LayerShapes([(param.time_step, param.batch_size)])


@rule("CtcLoss", bottoms=2, automatic_top=True)
def ctc_loss(setup: Setup) -> LayerShapes:
    """Scores (T, N, alphabet_size) and labels (N, L, ...)."""
    param, (scores, labels) = setup.layer.ctc_loss_param, setup.bottoms
    require(param.alphabet_size > 0, "The size of the alphabet should be greater than 0.")
    require(param.time_step > 0, "The time step should be greater than 0.")
    require(
        len(scores) == 3 and len(labels) >= 2,
        "bottom[0] must be (T, N, C) and bottom[1] (N, L), not "
        f"{shape_string(scores)} and {shape_string(labels)}",
    )
    require_equal(param.alphabet_size, scores[2], "bottom[0] must have alphabet_size scores")
    require(
        param.time_step <= scores[0],
        f"time_step is more than bottom[0] has ({param.time_step} vs. {scores[0]})",
    )
    require_equal(labels[0], scores[1], "The input blobs should have same dimensions.")
    require(
        0 <= param.blank_label < param.alphabet_size,
        f"blank_label {param.blank_label} is outside the alphabet of {param.alphabet_size}",
    )
    return LayerShapes([()])


@rule("LabelsequenceAccuracy", bottoms=2)
def labelsequence_accuracy(setup: Setup) -> LayerShapes:
    """Scores (N, T, C) and labels (N, L, ...) to the share of sequences that are right."""
    scores, labels = setup.bottoms
    require(
        len(scores) == 3 and len(labels) >= 2,
        "bottom[0] must be (N, T, C) and bottom[1] (N, L), not "
        f"{shape_string(scores)} and {shape_string(labels)}",
    )
    require_equal(scores[0], labels[0], "The batch size should be equal.")
    return LayerShapes([()])
