"""The mean of a database's pictures, as Caffe's compute_image_mean has it."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np

from data_prep.convert import Log, opened
from data_prep.errors import DataError
from netgen.schema import DatumReader, SchemaError, caffe_pb, image
from netgen.schema.leveldb import LevelDBFolder
from netgen.schema.lmdb import LMDBFolder


class _Reader(DatumReader):
    """Reads plain records and encoded ones, these with the channels that their files have."""

    def decode_image(self, data: bytes) -> np.ndarray:
        try:
            return image.planes(image.decode(io.BytesIO(data)))
        except image.UnreadableImage:
            raise DataError("Could not decode datum") from None


def compute_image_mean(source: str, log: Log, backend: str = "lmdb") -> np.ndarray:
    """The mean of a database's records, (C, H, W) float32.

    backend: lmdb or leveldb. Sums are float32, record by record, as Caffe's: the mean is the same
    to the last bit, and from 65,794 records on rounds as Caffe's does. log takes Caffe's lines.
    Raises CaffeError where there is no such database, no record in it, and for a record that is
    no picture or of another size than the first.
    """
    read, total, shape, count = _Reader(), None, None, 0
    records = _records(source, backend)
    log("I", *opened(backend, source))
    for key, value in records:
        try:
            pixels, found, _ = read(value)
        except SchemaError as error:
            raise DataError(f"{source}: record {count} ({_name(key)}): {error}") from None
        if total is None:
            total, shape = np.zeros(pixels.size, np.float32), found
            if not read.unencoded:
                log("I", "Decoding Datum", "compute_image_mean.cpp:57")
            log("I", "Starting iteration", "compute_image_mean.cpp:70")
        if pixels.size != total.size:
            raise DataError(
                f"{source}: record {count} ({_name(key)}): Incorrect data field size "
                f"{pixels.size} (the first has {total.size}); convert_imageset's -resize_height "
                "and -resize_width make all pictures of one size"
            )
        total += pixels
        count += 1
        if not count % 10_000:
            log("I", f"Processed {count} files.", "compute_image_mean.cpp:95")
    if total is None or shape is None:
        raise DataError(f"{source}: it holds no records")
    if count % 10_000:
        log("I", f"Processed {count} files.", "compute_image_mean.cpp:101")
    return (total / np.float32(count)).reshape(shape)


def mean_blob(mean: np.ndarray) -> caffe_pb.BlobProto:
    """(C, H, W) as the BlobProto of Caffe's compute_image_mean: legacy dimensions, num 1."""
    channels, height, width = mean.shape
    return caffe_pb.BlobProto(
        num=1, channels=channels, height=height, width=width, data=mean.ravel().tolist()
    )


def channel_means(mean: np.ndarray) -> np.ndarray:
    """The mean of each channel of (C, H, W), added up value by value as Caffe prints it."""
    rows = mean.reshape(len(mean), -1)
    return np.cumsum(rows, axis=1, dtype=np.float32)[:, -1] / np.float32(rows.shape[1])


def _records(source: str, backend: str) -> Iterator[tuple[memoryview | bytes, memoryview | bytes]]:
    if backend == "leveldb":
        return LevelDBFolder(source).records()
    if backend != "lmdb":
        raise DataError(f"Unknown database backend {backend}")
    try:
        return LMDBFolder(source).once()
    except OSError as error:
        raise DataError(f"{source}: cannot be opened as an LMDB: {error.strerror}") from None


def _name(key: memoryview | bytes) -> str:
    return bytes(key).decode("utf-8", "backslashreplace")
