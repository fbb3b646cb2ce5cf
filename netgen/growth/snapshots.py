"""The snapshots of a training: their iterations, their weights, and where the rate dropped.

Caffe names them PREFIX_iter_N.caffemodel, or .caffemodel.h5 in HDF5 (solver.cpp: Snapshot).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from netgen import schema
from netgen.errors import CaffeError
from netgen.schema import caffe_pb

_STEADY = {"fixed", "step", "multistep"}
_NAME = re.compile(r"(.*_iter_(\d+))\.caffemodel(\.h5)?")


@dataclass(frozen=True)
class Snapshot:
    """A snapshot by its name.

    path: of the weights. iteration: how many updates were done. state: the path of its solver
    state, which need not be there.
    """

    path: str
    iteration: int
    state: str


def in_order(
    paths: Iterable[str | os.PathLike[str]], window: tuple[int, int] | None = None
) -> list[Snapshot]:
    """The Snapshots of a window (both ends included; None: all), by iteration.

    Raises CaffeError for a name without an iteration, two files of one iteration, and a
    window with fewer than two snapshots.
    """
    found: dict[int, Snapshot] = {}
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


def read_weights(path: str, layers: Iterable[str]) -> dict[str, np.ndarray]:
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


def rate_drops(
    snapshots: Sequence[Snapshot],
    solver: caffe_pb.SolverParameter | None,
    warn: Callable[[str], object],
) -> tuple[tuple[int, int], ...] | None:
    """((first, last), ...): between which iterations the learning rate dropped, a pair a drop.

    snapshots: Snapshots by iteration. solver: SolverParameter, which gives the very iteration
    (both numbers are the same), or None to look into the solver states beside the snapshots. A
    drop at the window's first iteration is not inside it, but solver states cannot distinguish
    it from one right after. Returns None where nothing is known, or where the rate changes all
    the time. warn: called with a line about such a policy, or about a solver state that cannot
    be read.
    """
    if solver is None:
        return _from_states(snapshots, warn)
    begin, end = snapshots[0].iteration, snapshots[-1].iteration
    if solver.lr_policy not in _STEADY:
        warn(f"lr_policy '{solver.lr_policy}' changes the learning rate all the time")
        return None
    drops: Iterable[int] = ()
    if solver.lr_policy == "multistep":
        drops = sorted(solver.stepvalue)
    elif solver.lr_policy == "step" and solver.stepsize > 0:
        drops = range(solver.stepsize, end, solver.stepsize)
    return tuple((drop, drop) for drop in drops if begin < drop < end)


def _from_states(
    snapshots: Sequence[Snapshot], warn: Callable[[str], object]
) -> tuple[tuple[int, int], ...] | None:
    seen = []
    for snapshot in snapshots:
        if os.path.exists(snapshot.state):
            try:
                seen.append((snapshot.iteration, _drops_so_far(snapshot.state)))
            except CaffeError as error:
                warn(f"left out: {error}")
    if len(seen) < 2:
        return None
    # A state counts the drops up to the update before it: one at iteration N is not in N's yet.
    return tuple(
        (before, after - 1)
        for (before, old), (after, new) in zip(seen, seen[1:], strict=False)
        for _ in range(new - old)
    )


def _drops_so_far(path: str) -> int:
    """How many drops of the rate a multistep solver had behind it. Raises CaffeError."""
    if not path.endswith(".h5"):
        return schema.read_solverstate(path).current_step
    with schema.open_hdf5(path) as file:
        if "current_step" not in file:
            raise CaffeError(f"{path}: not a solver state: it has no current_step")
        return int(np.ravel(file["current_step"])[0])


def _read_hdf5(path: str, layers: Iterable[str]) -> dict[str, np.ndarray]:
    with schema.open_hdf5(path) as file:
        weights = {}
        for name in layers:
            if f"data/{name}/0" not in file:
                raise _missing(path, name)
            weights[name] = np.asarray(file[f"data/{name}/0"], np.float32)
        return weights


def _missing(path: str, name: str) -> CaffeError:
    return CaffeError(f"{path}: no weights of layer '{name}'")
