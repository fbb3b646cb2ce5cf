"""A LevelDB folder walked as Caffe does (db_leveldb.cpp)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

from netgen.schema.leveldb import LevelDBFolder
from runner.data.errors import DataLayerError


class LevelDB:
    """The records of a LevelDB folder; needs the package plyvel.

    `length` is None until it is known: counting takes reading all of it, which `count` does, or
    whoever walks to the end. Raises CaffeError in one line where there is no such database, no
    record in it, or no plyvel.
    """

    def __init__(self, path: str):
        self._folder = LevelDBFolder(path)
        files = [entry for entry in os.scandir(path) if entry.is_file()]
        newest = max(entry.stat().st_mtime_ns for entry in files)
        #: bytes on the disk; records that were compressed take more
        self.size = sum(entry.stat().st_size for entry in files)
        #: what tells this content from another one that is written to the same place later
        self.identity = (os.path.realpath(path), newest, self.size)
        self.length: int | None = None
        if next(self._folder.records(), None) is None:
            raise DataLayerError("it holds no records")

    def count(self) -> int:
        """The number of records; reads all of them if it is not known yet."""
        if self.length is None:
            self.length = self._folder.count()
        return self.length

    def records(self, start: int = 0, stride: int = 1) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) in key order: every stride-th record from `start` on, for ever.

        The last record is not given out before `length` is set.
        """
        rounds = self._rounds()
        while start and self.length is None:  # one round at most
            next(rounds)
            start -= 1
        if self.length:
            start %= self.length
        yield from itertools.islice(rounds, start, None, stride)

    def _rounds(self):
        while True:
            seen, last = 0, None
            for record in self._folder.records():
                if last is not None:
                    yield last
                last, seen = record, seen + 1
            self.length = seen
            yield last
