"""TPM: how straight each kernel of a net travels through a window of training.

For output channel k with weights w_k (bias left out) over snapshots t0 < ... < tN,

    TPM_k = ||w_k(tN) - w_k(t0)|| / sum_i ||w_k(t_i+1) - w_k(t_i)||,   0 where nothing moved:

the straightness index of path analysis (Batschelet 1981). A layer's entropy is that, in nats,
of the histogram of its kernels' TPM over equal bins of [0, 1].
"""

import math

import numpy as np

from netgen import graph
from netgen.errors import CaffeError
from netgen.growth.convolutions import convolutions
from netgen.growth.rates import drops
from netgen.growth.remarks import dead, dropped, left_out, spacing, step_lengths
from netgen.growth.roles import is_part
from netgen.growth.snapshots import in_order, read_weights
from netgen.growth.trajectory import Trajectory, histogram_entropy


def measure(net, paths, window=None, bins=10, solver=None):
    """The TPM of every convolution of a net, as a dict of plain values (README.md lists it).

    net: NetParameter in current format. paths: its snapshots in any order; one at a time is in
    memory. window: (first, last) iteration, both included; None for all. bins: of the histogram.
    solver: SolverParameter, to know where the learning rate drops; None to look into the solver
    states beside the snapshots. Layers whose lr_mult is 0 are left out, and a shared kernel is
    measured with the first layer that has it. What a reader should know before he trusts the
    numbers is in "warnings". Raises CaffeError.
    """
    chosen = convolutions(net)
    if not chosen.layers:
        raise graph.NetError("no convolution that learns: nothing to measure")
    snapshots = in_order(paths, window)
    trajectories, shapes = {}, {}
    for snapshot in snapshots:
        for name, weights in read_weights(snapshot.path, chosen.layers).items():
            _check(
                snapshot.path, chosen.layers[name], weights, shapes.setdefault(name, weights.shape)
            )
            if name in trajectories:
                trajectories[name].add(weights)
            else:
                trajectories[name] = Trajectory(weights)
    iterations = [snapshot.iteration for snapshot in snapshots]
    warnings = []
    rate_drops = drops(snapshots, solver, warnings.append)
    layers = [
        _layer(chosen, name, shapes[name], trajectory, bins)
        for name, trajectory in trajectories.items()
    ]
    warnings += [
        *left_out(chosen),
        *spacing(iterations, window),
        *dropped(rate_drops, iterations[0]),
        *dead(layers),
    ]
    return {
        "net": net.name,
        "window": [iterations[0], iterations[-1]],
        "iterations": iterations,
        "spacing": gaps[0] if len(gaps := step_lengths(iterations)) == 1 else None,
        "rate_drops": rate_drops,
        "bins": bins,
        "mean_entropy": math.fsum(layer["entropy"] for layer in layers) / len(layers),
        "warnings": warnings,
        "layers": layers,
    }


def _layer(chosen, name, shape, trajectory, bins):
    tpm = trajectory.tpm
    counts = np.histogram(tpm, bins, (0, 1))[0]
    return {
        "name": name,
        "num_output": shape[0],
        "weights": int(np.prod(shape)),
        "kernel": list(shape[2:]),
        "group": chosen.layers[name].convolution_param.group,
        "classifier": name in chosen.classifiers,
        "shared": name in chosen.sharing,
        "entropy": histogram_entropy(counts),
        "histogram": counts.tolist(),
        "tpm": tpm.tolist(),
        "displacement": trajectory.displacement.tolist(),
        "path_length": trajectory.path_length.tolist(),
        "cosine": [None if np.isnan(value) else value for value in trajectory.cosine.tolist()],
        "dead": trajectory.dead.tolist(),
    }


def _check(path, layer, weights, first_shape):
    where = f"{path}: layer '{layer.name}'"
    wanted = (layer.convolution_param.num_output,)
    if weights.ndim > 1:
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


def _shape(shape):
    return graph.shape_string(shape)


def table(measured):
    """The lines printed: the mean, then every layer, the highest entropy first.

    Where the net has parts of split layers, rows carry the number of weights too.
    """
    layers = measured["layers"]
    grown = any(is_part(layer["name"]) for layer in layers)
    lines = [f"Mean TPM ratio entropy = {_number(measured['mean_entropy'])}"]
    for layer in sorted(layers, key=lambda layer: -layer["entropy"]):
        row = (layer["name"], layer["num_output"]) + ((layer["weights"],) if grown else ())
        lines.append(f"{row} {_number(layer['entropy'])}")
    return lines


def _number(value):
    """Twelve significant digits, as the study's tables have them."""
    text = f"{value:.12g}"
    return text if any(c in text for c in ".e") else f"{text}.0"
