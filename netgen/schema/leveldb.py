"""LevelDB folders, the default backend of Caffe's Data layers, opened to be read only."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator
from importlib.util import find_spec
from typing import IO, Any, cast

from netgen.errors import CaffeError
from netgen.schema import leveldb_reader

_OWN = ("LOCK", "LOG", "LOG.old")  # what belongs to a process that has the folder open


class LevelDBFolder:
    """The database in the folder `path`; needs the package plyvel.

    LevelDB lets one process in at a time and writes even where it only reads. What is opened
    here is a temporary folder of links to the files: any number of processes read the same
    database, a read-only one too, and nothing of it is changed. LevelDB maps its files into
    memory, and so a file that is cut while it is read ends the process with SIGBUS: that process
    is one of its own (leveldb_reader). It and the temporary folder go with the object.

    Raises CaffeError in one line where there is no such database, or no plyvel, and from its
    methods where it was cut or damaged.
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
        if find_spec("plyvel") is None:
            raise CaffeError(
                "backend LEVELDB, the default, needs the package plyvel: "
                "pip install 'caffe-split[leveldb]'"
            )
        self._path, self._folder = path, tempfile.mkdtemp(prefix="leveldb-")
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        try:
            for name in files:
                if name not in _OWN:
                    target = os.path.join(os.path.realpath(path), name)
                    os.symlink(target, os.path.join(self._folder, name))
            self._process = subprocess.Popen(
                [sys.executable, leveldb_reader.__file__, self._folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise CaffeError(f"Failed to open leveldb {path}: {error.strerror or error}") from None
        weakref.finalize(self, _end, self._process)
        self._to, self._from = (
            cast("IO[bytes]", self._process.stdin),
            cast("IO[bytes]", self._process.stdout),
        )
        self._lock = threading.Lock()
        self._answer("open")

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) of all records once, in key order. Raises CaffeError."""
        key = b""
        while some := self._ask(key):
            yield from some
            key = some[-1][0]

    def count(self) -> int:
        """The number of records, for which all of them are read. Raises CaffeError."""
        return self._ask(None)

    def _ask(self, question: bytes | None) -> Any:
        with self._lock:
            try:
                pickle.dump(question, self._to)
                self._to.flush()
            except OSError:  # it has died, and what it said of that, if anything, is still there
                pass
            return self._answer("read")

    def _answer(self, what: str) -> Any:
        try:
            result, error = pickle.load(self._from)
        except (EOFError, pickle.UnpicklingError):
            status = self._process.wait()
            how = f"of {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
            result, error = None, f"a file in it is cut or damaged: its reader died {how}"
        if error is not None:
            why = error.replace(self._folder, self._path)
            raise CaffeError(f"Failed to {what} leveldb {self._path}: {why}")
        return result


def _end(reader: subprocess.Popen[bytes]) -> None:
    """End a reader, which its stdin's end tells to."""
    for pipe in (reader.stdin, reader.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    reader.wait()
