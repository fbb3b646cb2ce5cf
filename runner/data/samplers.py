"""Random crops of an image with boxes (sampler.cpp of weiliu89/caffe, branch ssd)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from netgen.schema import caffe_pb
from runner.data import boxes
from runner.data.draws import Draws
from runner.data.errors import DataLayerError


def clip(found: np.ndarray) -> np.ndarray:
    """The boxes (..., 4) cut off at the edges of the image."""
    return np.clip(found, np.float32(0), np.float32(1))


def sample(
    samplers: Sequence[caffe_pb.BatchSampler], objects: np.ndarray, draws: Draws
) -> np.ndarray:
    """The crops, (n, 4) float32, that the samplers find in an image with boxes `objects` (m, 4).

    Each tries max_trials times at most, and stops after max_sample crops that satisfy it.
    """
    found = [np.empty((0, 4), np.float32)]
    for sampler in samplers:
        if sampler.use_original_image:
            crops = draw_crops(sampler.sampler, sampler.max_trials, draws)
            crops = crops[satisfying(crops, objects, sampler.sample_constraint)]
            found.append(crops[: sampler.max_sample] if sampler.HasField("max_sample") else crops)
    return np.concatenate(found)


def jitter(share: float, whole: bool, draws: Draws) -> np.ndarray:
    """One crop (4,) float32 whose sides are 1 - share at least (MobileNet-YOLO's sampler.cpp).

    One time in five it is the image, and one time in five half as much is cut off. whole: both
    sides are cut alike.
    """
    choice = draws.uniform()
    if choice < 0.2:
        return np.array([0, 0, 1, 1], np.float32)
    least = 1 - (share / 2 if choice < 0.4 else share)
    width = draws.uniform(least, 1)
    height = width if whole else draws.uniform(least, 1)
    left, top = draws.uniform(0, 1 - width), draws.uniform(0, 1 - height)
    return np.array([left, top, left + width, top + height], np.float32)


def draw_crops(sampler: caffe_pb.Sampler, count: int, draws: Draws) -> np.ndarray:
    """Crops (count, 4) float32 of scales and aspect ratios in the sampler's ranges, anywhere."""
    if not 0 < sampler.min_scale <= sampler.max_scale <= 1:
        raise DataLayerError("a sampler needs 0 < min_scale <= max_scale <= 1")
    if not 0 < sampler.min_aspect_ratio <= sampler.max_aspect_ratio:
        raise DataLayerError("a sampler needs 0 < min_aspect_ratio <= max_aspect_ratio")
    scale, ratio, left, top = draws.uniforms(4 * count).reshape(4, count)
    scale = sampler.min_scale + (sampler.max_scale - sampler.min_scale) * scale
    ratio = sampler.min_aspect_ratio + (sampler.max_aspect_ratio - sampler.min_aspect_ratio) * ratio
    root = np.sqrt(ratio.clip(scale**2, 1 / scale**2))
    width, height = np.minimum(scale * root, 1), np.minimum(scale / root, 1)
    left, top = left * (1 - width), top * (1 - height)
    return np.stack([left, top, left + width, top + height], 1).astype(np.float32)


def satisfying(
    crops: np.ndarray, objects: np.ndarray, constraint: caffe_pb.SampleConstraint
) -> np.ndarray:
    """Which crops (n,) meet a constraint with one of the objects; without any all do.

    Of several kinds of constraints, as in Caffe, only the first counts: jaccard_overlap,
    sample_coverage, object_coverage.
    """
    these, others = torch.from_numpy(crops), torch.from_numpy(objects)
    for name, measure in (
        ("jaccard_overlap", lambda: boxes.jaccard(these, others)),
        ("sample_coverage", lambda: boxes.coverages(these, others)),
        ("object_coverage", lambda: boxes.coverages(others, these).T),
    ):
        low, high = f"min_{name}", f"max_{name}"
        if not (constraint.HasField(low) or constraint.HasField(high)):
            continue
        values = measure()
        good = torch.ones_like(values, dtype=torch.bool)
        if constraint.HasField(low):
            good &= values >= getattr(constraint, low)
        if constraint.HasField(high):
            good &= values <= getattr(constraint, high)
        return good.any(1).numpy()
    return np.ones(len(crops), bool)
