"""preprocessing.npz: what was done to pictures before they became records, to be done again.

data_prep writes one beside the records of every data set; who classifies a picture with a net
that was trained on them reads it. GCN: Goodfellow et al., Maxout Networks (2013), sec. 4.1. ZCA:
Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009), appendix A.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from netgen.schema.files import SchemaError, StrPath, writing

NAME = "preprocessing.npz"  # in the folder of the records
LARGEST = 1 << 29  # bytes that a file may unpack to; CIFAR-10's has 76 MB
CHANNEL_ORDERS = ("RGB", "BGR", "GRAY")

#: What NumPy raises for a file that is not a whole .npy or .npz of arrays.
DAMAGED_ARRAYS: tuple[type[Exception], ...] = (
    *(KeyError, ValueError, TypeError, EOFError, AttributeError, NotImplementedError),
    *(RuntimeError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


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

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Whiten (N, D) float32 rows."""
        return (rows - self.mean) @ self.matrix

    def invert(self, rows: np.ndarray) -> np.ndarray:
        """Undo apply, to float32 rounding."""
        return rows @ self.inverse + self.mean


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a record.

    scale: GCN's, None for the pixels as they are. zca: what follows GCN, if anything.
    image_shape: (C, H, W) that a picture is brought to first. channel_order: of its pixels,
    one of CHANNEL_ORDERS. pad: zeros put around it at the end. label_names: of the classes, in
    the order of their labels, where they have names.
    """

    scale: float | None = None
    zca: ZCA | None = None
    min_norm: float = 1e-8
    image_shape: tuple[int, int, int] = (3, 32, 32)
    channel_order: str = "RGB"
    pad: int = 0
    label_names: tuple[str, ...] = ()

    @property
    def record_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a record, the zeros around it included."""
        channels, height, width = self.image_shape
        return channels, height + 2 * self.pad, width + 2 * self.pad

    def apply(self, images: np.ndarray) -> np.ndarray:
        """(N, C * H * W) images, 0..255, as float32 after GCN and ZCA, where there are any."""
        if self.scale is None:
            return np.array(images, np.float32)
        rows = global_contrast_normalize(images, self.scale, self.min_norm)
        return rows if self.zca is None else self.zca.apply(rows)

    def records(self, images: np.ndarray) -> np.ndarray:
        """(N, C, H, W) images in channel_order, 0..255, as float32 records of record_shape."""
        rows = self.apply(np.reshape(images, (len(images), -1)))
        border = (0, 0), (0, 0), (self.pad, self.pad), (self.pad, self.pad)
        return np.pad(rows.reshape(-1, *self.image_shape), border)

    def save(self, path: StrPath, **more: Any) -> None:
        """Write all of it, and the arrays in `more`, as an .npz. Raises SchemaError."""
        arrays: dict[str, Any] = {
            "image_shape": self.image_shape,
            "channel_order": self.channel_order,
            "layout": "CHW",
            "pad": self.pad,
            "label_names": np.array(self.label_names, np.str_),
        }
        if self.scale is not None:
            arrays |= {"gcn_scale": self.scale, "gcn_min_norm": self.min_norm}
        if self.zca is not None:
            arrays |= {
                "mean": self.zca.mean,
                "zca": self.zca.matrix,
                "zca_inverse": self.zca.inverse,
                "zca_bias": self.zca.bias,
                "eigenvalues": self.zca.eigenvalues,
            }
        with writing(path) as file:
            np.savez(file, **arrays, **more)

    @classmethod
    def load(cls, path: StrPath) -> Preprocessing:
        """Read what save wrote. Raises SchemaError naming the file if it is not that."""
        try:
            # Opened here, for np.load leaves a damaged zip open.
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as data:
                size = sum(part.file_size for part in data.zip.infolist())
                if size > LARGEST:
                    raise ValueError(f"it unpacks to {size:,} bytes")
                loaded = cls._of(data)
        except OSError as error:
            raise SchemaError(f"{path}: {error.strerror or error}") from None
        except DAMAGED_ARRAYS as error:
            raise SchemaError(f"{path}: not a {NAME}: {error}") from None
        values = prod(loaded.image_shape)
        if loaded.zca is not None and loaded.zca.matrix.shape != (values, values):
            raise SchemaError(
                f"{path}: its ZCA matrix is {loaded.zca.matrix.shape}, images of "
                f"{'x'.join(map(str, loaded.image_shape))} need {values} squared"
            )
        return loaded

    @classmethod
    def _of(cls, data: Any) -> Preprocessing:
        """From the arrays of an .npz. Raises KeyError or ValueError for what cannot be."""
        zca = None
        if "zca" in data:
            mean, matrix, inverse = (
                np.asarray(data[name], np.float32) for name in ("mean", "zca", "zca_inverse")
            )
            if mean.shape != matrix.shape[:1] or inverse.shape != matrix.shape:
                raise ValueError(
                    f"ZCA of a mean {mean.shape}, a matrix {matrix.shape} and an inverse "
                    f"{inverse.shape}"
                )
            zca = ZCA(mean, matrix, inverse, data["eigenvalues"], float(data["zca_bias"]))
        channels, height, width = data["image_shape"].astype(int).tolist()
        order, pad = str(data["channel_order"]), int(data["pad"])
        if order not in CHANNEL_ORDERS or (order == "GRAY") != (channels == 1):
            raise ValueError(f"{channels} channels in the order {order}")
        if min(channels, height, width) < 1 or not 0 <= pad <= max(height, width):
            raise ValueError(f"images of {channels}x{height}x{width} with {pad} zeros around")
        return cls(
            float(data["gcn_scale"]) if zca or "gcn_scale" in data else None,
            zca,
            float(data["gcn_min_norm"]) if "gcn_scale" in data else cls.min_norm,
            (channels, height, width),
            order,
            pad,
            tuple(map(str, data["label_names"].ravel().tolist())),
        )
