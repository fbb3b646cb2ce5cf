"""CIFAR-10 as its authors distribute it: Python or binary batches, archive or unpacked."""

from __future__ import annotations

import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from data_prep.dataset import CIFAR10_NAMES, CLASSES, IMAGE_BYTES, Dataset
from data_prep.download import Published
from data_prep.errors import DataError
from data_prep.pickles import read_batch
from data_prep.progress import progress
from netgen.schema import file_digest
from netgen.schema.files import StrPath

LARGEST_FILE = 64 << 20  # a batch has 31 MB; an archive cannot make us read more than this


@dataclass(frozen=True)
class Distribution:
    """One of the two official forms: its archive, the archive's folder and files."""

    form: str
    published: Published
    folder: str
    suffix: str
    meta: str

    @property
    def archive(self) -> str:
        """The archive's file name."""
        return self.published.url.rpartition("/")[2]

    @property
    def batches(self) -> list[str]:
        """The file names of the five training batches and the test batch."""
        return [f"data_batch_{n}{self.suffix}" for n in range(1, 6)] + [f"test_batch{self.suffix}"]


PYTHON = Distribution(
    "python",
    Published(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        170498071,
        "c58f30108f718f92721af3b95e74349a",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    ),
    "cifar-10-batches-py",
    "",
    "batches.meta",
)
BINARY = Distribution(
    "binary",
    Published(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        170052171,
        "c32a1d4ab5d03f1284b67883e8d87530",
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ),
    "cifar-10-batches-bin",
    ".bin",
    "batches.meta.txt",
)
DISTRIBUTIONS = (PYTHON, BINARY)


def read_cifar10(source: StrPath) -> Dataset:
    """The Dataset at `source`: an archive, a batches folder, or a folder with either.

    Images and labels stand in the order of the files. Raises DataError, naming the file,
    if there is no CIFAR-10 or part of it is missing or damaged.
    """
    try:
        path = locate(Path(source))
        if path is None:
            raise DataError(
                f"{source}: no CIFAR-10 there (looked for "
                + ", ".join(kind.folder for kind in DISTRIBUTIONS)
                + " and "
                + ", ".join(kind.archive for kind in DISTRIBUTIONS)
                + ")"
            )
        files, facts = _unpacked(path) if path.is_dir() else _archived(path)
    except OSError as error:
        raise DataError(f"{error.filename or source}: {error.strerror or error}") from None
    kind = next((kind for kind in DISTRIBUTIONS if kind.batches[0] in files), None)
    if kind is None:
        raise DataError(f"{path}: no data_batch_1 or data_batch_1.bin in it")
    missing = [name for name in kind.batches if name not in files]
    if missing:
        raise DataError(f"{path}: {', '.join(missing)} missing")

    parse = _python_batch if kind is PYTHON else _binary_batch
    parsed = [parse(files[name], f"{path}/{name}") for name in kind.batches]
    *train, (test_images, test_labels) = parsed
    return Dataset(
        "cifar10",
        np.concatenate([images for images, _ in train]),
        np.concatenate([labels for _, labels in train]),
        test_images,
        test_labels,
        _label_names(files.get(kind.meta), kind, path),
        {"form": kind.form, "name": path.name, **facts},
    )


def locate(path: Path) -> Path | None:
    """The archive or batches folder that `path` is or directly holds, or None."""
    if not path.is_dir():
        return path if path.exists() else None
    folders = [path, *(path / kind.folder for kind in DISTRIBUTIONS)]
    for folder in folders:
        if any((folder / kind.batches[0]).is_file() for kind in DISTRIBUTIONS):
            return folder
    archives = [path / kind.archive for kind in DISTRIBUTIONS]
    return next((archive for archive in archives if archive.is_file()), None)


def _wanted() -> set[str]:
    return {name for kind in DISTRIBUTIONS for name in (*kind.batches, kind.meta)}


def _unpacked(folder: Path) -> tuple[dict[str, bytes], dict]:
    names = [name for name in sorted(_wanted()) if (folder / name).is_file()]
    return {name: (folder / name).read_bytes() for name in progress(names, "reading")}, {}


def _archived(path: Path) -> tuple[dict[str, bytes], dict]:
    files = {}
    try:
        with tarfile.open(path, "r|*", tarinfo=_headers_within_limits()) as archive:
            for member in progress(archive, "reading", total=8):
                name = Path(member.name).name
                if not (member.isfile() and name in _wanted()):
                    continue
                if member.size > LARGEST_FILE:
                    raise DataError(
                        f"{path}: {name} has {member.size} bytes, a batch has less "
                        f"than {LARGEST_FILE}"
                    )
                files[name] = archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a whole tar archive: {error}") from None
    sha256 = file_digest(path)
    official = sha256 in {kind.published.sha256 for kind in DISTRIBUTIONS}
    return files, {"md5": file_digest(path, "md5"), "sha256": sha256, "official": official}


def _headers_within_limits() -> type[tarfile.TarInfo]:
    """A TarInfo that refuses headers which are large, or without end: long names and pax records.

    tarfile reads those into memory whole, one inside the other.
    """
    kinds = (
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    )
    left = [100]  # of them; the official archive has none

    class Limited(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, *arguments: Any) -> tarfile.TarInfo:
            info = super().frombuf(*arguments)
            if info.type in kinds:
                left[0] -= 1
                if info.size > 1 << 16 or not left[0]:
                    raise tarfile.ReadError("its headers are larger than those of any data set")
            return info

    return Limited


def _python_batch(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    batch = read_batch(data, name)
    images, labels = batch.get("data"), batch.get("labels")
    if not isinstance(images, np.ndarray) or labels is None:
        raise DataError(
            f"{name}: has {', '.join(map(str, batch)) or 'nothing'}; "
            "a CIFAR-10 batch has an array 'data' and a list 'labels'"
        )
    if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != IMAGE_BYTES:
        raise DataError(
            f"{name}: data is {images.dtype} {images.shape}, expected uint8 (N, {IMAGE_BYTES})"
        )
    return images, _labels(labels, len(images), name)


def _binary_batch(data: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    size = 1 + IMAGE_BYTES
    if len(data) % size:
        raise DataError(
            f"{name}: {len(data)} bytes is no multiple of {size}, one label and one image"
        )
    rows = np.frombuffer(data, np.uint8).reshape(-1, size)
    return rows[:, 1:], _labels(rows[:, 0], len(rows), name)


def _labels(labels: ArrayLike, count: int, name: str) -> np.ndarray:
    try:
        labels = np.asarray(labels)
    except ValueError:
        labels = np.empty(0)
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(f"{name}: labels are not a list of integers")
    if len(labels) != count:
        raise DataError(f"{name}: {len(labels)} labels for {count} images")
    if count and not 0 <= labels.min() <= labels.max() < CLASSES:
        raise DataError(
            f"{name}: labels from {labels.min()} to {labels.max()}, expected 0 to {CLASSES - 1}"
        )
    return labels.astype(np.uint8)


def _label_names(data: bytes | None, kind: Distribution, path: Path) -> tuple[str, ...]:
    if data is None:
        return CIFAR10_NAMES
    name = f"{path}/{kind.meta}"
    try:
        if kind is PYTHON:
            found = [
                text.decode("ascii") if isinstance(text, bytes) else str(text)
                for text in read_batch(data, name)["label_names"]
            ]
        else:
            found = data.decode("ascii").split()
    except (KeyError, TypeError, UnicodeDecodeError):
        found = []
    if len(found) != CLASSES:
        raise DataError(f"{name}: {len(found)} label names, expected {CLASSES}")
    return tuple(found)
