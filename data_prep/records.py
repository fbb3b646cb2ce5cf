"""Datum records in LMDB, as Caffe's Data layer reads them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import lmdb

from data_prep.errors import DataError
from netgen.extras import needed
from netgen.schema.files import StrPath
from netgen.schema.lmdb import LMDBFolder

KEY = "{:05d}"  # Caffe's convert_cifar_data
NAMED_KEY = "{:08d}_{}"  # Caffe's convert_imageset
LONGEST_KEY = 511  # bytes, LMDB's
MOST_RECORDS = 100_000  # beyond, byte order of the keys is not their order


def named_key(number: int, name: str) -> bytes:
    """The key of a record that has the name of its file. Raises DataError where it is too long."""
    key = os.fsencode(NAMED_KEY.format(number, name))
    if len(key) > LONGEST_KEY:
        raise DataError(f"{name}: its key has {len(key)} bytes, LMDB takes {LONGEST_KEY}")
    return key


def number_of(key: bytes) -> int | None:
    """The number of a record, from a key of either form; None where it has none."""
    digits = key.partition(b"_")[0]
    return int(digits) if digits.isdigit() else None


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


class LMDBWriter:
    """A new LMDB in `folder`, which is made if need be; used in a with statement.

    map_size: bytes at first. A map that is too small is doubled, as Caffe does; only what is
    used takes space on disk. Raises lmdb.Error or OSError if the disk is full.
    """

    def __init__(self, folder: StrPath, map_size: int = 64 << 20) -> None:
        self._size = map_size
        self._env = lmdb.open(str(folder), map_size=map_size, sync=False)

    def __enter__(self) -> LMDBWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:
            self._env.sync(True)
        self._env.close()

    def put(self, items: list[tuple[bytes, bytes]]) -> None:
        """Write (key, value) pairs, keys in order and behind those of before; one transaction."""
        while True:
            try:
                with self._env.begin(write=True) as transaction, transaction.cursor() as cursor:
                    cursor.putmulti(items, append=True)
            except lmdb.MapFullError:
                self._size *= 2
                self._env.set_mapsize(self._size)
            else:
                return


class LevelDBWriter:
    """A new LevelDB in `folder`, with the options of Caffe's db_leveldb.cpp; needs plyvel.

    Used in a with statement. Raises DataError where there is no plyvel, OSError where the disk is
    full.
    """

    def __init__(self, folder: StrPath) -> None:
        why = "backend leveldb needs the package plyvel"
        plyvel = needed("plyvel", "leveldb", why, DataError)
        self._error = plyvel.Error
        self._database = plyvel.DB(
            str(folder),
            create_if_missing=True,
            error_if_exists=True,
            block_size=1 << 16,
            write_buffer_size=1 << 28,
            max_open_files=100,
        )

    def __enter__(self) -> LevelDBWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._database.close()

    def put(self, items: list[tuple[bytes, bytes]]) -> None:
        """Write (key, value) pairs as one batch."""
        try:
            with self._database.write_batch() as batch:
                for key, value in items:
                    batch.put(key, value)
        except self._error as error:
            raise OSError(str(error)) from None


def write_lmdb(
    folder: StrPath, chunks: Iterable[list[bytes]], map_size: int = 64 << 20
) -> tuple[int, str]:
    """Write lists of values under the keys 00000, 00001, ... into a new LMDB.

    Each list is one transaction. Returns (number of records, their RecordDigest in hex). Raises
    DataError past 100,000 records, and what LMDBWriter raises.
    """
    count, digest = 0, RecordDigest()
    Path(folder).mkdir()
    with LMDBWriter(folder, map_size) as writer:
        for values in chunks:
            if count + len(values) > MOST_RECORDS:
                raise DataError(f"more than {MOST_RECORDS} records do not fit five-digit keys")
            keys = [KEY.format(n).encode() for n in range(count, count + len(values))]
            items = list(zip(keys, values, strict=True))
            writer.put(items)
            for key, value in items:
                digest.update(key, value)
            count += len(values)
    return count, digest.hexdigest()


def read_lmdb(folder: StrPath) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) of every record in key order, as bytes. Raises LMDBError, OSError."""
    for key, value in LMDBFolder(folder).once():
        yield bytes(key), bytes(value)
