"""The constants of global contrast normalization and ZCA whitening, from training images.

netgen.schema.preprocessing has the formulas and their sources, and applies the constants. Those
that are chosen here are pylearn2's, which All-CNN used: scale 55, filter bias 0.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from data_prep.errors import DataError
from data_prep.progress import progress, slices
from netgen.schema import ZCA, Preprocessing

CHUNK = 2_000  # images at a time: 25 MB as float32


def fit_zca(rows: Callable[[slice], np.ndarray], count: int, bias: float = 0.1) -> ZCA:
    """Whitening of `count` rows; rows(slice) gives some of them as (n, D) float32.

    Sums, covariance and eigenvectors are float64. Images after GCN sum to zero, so
    their covariance is singular: bias must be positive, else DataError.
    """
    if not bias > 0:
        raise DataError(
            f"ZCA bias {bias}: must be positive, for the covariance of "
            "contrast-normalized images is singular"
        )
    mean = (
        sum(rows(part).sum(axis=0, dtype=np.float64) for part in slices(count, CHUNK, "mean"))
        / count
    )
    covariance = np.zeros((len(mean), len(mean)))
    for part in slices(count, CHUNK, "covariance"):
        centred = rows(part) - mean
        covariance += centred.T @ centred
    covariance /= count
    for _ in progress(range(1), "eigenvectors"):
        eigenvalues, vectors = np.linalg.eigh(covariance)
    eigenvalues = np.maximum(eigenvalues, 0)  # rounding takes zeros a little below
    roots = np.sqrt(eigenvalues + bias)
    return ZCA(
        mean.astype(np.float32),
        ((vectors / roots) @ vectors.T).astype(np.float32),
        ((vectors * roots) @ vectors.T).astype(np.float32),
        eigenvalues,
        float(bias),
    )


def fit_preprocessing(
    images: np.ndarray, scale: float = 55.0, zca: bool = True, bias: float = 0.1
) -> Preprocessing:
    """GCN and, if `zca`, the ZCA of (N, 3072) uint8 training images, fit in chunks.

    Raises DataError on a bad bias.
    """
    plain = Preprocessing(float(scale))
    if not zca:
        return plain
    return replace(plain, zca=fit_zca(lambda part: plain.apply(images[part]), len(images), bias))
