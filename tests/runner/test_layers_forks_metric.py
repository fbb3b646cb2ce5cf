import math

import numpy as np
import pytest

from netgen.graph import NetError

RANDOM = np.random.default_rng(0)
X, LABELS = RANDOM.normal(size=(6, 4)), np.array([0, 1, 0, 2, 1, 0])
MULTIPLES = {"SINGLE": 1, "DOUBLE": 2, "TRIPLE": 3, "QUADRUPLE": 4}


def lifted(x, labels, margin):
    """Loss and gradient as in the authors' loop over pairs (Song et al. 2016)."""
    total, pairs, gradient = 0, 0, np.zeros(x.shape)

    def push(i, j, by):
        unit = (x[i] - x[j]) / np.linalg.norm(x[i] - x[j])
        gradient[i] += by * unit
        gradient[j] -= by * unit

    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            if labels[i] != labels[j]:
                continue
            negatives = [(a, k) for a in (i, j) for k in range(len(x)) if labels[k] != labels[a]]
            near = np.array([np.exp(margin - np.linalg.norm(x[a] - x[k])) for a, k in negatives])
            hinge = max(0, math.log(near.sum()) + np.linalg.norm(x[i] - x[j]))
            total, pairs = total + hinge**2, pairs + 1
            push(i, j, 2 * hinge)
            for (a, k), share in zip(negatives, near / near.sum(), strict=True):
                push(a, k, -2 * hinge * share)
    return total / pairs / 2, gradient / pairs / 2


@pytest.mark.parametrize("margin", [1, -2])
def test_lifted_struct(one_layer, margin):
    layer = one_layer(
        'type: "LiftedStructSimilaritySoftmaxLoss" '
        f"lifted_struct_sim_softmax_loss_param {{ margin: {margin} }}",
        X,
        LABELS,
    )
    loss, gradient = lifted(X, LABELS, margin)
    np.testing.assert_allclose(layer.forward()[0], loss, rtol=1e-5)
    np.testing.assert_allclose(layer.gradients()[0], gradient, rtol=1e-5, atol=1e-7)


def test_lifted_struct_of_one_class_is_nothing(one_layer):
    layer = one_layer('type: "LiftedStructSimilaritySoftmaxLoss"', X[:3], np.zeros(3))
    assert layer.forward()[0] == 0
    np.testing.assert_array_equal(layer.gradients()[0], np.zeros((3, 4)))


def margin_layer(one_layer, kind, more="", tops=2):
    return one_layer(
        f'type: "MarginInnerProduct" margin_inner_product_param {{ num_output: 3 type: {kind} '
        f'weight_filler {{ type: "gaussian" std: 1 }} {more} }}',
        X,
        LABELS,
        tops=tops,
    )


@pytest.mark.parametrize("kind", MULTIPLES)
def test_margin_inner_product(one_layer, kind):
    """Scores by the angle itself: psi = (-1)^k cos(m angle) - 2 k, k = floor(m angle / pi)."""
    layer = margin_layer(one_layer, kind, "base: 4 gamma: 0.5 power: 1 lambda_min: 1")
    weights = np.array(layer.blobs[0], float)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    top, plain_weighs = layer.forward()
    lam = 4 / 1.5
    np.testing.assert_allclose(plain_weighs, [lam], rtol=1e-6)
    expected, m = X @ weights.T, MULTIPLES[kind]
    for i, label in enumerate(LABELS):
        norm = np.linalg.norm(X[i])
        angle = math.acos(expected[i, label] / norm)
        k = math.floor(m * angle / math.pi)
        psi = (-1) ** k * math.cos(m * angle) - 2 * k
        if m > 1:
            expected[i, label] = (norm * psi + lam * expected[i, label]) / (1 + lam)
    np.testing.assert_allclose(top, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(layer.blobs[0], axis=1), np.ones(3), rtol=1e-6)


@pytest.mark.parametrize("kind", ["DOUBLE", "TRIPLE", "QUADRUPLE"])
def test_margin_inner_products_gradient_has_the_derivatives_direction(one_layer, kind):
    """With lambda 0 the label's part is the derivative over its length; the others' is theirs."""
    layer = margin_layer(one_layer, kind, "base: 0", tops=1)
    weights = np.array(layer.blobs[0], float)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    m = MULTIPLES[kind]

    def score(x, w):
        angle = math.acos(x @ w / np.linalg.norm(x))
        k = math.floor(m * angle / math.pi)
        return np.linalg.norm(x) * ((-1) ** k * math.cos(m * angle) - 2 * k)

    upstream = np.zeros((6, 3))
    upstream[np.arange(6), LABELS] = 1
    got = layer.gradients(upstream)[0]
    steps = np.eye(4) * 1e-6
    for i, label in enumerate(LABELS):
        w = weights[label]
        slope = [(score(X[i] + e, w) - score(X[i] - e, w)) / 2e-6 for e in steps]
        cosine = got[i] @ slope / np.linalg.norm(got[i]) / np.linalg.norm(slope)
        assert cosine == pytest.approx(1, abs=1e-6)
    upstream = RANDOM.normal(size=(6, 3))
    upstream[np.arange(6), LABELS] = 0
    got, _, of_weights = layer.gradients(upstream)
    np.testing.assert_allclose(got, upstream @ weights, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(of_weights, upstream.T @ X, rtol=1e-5, atol=1e-6)


def test_margin_inner_product_goes_on_from_its_state(one_layer):
    layer = margin_layer(one_layer, "DOUBLE", "gamma: 1 iteration: 2")
    assert layer.forward()[1] == pytest.approx(1 / 4)
    state = layer.layer.state()
    again = margin_layer(one_layer, "DOUBLE", "gamma: 1 iteration: 2")
    again.layer.load_state(state)
    assert again.forward()[1] == pytest.approx(1 / 5)


def test_a_label_outside_is_refused(one_layer):
    layer = one_layer(
        'type: "MarginInnerProduct" margin_inner_product_param { num_output: 2 }', X, LABELS
    )
    with pytest.raises(NetError, match="label 2 is outside the 2 classes"):
        layer.forward()


SCORES = RANDOM.uniform(0.3, 1, size=(6, 3))


def added(one_layer, more, tops=1, phase="TRAIN"):
    return one_layer(
        f'type: "LabelSpecificAdd" label_specific_add_param {{ {more} }}',
        SCORES,
        LABELS,
        tops=tops,
        phase=phase,
    )


def test_label_specific_add_takes_the_margin_from_the_label(one_layer):
    SCORES[1, LABELS[1]] = 0.2  # under the margin: it stays
    layer = added(one_layer, "bias: -0.25 transform_test: true")
    expected = SCORES.copy()
    for i, label in enumerate(LABELS):
        expected[i, label] -= 0.25 if SCORES[i, label] > 0.25 else 0
    assert expected[1, LABELS[1]] == 0.2
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-5)
    upstream = RANDOM.normal(size=SCORES.shape)
    np.testing.assert_array_equal(layer.gradients(upstream)[0], upstream)
    test = added(one_layer, "bias: -0.25 transform_test: true", phase="TEST")
    np.testing.assert_allclose(test.forward()[0], SCORES, rtol=1e-6)


def test_a_bias_that_changes_with_each_forward(one_layer):
    layer = added(
        one_layer,
        "bias_base: -0.1 bias_gamma: 0.5 bias_power: -1 bias_min: -0.6 bias_max: 0 iteration: 1",
        tops=2,
    )
    biases = [layer.forward()[1][0] for _ in range(3)]
    expected = [max(-0.1 + (1 + 0.5 * i) ** -1 - 1, -0.6) for i in (1, 2, 3)]
    np.testing.assert_allclose(biases, expected, rtol=1e-6)
    assert layer.layer.state() == {"iteration": 4}
    layer.layer.load_state({"iteration": 1})
    np.testing.assert_allclose(layer.forward()[1], expected[:1], rtol=1e-6)


def test_a_label_without_a_score_is_refused(one_layer):
    layer = one_layer('type: "LabelSpecificAdd"', np.zeros((1, 2)), np.array([2.0]))
    with pytest.raises(NetError, match="label 2 is outside the 2 scores"):
        layer.forward()
