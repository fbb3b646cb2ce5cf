"""Snapshots: Caffe's caffemodel and solverstate, and beside them what Caffe forgets.

`<prefix>_iter_<N>.solverstate.resume` holds the data cursors and random states of the run,
so that resuming continues the interrupted run bit for bit; without it a run resumes as Caffe
does, its data from the first record on. A run that had come to its end (max_iter) was not
interrupted: going on from there starts the test nets' data afresh, again as Caffe does.
"""

from __future__ import annotations

import os
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import torch

from netgen import schema
from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner.log import glog, lines
from runner.net import hdf5, weights
from runner.solver.lr_policy import Plateau

RESUME = ".resume"


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
    probe = f"{param.snapshot_prefix}_iter_0.tempfile"
    try:
        with open(probe, "w"):
            pass
        os.remove(probe)
    except OSError:
        raise CaffeError(
            f"Cannot write to snapshot prefix '{param.snapshot_prefix}'.  Make sure that the "
            "directory exists and is writable."
        ) from None


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
    glog.info(lines.snapshotting(kind, model), "solver.cpp:474" if tail else "solver.cpp:464")
    if tail:
        hdf5.write_weights(solver.net, model, param.snapshot_diff)
    else:
        schema.write_binary(weights.net_to_proto(solver.net, param.snapshot_diff), model)
    glog.info(
        lines.snapshotting(kind, state_path, state=True),
        "sgd_solver.cpp:296" if tail else "sgd_solver.cpp:284",
    )
    history = _history(solver)
    # What belongs to the state is in place before the state itself is.
    if solver.resumes_exactly:
        _write_resume(solver, state_path + RESUME)
    if tail:
        hdf5.write_solverstate(
            state_path, solver.iter, model, solver.current_step, history, _remembered(solver)
        )
    else:
        state = caffe_pb.SolverState(
            iter=solver.iter,
            learned_net=model,
            current_step=solver.current_step,
            **_remembered(solver),
        )
        for array in history:
            schema.array_to_blob(array, state.history.add())
        schema.write_binary(state, state_path)
    return state_path


def _remembered(solver):
    """What the policy plateau adds to a solver state, as SSD's does; nothing for the others."""
    return asdict(solver.plateau) if solver.param.lr_policy == "plateau" else {}


def _write_resume(solver, path):
    interrupted = solver.iter < solver.param.max_iter
    content = {
        "iter": solver.iter,
        "seed": solver.seed,
        "train": solver.net.state(),
        **solver.test_state(),
        "losses": solver.losses.state() if interrupted else None,
        "workers": solver.workers.count,
    }
    if not interrupted:
        content["test"] = None
    with schema.writing(path) as file:
        torch.save(content, file)


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
    if learned:
        weights.load_weights(solver.net, _find_model(learned, path))
    solver.iter, solver.current_step = iteration, current_step
    solver.plateau = Plateau(**remembered)
    if not path.endswith(".h5"):
        glog.info("SGDSolver: restoring history", "sgd_solver.cpp:336")
    for array, target in zip(history, targets, strict=True):
        target.copy_(torch.from_numpy(np.ascontiguousarray(array)).view(target.shape))
    _read_resume(solver, path + RESUME)


def _history_array(path, index, blob):
    try:
        return schema.blob_to_array(blob)
    except schema.SchemaError as error:
        raise CaffeError(f"{path}: history blob {index}: {error}") from None


def _find_model(learned, state_path):
    """learned_net as written, else the file of that name beside the solver state."""
    beside = os.path.join(os.path.dirname(state_path), os.path.basename(learned))
    return learned if os.path.exists(learned) or not os.path.exists(beside) else beside


def _read_resume(solver, path):
    if not os.path.exists(path):
        glog.info(f"No {path}: data starts at its first record, as in Caffe", "solver.cpp:296")
        return
    try:
        content = torch.load(path, weights_only=True)
        if content["iter"] != solver.iter:
            raise CaffeError(f"it is of iteration {content['iter']}, not {solver.iter}")
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
    except Exception as error:  # an unreadable file may fail in any way inside the unpickler
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CaffeError(f"{path}: unreadable ({why}); delete it to resume as Caffe does") from None
