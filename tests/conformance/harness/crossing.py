"""Snapshots cross over: one engine writes caffemodel and solverstate, the other resumes.

Uses the cases of cases/resume.runs, each of two calls. Whoever makes the first call, the second
must end where a C++ Caffe that made both ended. The frozen sample has what a C++ Caffe's first
call wrote, and the end in frozen/resume.npz.
"""

import tempfile
from pathlib import Path

import numpy as np

from harness.frozen import HERE
from harness.judge import compare

STEM = "snap_iter_10"


def crossed(case, first, second):
    """The Outcome of `case` with its calls made by two engines."""
    with tempfile.TemporaryDirectory() as folder:
        case.write(folder)
        return case.run([first, second], folder)


def verdicts(case, ours, theirs, log):
    """{"written by us": Verdict, "written by Caffe": Verdict} against Caffe's own resuming.

    log: are the lines compared?
    """
    want = crossed(case, theirs, theirs)
    return {
        "written by us": compare(crossed(case, ours, theirs), want, log),
        "written by Caffe": compare(crossed(case, theirs, ours), want, log),
    }


def first_files(case, engine):
    """{file name: bytes} of the snapshot that the case's first call leaves."""
    with tempfile.TemporaryDirectory() as folder:
        case.write(folder)
        status, log = engine.call(case.calls[0], folder)
        if status:
            raise RuntimeError(f"{case.name}: {log[-500:]}")
        return {
            path.name: path.read_bytes()
            for path in sorted(Path(folder).glob(f"{STEM}.*"))
            if path.suffix != ".resume"
        }


def write_first_files(found):
    """Write frozen/snapshots.npz. found: {case name: {file name: bytes}}."""
    np.savez_compressed(
        HERE / "snapshots.npz",
        **{
            f"{case}/{name}": np.frombuffer(content, np.uint8)
            for case, files in found.items()
            for name, content in files.items()
        },
    )


def read_first_files():
    """{case name: {file name: bytes}} of frozen/snapshots.npz."""
    found = {}
    with np.load(HERE / "snapshots.npz") as kept:
        for key in kept.files:
            case, _, name = key.partition("/")
            found.setdefault(case, {})[name] = kept[key].tobytes()
    return found


def resumed(case, files, engine):
    """The Outcome of the case's second call alone, from the files another engine wrote."""
    with tempfile.TemporaryDirectory() as folder:
        case.write(folder)
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        case.calls, calls = case.calls[1:], case.calls
        try:
            return case.run([engine], folder)
        finally:
            case.calls = calls
