import itertools

import numpy as np
import pytest

from netgen.graph import NetError

RANDOM = np.random.default_rng(0)


def said_by(path, blank):
    return [c for i, c in enumerate(path) if c != blank and (i == 0 or c != path[i - 1])]


def ctc(scores, labels, blank):
    """-log of the probability of all paths that say the labels; scores (T, C)."""
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    steps, letters = scores.shape
    total = 0.0
    for path in itertools.product(range(letters), repeat=steps):
        if said_by(path, blank) == list(labels):
            total += np.prod([probabilities[t, c] for t, c in enumerate(path)])
    return -np.log(total) if total else 0.0


def test_continuation_indicator(one_layer):
    layer = one_layer(
        'type: "ContinuationIndicator" continuation_indicator_param { time_step: 3 batch_size: 2 }'
    )
    np.testing.assert_array_equal(layer.forward()[0], [[0, 0], [1, 1], [1, 1]])


def ctc_layer(one_layer, scores, labels, blank, steps=None):
    param = (
        f"alphabet_size: {scores.shape[2]} blank_label: {blank} time_step: {steps or len(scores)}"
    )
    return one_layer(f'type: "CtcLoss" ctc_loss_param {{ {param} }}', scores, labels)


# labels that are repeated, of several lengths, none at all, and more than fit
LABELS = {0: [[1, 2, 0], [2, 2, 0], [0, 1, 0], [0, 0, 0]], 2: [[1, 0, 2], [0, 2, 0], [1, 1, 1], [2, 2, 2]]}  # fmt: skip


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("steps", [4, 3])
def test_ctc_loss(one_layer, blank, steps):
    scores, labels = RANDOM.normal(size=(4, 4, 3)), np.array(LABELS[blank])
    layer = ctc_layer(one_layer, scores, labels, blank, steps)

    def losses(scores):
        return [
            ctc(scores[:steps, n], [c for c in row if c != blank], blank)
            for n, row in enumerate(labels)
        ]

    np.testing.assert_allclose(layer.forward()[0], np.mean(losses(scores)), rtol=1e-5)
    numeric = np.zeros(scores.shape)  # the gradient is that of the sum, not of the mean
    for place in np.ndindex(*scores.shape):
        sides = [scores.copy(), scores.copy()]
        for side, shift in zip(sides, (1e-6, -1e-6), strict=True):
            side[place] += shift
        numeric[place] = (np.sum(losses(sides[0])) - np.sum(losses(sides[1]))) / 2e-6
    np.testing.assert_allclose(layer.gradients()[0], numeric, atol=1e-7)


def test_ctc_loss_learns_in_a_net(build):
    net = build(
        'force_backward: true layer { name: "s" type: "DummyData" top: "s" top: "l" '
        "dummy_data_param { shape { dim: 5 dim: 2 dim: 4 } shape { dim: 2 dim: 2 } "
        'data_filler { type: "constant" value: 1 } data_filler { type: "constant" value: 3 } } } '
        'layer { name: "loss" type: "CtcLoss" bottom: "s" bottom: "l" top: "loss" '
        "ctc_loss_param { alphabet_size: 4 time_step: 5 } }"
    )
    loss, _ = net.forward()
    np.testing.assert_allclose(loss.item(), ctc(np.ones((5, 4)), [3, 3], 0), rtol=1e-5)


def test_labelsequence_accuracy(one_layer):
    # best paths: 1 1 0 1 -> 1 1; 0 2 2 0 -> 2; 3 0 0 3 -> 3 3; 1 2 1 1 -> 1 2 1
    paths = np.array([[1, 1, 0, 1], [0, 2, 2, 0], [3, 0, 0, 3], [1, 2, 1, 1]])
    labels = np.array([[1, 0, 1], [2, 2, 0], [0, 3, 3], [1, 2, 1]])
    right = [said_by(p, 0) == [c for c in row if c] for p, row in zip(paths, labels, strict=True)]
    assert right == [True, False, True, True]
    scores = np.eye(4)[paths] + RANDOM.uniform(0, 0.5, (4, 4, 4))
    layer = one_layer('type: "LabelsequenceAccuracy"', scores, labels)
    np.testing.assert_allclose(layer.forward()[0], 0.75)
    shifted = one_layer(
        'type: "LabelsequenceAccuracy" labelsequence_accuracy_param { blank_label: 3 }',
        np.roll(scores, -1, 2),
        (labels - 1) % 4,
    )
    np.testing.assert_allclose(shifted.forward()[0], 0.75)


CTC = "alphabet_size: 3 time_step: 4"


@pytest.mark.parametrize(
    "text, shapes, words",
    [
        ('type: "ContinuationIndicator"', [], "The batch size should be greater than 0"),
        ('type: "CtcLoss"', [(4, 2, 3), (2, 2)], "The size of the alphabet should be greater"),
        (f'type: "CtcLoss" ctc_loss_param {{ {CTC} }}', [(4, 2, 5), (2, 2)], "bottom.0. must have"),
        (f'type: "CtcLoss" ctc_loss_param {{ {CTC} }}', [(3, 2, 3), (2, 2)], "time_step is more"),
        (f'type: "CtcLoss" ctc_loss_param {{ {CTC} }}', [(4, 2, 3), (3, 2)], "The input blobs"),
        (
            f'type: "CtcLoss" ctc_loss_param {{ {CTC} blank_label: 3 }}',
            [(4, 2, 3), (2, 2)],
            "blank",
        ),
        ('type: "LabelsequenceAccuracy"', [(4, 2, 3), (2, 2)], "The batch size should be equal"),
        ('type: "LabelsequenceAccuracy"', [(4, 2), (4, 2)], r"bottom\[0\] must be \(N, T, C\)"),
    ],
)
def test_refused(one_layer, text, shapes, words):
    with pytest.raises(NetError, match=f"layer 'l': {words}"):
        one_layer(text, *map(np.zeros, shapes))


@pytest.mark.parametrize(
    "label, words", [(3, "label 3 is outside the alphabet of 3"), (0, "total length should be")]
)
def test_labels_refused(one_layer, label, words):
    layer = ctc_layer(one_layer, np.zeros((4, 2, 3)), np.full((2, 2), label), 0)
    with pytest.raises(NetError, match=f"layer 'l': {words}"):
        layer.forward()


# --- Lstm ---


def lstm(x, weights, streams, cont, states):
    """Rows of the top, and the last hidden and cell states."""
    of_input, of_hidden, bias = weights
    hidden, cell = (state.copy() for state in states)
    rows = np.zeros((len(x), hidden.shape[1]))
    for row, value in enumerate(x.reshape(len(x), -1)):
        n = row % streams
        before = cont[row] * hidden[n]
        i, f, o, g = np.split(of_input @ value + of_hidden @ before + bias, 4)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        cell[n] = cont[row] * f * cell[n] + i * np.tanh(g)
        rows[row] = hidden[n] = o * np.tanh(cell[n])
    return rows, (hidden, cell)


LSTM = (
    'type: "Lstm" lstm_param { num_output: 3 batch_size: 2 weight_filler { type: "uniform" min: -1 '
    'max: 1 } bias_filler { type: "uniform" min: -1 max: 1 } '
)


def test_lstm_begins_anew_with_every_batch(one_layer):
    x = RANDOM.normal(size=(8, 2, 2))
    layer = one_layer(LSTM + "}", x)
    assert [blob.shape for blob in layer.blobs] == [(12, 4), (12, 3), (12,)]
    zeros = np.zeros((2, 3))
    expected, _ = lstm(x, layer.blobs, 2, [0, 0] + [1] * 6, (zeros, zeros))
    for _ in range(2):
        np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-4, atol=1e-6)
    layer.check_gradients()


def test_lstm_with_cont_goes_on_from_the_last_batch(one_layer):
    x, cont = RANDOM.normal(size=(6, 4)), np.array([0, 1, 1, 0, 1, 1])
    layer = one_layer(LSTM + "}", x, cont)
    states = np.zeros((2, 3)), np.zeros((2, 3))
    for _ in range(2):
        expected, states = lstm(x, layer.blobs, 2, cont, states)
        np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-4, atol=1e-6)
    kept = layer.layer.state()
    (after,) = layer.forward()
    layer.layer.load_state(kept)
    np.testing.assert_array_equal(layer.forward()[0], after)


def test_lstm_clips_the_gradient_of_its_gates(one_layer):
    x = RANDOM.normal(size=(2, 4))  # one step: the gradient of the gates is that of the bias
    plain, clipped = (one_layer(LSTM + more, x) for more in ("}", "clipping_threshold: 0.05 }"))
    clipped.set_blobs(*plain.blobs)
    free, limited = (layer.gradients(np.full((2, 3), 3.0)) for layer in (plain, clipped))
    assert np.abs(free[3]).max() > 0.1
    assert np.abs(limited[3]).max() <= 0.1 + 1e-6
    assert np.abs(limited[3]).max() > 0.05
    with pytest.raises(NetError, match="layer 'l': bottom.0. must have steps of 2 streams"):
        one_layer(LSTM + "}", np.zeros((3, 4)))


@pytest.mark.parametrize("blank", [0, 2])
def test_warp_ctc_loss(one_layer, blank):
    """All steps count, and the gradient is that of the sum whatever weighs the loss."""
    scores, labels = RANDOM.normal(size=(4, 4, 3, 1)), np.array(LABELS[blank])
    layer = one_layer(
        f'type: "WarpCTCLoss" ctc_loss_param {{ blank_index: {blank} }} loss_weight: 5',
        scores,
        labels,
    )
    wanted = [[c for c in row if c != blank] for row in labels]
    each = [ctc(scores[:, n, :, 0], row, blank) for n, row in enumerate(wanted)]
    np.testing.assert_allclose(layer.forward()[0], np.mean(each), rtol=1e-5)
    plain = ctc_layer(one_layer, scores[..., 0], labels, blank)
    expected = plain.gradients()[0][..., None]
    np.testing.assert_allclose(layer.gradients(np.array(5.0))[0], expected, rtol=1e-6)


PATHS = np.array([[1, 1, 0, 1, 2], [0, 2, 2, 0, 0], [3, 0, 0, 3, 3], [0, 0, 0, 0, 0]])


def scores_of(paths, letters=4):
    """(T, N, C) scores whose best paths these are."""
    return (np.eye(letters)[paths] + RANDOM.uniform(0, 0.5, (*paths.shape, letters))).swapaxes(0, 1)


@pytest.mark.parametrize("merged", [True, False])
def test_ctc_greedy_decoder(one_layer, merged):
    layer = one_layer(
        f'type: "CTCGreedyDecoder" ctc_decoder_param {{ ctc_merge_repeated: {str(merged).lower()} }}',
        scores_of(PATHS),
    )
    expected = -np.ones((4, 5))
    for n, path in enumerate(PATHS):
        said = said_by(path, 0) if merged else [c for c in path if c]
        expected[n, : len(said)] = said
    np.testing.assert_array_equal(layer.forward()[0][..., 0, 0], expected)


def edits(one, other):
    if not one or not other:
        return len(one) + len(other)
    return min(
        edits(one[1:], other) + 1,
        edits(one, other[1:]) + 1,
        edits(one[1:], other[1:]) + (one[0] != other[0]),
    )


@pytest.mark.parametrize("blank", [0, -1])
def test_ctc_greedy_decoders_accuracies(one_layer, blank):
    paths, labels = PATHS, np.array([[1, 1, 2], [2, 3, 0], [3, -1, 2], [0, 0, 0]])
    if blank:  # the last letter instead of the first
        paths, labels = (paths - 1) % 4, np.where(labels < 0, labels, (labels - 1) % 4)
    layer = one_layer(
        f'type: "CTCGreedyDecoder" ctc_decoder_param {{ blank_index: {blank} }}',
        scores_of(paths),
        labels,
    )
    letter = 3 if blank else 0
    wanted = [list(itertools.takewhile(lambda c: c >= 0, row)) for row in labels.tolist()]
    wanted = [[c for c in row if c != letter] for row in wanted]
    said = [said_by(path, letter) for path in paths.tolist()]
    distances = [
        edits(a, b) / max(len(a), len(b)) if a or b else 0
        for a, b in zip(wanted, said, strict=True)
    ]
    assert distances == [0, 0.5, 0.5, 0]
    # the last says nothing and should: no distance, but not counted as right either
    np.testing.assert_allclose(layer.forward()[0].ravel(), [0.75, 0.25])


@pytest.mark.parametrize(
    "text, shapes, words",
    [
        ('type: "WarpCTCLoss"', [(4, 2, 3, 2), (2, 2)], r"bottom\[0\] must be \(T, N, C\)"),
        ('type: "WarpCTCLoss"', [(4, 2, 3), (3, 2)], "both bottoms must have one batch size"),
        (
            'type: "WarpCTCLoss" ctc_loss_param { blank_index: 3 }',
            [(4, 2, 3), (2, 2)],
            "blank_index 3 is outside the 3 scores",
        ),
        ('type: "CTCGreedyDecoder"', [(4, 2, 3), (3, 2)], "both bottoms must have one batch"),
    ],
)
def test_steps_refused(one_layer, text, shapes, words):
    with pytest.raises(NetError, match=f"layer 'l': {words}"):
        one_layer(text, *map(np.zeros, shapes))


@pytest.mark.parametrize("cont", [False, True])
def test_lstm_with_an_axis_of_streams(one_layer, cont):
    """caffe_ocr's (T, N, K) is the same as (T N, K) with batch_size N."""
    x, kept = RANDOM.normal(size=(4, 2, 3)), np.array([[0, 0], [1, 1], [0, 1], [1, 0]])
    more = [kept] if cont else []
    filler = 'weight_filler { type: "uniform" min: -1 max: 1 }'
    text = f'type: "Lstm" lstm_param {{ num_output: 5 {filler} %s }}'
    layer = one_layer(text % "", x, *more)
    flat = one_layer(text % "batch_size: 2", x.reshape(8, 3), *(c.ravel() for c in more))
    flat.set_blobs(*layer.blobs)
    np.testing.assert_allclose(
        layer.forward()[0], flat.forward()[0].reshape(4, 2, 5), rtol=1e-5, atol=1e-6
    )
    layer.layer.carried = flat.layer.carried = None
    for got, wanted in zip(layer.gradients(), flat.gradients(), strict=True):
        if wanted is not None:
            np.testing.assert_allclose(got, wanted.reshape(got.shape), rtol=1e-6, atol=1e-9)
