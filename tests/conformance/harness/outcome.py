"""What a run left behind, in a form that two engines' runs can be compared in."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from netgen import schema
from runner.log import timeless
from runner.net import hdf5  # noqa: TID251  (the one reader of Caffe's HDF5 snapshots)

#: the net that a C++ Caffe unrolls inside an LSTM or RNN layer; ours has none
UNROLLED = re.compile(
    r"recurrent_layer\.cpp:20\].*?\n(?:recurrent_layer\.cpp:150\][^\n]*\n)+", re.DOTALL
)
#: lines of a thread of its own, which come at any time; HDF5's own; and what only the embedded
#: engine tells
SKIPPED = re.compile(
    r"Restarting data prefetching|Waiting for data|Datatype class: H5T|\] Loaded \d+ layers? from"
    r"|data starts at its first record, as in Caffe|, in Caffe and therefore here"
)


@dataclass
class Outcome:
    """status: the exit status. blobs: {"layer/index": array}, gradients as "layer/index.diff",
    the solver's history as "history/index", datasets that HDF5Output wrote as
    "output/file/dataset". log: its lines without times."""

    status: int = 0
    blobs: dict = field(default_factory=dict)
    log: list = field(default_factory=list)

    @property
    def accepted(self):
        return self.status == 0


def log_lines(text):
    """The lines of a log without date, time, thread and speed."""
    lines = [timeless(line) for line in text.splitlines()]
    kept = "\n".join(line for line in lines if not SKIPPED.search(line))
    return UNROLLED.sub("", kept).splitlines()


def last_snapshot(folder):
    """The path of the last snapshot in `folder` up to the iteration, and its ending; or None."""
    found = []
    for path in Path(folder).glob("snap_iter_*.caffemodel*"):
        stem, _, tail = path.name.partition(".caffemodel")
        found.append((int(stem.rpartition("_")[2]), str(path.with_name(stem)), tail))
    return max(found)[1:] if found else None


def read_blobs(stem, tail):
    """All blobs of `<stem>.caffemodel<tail>` and of the solver state beside it."""
    if tail:
        weights = hdf5.read_weights(f"{stem}.caffemodel{tail}")
        history = hdf5.read_solverstate(f"{stem}.solverstate{tail}")[3]
        blobs = {f"{layer}/{i}": blob for layer in weights for i, blob in weights[layer].items()}
        return {**blobs, **{f"history/{i}": blob for i, blob in enumerate(history)}}
    blobs = {}
    for layer in schema.read_caffemodel(f"{stem}.caffemodel").layer:
        for i, blob in enumerate(layer.blobs):
            array = schema.blob_to_array(blob)
            blobs[f"{layer.name}/{i}"] = array
            if blob.diff:
                blobs[f"{layer.name}/{i}.diff"] = np.array(blob.diff, "f4").reshape(array.shape)
    for i, blob in enumerate(schema.read_solverstate(f"{stem}.solverstate").history):
        blobs[f"history/{i}"] = schema.blob_to_array(blob)
    return blobs


def read_outputs(folder):
    """{"output/file/dataset": array} of the files out*.h5 in `folder`, which HDF5Output wrote."""
    found = {}
    for path in sorted(Path(folder).glob("out*.h5")):
        with h5py.File(path, "r") as file:
            found |= {f"output/{path.name}/{name}": file[name][()] for name in file}
    return found


def gather(folder, status, log):
    """The Outcome of a run in `folder`."""
    if status:
        return Outcome(status, {}, log_lines(log))
    snapshot = last_snapshot(folder)
    blobs = read_blobs(*snapshot) if snapshot else {}
    return Outcome(status, blobs | read_outputs(folder), log_lines(log))


def last_words(log):
    """The line of a refused run that says most."""
    telling = re.compile(r"Check failed|ERROR|Error|\] Unknown|caffe\.cpp:439")
    told = [line for line in log if telling.search(line)]
    lines = told or [line for line in log if line.strip()] or ["no output"]
    return lines[0 if told else -1].strip()[:200]
