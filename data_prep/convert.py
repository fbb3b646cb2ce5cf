"""Lists of image files to databases, as Caffe's convert_imageset makes them.

What is stored, under which keys, and what is logged was learnt from BVLC's
tools/convert_imageset.cpp and src/caffe/util/io.cpp, and compared with what they write.
"""

from __future__ import annotations

import functools
import io
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import lmdb
import numpy as np
from PIL import Image

from data_prep.errors import DataError
from data_prep.folder import new_folder
from data_prep.records import LevelDBWriter, LMDBWriter, named_key
from data_prep.workers import in_order
from netgen.schema import caffe_pb, image
from netgen.schema.files import StrPath, read_bytes
from netgen.schema.image_list import parse_image_list

#: Takes one line of the log: its severity (I, W or E), the message, Caffe's file and line.
Log = Callable[[str, str, str], object]
Put = Callable[[list[tuple[bytes, bytes]]], object]

#: backend -> where Caffe logs that it has opened a database
OPENED_IN = {"lmdb": "db_lmdb.cpp:35", "leveldb": "db_leveldb.cpp:18"}
COMMIT = 1000  # records, or fewer where they are large
LARGEST_COMMIT = 256 << 20  # bytes
# What OpenCV's imencode does when nothing is said.
_OPTIONS: dict[str, dict] = {
    "JPEG": {"quality": 95},
    "PNG": {"compress_level": 1},
    "WEBP": {"lossless": True},
}


@dataclass(frozen=True)
class Form:
    """What becomes of a picture.

    gray: one channel in place of three. height, width: what it is resized to, where both are
    above 0. encode_type: the ending of the format that it is stored in (png, jpg), "" for pixels.
    encoded: it is stored in the format that its own name ends in, unless encode_type says another.
    """

    gray: bool = False
    height: int = 0
    width: int = 0
    encoded: bool = False
    encode_type: str = ""

    def pixels(self, path: str, warn: Callable[[str], object]) -> np.ndarray:
        """The picture at `path` as (height, width, channels) uint8, BGR or gray.

        Raises image.ImageError where there is none; warn is told of one that breaks off.
        """
        pixels = image.decode_file(path, not self.gray, warn)
        if self.height > 0 and self.width > 0:
            pixels = image.resize(pixels, self.height, self.width)
        return pixels

    def ending(self, name: str) -> str:
        """The format that the picture of this file name is stored in, "" for pixels."""
        if self.encode_type or not self.encoded:
            return self.encode_type
        return name.rpartition(".")[2].lower()

    def record(self, path: str, label: int, warn: Callable[[str], object]) -> caffe_pb.Datum:
        """The picture at `path` as a Datum. Raises as `pixels`, and DataError for its format."""
        pixels, ending = self.pixels(path, warn), self.ending(path)
        if not ending:
            height, width, channels = pixels.shape
            return caffe_pb.Datum(
                channels=channels,
                height=height,
                width=width,
                data=image.planes(pixels).tobytes(),
                label=label,
                encoded=False,  # Caffe says it too
            )
        if not self.height and not self.width and _is_of(path, ending):
            data = read_bytes(path)
        else:
            data = encode(pixels, ending)
        return caffe_pb.Datum(data=data, label=label, encoded=True)


def _is_of(path: str, ending: str) -> bool:
    own, ending = path.rpartition(".")[2].lower(), ending.lower()
    return own == ending or (own, ending) == ("jpeg", "jpg")


def encode(pixels: np.ndarray, ending: str) -> bytes:
    """Pixels (height, width, channels), BGR or gray, as an image file of the format `ending`.

    A JPEG has OpenCV's quality of 95 and, as both use libjpeg, the same bytes; other formats keep
    every pixel, but may be packed otherwise. Raises DataError for an unknown format.
    """
    kind = Image.registered_extensions().get(f".{ending.lower()}", "")
    if kind not in Image.SAVE:
        raise DataError(f"there is no image format of the ending '{ending}' to encode pictures in")
    file = io.BytesIO()
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels[:, :, ::-1])
    try:
        picture.save(file, kind, **_OPTIONS.get(kind, {}))
    except (OSError, ValueError) as error:
        raise DataError(f"a picture cannot be encoded as '{ending}': {error}") from None
    return file.getvalue()


def convert_imageset(
    root: str,
    listed: StrPath,
    out: StrPath,
    form: Form,
    log: Log,
    *,
    backend: str = "lmdb",
    shuffle: bool = False,
    check_size: bool = False,
) -> int:
    """Write the pictures of a list to a new database; returns how many it holds.

    root: what stands before every path of the list, with its slash. listed: a file of lines
    `path label`. backend: lmdb or leveldb. shuffle: an order drawn anew each time, as Caffe's.
    check_size: raise where pictures differ in size. Keys are `{number of the line:08}_{path}`.

    A picture that cannot be read is logged and left out. The folder `out` is there when it is
    whole. Raises DataError, where Caffe goes on, for an empty list and where no picture could be
    read; and where the folder is there already.
    """
    lines = parse_image_list(read_bytes(listed))
    if shuffle:
        log("I", "Shuffling data", "convert_imageset.cpp:86")
        random.shuffle(lines)
    log("I", f"A total of {len(lines)} images.", "convert_imageset.cpp:89")
    if form.encode_type and not form.encoded:
        log("I", "encode_type specified, assuming encoded=true.", "convert_imageset.cpp:92")
    if os.path.lexists(out):
        raise DataError(f"{out}: is there already; Caffe's convert_imageset makes a new folder")
    count, size = 0, None
    with database(out, backend) as put:
        log("I", *opened(backend, out))
        batch: list[tuple[bytes, bytes]] = []
        waiting = 0  # bytes of the batch
        make = functools.partial(_line_to_record, root, form)
        for key, datum, told in in_order(make, enumerate(lines), lambda made: _bytes(made[1])):
            for line in told:
                log(*line)
            if datum is None:
                continue
            if check_size:
                size = _checked(datum, size, key)
            batch.append((key, datum.SerializeToString()))
            waiting += _bytes(datum)
            count += 1
            if not count % COMMIT or waiting > LARGEST_COMMIT:
                put(batch)
                batch, waiting = [], 0
            if not count % COMMIT:
                log("I", f"Processed {count} files.", "convert_imageset.cpp:147")
        if not count:
            raise DataError(f"{listed}: of its {len(lines)} pictures below {root} none can be read")
        if batch:
            put(batch)
        if count % COMMIT:
            log("I", f"Processed {count} files.", "convert_imageset.cpp:153")
    return count


def _line_to_record(
    root: str, form: Form, numbered: tuple[int, tuple[str, int]]
) -> tuple[bytes, caffe_pb.Datum | None, list[tuple[str, str, str]]]:
    """The key, the record if there is a picture, and what there is to be logged."""
    number, (name, label) = numbered
    key, told = named_key(number, name), []
    if form.encoded and not form.encode_type and "." not in name:
        told.append(("W", f"Failed to guess the encoding of '{name}'", "convert_imageset.cpp:117"))
    warn = lambda line: told.append(("W", line, "io.cpp:75"))  # noqa: E731
    try:
        return key, form.record(root + name, label, warn), told
    except image.UnreadableImage:
        told.append(("E", f"Could not open or find file {root + name}", "io.cpp:80"))
        return key, None, told


def _bytes(datum: caffe_pb.Datum | None) -> int:
    return 0 if datum is None else len(datum.data)


def _checked(datum: caffe_pb.Datum, size: int | None, key: bytes) -> int:
    """The bytes of each record; raises DataError where this one has others."""
    if datum.encoded:
        raise DataError("-check_size compares pixels, which encoded records do not have")
    if size is not None and len(datum.data) != size:
        name = os.fsdecode(key).partition("_")[2]
        raise DataError(f"{name}: Incorrect data field size {len(datum.data)} ({size} before it)")
    return len(datum.data)


def opened(backend: str, path: StrPath) -> tuple[str, str]:
    """What Caffe logs of a database that it has opened, and where."""
    return f"Opened {backend} {path}", OPENED_IN[backend]


_BACKENDS = {"lmdb": LMDBWriter, "leveldb": LevelDBWriter}


@contextmanager
def database(out: StrPath, backend: str) -> Iterator[Put]:
    """Give put(items) of a new database in the folder `out`, which is there when it is whole.

    backend: lmdb or leveldb. Raises DataError for another one, where the folder is there, and
    where it cannot be written.
    """
    if backend not in _BACKENDS:
        raise DataError(f"Unknown database backend {backend}")
    try:
        with new_folder(out) as folder, _BACKENDS[backend](folder) as writer:
            yield writer.put
    except (OSError, lmdb.Error) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"{out}: cannot be written: {why}") from None
