"""Caffe's HDF5 snapshots: /data/<layer>/<i>, and /history/<i> of a solver state."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from netgen import schema
from netgen.errors import CaffeError


def read_weights(path: str) -> dict[str, dict[int, np.ndarray]]:
    """{layer: {index: float32 array}} of a .caffemodel.h5. Raises CaffeError."""
    with schema.open_hdf5(path) as f:
        if "data" not in f:
            raise CaffeError(f"Error reading weights from {path}: it has no group 'data'")
        return {
            layer: {int(i): np.asarray(blob, np.float32) for i, blob in blobs.items()}
            for layer, blobs in f["data"].items()
        }


#: What the policy plateau adds to a solver state (SSD's sgd_solver.cpp), and its types.
_OF_PLATEAU = {"iter_last_event": np.int32, "minimum_loss": np.float32}


def read_solverstate(
    path: str,
) -> tuple[int, str, int, list[np.ndarray], dict[str, float]]:
    """What a .solverstate.h5 holds.

    iter, learned_net, current_step, the arrays of the history, and what the policy plateau added.
    """
    with schema.open_hdf5(path) as f:
        missing = [key for key in ("iter", "current_step", "history") if key not in f]
        if missing:
            raise CaffeError(f"{path}: no solver state, it has no '{missing[0]}'")
        learned = f["learned_net"][()] if "learned_net" in f else b""
        learned = os.fsdecode(learned) if isinstance(learned, bytes) else str(learned)
        history = f["history"]
        arrays = [np.asarray(history[str(i)], np.float32) for i in range(len(history))]
        iteration, step = (int(np.ravel(f[name])[0]) for name in ("iter", "current_step"))
        remembered = {name: np.ravel(f[name])[0].item() for name in _OF_PLATEAU if name in f}
        return iteration, learned, step, arrays, remembered


def write_weights(
    net: Any,
    path: str,
    with_diff: bool = False,
    ready: Callable[[memoryview], object] | None = None,
) -> None:
    """A .caffemodel.h5 of the net; a shared blob is stored once, with its owner.

    ready: as for schema.writing_hdf5.
    """

    groups = [("data", False)] + ([("diff", True)] if with_diff else [])
    with schema.writing_hdf5(path, ready) as f:
        for group, diff in groups:
            top = f.create_group(group)
            for node in net.nodes:
                layer = top.create_group(node.name)
                for i, blob in enumerate(node.blobs):
                    owner = net.parameters.learnable[node.learnable[i]]
                    if diff:
                        blob = net.parameters.blobs[node.learnable[i]].grad
                    if diff or (owner.layer, owner.index) == (node.name, i):
                        layer[str(i)] = blob.detach().cpu().numpy()


def write_solverstate(
    path: str,
    iteration: int,
    learned_net: str,
    current_step: int,
    history: Sequence[np.ndarray],
    remembered: Mapping[str, float],
    ready: Callable[[memoryview], object] | None = None,
) -> None:
    """A .solverstate.h5; history: list of arrays; remembered: what the policy plateau adds.

    ready: as for schema.writing_hdf5.
    """

    with schema.writing_hdf5(path, ready) as f:
        f["iter"] = np.array([iteration], np.int32)
        name = os.fsencode(learned_net)
        # With room for a final zero: Caffe reads it as a C string, into just this many bytes.
        f.create_dataset("learned_net", data=np.array(name), dtype=f"S{len(name) + 1}")
        f["current_step"] = np.array([current_step], np.int32)
        for name, value in remembered.items():
            f[name] = np.array([value], _OF_PLATEAU[name])
        group = f.create_group("history")
        for i, array in enumerate(history):
            group[str(i)] = array
