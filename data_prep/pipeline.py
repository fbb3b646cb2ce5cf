"""From a Dataset to a finished folder: GCN, ZCA, padding, LMDBs, constants, manifest."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import google.protobuf
import lmdb
import numpy as np

from data_prep.dataset import CLASSES, Dataset
from data_prep.errors import DataError
from data_prep.folder import new_folder
from data_prep.manifest import read_manifest, write_manifest
from data_prep.mean import mean_blob
from data_prep.progress import slices
from data_prep.records import write_lmdb
from data_prep.whiten import fit_preprocessing
from netgen import schema
from netgen.schema.files import StrPath
from netgen.schema.preprocessing import NAME as NPZ

CHUNK = 500  # images encoded at a time, one LMDB transaction: 14 MB of records
MEAN = "mean.binaryproto"


@dataclass(frozen=True)
class Options:
    """What a folder's contents depend on, besides its images.

    pad: zeros on each side of the whitened images. scale: GCN's, None for the pixels as they
    are. zca_bias: None for GCN alone. seed: of the shuffle of the training records, None for
    the order of the files. limit: only the first so many images of each part, None for all.
    """

    pad: int = 5
    scale: float | None = 55.0
    zca_bias: float | None = 0.1
    seed: int | None = 0
    limit: int | None = None


def build_dataset(
    name: str, load: Callable[[], Dataset], options: Options, out: StrPath, force: bool = False
) -> tuple[dict[str, Any], bool]:
    """Make the folder `out` from the Dataset that load() gives.

    Returns (manifest, whether it was built now). A finished folder of the same name and
    options is left alone, and load not called, unless force. Raises DataError if `out`
    holds anything else, if the disk is too small or full, and what load raises; then
    nothing is left of the new folder and an old one is as it was.
    """
    out = Path(out)
    if old := finished(out, name, asdict(options), force):
        return old, False
    dataset = load().first(options.limit)
    count = len(dataset.train_images) + len(dataset.test_images)
    values = prod(_padded(dataset.image_shape, options.pad))
    with building(out, force, count, values * (1 if options.scale is None else 5)) as folder:
        return _fill(folder, dataset, options), True


def finished(out: Path, name: str, options: dict[str, Any], force: bool) -> dict[str, Any] | None:
    """The manifest of a folder that is finished already; None where it is to be built.

    Raises DataError where `out` is something else, and, unless force, where it was made of another
    data set or with other options.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        old = read_manifest(out)
    except DataError:
        raise DataError(
            f"{out}: is there and was not made by data_prep; give another --out"
        ) from None
    if force:
        return None
    there, asked = {"dataset": old["dataset"], **old["options"]}, {"dataset": name, **options}
    differing = [key for key in asked if there.get(key) != asked[key]]
    if differing:
        raise DataError(
            f"{out}: finished with "
            + ", ".join(f"{key} {there.get(key)}" for key in differing)
            + ", asked for "
            + ", ".join(f"{key} {asked[key]}" for key in differing)
            + "; --force replaces it"
        )
    return old


@contextmanager
def building(out: Path, force: bool, records: int, bytes_each: int) -> Iterator[Path]:
    """Give the folder that becomes `out` when the block ends well; force: in place of an old one.

    Raises DataError, first where the disk is too small for so many records and some constants.
    """
    try:
        with new_folder(out, replace=force) as folder:
            need = records * (bytes_each + 4096) + (80 << 20)  # records in whole pages, npz
            free = shutil.disk_usage(out.resolve().parent).free
            if free < need:
                raise DataError(
                    f"{out}: needs about {need / 1e9:.2g} GB, its disk has {free / 1e9:.2g} GB free"
                )
            try:
                yield folder
            except (OSError, lmdb.Error, schema.SchemaError) as error:
                # LMDB calls a write that a full disk cuts short an input/output error.
                free = shutil.disk_usage(folder).free >> 20
                raise DataError(
                    f"{out}: {getattr(error, 'strerror', None) or error}, with "
                    f"{free} MiB free on its disk; nothing was written"
                ) from None
    except OSError as error:
        raise DataError(f"{error.filename or out}: {error.strerror}") from None


def _fill(folder: Path, dataset: Dataset, options: Options) -> dict[str, Any]:
    count = len(dataset.train_labels)
    order = np.arange(count)
    if options.seed is not None:
        # RandomState: its stream is frozen, a Generator's may change with NumPy's version.
        order = np.random.RandomState(options.seed).permutation(count)
    preprocessing = schema.Preprocessing()
    prepare = _pixels
    if options.scale is not None:
        preprocessing = fit_preprocessing(
            dataset.train_images, options.scale, options.zca_bias is not None, options.zca_bias
        )
        prepare = preprocessing.apply
    preprocessing = replace(
        preprocessing,
        image_shape=dataset.image_shape,
        channel_order="RGB" if dataset.image_shape[0] == 3 else "GRAY",
        pad=options.pad,
        label_names=dataset.label_names,
    )
    preprocessing.save(folder / NPZ, train_order=order.astype(np.int32))

    mean = MeanOf()
    form = prepare, dataset.image_shape, options.pad
    train = _Records(dataset.train_images, dataset.train_labels, order, *form)
    test = _Records(
        dataset.test_images, dataset.test_labels, np.arange(len(dataset.test_labels)), *form
    )
    train_lmdb, test_lmdb = f"{dataset.lmdb}_train_lmdb", f"{dataset.lmdb}_test_lmdb"
    databases = {
        train_lmdb: train.write(folder / train_lmdb, "training", mean.add),
        test_lmdb: test.write(folder / test_lmdb, "test"),
    }
    schema.write_binary(mean_blob(mean.value()), folder / MEAN)
    return write_manifest(
        folder,
        {
            "dataset": dataset.name,
            "options": asdict(options),
            "source": {**dataset.source, "images_sha256": dataset.digest()},
            "label_names": list(dataset.label_names),
            "databases": databases,
            "versions": versions(),
        },
    )


def _pixels(images: np.ndarray) -> np.ndarray:
    return images


class _Records:
    """One part of the dataset on its way into an LMDB.

    prepare: of some rows of images. shape: (C, H, W) of an image. pad: zeros around it.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        order: np.ndarray,
        prepare: Callable[[np.ndarray], np.ndarray],
        shape: tuple[int, int, int],
        pad: int,
    ) -> None:
        self.images, self.labels, self.order = images, labels, order
        self.prepare, self.shape, self.pad = prepare, shape, pad

    def write(
        self, folder: Path, what: str, seen: Callable[[np.ndarray], None] = lambda images: None
    ) -> dict[str, Any]:
        """Write the LMDB, showing every chunk of stored images to `seen`; its manifest entry."""
        count, digest = write_lmdb(folder, self._chunks(what, seen))
        return {
            "records": count,
            "shape": _padded(self.shape, self.pad),
            "records_of_label": np.bincount(self.labels, minlength=CLASSES).tolist(),
            "records_sha256": digest,
        }

    def _chunks(self, what: str, seen: Callable[[np.ndarray], None]) -> Iterator[list[bytes]]:
        border = (0, 0), (0, 0), (self.pad, self.pad), (self.pad, self.pad)
        for part in slices(len(self.order), CHUNK, what):
            rows = self.order[part]
            images = self.prepare(self.images[rows]).reshape(-1, *self.shape)
            images = np.pad(images, border)
            seen(images)
            yield list(schema.encode_datums(images, self.labels[rows]))


def _padded(shape: tuple[int, int, int], pad: int) -> list[int]:
    channels, height, width = shape
    return [channels, height + 2 * pad, width + 2 * pad]


class MeanOf:
    """The mean of images that come in chunks."""

    def __init__(self) -> None:
        self.total, self.count = 0, 0

    def add(self, images: np.ndarray) -> None:
        self.total = self.total + images.sum(axis=0, dtype=np.float64)
        self.count += len(images)

    def value(self) -> np.ndarray:
        return (self.total / self.count).astype(np.float32)


def versions() -> dict[str, str]:
    """What a folder was made with."""
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas.get('name')} {blas.get('version')}",
        "lmdb": lmdb.__version__,
        "protobuf": google.protobuf.__version__,
    }
