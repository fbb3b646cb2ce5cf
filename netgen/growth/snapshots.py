"""Snapshots of a training by name: their iterations, their weights, the solver states beside them.

Caffe names them PREFIX_iter_N.caffemodel, or .caffemodel.h5 in HDF5 (solver.cpp: Snapshot).
"""

import os
import re
from dataclasses import dataclass

import numpy as np

from netgen import schema
from netgen.errors import CaffeError

_NAME = re.compile(r"(.*_iter_(\d+))\.caffemodel(\.h5)?")


@dataclass(frozen=True)
class Snapshot:
    """path: the weights. iteration: updates done. state: its solver state, there or not."""

    path: str
    iteration: int
    state: str


def in_order(paths, window=None):
    """The Snapshots of a window (both ends included; None: all), by iteration.

    Raises CaffeError for a name that tells no iteration, two files of one iteration, and a
    window with fewer than two snapshots.
    """
    found = {}
    for path in map(os.fspath, paths):
        name = _NAME.fullmatch(path)
        if not name:
            raise CaffeError(f"{path}: not a snapshot's name (..._iter_N.caffemodel or .h5)")
        snapshot = Snapshot(path, int(name[2]), f"{name[1]}.solverstate{name[3] or ''}")
        other = found.setdefault(snapshot.iteration, snapshot)
        if other is not snapshot:
            raise CaffeError(f"{other.path} and {path} are both of iteration {name[2]}")
    inside = [found[i] for i in sorted(found) if not window or window[0] <= i <= window[1]]
    if len(inside) < 2 and window:
        raise CaffeError(
            f"the window {window[0]} to {window[1]} holds {len(inside)} of "
            f"{len(found)} snapshots (iterations {min(found)} to {max(found)}); "
            "TPM needs at least 2"
        )
    if len(inside) < 2:
        raise CaffeError(f"only one snapshot (iteration {min(found)}): TPM needs at least 2")
    return inside


def read_weights(path, layers):
    """{name: (N, ...) float32 array}, the first learned blob of each layer in `layers`.

    Raises CaffeError where the file cannot be read, or a layer or its weights are missing.
    """
    if path.endswith(".h5"):
        return _read_hdf5(path, layers)
    stored = {layer.name: layer.blobs for layer in schema.read_caffemodel(path).layer}
    weights = {}
    for name in layers:
        if not stored.get(name):
            raise _missing(path, name)
        try:
            weights[name] = schema.blob_to_array(stored[name][0])
        except schema.SchemaError as error:
            raise CaffeError(f"{path}: layer '{name}': {error}") from None
    return weights


def current_step(path):
    """How many drops of the rate a multistep solver had behind it. Raises CaffeError."""
    if not path.endswith(".h5"):
        return schema.read_solverstate(path).current_step
    with _open_hdf5(path) as file:
        if "current_step" not in file:
            raise CaffeError(f"{path}: not a solver state: it has no current_step")
        return int(np.ravel(file["current_step"])[0])


def _read_hdf5(path, layers):
    with _open_hdf5(path) as file:
        weights = {}
        for name in layers:
            if f"data/{name}/0" not in file:
                raise _missing(path, name)
            weights[name] = np.asarray(file[f"data/{name}/0"], np.float32)
        return weights


def _missing(path, name):
    return CaffeError(f"{path}: no weights of layer '{name}'")


def _open_hdf5(path):
    try:
        import h5py
    except ImportError:
        raise CaffeError(f"{path}: HDF5 files need the package h5py: pip install h5py") from None
    if not os.path.exists(path):
        raise CaffeError(f"File not found: {path}")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise CaffeError(f"{path}: cannot be read: {error}") from None
