"""An LMDB folder, opened and walked as Caffe does."""

import itertools
import os
import weakref

import lmdb

from runner.data.errors import DataError

_open_sources = weakref.WeakValueDictionary()  # real path -> Source


def open_source(path):
    """The Source at `path`; raises DataError in Caffe's words where there is none.

    LMDB forbids opening a folder twice in a process, while a train net and its test nets may
    well read the same one: they get the same Source.
    """
    path = os.path.realpath(path)
    source = _open_sources.get(path)
    if source is None:
        source = _open_sources[path] = Source(path)
    return source


class Source:
    """A read-only LMDB environment of `length` records; it closes when its last user goes."""

    def __init__(self, path):
        try:
            with open(os.path.join(path, "data.mdb"), "rb") as file:
                stat = os.fstat(file.fileno())
            self._env = lmdb.open(path, readonly=True, lock=False, create=False)
        except OSError as error:
            raise DataError(f"mdb_status == 0 ({error.errno} vs. 0) {error.strerror}") from None
        except lmdb.Error as error:
            raise DataError(f"mdb_status == 0: {error}") from None
        #: what tells this content from another one that is written to the same place later
        self.identity = (path, stat.st_ino, stat.st_mtime_ns, stat.st_size)
        self.length = self._env.stat()["entries"]
        if not self.length:
            raise DataError("it holds no records")

    def records(self, start=0, stride=1):
        """Yield (key, value) memoryviews in key order: every stride-th record from `start` on.

        Round and round; a view is valid until the next one is asked for. Walking reads no values.
        """
        with self._env.begin(buffers=True) as txn, txn.cursor() as cursor:
            yield from itertools.islice(_rounds(cursor), start % self.length, None, stride)


def _rounds(cursor):
    while cursor.first():
        yield from cursor.iternext()
