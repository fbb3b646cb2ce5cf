"""`caffe verify FILE...`: are models, states, .resume files and LMDBs as they were written?

A snapshot's .resume holds the SHA-256 of its model and its state, so that nothing is added to the
files that Caffe reads.
"""

from __future__ import annotations

import os

from netgen import schema
from netgen.commandline import say
from netgen.errors import CaffeError, line_of
from netgen.schema.lmdb import LMDBFolder
from runner.commands.flags import Flags
from runner.net import hdf5
from runner.net.written import RESUME, check, digest_of, model_of, read_resume, resume_of


def verify(flags: Flags) -> int:
    """Check every file, a line each; returns 1 where one of them is not what it should be."""
    if not flags.words[1:]:
        raise CaffeError(
            "caffe verify FILE...: name models, solver states, .resume files or LMDB folders"
        )
    status = 0
    for path in flags.words[1:]:
        try:
            found = _check(path)
        except (CaffeError, OSError) as error:
            found, status = f"NOT WHOLE: {line_of(error)}", 1
        say(f"{path}: {found}")
    return status


def _check(path: str) -> str:
    """What was found right. Raises CaffeError or OSError for what was not."""
    if not os.path.exists(path):
        raise CaffeError("no such file")
    if os.path.isdir(path):
        folder = LMDBFolder(path)
        size = sum(len(value) for _, value in folder.once())
        return f"ok, {folder.length:,} records of {size:,} bytes, all there (no checksum)"
    if path.endswith(RESUME):
        content = read_resume(path)
        state = path.removesuffix(RESUME)
        told = [_compare(file, content) for file in (model_of(state), state)]
        return f"ok, of iteration {content['iter']}; {'; '.join(told)}"
    resume = resume_of(path)
    if not resume:
        raise CaffeError("neither a .caffemodel, a .solverstate, a .resume nor an LMDB folder")
    _parse(path)
    if not os.path.exists(resume):
        return f"ok as far as can be told: it is whole, and there is no {resume} with its checksum"
    return f"ok, {_compare(path, read_resume(resume))}"


def _parse(path: str) -> None:
    model = ".caffemodel" in path
    if path.endswith(".h5"):
        (hdf5.read_weights if model else hdf5.read_solverstate)(path)
    else:
        (schema.read_caffemodel if model else schema.read_solverstate)(path)


def _compare(path: str, content: dict) -> str:
    """That the file is the one whose SHA-256 stands in a .resume. Raises CaffeError."""
    if digest_of(path, content) is None:
        return f"no checksum of {os.path.basename(path)} is known: an older version wrote it"
    check(path, content)
    return f"{os.path.basename(path)} has the SHA-256 that was written"
