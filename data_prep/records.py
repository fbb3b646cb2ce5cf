"""Datum records in LMDB, as Caffe's Data layer reads them."""

import hashlib
from pathlib import Path

import lmdb
import numpy as np

from data_prep.errors import DataError

_FLOATS = np.dtype([("tag", "u1"), ("value", "<f4")])  # a float_data entry on the wire
_FLOAT_TAG = 6 << 3 | 5  # field 6, 32 bits, not packed
_DATA_TAG = bytes([4 << 3 | 2])  # field 4, bytes
KEY = "{:05d}"  # Caffe's convert_cifar_data
MOST_RECORDS = 100_000  # beyond, byte order of the keys is not their order


def encode_datums(images, labels):
    """Yield the serialized Datum of every image, byte for byte what protobuf writes.

    images: (N, C, H, W), uint8 stored as data, other real values as float_data; labels: (N,)
    int32. All floats are laid out by one NumPy assignment, about forty times faster than
    filling messages.
    """
    count, *shape = images.shape
    header = b"".join(
        bytes([number << 3]) + _varint(value) for number, value in enumerate(shape, start=1)
    )
    label_tag = bytes([5 << 3])
    labels = np.asarray(labels).tolist()
    if images.dtype == np.uint8:
        header += _DATA_TAG + _varint(int(np.prod(shape)))
        for image, label in zip(images, labels, strict=True):
            yield header + image.tobytes() + label_tag + _varint(label)
        return
    body = np.empty((count, int(np.prod(shape))), _FLOATS)
    body["tag"] = _FLOAT_TAG
    body["value"] = images.reshape(body.shape)
    for row, label in zip(body, labels, strict=True):
        yield header + label_tag + _varint(label) + row.tobytes()


def _varint(value):
    value &= (1 << 64) - 1  # a negative int32 is written as ten bytes
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


class RecordDigest:
    """SHA-256 over keys and values with their lengths: independent of LMDB's page layout."""

    def __init__(self):
        self._total = hashlib.sha256()

    def update(self, key, value):
        self._total.update(len(key).to_bytes(4, "little") + len(value).to_bytes(4, "little"))
        self._total.update(key)
        self._total.update(value)

    def hexdigest(self):
        return self._total.hexdigest()


def write_lmdb(folder, chunks, map_size=64 << 20):
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


def _put(env, items):
    """One transaction; False, with nothing written, where the map is full."""
    try:
        with env.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(items, append=True)
    except lmdb.MapFullError:
        return False
    return True


def read_lmdb(folder):
    """Yield (key, value) of every record in key order, as bytes. Raises lmdb.Error."""
    with (
        lmdb.open(str(folder), readonly=True, lock=False, create=False) as env,
        env.begin() as transaction,
        transaction.cursor() as cursor,
    ):
        yield from cursor
