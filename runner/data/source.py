"""The databases that a Data layer reads; an LMDB folder, opened and walked as Caffe does."""

from __future__ import annotations

import errno
import itertools
import os
import weakref
from collections.abc import Iterator
from typing import Any

from netgen.schema import caffe_pb
from netgen.schema.lmdb import LMDBError, LMDBFolder
from runner.data.errors import DataLayerError
from runner.data.leveldb import LevelDB
from runner.data.order import shuffled

#: the folders that the bundled nets' records lie in -> what makes them
COMMANDS = {
    "cifar10": "python -m data_prep cifar10",
    "cifar10_raw": "python -m data_prep cifar10 --raw",
    "cifar10_raw_pad4": "python -m data_prep cifar10 --raw --pad 4",
    "mnist": "python -m data_prep mnist",
}

_open_sources = weakref.WeakValueDictionary()  # real path -> Source or LevelDB


def open_source(path: str, backend: int = caffe_pb.DataParameter.LMDB) -> Source | LevelDB:
    """The database at `path`; raises DataLayerError in Caffe's words where there is none.

    backend: of DataParameter, LMDB or LEVELDB. Neither lets a folder be opened twice in a
    process, while a train net and its test nets may well read the same one: they get the same
    object.
    """
    kind = Source if backend == caffe_pb.DataParameter.LMDB else LevelDB
    real_path = os.path.realpath(path)
    source = _open_sources.get(real_path)
    if not isinstance(source, kind):
        source = _open_sources[real_path] = kind(path)
    return source


def _made_by(path: str) -> str | None:
    """The command that makes the database at `path`, where its name tells."""
    folder, name = os.path.split(path)
    command = COMMANDS.get(os.path.basename(folder))
    if command is None and folder and name in ("train_lmdb", "test_lmdb"):
        return f"python -m data_prep images PICTURES -o {folder}"
    return command


class Source:
    """An LMDB of `length` records; its file closes when its last user goes."""

    def __init__(self, path: str) -> None:
        try:
            self._folder = LMDBFolder(path)
        except OSError as error:
            told = f"mdb_status == 0 ({error.errno} vs. 0) {error.strerror}"
            command = _made_by(path)
            if error.errno == errno.ENOENT and command:
                told += f"; this makes it: {command}"
            raise DataLayerError(told) from None
        except LMDBError as error:
            raise DataLayerError(f"mdb_status == 0: {error}") from None
        stat = self._folder.stat
        #: what tells this content from another one that is written to the same place later
        self.identity = (os.path.realpath(path), stat.st_ino, stat.st_mtime_ns, stat.st_size)
        self.length = self._folder.length
        if not self.length:
            raise DataLayerError("it holds no records")

    def count(self) -> int:
        """The number of records."""
        return self.length

    def records(self, start: int = 0, stride: int = 1) -> Iterator[tuple[Any, Any]]:
        """Yield (key, value) memoryviews in key order: every stride-th record from `start` on.

        Round and round. Of what is left out no values are read. Raises DataLayerError where the
        file is damaged, or was cut since it was opened.
        """
        return _told(self._folder.records(start, stride))

    def picked(self, numbers: Iterator[int]) -> Iterator[tuple[Any, Any]]:
        """Yield (key, value) memoryviews of the records of these numbers. Raises as `records`."""
        return _told(self._folder.picked(numbers))


def _told(records):
    """The records, their LMDBErrors as a data layer's."""
    try:
        yield from records
    except LMDBError as error:
        raise DataLayerError(f"mdb_status == 0: {error}") from None


class Shuffled:
    """The records of an LMDB, for every epoch in another order (intel's data_reader.cpp).

    seed: what the orders are drawn from; it may be set anew.
    """

    def __init__(self, source: Source, seed: int) -> None:
        self._source, self.seed, self.length = source, seed, source.length

    def records(self, start: int = 0, stride: int = 1) -> Iterator[tuple[Any, Any]]:
        """Yield (key, value) of every stride-th record from `start` on, for ever."""
        return self._source.picked(self._numbers(start, stride))

    def _numbers(self, start: int, stride: int) -> Iterator[int]:
        now, order = None, None
        for place in itertools.count(start, stride):
            epoch, index = divmod(place, self.length)
            if order is None or epoch != now:
                now, order = epoch, shuffled(self.length, self.seed, epoch)
            yield int(order[index])
