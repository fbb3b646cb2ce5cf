"""Where a data set is, when nobody says: in data/, else at a public address."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tqdm import tqdm

from data_prep.cifar10 import DISTRIBUTIONS, PYTHON, locate
from data_prep.errors import DataError, NoDataError
from data_prep.progress import bar_options
from netgen.schema import SchemaError, file_digest, writing
from netgen.schema.files import StrPath


def find_or_download(folder: StrPath = "data") -> Path:
    """The path of a CIFAR-10 in `folder`, downloaded into it if there is none.

    Raises DataError if an archive there is not the official one (by MD5), NoDataError if
    there is none and the download fails.
    """
    folder = Path(folder)
    path = locate(folder)
    if path is None:
        return download(PYTHON.url, PYTHON.md5, folder / PYTHON.archive)
    if path.is_file():
        official = next(kind.md5 for kind in DISTRIBUTIONS if kind.archive == path.name)
        found = file_digest(path, "md5")
        if found != official:
            raise DataError(
                f"{path}: its MD5 is {found}, the official one {official}; "
                f"remove it, or name it with --source to use it all the same"
            )
    return path


def download(url: str, md5: str, path: Path, timeout: float = 20) -> Path:
    """Fetch url to path, which is there when it is whole and of the right MD5.

    timeout: seconds without an answer. Returns path. Raises NoDataError, and leaves nothing,
    in every case in which the file did not come.
    """
    remedy = f"fetch {url} (MD5 {md5}) elsewhere and put it at {path}, or name it with --source"
    digest = hashlib.md5(usedforsecurity=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=timeout) as answer, writing(path) as file:
            size = int(answer.headers.get("Content-Length") or 0) or None
            options = {"desc": path.name, "unit": "B", "unit_scale": True, **bar_options()}
            with tqdm(total=size, **options) as bar:
                for block in _blocks(answer):
                    file.write(block)
                    digest.update(block)
                    bar.update(len(block))
            if digest.hexdigest() != md5:
                raise NoDataError(
                    f"{url} answered with other bytes (MD5 {digest.hexdigest()}); " + remedy
                )
    except (OSError, http.client.HTTPException, SchemaError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        reason = getattr(error, "reason", None) or error
        raise NoDataError(f"{path.name} could not be downloaded ({reason}); {remedy}") from None
    return path


def _blocks(answer: IO[bytes]) -> Iterator[bytes]:
    """What the server sends, a block at a time; a network that fails is no fault of the file."""
    try:
        while block := answer.read(1 << 20):
            yield block
    except OSError as error:
        raise http.client.HTTPException(error) from None
