"""Where a data set is, when nobody says: in data/, else at a public address."""

from __future__ import annotations

from pathlib import Path

from data_prep.cifar10 import DISTRIBUTIONS, PYTHON, locate
from data_prep.download import download
from data_prep.errors import DataError
from netgen.schema import file_digest
from netgen.schema.files import StrPath


def find_or_download(folder: StrPath = "data") -> Path:
    """The path of a CIFAR-10 in `folder`, downloaded into it if there is none.

    Raises DataError if an archive there is not the official one (by SHA-256), NoDataError if
    there is none and the download fails.
    """
    folder = Path(folder)
    path = locate(folder)
    if path is None:
        return download(PYTHON.published, folder / PYTHON.archive)
    if path.is_file():
        official = next(
            kind.published.sha256 for kind in DISTRIBUTIONS if kind.archive == path.name
        )
        found = file_digest(path)
        if found != official:
            raise DataError(
                f"{path}: its SHA-256 is {found}, the official one {official}; "
                f"remove it, or name it with --source to use it all the same"
            )
    return path
