import numpy as np
import pytest

from netgen.graph import NetError

RANDOM = np.random.default_rng(0)
SHAPE = (4, 3, 2, 2)
X, TARGET = RANDOM.normal(0, 2, SHAPE), RANDOM.normal(0, 2, SHAPE)
INSIDE, OUTSIDE = RANDOM.uniform(0.2, 2, SHAPE), RANDOM.uniform(0.2, 2, SHAPE)


def smooth_l1(x, sigma=1.0):
    """Value and derivative of each place."""
    values, slopes = np.zeros(x.shape), np.zeros(x.shape)
    for place, v in np.ndenumerate(x):
        if abs(v) < 1 / sigma**2:
            values[place], slopes[place] = 0.5 * (sigma * v) ** 2, sigma**2 * v
        else:
            values[place], slopes[place] = abs(v) - 0.5 / sigma**2, np.sign(v)
    return values, slopes


@pytest.mark.parametrize("sigma", [1, 2, 0.5])
def test_smooth_l1(one_layer, sigma):
    layer = one_layer(f'type: "SmoothL1Loss" smooth_l1_loss_param {{ sigma: {sigma} }}', X, TARGET)
    values, _ = smooth_l1(X - TARGET, sigma)
    np.testing.assert_allclose(layer.forward()[0], values.sum() / 4, rtol=1e-5)
    layer.check_gradients(bottoms=(0, 1))


def test_smooth_l1_with_weights_inside_and_outside(one_layer):
    layer = one_layer(
        'type: "SmoothL1Loss" smooth_l1_loss_param { sigma: 3 }', X, TARGET, INSIDE, OUTSIDE
    )
    values, _ = smooth_l1(INSIDE * (X - TARGET), 3)
    np.testing.assert_allclose(layer.forward()[0], (OUTSIDE * values).sum() / 4, rtol=1e-5)
    layer.check_gradients(bottoms=(0, 1))


@pytest.mark.parametrize("kind, divisor", [("SmoothL1Loss", 4), ("SmoothL1LossOHEM", 16)])
def test_weights_inside_alone_are_left_out_of_the_gradient(one_layer, kind, divisor):
    layer = one_layer(f'type: "{kind}"', X, TARGET, INSIDE)
    values, slopes = smooth_l1(INSIDE * (X - TARGET))
    np.testing.assert_allclose(layer.forward()[0], values.sum() / divisor, rtol=1e-5)
    of_x, of_target, of_weights = layer.gradients(np.float64(2))
    np.testing.assert_allclose(of_x, 2 * slopes / divisor, rtol=1e-9)
    np.testing.assert_allclose(of_target, -2 * slopes / divisor, rtol=1e-9)
    assert of_weights is None


@pytest.mark.parametrize(
    "normalization, divisor",
    [
        ("", 16),
        ("normalization: FULL", 16),
        ("normalization: BATCH_SIZE", 4),
        ("normalization: NONE", 1),
        ("normalization: PRE_FIXED pre_fixed_normalizer: 7", 7),
    ],
)
def test_smooth_l1_ohem(one_layer, normalization, divisor):
    layer = one_layer(
        f'type: "SmoothL1LossOHEM" loss_param {{ {normalization} }}', X, TARGET, tops=2
    )
    values, slopes = smooth_l1(X - TARGET)
    total, each = layer.forward()
    np.testing.assert_allclose(total, values.sum() / divisor, rtol=1e-5)
    np.testing.assert_allclose(each, values.sum(1, keepdims=True), rtol=1e-5)
    of_x, of_target = layer.gradients(np.float64(1), np.zeros(each.shape))
    np.testing.assert_allclose(of_x, slopes / divisor, rtol=1e-9)
    np.testing.assert_allclose(of_target, -slopes / divisor, rtol=1e-9)


@pytest.mark.parametrize(
    "more, divisor",
    [
        ("", 14),
        ("normalization: FULL", 16),
        ("normalization: PRE_FIXED pre_fixed_normalizer: 3", 3),
    ],
)
def test_softmax_ohem(one_layer, more, divisor):
    labels = RANDOM.integers(0, 3, (4, 1, 2, 2))
    labels[0, 0, 0] = -1
    layer = one_layer(
        f'type: "SoftmaxWithLossOHEM" loss_param {{ ignore_label: -1 {more} }}', X, labels, tops=3
    )
    total, probabilities, each = layer.forward()
    expected = np.exp(X) / np.exp(X).sum(1, keepdims=True)
    losses, gradient = np.zeros(labels.shape), expected.copy()
    for (n, _, i, j), label in np.ndenumerate(labels):
        if label >= 0:
            losses[n, 0, i, j] = -np.log(expected[n, label, i, j])
            gradient[n, label, i, j] -= 1
        else:
            gradient[n, :, i, j] = 0
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)
    np.testing.assert_allclose(each, losses, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(total, losses.sum() / divisor, rtol=1e-5)
    found = layer.gradients(np.float64(1), np.zeros(SHAPE), np.zeros(labels.shape))[0]
    np.testing.assert_allclose(found, gradient / divisor, rtol=1e-9, atol=1e-12)


def test_pre_fixed_also_divides_caffes_softmax_loss(one_layer):
    labels = RANDOM.integers(0, 3, (4, 2, 2))
    whole, fixed = (
        one_layer(f'type: "SoftmaxWithLoss" loss_param {{ {mode} }}', X, labels).forward()[0]
        for mode in ("normalization: NONE", "normalization: PRE_FIXED pre_fixed_normalizer: 5")
    )
    np.testing.assert_allclose(fixed, whole / 5, rtol=1e-6)


def test_center_loss(one_layer):
    x, labels = RANDOM.normal(size=(6, 2, 2)), np.array([1, 3, 1, 0, 1, 3])
    layer = one_layer(
        'type: "CenterLoss" center_loss_param { num_output: 5 center_filler { type: "xavier" } }',
        x,
        labels,
    )
    (centers,) = layer.blobs
    assert centers.shape == (5, 4) and np.abs(centers).min() > 0
    distance = x.reshape(6, 4) - centers[labels]
    np.testing.assert_allclose(layer.forward()[0], (distance**2).sum() / 12, rtol=1e-5)
    of_x, of_labels, of_centers = layer.gradients(np.float64(3))
    np.testing.assert_allclose(of_x, 3 * distance.reshape(x.shape) / 6, rtol=1e-6)
    assert of_labels is None
    expected = np.zeros((5, 4))  # the step of the centres, whatever the loss weighs
    for n in range(5):
        mine = distance[labels == n]
        expected[n] = -mine.sum(0) / (len(mine) + 1)
    np.testing.assert_allclose(of_centers, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "text, shapes, words",
    [
        ('type: "SmoothL1Loss"', [SHAPE, (4, 3, 2, 1)], r"bottom\[0\] and bottom\[1\] must have"),
        ('type: "SoftmaxWithLossOHEM"', [(4, 3), (4, 2)], "Number of labels must match"),
        ('type: "CenterLoss"', [(4, 3), (4,)], "num_output must be positive"),
        ('type: "CenterLoss" center_loss_param { num_output: 2 }', [(4, 3), (4, 2)], "there must"),
    ],
)
def test_refused(one_layer, text, shapes, words):
    with pytest.raises(NetError, match=f"layer 'l': {words}"):
        one_layer(text, *map(np.zeros, shapes))


def test_a_label_without_a_centre_is_refused(one_layer):
    layer = one_layer(
        'type: "CenterLoss" center_loss_param { num_output: 2 }', np.zeros((1, 3)), np.array([2])
    )
    with pytest.raises(NetError, match="layer 'l': label 2 is outside the 2 classes"):
        layer.forward()


@pytest.mark.parametrize("kind", ["L1Loss", "AbsLoss"])
def test_l1_loss(one_layer, kind):
    layer = one_layer(f'type: "{kind}"', X, TARGET)
    np.testing.assert_allclose(layer.forward()[0], np.abs(X - TARGET).sum() / 4, rtol=1e-5)
    sign = np.sign(X - TARGET) / 4
    for got, wanted in zip(layer.gradients(), (sign, -sign), strict=True):
        np.testing.assert_allclose(got, wanted)


def test_dice_coef_loss(one_layer):
    """dice_coef_loss_layer.cpp of HolmesShuan, record by record."""
    layer = one_layer('type: "DiceCoefLoss"', X, TARGET)
    ratios, slopes = [], []
    for x, y in zip(X, TARGET, strict=True):
        size = (x * x).sum() + (y * y).sum() + 1
        ratio = (2 * (x * y).sum() + 1) / size
        ratios.append(abs(ratio))
        slopes.append(np.sign(ratio) * (2 * x * ratio - 2 * y) / size / len(X))
    np.testing.assert_allclose(layer.forward()[0], 1 - np.mean(ratios), rtol=1e-5)
    np.testing.assert_allclose(layer.gradients()[0], slopes, rtol=1e-5)
    layer.check_gradients(bottoms=(0, 1))


@pytest.mark.parametrize("kind", ["L1Loss", "DiceCoefLoss"])
def test_sizes_that_differ_are_refused(one_layer, kind):
    with pytest.raises(NetError, match="Inputs must have the same dimension"):
        one_layer(f'type: "{kind}"', X, TARGET[:, :2])
