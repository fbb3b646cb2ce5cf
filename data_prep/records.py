"""Datum records in LMDB, as Caffe's Data layer reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import lmdb

from data_prep.errors import DataError
from netgen.schema.files import StrPath
from netgen.schema.lmdb import LMDBFolder

KEY = "{:05d}"  # Caffe's convert_cifar_data
MOST_RECORDS = 100_000  # beyond, byte order of the keys is not their order


class RecordDigest:
    """SHA-256 over keys and values with their lengths: independent of LMDB's page layout."""

    def __init__(self) -> None:
        self._total = hashlib.sha256()

    def update(self, key: bytes, value: bytes) -> None:
        self._total.update(len(key).to_bytes(4, "little") + len(value).to_bytes(4, "little"))
        self._total.update(key)
        self._total.update(value)

    def hexdigest(self) -> str:
        return self._total.hexdigest()


def write_lmdb(
    folder: StrPath, chunks: Iterable[list[bytes]], map_size: int = 64 << 20
) -> tuple[int, str]:
    """Write lists of values under the keys 00000, 00001, ... into a new LMDB.

    Each list is one transaction. A map that is too small is doubled, as Caffe does; only
    what is used takes space on disk. Returns (number of records, their RecordDigest in
    hex). Raises DataError past 100,000 records, lmdb.Error or OSError if the disk is full.
    """
    count, digest = 0, RecordDigest()
    Path(folder).mkdir()
    with lmdb.open(str(folder), map_size=map_size, sync=False) as env:
        for values in chunks:
            if count + len(values) > MOST_RECORDS:
                raise DataError(f"more than {MOST_RECORDS} records do not fit five-digit keys")
            keys = [KEY.format(n).encode() for n in range(count, count + len(values))]
            items = list(zip(keys, values, strict=True))
            while not _put(env, items):
                map_size *= 2
                env.set_mapsize(map_size)
            for key, value in items:
                digest.update(key, value)
            count += len(values)
        env.sync(True)
    return count, digest.hexdigest()


def _put(env: lmdb.Environment, items: list[tuple[bytes, bytes]]) -> bool:
    """One transaction; False, with nothing written, where the map is full."""
    try:
        with env.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(items, append=True)
    except lmdb.MapFullError:
        return False
    return True


def read_lmdb(folder: StrPath) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) of every record in key order, as bytes. Raises LMDBError, OSError."""
    for key, value in LMDBFolder(folder).once():
        yield bytes(key), bytes(value)
