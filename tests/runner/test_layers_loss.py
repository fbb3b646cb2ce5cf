import math

import numpy as np
import pytest

from netgen import schema
from netgen.graph import NetError

RANDOM = np.random.default_rng(0)
FLT_MIN = float(np.finfo(np.float32).tiny)


def softmax(x, axis=1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax(one_layer, axis):
    x = RANDOM.normal(size=(2, 3, 4))
    layer = one_layer(f'type: "Softmax" softmax_param {{ axis: {axis} }}', x)
    np.testing.assert_allclose(layer.forward()[0], softmax(x, axis), rtol=1e-5)
    layer.check_gradients()


def test_softmax_of_large_values(one_layer):
    (top,) = one_layer('type: "Softmax"', np.array([[1e4, 0], [-1e4, -1e4]])).forward()
    np.testing.assert_array_equal(top, [[1, 0], [0.5, 0.5]])


# --- SoftmaxWithLoss ---


def divisor(mode, batch, places, valid):
    """What the summed loss is divided by."""
    return max(1, {"FULL": batch * places, "VALID": valid, "BATCH_SIZE": batch, "NONE": 1}[mode])


def softmax_loss(x, labels, mode, ignore=None):
    """(loss, gradient) of scores (N, C, places) and labels (N, places), place by place."""
    p, gradient, total, valid = softmax(x), np.zeros(x.shape), 0, 0
    for n, i in np.ndindex(*labels.shape):
        label = int(labels[n, i])
        if label == ignore:
            continue
        valid += 1
        total -= math.log(max(p[n, label, i], FLT_MIN))
        gradient[n, :, i] = p[n, :, i]
        gradient[n, label, i] -= 1
    by = divisor(mode, *labels.shape, valid)
    return total / by, gradient / by


MODES = [
    ("", "VALID"),
    ("normalization: FULL", "FULL"),
    ("normalization: VALID", "VALID"),
    ("normalization: BATCH_SIZE", "BATCH_SIZE"),
    ("normalization: NONE", "NONE"),
    ("normalize: true", "VALID"),
    ("normalize: false", "BATCH_SIZE"),
    ("normalize: false normalization: FULL", "FULL"),
]


@pytest.mark.parametrize("param, mode", MODES)
@pytest.mark.parametrize("ignore", [None, 1, -1])
def test_softmax_with_loss(one_layer, param, mode, ignore):
    x = RANDOM.normal(size=(3, 4, 2))
    labels = np.array([[0, 1], [3, 1], [2, -1 if ignore == -1 else 1]])
    if ignore is not None:
        param += f" ignore_label: {ignore}"
    layer = one_layer(f'type: "SoftmaxWithLoss" loss_param {{ {param} }}', x, labels)
    loss, gradient = softmax_loss(x, labels, mode, ignore)
    np.testing.assert_allclose(layer.forward()[0], loss, rtol=1e-5)
    np.testing.assert_allclose(layer.gradients()[0], gradient, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("param, mode", MODES)
def test_a_batch_that_is_ignored_as_a_whole(one_layer, param, mode):
    layer = one_layer(
        f'type: "SoftmaxWithLoss" loss_param {{ {param} ignore_label: 2 }}',
        RANDOM.normal(size=(2, 3)),
        np.array([2, 2]),
    )
    assert layer.forward()[0] == 0 and not layer.gradients()[0].any()


def test_the_loss_is_cut_off_but_its_gradient_is_not(one_layer):
    x = np.array([[0.0, 200, 0]])
    layer = one_layer('type: "SoftmaxWithLoss"', x, np.array([0]))
    np.testing.assert_allclose(layer.forward()[0], 87.3365, rtol=1e-6)  # -log(FLT_MIN)
    np.testing.assert_allclose(layer.gradients()[0], [[-1, 1, 0]], atol=1e-12)


def test_softmax_with_loss_along_another_axis(one_layer):
    x, labels = RANDOM.normal(size=(2, 3, 4)), RANDOM.integers(0, 4, size=(2, 3))
    layer = one_layer('type: "SoftmaxWithLoss" softmax_param { axis: -1 }', x, labels)
    loss, gradient = softmax_loss(x.reshape(6, 4, 1), labels.reshape(6, 1), "VALID")
    np.testing.assert_allclose(layer.forward()[0], loss, rtol=1e-5)
    np.testing.assert_allclose(layer.gradients()[0], gradient.reshape(x.shape), atol=1e-9)


def test_the_second_top_has_the_probabilities_and_no_gradient(one_layer):
    x, labels = RANDOM.normal(size=(2, 3)), np.array([1, 0])
    layer = one_layer('type: "SoftmaxWithLoss"', x, labels, tops=2)
    loss, probabilities = layer.forward()
    np.testing.assert_allclose(probabilities, softmax(x), rtol=1e-5)
    assert layer.node.loss_weights == [1, 0]
    expected = softmax_loss(x[..., None], labels[:, None], "VALID")[1][..., 0]
    np.testing.assert_allclose(layer.gradients(1, x)[0], expected)


def test_gradient_is_scaled_by_what_comes_from_above(one_layer):
    x, labels = RANDOM.normal(size=(2, 3)), np.array([1, 0])
    layer = one_layer('type: "SoftmaxWithLoss"', x, labels)
    np.testing.assert_allclose(layer.gradients(0.25)[0], 0.25 * layer.gradients(1)[0])


@pytest.mark.parametrize("param, mode", MODES)
def test_class_weights(one_layer, param, mode):
    """SegNet's: they weigh loss and gradient, and not what the sum is divided by."""
    x, labels = RANDOM.normal(size=(2, 4, 3)), np.array([[0, 2, 3], [1, 2, 0]])
    weights = np.array([0.25, 4.5, 0, 3], np.float32)
    given = " ".join(f"class_weighting: {w}" for w in weights)
    param += f" ignore_label: 1 weight_by_label_freqs: true {given}"
    layer = one_layer(f'type: "SoftmaxWithLoss" loss_param {{ {param} }}', x, labels)
    total, p, expected = 0, softmax(x), np.zeros(x.shape)
    for n, i in np.ndindex(*labels.shape):
        if (label := labels[n, i]) != 1:
            total -= weights[label] * math.log(p[n, label, i])
            expected[n, :, i] = weights[label] * (p[n, :, i] - np.eye(4)[label])
    by = divisor(mode, 2, 3, 5)
    np.testing.assert_allclose(layer.forward()[0], total / by, rtol=1e-5)
    np.testing.assert_allclose(layer.gradients()[0], expected / by, rtol=1e-6, atol=1e-9)


def test_class_weights_are_used_where_asked_for(one_layer):
    x, labels = RANDOM.normal(size=(2, 3)), np.array([1, 0])
    plain = one_layer('type: "SoftmaxWithLoss"', x, labels)
    text = 'type: "SoftmaxWithLoss" loss_param { class_weighting: 9 %s }'
    unused = one_layer(text % "", x, labels)
    np.testing.assert_array_equal(unused.forward()[0], plain.forward()[0])
    with pytest.raises(NetError, match="class weight values does not match the number of classes"):
        one_layer(text % "weight_by_label_freqs: true", x, labels)


@pytest.mark.parametrize("label", [3, -1])
@pytest.mark.parametrize("text", ["SoftmaxWithLoss", "MultinomialLogisticLoss", "HingeLoss"])
def test_a_label_that_is_no_class(one_layer, text, label):
    layer = one_layer(f'type: "{text}"', np.ones((2, 3)), np.array([0, label]))
    with pytest.raises(
        NetError,
        match=f"layer 'l': label {label} of blob 'bottom1' is outside the 3 classes of 'bottom0'",
    ):
        layer.forward()


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_that_is_no_class_is_a_miss_of_accuracy(one_layer, capfd, label):
    """As SegNet's Caffe has it of the pixels that its loss ignores; of no class is it a miss."""
    scores = np.array([[3.0, 1, 2], [1, 3, 2], [3, 1, 2], [3, 1, 2]])
    layer = one_layer('type: "Accuracy"', scores, np.array([0, 1, 2, label]), tops=2)
    for _ in range(2):
        share, of_class = layer.forward()
        np.testing.assert_allclose(share, 0.5)
        np.testing.assert_array_equal(of_class, [1, 1, 0])
    ignoring = one_layer(
        f'type: "Accuracy" accuracy_param {{ ignore_label: {label} }}',
        scores,
        np.array([0, 1, 2, label]),
    )
    np.testing.assert_allclose(ignoring.forward()[0], 2 / 3, rtol=1e-6)
    words = f"label {label} of blob 'bottom1' is outside the 3 classes of 'bottom0'"
    assert capfd.readouterr().err.count(words) == 1


# --- the others ---


@pytest.mark.parametrize("param, mode", [m for m in MODES if "normalize" not in m[0]])
@pytest.mark.parametrize("source", [True, False])
def test_infogain_loss(one_layer, tmp_path, param, mode, source):
    x, labels = RANDOM.normal(size=(3, 4, 2)), np.array([[0, 1], [3, 2], [2, 2]])
    matrix = RANDOM.uniform(0, 1, size=(4, 4))
    given = [matrix]
    infogain = ""
    if source:
        schema.write_binary(
            schema.array_to_blob(matrix.astype(np.float32)), tmp_path / "h.binaryproto"
        )
        given, infogain = [], f'infogain_loss_param {{ source: "{tmp_path}/h.binaryproto" }}'
    layer = one_layer(
        f'type: "InfogainLoss" {infogain} loss_param {{ {param} ignore_label: 1 }}',
        x,
        labels,
        *given,
    )
    p, gradient, total = softmax(x), np.zeros(x.shape), 0
    for n, i in np.ndindex(3, 2):
        if labels[n, i] != 1:
            row = matrix[labels[n, i]]
            total -= (row * np.log(p[n, :, i])).sum()
            gradient[n, :, i] = p[n, :, i] * row.sum() - row
    by = divisor(mode, 3, 2, 5)
    np.testing.assert_allclose(layer.forward()[0], total / by, rtol=1e-5)
    np.testing.assert_allclose(layer.gradients()[0], gradient / by, rtol=1e-5, atol=1e-7)


def test_infogain_loss_along_its_own_axis_with_probabilities(one_layer):
    x, labels = RANDOM.normal(size=(2, 2, 3)), RANDOM.integers(0, 3, size=(2, 2))
    layer = one_layer(
        'type: "InfogainLoss" infogain_loss_param { axis: 2 }', x, labels, np.eye(3), tops=2
    )
    loss, probabilities = layer.forward()  # with the unit matrix it is SoftmaxWithLoss
    same = one_layer('type: "SoftmaxWithLoss" softmax_param { axis: 2 }', x, labels, tops=2)
    np.testing.assert_allclose([loss], [same.forward()[0]], rtol=1e-6)
    np.testing.assert_allclose(probabilities, same.forward()[1], rtol=1e-6)
    np.testing.assert_allclose(layer.gradients()[0], same.gradients()[0], atol=1e-12)


def test_infogain_loss_is_cut_off(one_layer):
    x = np.array([[0.0, 200, 0]])
    layer = one_layer('type: "InfogainLoss"', x, np.array([0]), np.eye(3))
    np.testing.assert_allclose(layer.forward()[0], -math.log(1e-20), rtol=1e-6)


def test_multinomial_logistic_loss(one_layer):
    p, labels = softmax(RANDOM.normal(size=(3, 4))), np.array([1, 0, 3])
    layer = one_layer('type: "MultinomialLogisticLoss"', p, labels)
    of_label = p[np.arange(3), labels]
    np.testing.assert_allclose(layer.forward()[0], -np.log(of_label).mean(), rtol=1e-5)
    layer.check_gradients()
    layer = one_layer('type: "MultinomialLogisticLoss"', np.array([[0.0, 1]]), np.array([0]))
    np.testing.assert_allclose(layer.forward()[0], -math.log(1e-20), rtol=1e-6)
    np.testing.assert_allclose(layer.gradients()[0], [[-1e20, 0]], rtol=1e-6)


def test_euclidean_loss_gives_both_bottoms_a_gradient(one_layer):
    a, b = RANDOM.normal(size=(2, 3, 4))
    layer = one_layer('type: "EuclideanLoss"', a, b.reshape(3, 2, 2))
    np.testing.assert_allclose(layer.forward()[0], ((a - b) ** 2).sum() / 6, rtol=1e-5)
    one, other = layer.gradients()
    np.testing.assert_allclose(one, (a - b) / 3)
    np.testing.assert_allclose(other, -(a - b).reshape(3, 2, 2) / 3)


@pytest.mark.parametrize("norm, power", [("L1", 1), ("L2", 2)])
def test_hinge_loss(one_layer, norm, power):
    x, labels = RANDOM.normal(size=(3, 4)), np.array([1, 0, 3])
    layer = one_layer(f'type: "HingeLoss" hinge_loss_param {{ norm: {norm} }}', x, labels)
    signed = x.copy()
    signed[np.arange(3), labels] *= -1
    margin = np.maximum(0, 1 + signed)
    np.testing.assert_allclose(layer.forward()[0], (margin**power).sum() / 3, rtol=1e-5)
    layer.check_gradients()


def test_hinge_loss_at_the_margin_has_no_gradient(one_layer):
    layer = one_layer('type: "HingeLoss"', np.array([[-1.0, 1]]), np.array([1]))
    assert layer.forward()[0] == 0 and not layer.gradients()[0].any()


@pytest.mark.parametrize("text", ["HingeLoss", "MultinomialLogisticLoss"])
def test_scores_of_one_axis_are_one_class(one_layer, text):
    layer = one_layer(f'type: "{text}"', np.array([0.5, 0.25]), np.zeros(2))
    expected = (0.5 + 0.75) / 2 if text == "HingeLoss" else -np.log([0.5, 0.25]).mean()
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-6)


@pytest.mark.parametrize("param, mode", [("", "BATCH_SIZE"), *MODES[1:]])
@pytest.mark.parametrize("ignore", [None, 0])
def test_sigmoid_cross_entropy_loss(one_layer, param, mode, ignore):
    x = np.concatenate([RANDOM.normal(size=(3, 3)), [[80], [-80], [0]]], 1)
    target = np.array([[0, 1, 0.5, 1], [0.2, 1, 0, 1], [1, 1, 0.9, 0]])
    if ignore is not None:
        param += f" ignore_label: {ignore}"
    layer = one_layer(f'type: "SigmoidCrossEntropyLoss" loss_param {{ {param} }}', x, target)
    s = 1 / (1 + np.exp(-x))
    # log(sigmoid(x)) and log(1 - sigmoid(x)), which is log(sigmoid(-x))
    loss = target * np.log1p(np.exp(-x)) + (1 - target) * np.log1p(np.exp(x))
    # Targets are compared as integers: 0.2, 0.5 and 0.9 count as 0.
    counts = np.ones(x.shape) if ignore is None else target.astype(int) != ignore
    by = divisor(mode, 3, 4, counts.sum())
    np.testing.assert_allclose(layer.forward()[0], (loss * counts).sum() / by, rtol=1e-5)
    np.testing.assert_allclose(layer.gradients()[0], (s - target) * counts / by, atol=1e-9)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("axes", [(), (1, 1)])
def test_contrastive_loss(one_layer, legacy, axes):
    a, b = RANDOM.normal(scale=0.5, size=(2, 6, 3))
    b[3] = a[3]  # a distance of 0 ...
    b[4] = a[4] + 5  # ... and one beyond the margin
    similar = np.array([1, 0, 1, 0, 0, 2])
    margin = 1.5
    layer = one_layer(
        f'type: "ContrastiveLoss" contrastive_loss_param {{ margin: {margin} '
        f"legacy_version: {str(legacy).lower()} }}",
        a,
        b.reshape(6, 3, *axes),
        similar,
    )
    total, gradient = 0, np.zeros(a.shape)
    for n, d in enumerate(a - b):
        square, distance = (d**2).sum(), math.sqrt((d**2).sum())
        if similar[n]:
            total += square
            gradient[n] = d
        elif legacy:
            total += max(margin - square, 0)
            gradient[n] = -d * (square < margin)
        else:
            total += max(margin - distance, 0) ** 2
            # the distance under the fraction is padded
            gradient[n] = -max(margin - distance, 0) / (distance + 1e-4) * d
    np.testing.assert_allclose(layer.forward()[0], total / 12, rtol=1e-5)
    one, other, _ = layer.gradients()
    np.testing.assert_allclose(one, gradient / 6, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(other, -gradient.reshape(other.shape) / 6, rtol=1e-6, atol=1e-12)


# --- Accuracy ---


def accuracy(x, labels, top_k, ignore=None):
    """(accuracy, accuracy of each class) of scores (N, C, places), place by place."""
    right, seen = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for n, i in np.ndindex(*labels.shape):
        label = labels[n, i]
        if label == ignore:
            continue
        seen[label] += 1
        others = [c for c in range(x.shape[1]) if c != label]
        right[label] += sum(x[n, c, i] >= x[n, label, i] for c in others) < top_k
    return right.sum() / max(seen.sum(), 1), right / np.maximum(seen, 1)


@pytest.mark.parametrize("top_k", [1, 2, 4])
@pytest.mark.parametrize("ignore", [None, 0, -1])
def test_accuracy(one_layer, top_k, ignore):
    x = RANDOM.integers(0, 4, size=(20, 4, 2)).astype(float)  # many ties
    labels = RANDOM.integers(0, 3, size=(20, 2))
    param = f"top_k: {top_k}"
    if ignore is not None:
        labels[4:7] = ignore
        param += f" ignore_label: {ignore}"
    layer = one_layer(f'type: "Accuracy" accuracy_param {{ {param} }}', x, labels, tops=2)
    expected, per_class = accuracy(x, labels, top_k, ignore)
    top, top_per_class = layer.forward()
    np.testing.assert_allclose(top, expected, rtol=1e-6)
    np.testing.assert_allclose(top_per_class, per_class, rtol=1e-6)  # class 3 has no record: 0


def test_a_tie_counts_against(one_layer):
    x, labels = np.zeros((2, 3)), np.array([0, 2])
    assert one_layer('type: "Accuracy"', x, labels).forward()[0] == 0
    assert one_layer('type: "Accuracy" accuracy_param { top_k: 3 }', x, labels).forward()[0] == 1


def test_accuracy_of_nothing_is_zero(one_layer):
    text = 'type: "Accuracy" accuracy_param { ignore_label: 1 }'
    top, per_class = one_layer(text, np.eye(2), np.ones(2), tops=2).forward()
    assert top == 0 and not per_class.any()


def test_accuracy_along_another_axis(one_layer):
    x, labels = RANDOM.normal(size=(4, 2, 3)), RANDOM.integers(0, 3, size=(4, 2))
    (top,) = one_layer('type: "Accuracy" accuracy_param { axis: -1 }', x, labels).forward()
    np.testing.assert_allclose(top, (x.argmax(-1) == labels).mean(), rtol=1e-6)


# --- what does not fit ---

SCORES = np.zeros((2, 3))


@pytest.mark.parametrize(
    "text, bottoms, words",
    [
        (
            'type: "SoftmaxWithLoss"',
            (SCORES, np.zeros(3)),
            "The data and label should have the same first dimension",
        ),
        (
            'type: "SoftmaxWithLoss"',
            (SCORES, np.zeros((2, 2))),
            "Number of labels must match number of predictions",
        ),
        (
            'type: "Accuracy"',
            (SCORES, np.zeros(3)),
            "Number of labels must match number of predictions",
        ),
        (
            'type: "Accuracy" accuracy_param { top_k: 4 }',
            (SCORES, np.zeros(2)),
            "top_k must be less than or equal to the number of classes",
        ),
        (
            'type: "EuclideanLoss"',
            (SCORES, np.zeros((2, 2))),
            "Inputs must have the same dimension",
        ),
        (
            'type: "SigmoidCrossEntropyLoss"',
            (SCORES, np.zeros((2, 2))),
            "SIGMOID_CROSS_ENTROPY_LOSS layer inputs must have the same count",
        ),
        ('type: "InfogainLoss"', (SCORES, np.zeros(2)), "Infogain matrix source must be specified"),
        (
            'type: "InfogainLoss" loss_param { normalize: true }',
            (SCORES, np.zeros(2), np.eye(3)),
            "normalize is deprecated",
        ),
        ('type: "ContrastiveLoss"', (SCORES, np.zeros((2, 2)), np.zeros(2)), "differ in channels"),
        ('type: "SoftmaxWithLoss"', (SCORES,), "SoftmaxWithLoss Layer takes 2 bottom"),
    ],
)
def test_what_does_not_fit(one_layer, text, bottoms, words):
    with pytest.raises(NetError, match=f"layer 'l': .*{words}"):
        one_layer(text, *bottoms)


def test_an_infogain_matrix_of_the_wrong_size(one_layer, tmp_path):
    path = tmp_path / "h.binaryproto"
    schema.write_binary(schema.array_to_blob(np.eye(4, dtype=np.float32)), path)
    with pytest.raises(NetError, match=f"layer 'l': H must be 3x3, {path} has 16 values"):
        one_layer(
            f'type: "InfogainLoss" infogain_loss_param {{ source: "{path}" }}', SCORES, np.zeros(2)
        )
