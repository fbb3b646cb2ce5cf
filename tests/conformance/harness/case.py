"""A case: the files of a run, and the calls of `caffe` that make it."""

import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.outcome import gather, last_words
from harness.records import (
    draw,
    shape_of,
    write_annotated,
    write_blob,
    write_hdf5,
    write_image,
    write_leveldb,
    write_lmdb,
)
from harness.start import write_start
from netgen import schema
from netgen.schema import caffe_pb

TRAIN = ["train", "-solver", "solver.prototxt"]
WEIGHTS = ["-weights", "init.caffemodel"]


@dataclass
class Case:
    """family: the file it stands in; option: how the results page calls it.

    texts: {file name: prototxt or list of sources}. records: {source: (count, shape, kind,
    labels)}, those named in leveldbs in a LevelDB, the others in an LMDB. annotated: {source:
    (count, shape, classes, numbers of boxes)}, images with boxes. blobs: {file name:
    (kind, shape, form)}. rows: {HDF5 file: [(dataset, shape, kind, dtype)]}. images: {file name:
    (shape, kind)}. start: the prototxt whose train net gets the first weights. values: {layer:
    [arrays]} of these. calls: the words of each `caffe`.
    """

    name: str
    family: str
    option: str = ""
    texts: dict = field(default_factory=dict)
    records: dict = field(default_factory=dict)
    annotated: dict = field(default_factory=dict)
    leveldbs: set = field(default_factory=set)
    blobs: dict = field(default_factory=dict)
    rows: dict = field(default_factory=dict)
    images: dict = field(default_factory=dict)
    start: str = "net.prototxt"
    values: object = None  # a function of the random numbers, or None
    reads: object = None  # a function of the snapshot's blobs: those that count; None for all
    statistics: bool = False
    differs: str = ""  # why our refusing or accepting it differs from Caffe's
    quirk: str = ""  # how the fork's numbers are otherwise than they are meant to be here
    only_status: bool = False  # of the outcome, only whether the run was refused counts
    calls: list = field(default_factory=lambda: [[*TRAIN, *WEIGHTS]])
    seed: int = 0

    def random(self):
        """The case's own random numbers (RandomState: the same in every NumPy)."""
        return np.random.RandomState(zlib.crc32(self.name.encode()) + self.seed)

    def write(self, folder):
        """Write every file the case needs into `folder`."""
        folder, random = Path(folder), self.random()
        for name, text in self.texts.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        for source, (count, shape, kind, labels) in self.records.items():
            images = draw(kind, (count, *shape_of(shape)), random)
            labels = draw(labels, count, random)
            if source in self.leveldbs:
                write_leveldb(folder / f"{source}_leveldb", images, labels)
            else:
                write_lmdb(folder / f"{source}_lmdb", images, labels)
        for source, (count, shape, classes, boxes) in self.annotated.items():
            images = draw("bytes", (count, *shape_of(shape)), random)
            write_annotated(folder / f"{source}_lmdb", images, classes, boxes, random)
        for name, (kind, shape, form) in self.blobs.items():
            write_blob(folder / name, draw(kind, shape_of(shape), random), form)
        for name, datasets in self.rows.items():
            arrays = [
                (dataset, draw(kind, shape_of(shape), random).astype(dtype))
                for dataset, shape, kind, dtype in datasets
            ]
            write_hdf5(folder / name, arrays)
        for name, (shape, kind) in self.images.items():
            write_image(folder / name, draw(kind, shape_of(shape), random))
        if self.start:
            solver = schema.parse_text(self.texts["solver.prototxt"], caffe_pb.SolverParameter)
            write_start(
                folder,
                self.start,
                random,
                self.values and self.values(random),
                self.statistics,
                solver.train_state,
            )

    def run(self, engines, folder):
        """Make every call in `folder`, with `engines[i]` or the last; returns the Outcome.

        What an engine keeps for itself beside a solver state is removed between calls, so that
        every engine resumes as Caffe does.
        """
        log = ""
        for i, words in enumerate(self.calls):
            for extra in Path(folder).glob("*.resume"):
                extra.unlink()
            status, text = engines[min(i, len(engines) - 1)].call(words, str(folder))
            log += text
            if status:
                break
        outcome = gather(folder, status, log)
        if self.only_status:
            outcome.blobs, outcome.log = {}, [] if outcome.accepted else [last_words(outcome.log)]
        if self.reads:
            outcome.blobs = self.reads(outcome.blobs)
        return outcome
