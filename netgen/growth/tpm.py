"""TPM: how straight each kernel of a net travels through a window of training.

For output channel k with weights w_k (bias left out) over snapshots t0 < ... < tN,

    TPM_k = ||w_k(tN) - w_k(t0)|| / sum_i ||w_k(t_i+1) - w_k(t_i)||,   0 where nothing moved:

the straightness index of path analysis (Batschelet 1981). A layer's entropy is that, in nats,
of the histogram of its kernels' TPM over equal bins of [0, 1].
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from netgen import graph
from netgen.errors import CaffeError
from netgen.growth.convolutions import Convolutions, convolutions
from netgen.growth.measurement import LayerMeasurement, Measurement
from netgen.growth.parts import by_row, groups, own_param
from netgen.growth.snapshots import in_order, rate_drops, read_weights
from netgen.growth.trajectory import Trajectory, histogram_entropy
from netgen.schema import caffe_pb


def measure(
    net: caffe_pb.NetParameter,
    paths: Iterable[str | os.PathLike[str]],
    window: tuple[int, int] | None = None,
    bins: int = 10,
    solver: caffe_pb.SolverParameter | None = None,
) -> Measurement:
    """The TPM of every convolution and inner product of a net.

    net: NetParameter in current format. paths: its snapshots in any order; one at a time is in
    memory. window: (first, last) iteration, both included; None for all. bins: of the histogram.
    solver: SolverParameter, to know where the learning rate drops; None to look into the solver
    states beside the snapshots. Layers whose lr_mult is 0 are left out, and a shared kernel is
    measured with the first layer that has it. Raises CaffeError.
    """
    chosen = convolutions(net)
    if not chosen.layers:
        raise graph.NetError("no convolution or inner product that learns: nothing to measure")
    snapshots = in_order(paths, window)
    trajectories: dict[str, Trajectory] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for snapshot in snapshots:
        for name, stored in read_weights(snapshot.path, chosen.layers).items():
            weights = by_row(chosen.layers[name], stored)
            _check(
                snapshot.path, chosen.layers[name], weights, shapes.setdefault(name, weights.shape)
            )
            if name in trajectories:
                trajectories[name].add(weights)
            else:
                trajectories[name] = Trajectory(weights)
    iterations = [snapshot.iteration for snapshot in snapshots]
    gaps = _gaps(iterations)
    warnings: list[str] = []
    drops = rate_drops(snapshots, solver, warnings.append)
    layers = [
        _layer(chosen, name, shapes[name], trajectory, bins)
        for name, trajectory in trajectories.items()
    ]
    warnings += _of_what_is_left_out(chosen)
    warnings += _of_spacing(iterations, window)
    warnings += _of_rate_drops(drops, iterations[0])
    warnings += _of_dead_kernels(layers)
    return Measurement(
        net=net.name,
        window=(iterations[0], iterations[-1]),
        iterations=tuple(iterations),
        spacing=gaps[0] if len(gaps) == 1 else None,
        rate_drops=drops,
        bins=bins,
        warnings=tuple(warnings),
        layers=tuple(layers),
    )


def _layer(
    chosen: Convolutions, name: str, shape: tuple[int, ...], trajectory: Trajectory, bins: int
) -> LayerMeasurement:
    tpm = trajectory.tpm
    counts = np.histogram(tpm, bins, (0, 1))[0]
    return LayerMeasurement(
        name=name,
        num_output=shape[0],
        weights=int(np.prod(shape)),
        kernel=shape[2:],
        group=groups(chosen.layers[name]),
        classifier=name in chosen.classifiers,
        shared=name in chosen.sharing,
        entropy=histogram_entropy(counts),
        histogram=tuple(counts.tolist()),
        tpm=tuple(tpm.tolist()),
        displacement=tuple(trajectory.displacement.tolist()),
        path_length=tuple(trajectory.path_length.tolist()),
        cosine=tuple(None if np.isnan(value) else value for value in trajectory.cosine.tolist()),
        dead=tuple(trajectory.dead.tolist()),
    )


def _check(
    path: str,
    layer: caffe_pb.LayerParameter,
    weights: np.ndarray,
    first_shape: tuple[int, ...],
) -> None:
    where = f"{path}: layer '{layer.name}'"
    wanted: tuple[int, ...] = (own_param(layer).num_output,)
    if layer.type != "Convolution":
        wanted += weights.shape[1:2]
    elif weights.ndim > 1:
        try:
            wanted += weights.shape[1:2] + graph.conv_geometry(layer, weights.ndim - 2).kernel
        except graph.NetError as error:
            raise CaffeError(f"{where}: {error}") from None
    if weights.shape != wanted:
        raise CaffeError(
            f"{where} has weights of shape {_shape(weights.shape)}, the net's are {_shape(wanted)}"
        )
    if weights.shape != first_shape:
        raise CaffeError(
            f"{where} has weights of shape {_shape(weights.shape)}, "
            f"in the first snapshot they were {_shape(first_shape)}"
        )
    if not np.isfinite(weights).all():
        raise CaffeError(f"{where} has weights that are not finite numbers")


def _shape(shape: tuple[int, ...]) -> str:
    return graph.shape_string(shape)


# --- what a reader should know before he trusts the numbers ---


def _of_what_is_left_out(chosen: Convolutions) -> Iterator[str]:
    if chosen.transposed:
        yield f"left out, transposed weights: {', '.join(chosen.transposed)}"
    if chosen.fixed:
        yield f"left out, lr_mult 0: {', '.join(chosen.fixed)}"
    for name, owner in chosen.elsewhere.items():
        yield f"layer '{name}' shares the weights of '{owner}' and is measured there"


def _of_spacing(iterations: Sequence[int], window: tuple[int, int] | None) -> Iterator[str]:
    gaps = _gaps(iterations)
    if len(iterations) < 3:
        yield "only 2 snapshots: the way between them is straight by itself"
    if len(gaps) > 1:
        yield (
            f"the snapshots are not equally spaced ({_listed(gaps)} iterations apart): "
            "a longer gap hides more of the way"
        )
    if window and max(iterations[0] - window[0], window[1] - iterations[-1]) >= gaps[0]:
        yield (
            f"the window {window[0]} to {window[1]} has snapshots only from "
            f"{iterations[0]} to {iterations[-1]}"
        )


def _gaps(iterations: Sequence[int]) -> list[int]:
    """The different distances from snapshot to snapshot, the shortest first."""
    return sorted({b - a for a, b in zip(iterations, iterations[1:], strict=False)})


def _of_rate_drops(drops: Sequence[tuple[int, int]] | None, start: int) -> Iterator[str]:
    if not drops:
        return
    places = [
        f"at {first}" if first == last else f"from {first} to {last}" for first, last in drops
    ]
    if drops[0][0] == start:  # solver states cannot distinguish the two
        places[0] += " or at its start"
    yield (
        f"the learning rate dropped inside the window ({_listed(places)}), which changes TPM "
        "by itself"
    )


def _of_dead_kernels(layers: Iterable[LayerMeasurement]) -> Iterator[str]:
    for layer in layers:
        if any(layer.dead):
            yield (
                f"layer '{layer.name}': {sum(layer.dead)} of {layer.num_output} kernels are "
                "dead (only their decay moves them)"
            )


def _listed(values: Sequence[object]) -> str:
    shown = [str(value) for value in values[:4]] + ["..."] * (len(values) > 4)
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
