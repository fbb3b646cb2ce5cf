"""Prepare new images, for inference, with the constants of a finished folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_prep.dataset import IMAGE_SHAPE
from data_prep.errors import DataError
from data_prep.whiten import CHUNK
from netgen import schema
from netgen.schema.files import StrPath

_CHANNELS, _HEIGHT, _WIDTH = IMAGE_SHAPE


def apply_to_files(npz: StrPath, paths: Sequence[StrPath], out: StrPath) -> tuple[int, ...]:
    """GCN and ZCA of images in files, written to `out` as one .npy; returns its shape.

    paths: image files of 32x32 pixels, or .npy arrays (see read_images). The output is
    (N, 3, 32, 32) float32, in the order of the paths. Raises CaffeError naming the file.
    """
    preprocessing = schema.Preprocessing.load(npz)
    if preprocessing.scale is None:
        raise DataError(
            f"{npz}: its data set has the pixels as they are, there is nothing to apply"
        )
    images = np.concatenate([read_images(path) for path in paths])
    result = np.empty((len(images), *IMAGE_SHAPE), np.float32)
    for start in range(0, len(images), CHUNK):
        rows = preprocessing.apply(images[start : start + CHUNK])
        result[start : start + CHUNK] = rows.reshape(-1, *IMAGE_SHAPE)
    with schema.writing(out) as file:
        np.save(file, result)
    return result.shape


def read_images(path: StrPath) -> np.ndarray:
    """The images of one file as (n, 3072) rows, channels first, values as they stand.

    A .npy may hold (3, 32, 32), (32, 32, 3), the same with a leading N, or (N, 3072), of
    integers or finite floats; as GCN takes out brightness and contrast, 0..255 and 0..1
    give the same. Any other file is an image for Pillow, made RGB. Raises DataError if
    it is neither or its size is not 32x32.
    """
    path = Path(path)
    try:
        array = _read_array(path) if path.suffix == ".npy" else _read_picture(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    shape = array.shape
    if shape[-3:] == (_HEIGHT, _WIDTH, _CHANNELS) and array.ndim in (3, 4):
        array = np.moveaxis(array, -1, -3)
    elif not (
        shape[-3:] == IMAGE_SHAPE and array.ndim in (3, 4) or shape[1:] == (np.prod(IMAGE_SHAPE),)
    ):
        raise DataError(
            f"{path}: array of shape {shape}, expected (N, 3, 32, 32), (N, 32, 32, 3) or (N, 3072)"
        )
    return array.reshape(-1, int(np.prod(IMAGE_SHAPE)))


def _read_array(path: Path) -> np.ndarray:
    try:
        with open(path, "rb") as file:  # which NumPy leaves open where it finds a damaged archive
            array = np.load(file, allow_pickle=False)
    except (*schema.DAMAGED_ARRAYS, MemoryError) as error:
        raise DataError(f"{path}: not an array: {error}") from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise DataError(f"{path}: several arrays, expected one (.npy)")
    if array.dtype.kind not in "uif" or not np.isfinite(array).all():
        raise DataError(f"{path}: {array.dtype} values, expected integers or finite floats")
    return array.astype(np.float32)


def _read_picture(path: Path) -> np.ndarray:
    try:
        from PIL import Image
    except ImportError:
        raise DataError(
            f"{path}: reading image files needs Pillow (pip install pillow); .npy arrays go without"
        ) from None
    try:
        opened = Image.open(path)
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: {error}") from None
    with opened as picture:
        if picture.size != (_WIDTH, _HEIGHT):
            raise DataError(
                f"{path}: {picture.width}x{picture.height} pixels, expected {_WIDTH}x{_HEIGHT}"
            )
        return np.asarray(picture.convert("RGB"), np.float32)
