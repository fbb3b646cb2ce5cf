"""MultiBoxLoss against its definition, prior by prior."""

import math

import numpy as np
import pytest
import torch

from netgen.graph import NetError
from runner.data import boxes

CLASSES, PRIORS, BATCH = 4, 24, 3
VARIANCE = np.array([0.1, 0.1, 0.2, 0.2])


def some_boxes(random, count):
    center, size = random.uniform(0.2, 0.8, (count, 2)), random.uniform(0.1, 0.5, (count, 2))
    return np.concatenate([center - size / 2, center + size / 2], 1).astype(np.float32)


class Case:
    """Random bottoms; classes: those that locations are predicted for, 1 where they are shared.

    Image 1 has no box, and image 2 a difficult one.
    """

    def __init__(self, seed=0, classes=1, num_classes=CLASSES):
        random = np.random.default_rng(seed)
        self.location = random.normal(size=(BATCH, PRIORS, classes, 4)) * 0.7
        self.confidence = random.normal(size=(BATCH, PRIORS, num_classes))
        self.priors = some_boxes(random, PRIORS)
        self.rows = [
            [item, random.integers(1, num_classes), 0, *some_boxes(random, 1)[0], i == 4]
            for i, item in enumerate([0, 0, 0, 2, 2])
        ]

    def bottoms(self):
        priors = np.stack([self.priors, np.broadcast_to(VARIANCE, self.priors.shape)])
        return (
            self.location.reshape(BATCH, -1),
            self.confidence.reshape(BATCH, -1),
            priors.reshape(1, 2, -1).astype(np.float32),
            np.array(self.rows, np.float32)[None, None],
        )

    def truth(self, image):
        rows = np.array([row for row in self.rows if row[0] == image], np.float32).reshape(-1, 8)
        return rows[:, 3:7], rows[:, 1].astype(int)


def layer_of(one_layer, case, param, loss="", num_classes=CLASSES):
    share = "true" if case.location.shape[2] == 1 else "false"
    return one_layer(
        f'type: "MultiBoxLoss" loss_param {{ {loss} }} multibox_loss_param '
        f"{{ num_classes: {num_classes} share_location: {share} {param} }}",
        *case.bottoms(),
    )


def check_slopes(layer):
    """The gradients of locations and confidences against differences in random directions."""
    random = np.random.default_rng(0)
    gradients = layer.gradients()[:2]
    for bottom, gradient in enumerate(gradients):
        array = layer.arrays[bottom]
        for _ in range(3):
            direction, sides = random.normal(size=array.shape), []
            for step in (1e-6, -1e-6):
                xs = [torch.tensor(x) for x in layer.arrays]
                xs[bottom] += step * torch.tensor(direction)
                sides.append(layer.layer.forward(xs, [])[0].item())
            slope = (sides[0] - sides[1]) / 2e-6
            np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-5, atol=1e-7)
        assert gradient.any()


def code(prior, box):
    """CENTER_SIZE with the variance in the prediction (Liu et al. 2016, equation 2)."""
    size, wanted = prior[2:] - prior[:2], box[2:] - box[:2]
    shift = ((box[:2] + box[2:]) - (prior[:2] + prior[2:])) / 2 / size
    return np.concatenate([shift, np.log(wanted / size)]) / VARIANCE


def smooth_l1(x):
    return sum(0.5 * v * v if abs(v) < 1 else abs(v) - 0.5 for v in x)


def softmax_loss(scores, label):
    return math.log(np.exp(scores).sum()) - scores[label]


def logistic_loss(scores, *labels):
    return sum(
        math.log1p(math.exp(-v if c in labels else v)) for c, v in enumerate(scores.tolist())
    )


def objective(case, mining, threshold=0.4, logistic=False, sample_size=8):
    """(summed loss, number of matched priors), CENTER_SIZE, SMOOTH_L1, PER_PREDICTION."""
    total, count = 0.0, 0
    for image in range(BATCH):
        truth, labels = case.truth(image)
        scores = case.confidence[image]

        def loss_of(i, label, scores=scores):
            return logistic_loss(scores[i], label) if logistic else softmax_loss(scores[i], label)

        if not len(labels):
            if mining == "NONE":
                total += sum(
                    logistic_loss(row) if logistic else softmax_loss(row, 0) for row in scores
                )
            continue
        overlaps = boxes.jaccard(torch.tensor(case.priors), torch.tensor(truth))
        found = boxes.match(overlaps, threshold).tolist()
        location = {
            i: smooth_l1(case.location[image, i, 0] - code(case.priors[i], truth[j]))
            for i, j in enumerate(found)
            if j >= 0
        }
        wanted = [0 if j < 0 else labels[j] for j in found]
        losses = [loss_of(i, wanted[i]) + location.get(i, 0) for i in range(PRIORS)]
        if mining == "NONE":
            chosen = range(PRIORS)
        elif mining == "MAX_NEGATIVE":
            negative = [i for i, j in enumerate(found) if j < 0 and overlaps[i].max() < 0.5]
            negative.sort(key=lambda i, losses=losses: -losses[i])
            chosen = [*location, *negative[: 3 * len(location)]]
        else:
            chosen = sorted(range(PRIORS), key=lambda i, losses=losses: -losses[i])[:sample_size]
        for i in chosen:
            if mining == "NONE" and logistic and found[i] < 0:
                total += logistic_loss(scores[i])
            else:
                total += loss_of(i, wanted[i])
            if i in location:
                total += location[i]
                count += 1
    return total, count


@pytest.mark.parametrize("mining", ["NONE", "MAX_NEGATIVE", "HARD_EXAMPLE"])
@pytest.mark.parametrize("kind", ["SOFTMAX", "LOGISTIC"])
def test_the_loss(one_layer, mining, kind):
    case = Case(seed=1)
    layer = layer_of(
        one_layer,
        case,
        f"code_type: CENTER_SIZE overlap_threshold: 0.4 mining_type: {mining} sample_size: 8 "
        f"conf_loss_type: {kind}",
    )
    total, count = objective(case, mining, logistic=kind == "LOGISTIC")
    assert count > 2
    np.testing.assert_allclose(layer.forward()[0], total / count, rtol=1e-5)
    check_slopes(layer)


@pytest.mark.parametrize(
    "loss, mode",
    [
        ("", "VALID"),
        ("normalization: FULL", "FULL"),
        ("normalization: BATCH_SIZE", "BATCH_SIZE"),
        ("normalization: NONE", "NONE"),
        ("normalize: true", "VALID"),
        ("normalize: false", "BATCH_SIZE"),
    ],
)
def test_normalization(one_layer, loss, mode):
    case = Case()
    layer = layer_of(one_layer, case, "code_type: CENTER_SIZE overlap_threshold: 0.4", loss)
    total, count = objective(case, "MAX_NEGATIVE")
    by = {"VALID": count, "FULL": BATCH * PRIORS, "BATCH_SIZE": BATCH, "NONE": 1}[mode]
    np.testing.assert_allclose(layer.forward()[0], total / by, rtol=1e-5)


@pytest.mark.parametrize("code_type", ["CORNER", "CENTER_SIZE", "CORNER_SIZE"])
@pytest.mark.parametrize("loc_loss", ["L2", "SMOOTH_L1"])
def test_gradients_of_every_code(one_layer, code_type, loc_loss):
    layer = layer_of(
        one_layer, Case(), f"code_type: {code_type} loc_loss_type: {loc_loss} loc_weight: 1.5"
    )
    check_slopes(layer)


@pytest.mark.parametrize(
    "param",
    [
        "match_type: BIPARTITE",
        "use_prior_for_matching: false",
        "use_difficult_gt: false",
        "ignore_cross_boundary_bbox: true bp_inside: true",
        "nms_param { nms_threshold: 0.3 top_k: 15 }",
        "nms_param { nms_threshold: 0.3 top_k: 15 } use_prior_for_nms: true",
    ],
)
def test_gradients_of_other_ways_to_choose(one_layer, param):
    layer = layer_of(one_layer, Case(), f"code_type: CENTER_SIZE overlap_threshold: 0.4 {param}")
    check_slopes(layer)


@pytest.mark.parametrize("by_prior", ["true", "false"])
def test_locations_of_their_own_for_each_class(one_layer, by_prior):
    case = Case(classes=CLASSES)
    layer = layer_of(
        one_layer,
        case,
        "code_type: CENTER_SIZE overlap_threshold: 0.4 mining_type: NONE "
        f"use_prior_for_matching: {by_prior}",
    )
    check_slopes(layer)
    location = layer.gradients()[0].reshape(case.location.shape)
    labels = {label for image in (0, 2) for label in case.truth(image)[1]}
    assert {c for c in range(CLASSES) if location[:, :, c].any()} == labels


def test_a_variance_in_the_target_is_left_out_of_the_gradient(one_layer):
    case = Case()
    inside = layer_of(one_layer, case, "loc_loss_type: L2 loc_weight: 1 code_type: CORNER")
    target = layer_of(
        one_layer, case, "loc_loss_type: L2 code_type: CORNER encode_variance_in_target: true"
    )
    # (x - d / v) and (x - d) / v are the same at x = 0, and then the gradients are as well
    for layer in (inside, target):
        layer.arrays[0][:] = 0
    np.testing.assert_allclose(target.gradients()[0], inside.gradients()[0])


def test_one_class_for_all_objects(one_layer):
    case = Case(num_classes=2)
    layer = layer_of(one_layer, case, "map_object_to_agnostic: true", num_classes=2)
    plain = layer_of(one_layer, case, "", num_classes=2)
    np.testing.assert_array_equal(layer.forward()[0], plain.forward()[0])


def test_propagate_down_leaves_a_loss_out(one_layer):
    case = Case()
    both = layer_of(one_layer, case, "").forward()[0]
    parts = []
    for first, second in (("true", "false"), ("false", "true")):
        text = (
            'type: "MultiBoxLoss" multibox_loss_param { num_classes: 4 } '
            f"propagate_down: {first} propagate_down: {second} "
            "propagate_down: false propagate_down: false"
        )
        parts.append(one_layer(text, *case.bottoms()).forward()[0])
    np.testing.assert_allclose(sum(parts), both, rtol=1e-6)


def test_a_batch_without_any_box(one_layer):
    case = Case()
    case.rows = [[-1] * 8]
    assert layer_of(one_layer, case, "").forward()[0] == 0
    without = layer_of(one_layer, case, "mining_type: NONE")
    total = sum(softmax_loss(row, 0) for row in case.confidence.reshape(-1, CLASSES))
    np.testing.assert_allclose(without.forward()[0], total, rtol=1e-5)


@pytest.mark.parametrize(
    "label, words", [(0, "Found background label in the dataset."), (4, "label 4 of blob")]
)
def test_labels_that_are_refused(one_layer, label, words):
    case = Case()
    case.rows[0][1] = label
    with pytest.raises(NetError, match=words):
        layer_of(one_layer, case, "").forward()


@pytest.mark.parametrize(
    "param, words",
    [
        ("num_classes: 5", "Number of priors must match number of confidence predictions."),
        ("share_location: false", "Currently only support negative mining"),
        ("share_location: false mining_type: NONE", "number of location predictions."),
        ("background_label_id: 4", "background_label_id should be within"),
        ("do_neg_mining: false", "do_neg_mining disagrees with mining_type"),
        ("map_object_to_agnostic: true", "map_object_to_agnostic: num_classes"),
        ("mining_type: HARD_EXAMPLE sample_size: 0", "sample_size > 0"),
    ],
)
def test_refused(one_layer, param, words):
    text = f'type: "MultiBoxLoss" multibox_loss_param {{ num_classes: 4 {param} }}'
    with pytest.raises(NetError, match=words):
        one_layer(text.replace("num_classes: 4 num", "num"), *Case().bottoms())
