"""Lstm, ContinuationIndicator, CTC losses and decoders: sequences and their labels."""

from math import prod

from netgen.graph.errors import require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import Shape, shape_string


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


@rule("Lstm", bottoms=(1, 2))
def lstm(setup: Setup) -> LayerShapes:
    """(T N, ...), the streams of a step side by side, and perhaps cont (T N), to (T N, D).

    Without batch_size three axes are (T, N, K), which become (T, N, D), as in caffe_ocr. Blobs:
    W_x (4 D, K), W_h (4 D, D), b (4 D).
    """
    param, x = setup.layer.lstm_param, setup.bottoms[0]
    require(param.num_output > 0, "num_output must be positive")
    require(param.batch_size > 0, "batch_size must be positive")
    require(x, "bottom[0] must have an axis of steps and streams")
    steps = x[:2] if len(x) == 3 and not param.HasField("batch_size") else x[:1]
    if len(steps) == 1:
        require_equal(
            0, x[0] % param.batch_size, f"bottom[0] must have steps of {param.batch_size} streams"
        )
    if len(setup.bottoms) == 2:
        require_equal(
            prod(steps), prod(setup.bottoms[1]), "bottom[1] must have one cont a step and stream"
        )
    outputs, inputs = param.num_output, prod(x[len(steps) :])
    gates = 4 * outputs
    macs = prod(steps) * gates * (inputs + outputs)
    params = [(gates, inputs), (gates, outputs), (gates,)]
    return LayerShapes([(*steps, outputs)], params, macs)


def _check_steps(scores: Shape) -> None:
    require(
        len(scores) >= 3 and prod(scores[3:]) == 1,
        f"bottom[0] must be (T, N, C), not {shape_string(scores)}",
    )


@rule("WarpCTCLoss", bottoms=2, automatic_top=True)
def warp_ctc_loss(setup: Setup) -> LayerShapes:
    """Scores (T, N, C) or (T, N, C, 1) and labels (N, L, ...)."""
    scores, labels = setup.bottoms
    _check_steps(scores)
    require_equal(scores[1], labels[0], "both bottoms must have one batch size")
    blank = setup.layer.ctc_loss_param.blank_index
    require(0 <= blank < scores[2], f"blank_index {blank} is outside the {scores[2]} scores")
    return LayerShapes([()])


@rule("CTCGreedyDecoder", bottoms=(1, 2))
def ctc_greedy_decoder(setup: Setup) -> LayerShapes:
    """Scores (T, N, C) to sequences (N, T, 1, 1); with labels (N, L, ...) two accuracies."""
    scores, *labels = setup.bottoms
    _check_steps(scores)
    if not labels:
        return LayerShapes([(scores[1], scores[0], 1, 1)])
    require_equal(scores[1], labels[0][0], "both bottoms must have one batch size")
    return LayerShapes([(1, 2, 1, 1)])
