"""Snapshots: Caffe's caffemodel and solverstate, and beside them what Caffe forgets.

`<prefix>_iter_<N>.solverstate.resume` holds the data cursors and random states of the run,
so that resuming continues the interrupted run bit for bit; without it a run resumes as Caffe
does, its data from the first record on. A run that had come to its end (max_iter) was not
interrupted: going on from there starts the test nets' data afresh, again as Caffe does.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import torch

from netgen import schema
from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from netgen.schema.files import lock
from runner.log import glog, lines
from runner.net import hdf5, weights
from runner.net.written import RESUME, check, read_resume
from runner.solver.lr_policy import Plateau


def resolve_prefix(param: caffe_pb.SolverParameter, solver_path: str) -> None:
    """Fill in snapshot_prefix as Caffe does when it is missing or names a directory."""
    if not param.HasField("snapshot_prefix"):
        param.snapshot_prefix = os.path.splitext(solver_path)[0]
        text = "snapshot_prefix was not specified and is set to "
        glog.info(text + param.snapshot_prefix, "upgrade_proto.cpp:1108")
    elif os.path.isdir(param.snapshot_prefix):
        stem = os.path.splitext(os.path.basename(solver_path))[0]
        param.snapshot_prefix = os.path.join(param.snapshot_prefix, stem)
        text = "snapshot_prefix was a directory and is replaced to "
        glog.info(text + param.snapshot_prefix, "upgrade_proto.cpp:1113")


def check_writable(param: caffe_pb.SolverParameter) -> None:
    """Refuse a snapshot that could not be written, before training rather than after."""
    if param.snapshot and not param.HasField("snapshot_prefix"):
        raise CaffeError("In solver params, snapshot is specified but snapshot_prefix is not")
    if not param.snapshot and not (param.snapshot_after_train and param.snapshot_prefix):
        return
    if param.snapshot_format == caffe_pb.SolverParameter.HDF5:
        schema.require_h5py(param.snapshot_prefix)
    try:
        with tempfile.TemporaryFile(dir=os.path.dirname(param.snapshot_prefix) or "."):
            pass
    except OSError:
        raise CaffeError(
            f"Cannot write to snapshot prefix '{param.snapshot_prefix}'.  Make sure that the "
            "directory exists and is writable."
        ) from None


@contextlib.contextmanager
def prefix_lock(param: caffe_pb.SolverParameter) -> Iterator[None]:
    """Keep other trainings from writing snapshots of the same prefix inside the with block.

    What is held is a lock of the system on the file `.NAME.lock` beside them, which ends with
    the process however that ends. Raises CaffeError where another training holds it.
    """
    folder, name = os.path.split(param.snapshot_prefix)
    if not (param.snapshot or param.snapshot_after_train) or not os.path.isdir(folder or "."):
        yield  # none are written, or the solver is about to say that they cannot be
        return
    path = os.path.join(folder, f".{name}.lock")
    handle = _locked(path, param.snapshot_prefix)
    try:
        yield
    finally:
        if handle is not None:
            with contextlib.suppress(OSError):
                os.unlink(path)
            os.close(handle)


def _locked(path, prefix):
    """An open file with the lock; None where the file system has no locks or takes no file."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError:
            return None
        try:
            lock(handle)
            if os.path.samestat(os.fstat(handle), os.lstat(path)):
                with contextlib.suppress(
                    OSError
                ):  # a full disk: it is held, and does not say whose
                    os.truncate(handle, 0)
                    os.write(handle, f"{os.getpid()}\n".encode())
                return handle
        except BlockingIOError:
            holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
            os.close(handle)
            raise CaffeError(
                f"another training (process {holder or 'unknown'}) writes snapshots of "
                f"snapshot_prefix '{prefix}' now: stop it, or give this one a prefix of its own"
            ) from None
        except FileNotFoundError:
            pass  # its last holder has just removed it
        except OSError:
            os.close(handle)
            return None
        os.close(handle)


def _history(solver):
    """The history blobs in Caffe's order, as arrays."""
    parameters = solver.net.parameters
    return [
        blob.cpu().numpy() for flat in solver.updater.history for blob in parameters.split(flat)
    ]


def size(solver: Any) -> int:
    """About how many bytes a snapshot takes: weights and history of 4 bytes a value."""
    weights_and_history = sum(
        blob.numel() for node in solver.net.nodes for blob in node.blobs
    ) + sum(flat.numel() for flat in solver.updater.history)
    return 4 * weights_and_history


def write(solver: Any) -> str:
    """Write the snapshot of `solver` as it stands; returns the solver state's path."""
    param, binary = solver.param, caffe_pb.SolverParameter.BINARYPROTO
    base = f"{param.snapshot_prefix}_iter_{solver.iter}"
    tail = "" if param.snapshot_format == binary else ".h5"
    kind = "HDF5" if tail else "binary proto"
    model, state_path = f"{base}.caffemodel{tail}", f"{base}.solverstate{tail}"
    digests: dict[str, str] = {}

    def model_ready(data):
        digests["model"] = hashlib.sha256(data).hexdigest()

    def state_ready(data):
        # What belongs to the state is in place before the state itself is.
        digests["state"] = hashlib.sha256(data).hexdigest()
        if solver.resumes_exactly:
            _write_resume(solver, state_path + RESUME, digests)

    glog.info(lines.snapshotting(kind, model), "solver.cpp:474" if tail else "solver.cpp:464")
    if tail:
        hdf5.write_weights(solver.net, model, param.snapshot_diff, model_ready)
    else:
        message = weights.net_to_proto(solver.net, param.snapshot_diff)
        schema.write_binary(message, model, model_ready)
    glog.info(
        lines.snapshotting(kind, state_path, state=True),
        "sgd_solver.cpp:296" if tail else "sgd_solver.cpp:284",
    )
    history, remembered = _history(solver), _remembered(solver)
    if tail:
        hdf5.write_solverstate(
            state_path, solver.iter, model, solver.current_step, history, remembered, state_ready
        )
    else:
        state = caffe_pb.SolverState(
            iter=solver.iter, learned_net=model, current_step=solver.current_step, **remembered
        )
        for array in history:
            schema.array_to_blob(array, state.history.add())
        schema.write_binary(state, state_path, state_ready)
    return state_path


def _remembered(solver):
    """What the policy plateau adds to a solver state, as SSD's does; nothing for the others."""
    return asdict(solver.plateau) if solver.param.lr_policy == "plateau" else {}


def _write_resume(solver, path, digests):
    interrupted = solver.iter < solver.param.max_iter
    content = {
        "iter": solver.iter,
        "seed": solver.seed,
        "train": solver.net.state(),
        **solver.test_state(),
        "losses": solver.losses.state() if interrupted else None,
        "workers": solver.workers.count,
        "digests": digests,
    }
    if not interrupted:
        content["test"] = None
    saved = io.BytesIO()  # torch has words of its own for a disk that is full
    torch.save(content, saved)
    schema.write_bytes(saved.getbuffer(), path)


def restore(solver: Any, path: str) -> None:
    """Bring `solver` to the state in `path` (.solverstate or .solverstate.h5)."""
    if not os.path.exists(path):
        raise CaffeError(f"Check failed: fd != -1 (-1 vs. -1) File not found: {path}")
    if path.endswith(".h5"):
        iteration, learned, current_step, history, remembered = hdf5.read_solverstate(path)
    else:
        state = schema.read_solverstate(path)
        iteration, learned, current_step = state.iter, state.learned_net, state.current_step
        history = [_history_array(path, *item) for item in enumerate(state.history)]
        remembered = {f.name: getattr(state, f.name) for f in fields(Plateau)}
    model = _find_model(learned, path) if learned else None
    resume = _load_resume(path + RESUME, iteration, path, model)
    parameters = solver.net.parameters
    targets = [blob for flat in solver.updater.history for blob in parameters.split(flat)]
    if len(history) != len(targets):
        raise CaffeError(
            f"{path}: Check failed: state.history_size() == history_.size() "
            f"({len(history)} vs. {len(targets)}) Incorrect length of history blobs."
            + ("" if history else " (Is it a caffemodel? Those go to -weights.)")
        )
    for i, (array, target) in enumerate(zip(history, targets, strict=True)):
        if array.size != target.numel():
            raise CaffeError(
                f"{path}: history blob {i} has shape {array.shape}, the net's parameter has "
                f"{tuple(target.shape)}"
            )
    if model is not None:
        weights.load_weights(solver.net, model)
    solver.iter, solver.current_step = iteration, current_step
    solver.plateau = Plateau(**remembered)
    if not path.endswith(".h5"):
        glog.info("SGDSolver: restoring history", "sgd_solver.cpp:336")
    for array, target in zip(history, targets, strict=True):
        target.copy_(torch.from_numpy(np.ascontiguousarray(array)).view(target.shape))
    if resume is not None:
        _take_resume(solver, path + RESUME, resume)


def _history_array(path, index, blob):
    try:
        return schema.blob_to_array(blob)
    except schema.SchemaError as error:
        raise CaffeError(f"{path}: history blob {index}: {error}") from None


def _find_model(learned, state_path):
    """learned_net as written, else the file of that name beside the solver state."""
    beside = os.path.join(os.path.dirname(state_path), os.path.basename(learned))
    return learned if os.path.exists(learned) or not os.path.exists(beside) else beside


def _load_resume(path, iteration, state_path, model):
    """What a .resume of these two files holds; None where there is no such file."""
    if not os.path.exists(path):
        glog.info(f"No {path}: data starts at its first record, as in Caffe", "solver.cpp:296")
        return None
    try:
        content = read_resume(path)
    except OSError as error:
        raise CaffeError(f"{error.filename}: cannot be read: {error.strerror}") from None
    except CaffeError as error:
        raise CaffeError(f"{path}: {error}; delete it to resume as Caffe does") from None
    try:
        for file in (model, state_path):
            if file is not None and os.path.exists(file):  # who reads it says that it is missing
                check(file, content)
        if content["iter"] != iteration:
            raise CaffeError(f"it is of iteration {content['iter']}, {state_path} of {iteration}")
    except OSError as error:
        raise CaffeError(f"{error.filename}: cannot be read: {error.strerror}") from None
    except CaffeError as error:
        raise CaffeError(
            f"{path}: {error}. Go on from another snapshot; without this file a run resumes as "
            "Caffe does, and nothing tells that the others are whole"
        ) from None
    return content


def _take_resume(solver, path, content):
    try:
        solver.seed = content["seed"]
        solver.net.load_state(content["train"])
        solver.load_test_state(content)
        workers = content.get("workers", 1)
        if workers != solver.workers.count:
            glog.info(
                f"{path}: of a run of {workers} workers, now {solver.workers.count}: data go on "
                "with the record that was next",
                "solver.cpp:296",
            )
        if content["losses"] is not None:
            solver.losses.load_state(content["losses"], solver.device)
    except CaffeError as error:
        raise CaffeError(f"{path}: {error}; delete it to resume as Caffe does") from None
    except Exception as error:  # of values that no training has written
        raise CaffeError(
            f"{path}: unreadable ({type(error).__name__}); delete it to resume as Caffe does"
        ) from None
