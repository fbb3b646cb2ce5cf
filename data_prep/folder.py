"""An output folder that is either whole or not there."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_prep.errors import DataError
from netgen.schema.files import DAY, StrPath, host, lock, swept_hosts, sync


@contextmanager
def new_folder(out: StrPath, replace: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside `out` that becomes `out` when the block ends well.

    If the block raises, KeyboardInterrupt included, the temporary folder is removed and
    `out` is as it was. With replace, a folder at `out` gives way at the very end; without,
    only an empty one does, else DataError. What a killed process left is removed first.
    """
    out = Path(out).resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    hosts = swept_hosts(out.parent)
    pattern = re.compile(rf"\.{re.escape(out.name)}\.{hosts}\.[0-9a-f]+\.part")
    for left in [path for path in out.parent.iterdir() if pattern.fullmatch(path.name)]:
        with _locked(left) as mine:
            if mine and (f".{host()}." in left.name or _is_old(left)):
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


def _is_old(folder: Path) -> bool:
    """Whether nothing was written in it for a DAY."""
    newest = max((path.lstat().st_mtime for path in (folder, *folder.rglob("*"))), default=0.0)
    return time.time() - newest > DAY


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
