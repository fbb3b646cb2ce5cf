"""A folder of pictures, one folder for each class, to training and test records."""

from __future__ import annotations

import functools
import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from data_prep.convert import Form
from data_prep.errors import DataError
from data_prep.manifest import write_manifest
from data_prep.mean import mean_blob
from data_prep.pipeline import CHUNK, MEAN, MeanOf, building, finished, versions
from data_prep.progress import counting
from data_prep.records import LMDBWriter, RecordDigest, named_key
from data_prep.workers import in_order
from netgen import schema
from netgen.errors import printable
from netgen.schema import image
from netgen.schema.files import StrPath
from netgen.schema.preprocessing import NAME as NPZ

NAME = "images"  # of the data set, in its manifest
LABELS = "labels.txt"
PARTS = {"training": "train_lmdb", "test": "test_lmdb"}
#: How the folders of the two parts may be called where FOLDER holds them, not classes.
TRAIN_NAMES, TEST_NAMES = ("train", "training"), ("test", "val", "valid", "validation")
SHOWN = 10  # broken pictures named in an error; all are named where they are left out


@dataclass(frozen=True)
class ImageOptions:
    """What a folder's records depend on, besides the pictures.

    height, width: what every picture is resized to. gray: one channel, not three. pad: zeros on
    each side afterwards, for random crops. encoded: records are JPEGs, not pixels. test_fraction:
    the part of each class that is for testing, where there is no folder of test pictures. seed:
    of the choice of those, and of the order of the training records; None for the order of names.
    """

    height: int = 32
    width: int = 32
    gray: bool = False
    pad: int = 0
    encoded: bool = False
    test_fraction: float = 0.2
    seed: int | None = 0

    @property
    def channels(self) -> int:
        return 1 if self.gray else 3


class Picture(NamedTuple):
    """A file: its path, its name below the folder of its part, its label."""

    path: str
    name: str
    label: int


@dataclass(frozen=True)
class Listing:
    """What pictures there are.

    classes: their names, sorted; a class's place is its label. train, test: sorted by name.
    others: the number of files that are no pictures by their names.
    """

    classes: tuple[str, ...]
    train: list[Picture]
    test: list[Picture]
    others: int = 0

    def digest(self) -> str:
        """SHA-256 of all names, labels and file sizes: whether the pictures are the same ones."""
        total = hashlib.sha256()
        for part in (self.train, self.test):
            for picture in part:
                size = os.path.getsize(picture.path) if os.path.isfile(picture.path) else -1
                facts = f"{picture.name}\0{picture.label}\0{size}\n"
                total.update(os.fsencode(facts))
            total.update(b"\n")
        return total.hexdigest()


def build_images(
    source: StrPath,
    options: ImageOptions,
    out: StrPath,
    *,
    test: StrPath | None = None,
    skip_broken: bool = False,
    force: bool = False,
) -> tuple[dict[str, Any], bool]:
    """Make the folder `out`, which a training needs, of the pictures in the folder `source`.

    source: a folder with a folder of pictures, of any depth, for each class; or one with the
    folders train and test (or val), each like that. test: another folder of test pictures.
    Records have the pixels and the form of Caffe's convert_imageset, channels in the order B, G,
    R; training records are shuffled, test records stand in the order of their names.

    Returns (manifest, whether it was built now): a folder that was made of the same pictures in
    the same way is left alone, unless force. Raises DataError where there are no pictures of two
    classes; where pictures are broken, naming them, unless skip_broken, by which they are left
    out; and as build_dataset does. Then nothing is left of the new folder.
    """
    out = Path(out)
    try:
        listing = list_pictures(Path(source), None if test is None else Path(test), options)
        digest = listing.digest()
    except OSError as error:
        raise DataError(f"{error.filename or source}: {error.strerror}") from None
    if old := finished(out, NAME, asdict(options), force):
        if old["source"].get("files_sha256") != digest:
            raise DataError(
                f"{out}: was made of other pictures than {source} has; --force replaces it"
            )
        return old, False
    values = (
        options.channels * (options.height + 2 * options.pad) * (options.width + 2 * options.pad)
    )
    count = len(listing.train) + len(listing.test)
    with building(out, force, count, values) as folder:
        made = _Builder(folder, options, skip_broken)
        databases = {
            database: made.write(database, pictures, part, len(listing.classes))
            for (part, database), pictures in zip(
                PARTS.items(), (_shuffled(listing.train, options.seed), listing.test), strict=True
            )
        }
        made.require_whole(source)
        _save_constants(folder, listing.classes, options, made.mean)
        manifest = write_manifest(
            folder,
            {
                "dataset": NAME,
                "options": asdict(options),
                "source": {
                    "form": "folder",
                    "name": printable(Path(source).resolve().name),
                    "files_sha256": digest,
                    "broken": [printable(line) for line in made.broken],
                    "others": listing.others,
                },
                "label_names": list(listing.classes),
                "databases": databases,
                "versions": versions() | {"pillow": Image.__version__},
            },
        )
    return manifest, True


# --- which pictures ---


def list_pictures(source: Path, test: Path | None, options: ImageOptions) -> Listing:
    """The pictures of both parts. Raises DataError where they are none, and OSError."""
    train, own_test = _parts(source)
    test = test or own_test
    classes = _folders(train)
    if len(classes) < 2:
        found = f"only one, {classes[0]}" if classes else "none"
        raise DataError(f"{train}: a folder for each class is wanted, there is {found}")
    for name in classes:
        if "\n" in name or any("\udc80" <= char <= "\udcff" for char in name):
            raise DataError(f"{train}: the class name {name!r} is no line of UTF-8 text; rename it")
    pictures, others = _pictures(train, classes)
    empty = sorted(set(classes) - {classes[picture.label] for picture in pictures})
    if empty:
        raise DataError(f"{train}: no pictures in the folder {', '.join(empty)}")
    if test is None:
        return Listing(classes, *_split(pictures, len(classes), options), others)
    unknown = sorted(set(_folders(test)) - set(classes))
    if unknown:
        raise DataError(f"{test}: has a class that {train} has not: {', '.join(unknown)}")
    there = tuple(name for name in classes if (test / name).is_dir())
    test_pictures, test_others = _pictures(test, classes, there)
    if not test_pictures:
        raise DataError(f"{test}: no pictures in it")
    return Listing(classes, pictures, test_pictures, others + test_others)


def _parts(source: Path) -> tuple[Path, Path | None]:
    """The folders of training and test pictures; the second is None where there is one folder."""
    names = _folders(source)
    train = [name for name in names if name.lower() in TRAIN_NAMES]
    test = [name for name in names if name.lower() in TEST_NAMES]
    if len(train) == 1 and len(test) <= 1 and len(names) == len(train) + len(test):
        return source / train[0], source / test[0] if test else None
    return source, None


def _folders(folder: Path) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]
    return tuple(sorted(names))


def _pictures(
    folder: Path, classes: tuple[str, ...], there: tuple[str, ...] | None = None
) -> tuple[list[Picture], int]:
    """The pictures of the classes (of those that are `there`), and how many other files lie there."""
    Image.init()
    endings = {end for end, kind in Image.EXTENSION.items() if kind in Image.OPEN}
    found, others = [], 0
    for name in classes if there is None else there:
        for path in _files(folder / name):
            if os.path.splitext(path)[1].lower() in endings:
                found.append(Picture(path, os.path.relpath(path, folder), classes.index(name)))
            else:
                others += 1
    return found, others


def _files(folder: Path) -> Iterator[str]:
    """The paths of all files at any depth, by name; hidden ones are left out.

    Links to folders are followed, once each: one may lead to a folder that it lies in.
    """
    seen = {folder.resolve()}
    for place, folders, files in os.walk(folder, followlinks=True):
        inner = {name: Path(place, name).resolve() for name in sorted(folders)}
        folders[:] = [n for n, path in inner.items() if n[0] != "." and path not in seen]
        seen.update(inner.values())
        for name in sorted(files):
            if not name.startswith("."):
                yield os.path.join(place, name)


def _split(
    pictures: list[Picture], classes: int, options: ImageOptions
) -> tuple[list[Picture], list[Picture]]:
    """The training and the test pictures: of every class the same part is for testing."""
    for_test = np.zeros(len(pictures), bool)
    labels = np.array([picture.label for picture in pictures])
    random = None if options.seed is None else np.random.RandomState(options.seed)
    for label in range(classes):
        places = np.flatnonzero(labels == label)
        wanted = min(round(options.test_fraction * len(places)), len(places) - 1)
        if random is None:  # evenly among the names
            chosen = np.linspace(0, len(places) - 1, wanted + 2).astype(int)[1:-1]
        else:
            chosen = random.permutation(len(places))[:wanted]
        for_test[places[chosen]] = True
    train = [p for p, is_test in zip(pictures, for_test, strict=True) if not is_test]
    test = [p for p, is_test in zip(pictures, for_test, strict=True) if is_test]
    if not test:
        raise DataError(
            f"{len(pictures)} pictures of {classes} classes and a test fraction of "
            f"{options.test_fraction:g} leave none to test; give --test-fraction or --test-folder"
        )
    return train, test


def _shuffled(pictures: list[Picture], seed: int | None) -> list[Picture]:
    if seed is None:
        return pictures
    # RandomState: its stream is frozen, a Generator's may change with NumPy's version.
    order = np.random.RandomState(seed).permutation(len(pictures))
    return [pictures[i] for i in order]


# --- their records ---


class _Record(NamedTuple):
    """value: a Datum; pixels: (C, H, W) as the net reads them. Neither where error says why."""

    name: str
    label: int
    value: bytes = b""
    pixels: np.ndarray | None = None
    error: str = ""


class _Builder:
    """Writes the databases of a folder, and gathers the mean and what is broken on the way."""

    def __init__(self, folder: Path, options: ImageOptions, skip_broken: bool) -> None:
        self.folder, self.options, self.skip_broken = folder, options, skip_broken
        self.mean, self.broken = MeanOf(), []

    def write(
        self, database: str, pictures: list[Picture], part: str, classes: int
    ) -> dict[str, Any]:
        """Write one database; returns its entry in the manifest."""
        digest, of_label, shape = RecordDigest(), np.zeros(classes, int), None
        place = self.folder / database
        place.mkdir()
        count = 0
        records = in_order(
            functools.partial(_record, self.options), pictures, lambda record: len(record.value)
        )
        with LMDBWriter(place) as writer, counting(len(pictures), part, "images") as done:
            while chunk := list(islice(records, CHUNK)):
                good = [record for record in chunk if record.pixels is not None]
                self.broken += [f"{r.name}: {r.error}" for r in chunk if r.pixels is None]
                items = [
                    (named_key(number, record.name), record.value)
                    for number, record in enumerate(good, start=count)
                ]
                writer.put(items)
                for key, value in items:
                    digest.update(key, value)
                count += len(good)
                of_label += np.bincount([r.label for r in good], minlength=classes).astype(int)
                if good:
                    images = np.stack([record.pixels for record in good])
                    shape = images.shape[1:]
                    if part == "training":
                        self.mean.add(images)
                done(len(chunk))
        if shape is None:
            raise DataError(
                f"of {len(pictures)} {part} pictures none can be read: {self.broken[0]}"
            )
        return {
            "records": count,
            "shape": list(shape),
            "records_of_label": of_label.tolist(),
            "records_sha256": digest.hexdigest(),
        }

    def require_whole(self, source: StrPath) -> None:
        """Raise DataError, naming the pictures that are broken, unless they may be left out."""
        if self.broken and not self.skip_broken:
            more = len(self.broken) - SHOWN
            raise DataError(
                f"{source}: broken pictures, which --skip-broken leaves out: {len(self.broken)}: "
                + "; ".join(self.broken[:SHOWN])
                + (f"; and {more} more" if more > 0 else "")
            )


def _record(options: ImageOptions, picture: Picture) -> _Record:
    """The record of one picture; one that breaks off is broken too."""
    form = Form(options.gray, options.height, options.width, False, "jpg" * options.encoded)
    told: list[str] = []
    if os.path.exists(picture.path) and not os.path.isfile(picture.path):  # a pipe, say
        return _Record(picture.name, picture.label, error="is no regular file")
    try:
        datum = form.record(picture.path, picture.label, told.append)
    except image.ImageError as error:
        told = [getattr(error.args[0], "strerror", None) or str(error)]
    if told:
        why = told[0].replace(f"{picture.path}: ", "").replace(f" {picture.path!r}", "")
        return _Record(picture.name, picture.label, error=why)
    if datum.encoded:
        pixels = image.planes(image.decode(io.BytesIO(datum.data)))
    else:
        shape = (datum.channels, datum.height, datum.width)
        pixels = np.frombuffer(datum.data, np.uint8).reshape(shape)
    if options.pad:
        border = (0, 0), (options.pad, options.pad), (options.pad, options.pad)
        pixels = np.pad(pixels, border)
        datum.height, datum.width, datum.data = *pixels.shape[1:], pixels.tobytes()
    return _Record(picture.name, picture.label, datum.SerializeToString(), pixels)


def _save_constants(
    folder: Path, classes: Iterable[str], options: ImageOptions, mean: MeanOf
) -> None:
    """The mean, the names, and what turns a picture into such a record."""
    names = tuple(classes)
    schema.write_bytes(b"".join(os.fsencode(name) + b"\n" for name in names), folder / LABELS)
    schema.write_binary(mean_blob(mean.value()), folder / MEAN)
    schema.Preprocessing(
        image_shape=(options.channels, options.height, options.width),
        channel_order="GRAY" if options.gray else "BGR",
        pad=options.pad,
        label_names=names,
    ).save(folder / NPZ)
