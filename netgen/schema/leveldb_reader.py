"""The process that reads a LevelDB for netgen.schema.leveldb; it may die of a damaged file.

`python leveldb_reader.py FOLDER` answers on stdout what is asked on stdin, pickled both: a key
for the records behind it, some at a time, b"" for the first ones; None for the number of all
records. An answer is (result, None), or (None, text of an error). It ends with its stdin, and
takes FOLDER, which holds links alone, with it.
"""

from __future__ import annotations

import pickle
import shutil
import signal
import sys
from collections.abc import Iterator
from typing import Any

ENOUGH = 1 << 20  # bytes of an answer


def main(folder: str) -> None:
    """Answer until stdin ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it is the training that stops, and then this
    try:
        import plyvel

        reader = Reader(plyvel.DB(folder, create_if_missing=False, max_open_files=100))
        tell(None)
        while True:
            asked = pickle.load(sys.stdin.buffer)
            tell(reader.count() if asked is None else reader.after(asked))
    except EOFError:
        pass
    except BrokenPipeError:
        sys.stdout = None  # nobody is there to be told
    except Exception as error:  # of whatever kind, it is told in the other process
        text = error.args[0] if error.args else ""
        text = text.decode(errors="replace") if isinstance(text, bytes) else str(error)
        tell(None, text or type(error).__name__)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tell(result: object, error: str | None = None) -> None:
    """Answer."""
    pickle.dump((result, error), sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)
    sys.stdout.buffer.flush()


class Reader:
    """An open plyvel.DB, walked in the order of its keys."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self._records: Iterator[tuple[bytes, bytes]] = iter(())
        self._last: bytes | None = None  # the key that was read last

    def after(self, key: bytes) -> list[tuple[bytes, bytes]]:
        """The next records behind a key, none at the end; b"" stands before all of them."""
        if key != self._last:
            self._records = self._database.iterator(
                start=key, include_start=not key, verify_checksums=True, fill_cache=False
            )
        found, size = [], 0
        while size < ENOUGH and (record := next(self._records, None)) is not None:
            found.append(record)
            size += len(record[0]) + len(record[1])
        self._last = found[-1][0] if found else None
        return found

    def count(self) -> int:
        """The number of records."""
        with self._database.iterator(include_value=False, fill_cache=False) as keys:
            return sum(1 for _ in keys)


if __name__ == "__main__":
    main(sys.argv[1])
