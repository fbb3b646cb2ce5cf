"""LevelDB folders, the default backend of Caffe's Data layers, opened to be read only."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator

from netgen.errors import CaffeError

_OWN = ("LOCK", "LOG", "LOG.old")  # what belongs to a process that has the folder open


class LevelDBFolder:
    """The database in the folder `path`; needs the package plyvel.

    LevelDB lets one process in at a time and writes even where it only reads. What is opened
    here is a temporary folder of links to the files: any number of processes read the same
    database, a read-only one too, and nothing of it is changed. The temporary folder goes with
    the object.

    Raises CaffeError in one line where there is no such database, or no plyvel.
    """

    def __init__(self, path: str):
        try:
            os.stat(os.path.join(path, "CURRENT"))
            files = sorted(os.listdir(path))
        except OSError as error:
            why = f"{error.strerror} (LEVELDB is the default; for an LMDB write `backend: LMDB`)"
            if os.path.exists(os.path.join(path, "data.mdb")):
                why = "it is an LMDB: write `backend: LMDB` in data_param"
            raise CaffeError(f"Failed to open leveldb {path}: {why}") from None
        try:
            import plyvel
        except ImportError:
            raise CaffeError(
                "backend LEVELDB, the default, needs the package plyvel: "
                "pip install 'caffe-split[leveldb]'"
            ) from None
        folder = tempfile.mkdtemp(prefix="leveldb-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        try:
            for name in files:
                if name not in _OWN:
                    target = os.path.join(os.path.realpath(path), name)
                    os.symlink(target, os.path.join(folder, name))
            self._database = plyvel.DB(folder, create_if_missing=False, max_open_files=100)
        except (plyvel.Error, OSError) as error:
            why = str(error).replace(folder, path)
            raise CaffeError(f"Failed to open leveldb {path}: {why}") from None

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) of all records once, in key order."""
        with self._database.iterator(fill_cache=False) as records:
            yield from records

    def count(self) -> int:
        """The number of records, for which all of them are read."""
        with self._database.iterator(include_value=False, fill_cache=False) as keys:
            return sum(1 for _ in keys)
