"""Global contrast normalization and ZCA whitening, the preprocessing of All-CNN.

GCN: Goodfellow et al., Maxout Networks (2013), sec. 4.1. ZCA: Krizhevsky, Learning
Multiple Layers of Features from Tiny Images (2009), appendix A, with the constants of
pylearn2, which both papers used: scale 55, filter bias 0.1.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_prep.dataset import IMAGE_BYTES, IMAGE_SHAPE
from data_prep.errors import DataError
from data_prep.progress import progress, slices
from netgen import schema
from netgen.schema.files import StrPath

LARGEST = 1 << 29  # bytes that a preprocessing.npz may unpack to; ours has 230 MB
CHUNK = 2_000  # images at a time: 25 MB as float32


def global_contrast_normalize(
    images: np.ndarray, scale: float = 55.0, min_norm: float = 1e-8
) -> np.ndarray:
    """Scale every image to the same contrast (Goodfellow et al. 2013, sec. 4.1).

    images: (N, D), any real type, 0..255. Each row has its mean subtracted and is divided
    by its L2 norm / scale; rows with a norm under min_norm keep norm 1, so that a plain
    image becomes zeros. Returns a new (N, D) float32 array. Raises ValueError if images
    is not 2-D.
    """
    if np.ndim(images) != 2:
        raise ValueError(f"images of shape {np.shape(images)}, expected (N, D)")
    rows = np.array(images, np.float32)
    rows -= rows.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    norms[norms < min_norm] = 1
    rows *= (scale / norms).astype(np.float32)[:, None]
    return rows


@dataclass(frozen=True)
class ZCA:
    """x -> (x - mean) P with P = V diag(1 / sqrt(eigenvalues + bias)) V^T.

    mean: (D,), matrix P and its inverse: (D, D), all float32 and both symmetric.
    eigenvalues: (D,) float64, ascending, of the training covariance X^T X / N.
    """

    mean: np.ndarray
    matrix: np.ndarray
    inverse: np.ndarray
    eigenvalues: np.ndarray
    bias: float

    @classmethod
    def fit(cls, rows: Callable[[slice], np.ndarray], count: int, bias: float = 0.1) -> ZCA:
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
        return cls(
            mean.astype(np.float32),
            ((vectors / roots) @ vectors.T).astype(np.float32),
            ((vectors * roots) @ vectors.T).astype(np.float32),
            eigenvalues,
            float(bias),
        )

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Whiten (N, D) float32 rows."""
        return (rows - self.mean) @ self.matrix

    def invert(self, rows: np.ndarray) -> np.ndarray:
        """Undo apply, to float32 rounding."""
        return rows @ self.inverse + self.mean


@dataclass(frozen=True)
class Preprocessing:
    """GCN and, unless zca is None, the ZCA fit on some training images."""

    scale: float
    zca: ZCA | None
    min_norm: float = 1e-8

    @classmethod
    def fit(
        cls, images: np.ndarray, scale: float = 55.0, zca: bool = True, bias: float = 0.1
    ) -> Preprocessing:
        """Fit on (N, 3072) uint8 training images, in chunks. Raises DataError on a bad bias."""
        plain = cls(float(scale), None)
        if not zca:
            return plain
        return cls(float(scale), ZCA.fit(lambda part: plain.apply(images[part]), len(images), bias))

    def apply(self, images: np.ndarray) -> np.ndarray:
        """(N, 3072) images, 0..255, to (N, 3072) float32; whitened where there is a ZCA."""
        rows = global_contrast_normalize(images, self.scale, self.min_norm)
        return rows if self.zca is None else self.zca.apply(rows)

    def save(self, path: StrPath, **more: Any) -> None:
        """Write all constants, and the arrays in `more`, as an .npz. Raises SchemaError."""
        arrays = {
            "gcn_scale": self.scale,
            "gcn_min_norm": self.min_norm,
            "image_shape": IMAGE_SHAPE,
            "channel_order": "RGB",
            "layout": "CHW",
        }
        if self.zca is not None:
            arrays |= {
                "mean": self.zca.mean,
                "zca": self.zca.matrix,
                "zca_inverse": self.zca.inverse,
                "zca_bias": self.zca.bias,
                "eigenvalues": self.zca.eigenvalues,
            }
        with schema.writing(path) as file:
            np.savez(file, **arrays, **more)

    @classmethod
    def load(cls, path: StrPath) -> Preprocessing:
        """Read what save wrote. Raises DataError naming the file if it is not that."""
        try:
            # Opened here, for np.load leaves a damaged zip open.
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as data:
                size = sum(part.file_size for part in data.zip.infolist())
                if size > LARGEST:
                    raise ValueError(f"it unpacks to {size:,} bytes")
                zca = None
                if "zca" in data:
                    zca = ZCA(
                        data["mean"],
                        data["zca"],
                        data["zca_inverse"],
                        data["eigenvalues"],
                        float(data["zca_bias"]),
                    )
                loaded = cls(float(data["gcn_scale"]), zca, float(data["gcn_min_norm"]))
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from None
        except (
            KeyError,
            ValueError,
            TypeError,
            EOFError,
            AttributeError,
            NotImplementedError,
            RuntimeError,
            SyntaxError,
            tokenize.TokenError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise DataError(f"{path}: not a preprocessing.npz: {error}") from None
        if zca is not None and zca.matrix.shape != (IMAGE_BYTES, IMAGE_BYTES):
            raise DataError(
                f"{path}: its ZCA matrix is {zca.matrix.shape}, images of "
                f"{'x'.join(map(str, IMAGE_SHAPE))} need {IMAGE_BYTES} squared"
            )
        return loaded
