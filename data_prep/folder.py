"""An output folder that is either whole or not there."""

from __future__ import annotations

import errno
import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_prep.errors import DataError
from netgen.schema.files import StrPath, host, lock, sync


@contextmanager
def new_folder(out: StrPath, replace: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside `out` that becomes `out` when the block ends well.

    If the block raises, KeyboardInterrupt included, the temporary folder is removed and
    `out` is as it was. With replace, a folder at `out` gives way at the very end; without,
    only an empty one does, else DataError. What a killed process of this machine left is removed
    first.
    """
    out = Path(out).resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in out.parent.glob(f".{glob.escape(out.name)}.{host()}.*.part"):
        with _locked(left) as mine:
            if mine:
                shutil.rmtree(left, ignore_errors=True)
    part = _sibling(out)
    part.mkdir()
    try:
        with _locked(part):
            yield part
            for path in part.rglob("*"):
                sync(path)
            sync(part)
            _move(part, out, replace)
            sync(out.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _sibling(out: Path) -> Path:
    return out.with_name(f".{out.name}.{host()}.{uuid.uuid4().hex[:8]}.part")


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold a lock on the folder while its process lives; gives False if another holds it."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # removed by another process just now
        yield False
        return
    try:
        try:
            lock(handle)
        except OSError:  # held, or a file system without locks
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def _move(part: Path, out: Path, replace: bool) -> None:
    old = None
    if replace and out.exists():
        old = _sibling(out)
        os.rename(out, old)
    try:
        os.rename(part, out)  # takes the place of an empty folder too
    except BaseException as error:
        if old is not None and not out.exists():
            os.rename(old, out)
        if getattr(error, "errno", None) in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise DataError(f"{out}: is there and is left as it is") from None
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
