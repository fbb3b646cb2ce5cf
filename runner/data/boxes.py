"""Boxes: overlaps, codes against priors, matching, and non-maximum suppression.

A box is (xmin, ymin, xmax, ymax) along the last axis of a tensor, as a rule in units of the image:
0 is its left or upper edge, 1 the right or lower one. Source: bbox_util.cpp of weiliu89/caffe,
branch ssd; Liu et al. 2016, arXiv 1512.02325, sections 2.1 and 2.2.
"""

from __future__ import annotations

import numpy as np
import torch

from netgen.errors import CaffeError
from netgen.schema import caffe_pb

CORNER = caffe_pb.PriorBoxParameter.CORNER
CENTER_SIZE = caffe_pb.PriorBoxParameter.CENTER_SIZE
CORNER_SIZE = caffe_pb.PriorBoxParameter.CORNER_SIZE

#: Boxes that overlap less are taken not to overlap.
LEAST_OVERLAP = 1e-6
#: Candidates whose overlaps with each other are in memory at a time.
_BLOCK = 512


def areas(boxes: torch.Tensor, pixels: bool = False) -> torch.Tensor:
    """The areas of boxes (..., 4); 0 for one that is inside out.

    pixels: corners are pixels, the last one included, so that each side is 1 longer.
    """
    sides = boxes[..., 2:] - boxes[..., :2]
    valid = (sides >= 0).all(-1)
    sides = sides + 1 if pixels else sides
    return torch.where(valid, sides[..., 0] * sides[..., 1], 0)


def intersections(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The boxes (..., 4) that two boxes (..., 4) have in common; zero where they have none."""
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    meet = (a[..., :2] <= b[..., 2:]) & (b[..., :2] <= a[..., 2:])
    return torch.cat([low, high], -1) * meet.all(-1, keepdim=True)


def jaccard(a: torch.Tensor, b: torch.Tensor, pixels: bool = False) -> torch.Tensor:
    """The overlaps (n, m) of boxes (n, 4) with boxes (m, 4): intersection over union.

    pixels: as for `areas`. In pixels, boxes that do not meet share one pixel, as in Caffe.
    """
    a, b = a[:, None], b[None]
    sides = (common := intersections(a, b))[..., 2:] - common[..., :2]
    sides = sides + 1 if pixels else sides
    shared = sides[..., 0] * sides[..., 1]
    union = areas(a, pixels) + areas(b, pixels) - shared
    return torch.where((sides > 0).all(-1), shared / union, 0)


def coverages(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """What share of each of the boxes (n, 4) each of the boxes (m, 4) covers: (n, m)."""
    shared = areas(intersections(a[:, None], b[None]))
    return torch.where(shared > 0, shared / areas(a)[:, None], 0)


# --- codes ---


def _center_and_size(boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]


def _sizes_of(priors: torch.Tensor) -> torch.Tensor:
    """Width and height of the priors; raises CaffeError for a prior without an area."""
    sizes = priors[..., 2:] - priors[..., :2]
    if bool((sizes <= 0).any()):
        raise CaffeError("prior_width > 0 and prior_height > 0: a prior box has no area")
    return sizes


def encode(
    priors: torch.Tensor, variances: torch.Tensor, boxes: torch.Tensor, code_type: int
) -> torch.Tensor:
    """What a net must predict at the priors for it to be decoded to the boxes; all (..., 4).

    variances: what codes are divided by; ones where the variance is encoded in the target.
    code_type: CORNER, differences of corners; CENTER_SIZE, those of centres in units of the
    prior, and logarithms of ratios of sizes; CORNER_SIZE, corners in units of the prior. Raises
    CaffeError for a prior without an area where that is the unit.
    """
    if code_type == CORNER:
        return (boxes - priors) / variances
    sizes = _sizes_of(priors)
    if code_type == CORNER_SIZE:
        return (boxes - priors) / torch.cat([sizes, sizes], -1) / variances
    prior_centers, _ = _center_and_size(priors)
    centers, box_sizes = _center_and_size(boxes)
    shifts = (centers - prior_centers) / sizes / variances[..., :2]
    # C++ takes the logarithm in double precision, and rounds after the division.
    logarithms = (box_sizes / sizes).double().log() / variances[..., 2:]
    return torch.cat([shifts, logarithms.to(boxes.dtype)], -1)


def decode(
    priors: torch.Tensor, variances: torch.Tensor, codes: torch.Tensor, code_type: int
) -> torch.Tensor:
    """The boxes (..., 4) that codes (..., 4) mean at the priors (..., 4): `encode` undone."""
    if code_type == CORNER:
        return priors + variances * codes
    sizes = _sizes_of(priors)
    if code_type == CORNER_SIZE:
        return priors + variances * codes * torch.cat([sizes, sizes], -1)
    prior_centers, _ = _center_and_size(priors)
    centers = variances[..., :2] * codes[..., :2] * sizes + prior_centers
    scales = (variances[..., 2:] * codes[..., 2:]).double().exp()
    halves = (scales * sizes).to(codes.dtype) / 2
    return torch.cat([centers - halves, centers + halves], -1)


# --- matching ---


def match(overlaps: torch.Tensor, threshold: float | None) -> torch.Tensor:
    """The box that each prior is to predict, (priors,) int64, or -1.

    overlaps: (priors, boxes). First the prior and the box that overlap most are matched, then
    of the others those that overlap most, until each box has a prior or overlaps with none that
    is left (bipartite). threshold: after that every other prior is matched with the box that it
    overlaps most, if at least so much; None leaves it at the bipartite matching. Of equals the
    first prior, and for it the first box, is chosen.
    """
    count, boxes = overlaps.shape
    matches = overlaps.new_full((count,), -1, dtype=torch.int64)
    if not boxes:
        return matches
    overlaps = torch.where(overlaps > LEAST_OVERLAP, overlaps, 0)
    left = overlaps.clone()
    for _ in range(boxes):
        best = left.argmax()
        prior, box = best // boxes, best % boxes
        found = left[prior, box] > 0
        matches[prior] = torch.where(found, box, matches[prior])
        left[prior] = 0
        left[:, box] = 0
    if threshold is not None:
        most, box = overlaps.max(1)
        near = (matches == -1) & (most > 0) & (most >= threshold)
        matches = torch.where(near, box, matches)
    return matches


# --- non-maximum suppression ---


def suppress(boxes: torch.Tensor, threshold: float, eta: float = 1.0) -> np.ndarray:
    """The places of those boxes that overlap none before them that is kept by more than threshold.

    boxes: (n, 4) on the CPU, the best first. eta: what a threshold over 0.5 is multiplied by
    whenever one is kept. Returns the places in order, int64.
    """
    kept: list[int] = []
    limit = np.float32(threshold)
    for start in range(0, len(boxes), _BLOCK):
        block = boxes[start : start + _BLOCK]
        among = jaccard(block, block).numpy()
        most = np.zeros(len(block), among.dtype)
        if kept:
            most = jaccard(boxes[kept], block).amax(0).numpy()
        for i in range(len(block)):
            if most[i] <= limit:
                kept.append(start + i)
                np.maximum(most, among[i], out=most)
                if eta < 1 and limit > 0.5:
                    limit *= np.float32(eta)
    return np.array(kept, np.int64)
