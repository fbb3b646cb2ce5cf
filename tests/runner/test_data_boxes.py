import math

import numpy as np
import pytest
import torch

from netgen.errors import CaffeError
from runner.data import boxes

RANDOM = np.random.default_rng(0)
CODE_TYPES = [boxes.CORNER, boxes.CENTER_SIZE, boxes.CORNER_SIZE]


def some_boxes(count, seed=0):
    """(count, 4) float64, inside and outside of the image."""
    random = np.random.default_rng(seed)
    center, size = random.uniform(0, 1, (count, 2)), random.uniform(0.05, 0.5, (count, 2))
    return np.concatenate([center - size / 2, center + size / 2], 1)


def overlap(a, b, pixel=0):
    """The Jaccard overlap of two boxes that meet, or 0."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + pixel
    height = min(a[3], b[3]) - max(a[1], b[1]) + pixel
    if width <= 0 or height <= 0:
        return 0.0
    total = sum((c[2] - c[0] + pixel) * (c[3] - c[1] + pixel) for c in (a, b))
    return width * height / (total - width * height)


def test_jaccard():
    a, b = some_boxes(9, 1), some_boxes(7, 2)
    found = boxes.jaccard(torch.tensor(a), torch.tensor(b))
    expected = [[overlap(x, y) for y in b] for x in a]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)
    assert 0 < np.count_nonzero(expected) < 63


def test_a_box_that_is_inside_out_overlaps_nothing():
    inside_out = torch.tensor([[0.6, 0.2, 0.4, 0.8]])
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert boxes.jaccard(inside_out, whole).item() == 0
    assert boxes.areas(inside_out).item() == 0


def test_pixels_include_the_last_one_and_boxes_apart_share_one():
    a = torch.tensor([[0.0, 0.0, 9.0, 9.0]])
    b = torch.tensor([[5.0, 0.0, 14.0, 9.0], [50.0, 50.0, 59.0, 59.0]])
    np.testing.assert_allclose(boxes.jaccard(a, b, pixels=True), [[50 / 150, 1 / 199]])


def test_coverages():
    a = torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 0.1, 0.1]])
    b = torch.tensor([[0.25, 0.0, 1.0, 1.0]])
    np.testing.assert_allclose(boxes.coverages(a, b), [[0.5], [0]])


@pytest.mark.parametrize("code_type", CODE_TYPES)
def test_a_code_is_decoded_to_its_box(code_type):
    priors, wanted = torch.tensor(some_boxes(20, 1)), torch.tensor(some_boxes(20, 2))
    variances = torch.tensor(RANDOM.uniform(0.1, 0.3, (20, 4)))
    codes = boxes.encode(priors, variances, wanted, code_type)
    np.testing.assert_allclose(boxes.decode(priors, variances, codes, code_type), wanted)


def test_codes_as_the_paper_has_them():
    prior, box = torch.tensor([0.2, 0.2, 0.6, 0.4]), torch.tensor([0.3, 0.1, 0.7, 0.5])
    variance = torch.tensor([0.1, 0.1, 0.2, 0.2])
    shift = [0.1, 0.0]  # of the centres, (0.4, 0.3) to (0.5, 0.3)
    expected = [shift[0] / 0.4 / 0.1, 0, math.log(1) / 0.2, math.log(0.4 / 0.2) / 0.2]
    found = boxes.encode(prior, variance, box, boxes.CENTER_SIZE)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    corner = boxes.encode(prior, variance, box, boxes.CORNER)
    np.testing.assert_allclose(corner, [1, -1, 0.5, 0.5], rtol=1e-5)
    in_priors = boxes.encode(prior, variance, box, boxes.CORNER_SIZE)
    np.testing.assert_allclose(in_priors, [2.5, -5, 1.25, 2.5], rtol=1e-5)


def test_a_prior_without_an_area_is_refused():
    flat = torch.tensor([[0.1, 0.1, 0.1, 0.5]])
    with pytest.raises(CaffeError, match="has no area"):
        boxes.decode(flat, torch.ones(1, 4), flat, boxes.CENTER_SIZE)


# --- matching ---


def matched(overlaps, threshold):
    """Matching pair by pair."""
    count, many = overlaps.shape
    found, open_boxes = [-1] * count, set(range(many))
    while open_boxes:
        best = max(
            (
                (overlaps[i, j], -i, -j)
                for i in range(count)
                for j in open_boxes
                if found[i] == -1 and overlaps[i, j] > 1e-6
            ),
            default=None,
        )
        if best is None:
            break
        found[-best[1]] = -best[2]
        open_boxes.remove(-best[2])
    for i in range(count):
        if threshold is not None and found[i] == -1:
            j = int(np.argmax(overlaps[i]))
            if overlaps[i, j] >= threshold:
                found[i] = j
    return found


@pytest.mark.parametrize("threshold", [None, 0.3, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_match(threshold, seed):
    priors, truth = some_boxes(40, seed), some_boxes(6, 100 + seed)
    overlaps = boxes.jaccard(torch.tensor(priors), torch.tensor(truth))
    found = boxes.match(overlaps, threshold)
    assert found.tolist() == matched(overlaps.numpy(), threshold)
    assert (found >= 0).any() and (found == -1).any()


def test_of_equals_the_first_is_matched():
    overlaps = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.0, 0.5]])
    assert boxes.match(overlaps, None).tolist() == [0, 1, -1]


def test_more_boxes_than_priors():
    assert boxes.match(torch.tensor([[0.2, 0.6, 0.4]]), None).tolist() == [1]
    assert boxes.match(torch.zeros(3, 0), 0.5).tolist() == [-1, -1, -1]


# --- non-maximum suppression ---


def suppressed(found, threshold, eta):
    kept = []
    for i in range(len(found)):
        if all(overlap(found[i], found[k]) <= threshold for k in kept):
            kept.append(i)
            if eta < 1 and threshold > 0.5:
                threshold *= eta
    return kept


@pytest.mark.parametrize("threshold, eta", [(0.3, 1), (0.5, 1), (0.9, 0.95)])
def test_suppress(threshold, eta):
    found = some_boxes(700)  # more than a block
    kept = boxes.suppress(torch.tensor(found), threshold, eta)
    assert kept.tolist() == suppressed(found, threshold, eta)
    assert 1 < len(kept) < 700
    assert boxes.suppress(torch.zeros(0, 4), 0.5).tolist() == []
