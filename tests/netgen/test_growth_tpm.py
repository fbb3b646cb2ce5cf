"""TPM: hand-made trajectories, snapshots on disk in both formats, the table, the JSON."""

import ast
import json
import os
import subprocess
import sys
from math import log
from pathlib import Path

import h5py
import numpy as np
import pytest

from netgen import graph, growth, nets, schema
from netgen.cli import main
from netgen.growth.trajectory import Trajectory, histogram_entropy
from netgen.schema import caffe_pb

ROOT = Path(__file__).parents[2]
TABLES = Path(__file__).parent / "tpm_tables"

NET = """
name: "little"
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 8 dim: 8 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 1 } } }
layer { name: "conv1" type: "Convolution" bottom: "x" top: "conv1"
        convolution_param { num_output: 4 kernel_size: 3 group: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
        convolution_param { num_output: 3 kernel_h: 1 kernel_w: 3 bias_term: false } }
layer { name: "pool" type: "Pooling" bottom: "conv2" top: "pool"
        pooling_param { pool: AVE global_pooling: true } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "pool" bottom: "label" top: "loss"
        include { phase: TRAIN } }
"""
SHAPES = {"conv1": (4, 1, 3, 3), "conv2": (3, 4, 1, 3)}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)


def weights(seed):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}


def snapshot(iteration, arrays, prefix="run", step=None):
    """A caffemodel (and solver state) as a training leaves it; returns its path."""
    net = caffe_pb.NetParameter(name="little")
    for name, array in arrays.items():
        layer = net.layer.add(name=name, type="Convolution")
        schema.array_to_blob(array, layer.blobs.add())
        schema.array_to_blob(np.full(len(array), iteration), layer.blobs.add())  # a bias that moves
    path = f"{prefix}_iter_{iteration}.caffemodel"
    schema.write_binary(net, path)
    if step is not None:
        state = caffe_pb.SolverState(iter=iteration, current_step=step)
        schema.write_binary(state, f"{prefix}_iter_{iteration}.solverstate")
    return path


def snapshots(count=4, spacing=100, **options):
    return [snapshot(spacing * i, weights(i), **options) for i in range(1, count + 1)]


def run(capsys, *argv):
    status = main(["tpm", "net.prototxt", *map(str, argv)])
    out, err = capsys.readouterr()
    return status, out, err


def error(capsys, *argv):
    status, out, err = run(capsys, *argv)
    assert (status, out, err.count("\n")) == (1, "", 1)
    return err


def travel(points):
    """A Trajectory through points, (time, kernel, weight)."""
    trajectory = Trajectory(points[0])
    for point in points[1:]:
        trajectory.add(point)
    return trajectory


# --- trajectories ---


def test_straight_line_and_there_and_back_and_no_way_at_all():
    along = np.array([0.0, 1, 3, 4, 8])
    back = np.array([0.0, 3, 1, 2, 0])
    start, way = np.array([5.0, -2, 1]), np.array([2.0, 1, -2])  # |way| = 3
    paths = [start + t[:, None] * way for t in (along, back, 0 * along)]
    trajectory = travel(np.stack(paths, axis=1))
    assert trajectory.tpm == pytest.approx([1, 0, 0])
    assert trajectory.displacement == pytest.approx([24, 0, 0])
    assert trajectory.path_length == pytest.approx([24, 24, 0])
    assert trajectory.tpm[2] == 0
    # back: the signs of the steps are + - + -; of the 6 pairs 2 agree and 4 do not.
    assert trajectory.cosine[:2] == pytest.approx([1, -2 / 6])
    assert np.isnan(trajectory.cosine[2])


def test_right_angle():
    trajectory = travel(np.array([[[0.0, 0]], [[3, 0]], [[3, 4]]]))
    assert trajectory.tpm == pytest.approx([5 / 7])
    assert trajectory.cosine == pytest.approx([0], abs=1e-15)


@pytest.mark.parametrize("steps", [4, 16, 64])
def test_random_walk_is_about_one_by_the_root_of_its_steps(steps):
    rng = np.random.default_rng(steps)
    points = np.cumsum(rng.standard_normal((steps + 1, 50, 864)), axis=0)
    trajectory = travel(points)
    assert trajectory.tpm == pytest.approx(steps**-0.5, rel=0.25)
    assert trajectory.tpm.mean() == pytest.approx(steps**-0.5, rel=0.03)
    assert np.abs(trajectory.cosine).max() < 0.1
    assert not trajectory.dead.any()


def test_order_of_steps_does_not_matter():
    rng = np.random.default_rng(0)
    start, steps = rng.standard_normal((5, 20)), rng.standard_normal((7, 5, 20))
    one, other = (
        travel(np.concatenate([[start], start + np.cumsum(order, axis=0)]))
        for order in (steps, steps[rng.permutation(7)])
    )
    for name in ("tpm", "displacement", "path_length", "cosine"):
        assert getattr(one, name) == pytest.approx(getattr(other, name))


def test_cosine_is_the_mean_over_all_pairs_of_steps():
    rng = np.random.default_rng(1)
    points = rng.standard_normal((6, 3, 8))
    steps = np.diff(points, axis=0)
    units = steps / np.linalg.norm(steps, axis=2, keepdims=True)
    pairs = [(units[i] * units[j]).sum(1) for i in range(5) for j in range(5) if i != j]
    assert travel(points).cosine == pytest.approx(np.mean(pairs, axis=0))


def test_small_steps_of_large_weights_are_not_lost():
    start = np.full((1, 100), 1000, np.float32)
    up = np.nextafter(start, np.float32(np.inf))
    assert travel(np.array([start, up, np.nextafter(up, np.float32(np.inf))])).tpm == [1]


def sgd(weights, gradient, rate, decay, count):
    """Snapshots of Caffe's SGD in float32, momentum 0.9, every 1,000 iterations."""
    weights, history = weights.copy(), np.zeros_like(weights)
    points = [weights.copy()]
    for i in range(count * 1000):
        history = (
            np.float32(rate) * (np.float32(decay) * weights + gradient(i))
            + np.float32(0.9) * history
        )
        weights = weights - history
        if i % 1000 == 999:
            points.append(weights)
    return np.array(points)


@pytest.mark.parametrize("rate", [0.05, 5e-4, 5e-5])
def test_kernels_that_only_decay_are_dead(rate):
    """Kernels 0-3 have no gradient; 4-5 have one always the same, 6-7 noise: straight or not."""
    rng = np.random.default_rng(2)
    start = rng.standard_normal((8, 27)).astype(np.float32) * np.float32(0.1)
    steady = rng.standard_normal((8, 27)).astype(np.float32) * np.float32(1e-4)
    noise = rng.standard_normal((64, 8, 27)).astype(np.float32) * np.float32(1e-2)
    steady[[0, 1, 2, 3, 6, 7]] = 0
    noise[:, :6] = 0
    trajectory = travel(sgd(start, lambda i: steady + noise[i % 61], rate, 1e-3, 3))
    assert trajectory.dead.tolist() == [True] * 4 + [False] * 4
    assert trajectory.tpm[:4] == pytest.approx(1, abs=1e-3)


def test_dead_or_not_at_the_edges():
    """Never moving is dead; zero that starts to move, and one weight that shrinks, are not."""
    still = np.array([[[1.0, 2]]] * 3)
    awake = np.array([[[0.0, 0]], [[1, 0]], [[0.5, 0]]])
    single = np.array([[[4.0]], [[2]], [[1]]])
    shrinking = np.array([[[4.0, -2]], [[2, -1]], [[1, -0.5]]])
    revived = np.array([[[4.0, -2]], [[2, -1]], [[2, 1]]])
    flags = [travel(points).dead[0] for points in (still, awake, single, shrinking, revived)]
    assert flags == [True, False, False, True, False]


def test_entropy():
    assert histogram_entropy([7, 0, 0]) == 0
    assert histogram_entropy([5, 5, 5, 5]) == pytest.approx(log(4))
    assert histogram_entropy([3, 1]) == pytest.approx(-0.75 * log(0.75) - 0.25 * log(0.25))


# --- snapshots on disk ---


def measured(capsys, *argv):
    status, out, err = run(capsys, *argv, "--json", "t.json")
    assert status == 0
    text = Path("t.json").read_text()
    assert growth.read_tpm("t.json").to_json() == text
    return json.loads(text), out, err


def test_json(capsys):
    paths = snapshots(5)
    value, out, err = measured(capsys, *paths[::-1], "--bins", 4)
    assert err == ""
    assert (value["net"], value["window"], value["spacing"]) == ("little", [100, 500], 100)
    assert (value["iterations"], value["bins"]) == ([100, 200, 300, 400, 500], 4)
    assert (value["rate_drops"], value["warnings"]) == (None, [])
    one, two = value["layers"]
    assert {
        key: one[key]
        for key in ("name", "num_output", "weights", "kernel", "group", "classifier", "shared")
    } == {
        "name": "conv1",
        "num_output": 4,
        "weights": 36,
        "kernel": [3, 3],
        "group": 2,
        "classifier": False,
        "shared": False,
    }
    assert (two["name"], two["weights"], two["kernel"], two["classifier"]) == (
        "conv2",
        36,
        [1, 3],
        True,
    )
    points = np.array([weights(i)["conv2"] for i in range(1, 6)], float).reshape(5, 3, -1)
    path = np.linalg.norm(np.diff(points, axis=0), axis=2).sum(0)
    displacement = np.linalg.norm(points[-1] - points[0], axis=1)
    assert two["path_length"] == pytest.approx(path, rel=1e-12)
    assert two["displacement"] == pytest.approx(displacement, rel=1e-12)
    assert two["tpm"] == pytest.approx(displacement / path, rel=1e-12)
    assert two["histogram"] == np.histogram(two["tpm"], 4, (0, 1))[0].tolist()
    assert two["entropy"] == pytest.approx(histogram_entropy(two["histogram"]))
    assert two["dead"] == [False] * 3
    assert len(two["cosine"]) == 3
    assert value["mean_entropy"] == pytest.approx((one["entropy"] + two["entropy"]) / 2)
    assert [ast.literal_eval(line.rsplit(" ", 1)[0]) for line in out.splitlines()[1:]] == [
        (layer["name"], layer["num_output"])
        for layer in sorted(value["layers"], key=lambda layer: -layer["entropy"])
    ]


def test_window_and_hdf5_give_the_same(capsys):
    binary = snapshots(6)
    value, *_ = measured(capsys, *binary, "--window", 200, 500)
    assert value["iterations"] == [200, 300, 400, 500]
    paths = [Path(f"h_iter_{100 * i}.caffemodel.h5") for i in range(1, 7)]
    for i, path in enumerate(paths, 1):
        with h5py.File(path, "w") as file:
            for name, array in weights(i).items():
                file[f"data/{name}/0"] = array
    from_hdf5, *_ = measured(capsys, "--window", 200, 500, *paths)
    assert from_hdf5 == value
    mixed, *_ = measured(capsys, binary[1], paths[2], paths[3], "--window", 200, 500, binary[4])
    assert mixed == value


def test_memory_does_not_grow_with_the_snapshots():
    import tracemalloc

    net = schema.parse_text(NET.replace("num_output: 4", "num_output: 4096"), caffe_pb.NetParameter)
    shapes = {"conv1": (4096, 1, 3, 3), "conv2": (3, 4096, 1, 3)}
    paths = [
        snapshot(i, {name: np.full(shape, i) for name, shape in shapes.items()})
        for i in range(1, 25)
    ]
    peaks = []
    for count in (4, 24):
        tracemalloc.start()
        growth.measure(net, paths[:count])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_shared_and_fixed_layers(capsys):
    net = schema.parse_text(NET, caffe_pb.NetParameter)
    first = net.layer[2]
    assert first.name == "conv1"
    first.param.add(name="w")
    first.param.add(name="b")
    for name, spec in (("again", {"name": "w"}), ("frozen", {"lr_mult": 0})):
        layer = net.layer.add(name=name, type="Convolution", bottom=["x"], top=[name])
        layer.convolution_param.CopyFrom(first.convolution_param)
        layer.param.add(**spec)
    schema.write_text(net, "net.prototxt")
    value, _, err = measured(capsys, *snapshots())
    assert [(layer["name"], layer["shared"]) for layer in value["layers"]] == [
        ("conv1", True),
        ("conv2", False),
    ]
    assert err == (
        "warning: left out, lr_mult 0: frozen\n"
        "warning: layer 'again' shares the weights of 'conv1' and is measured there\n"
    )


def test_classifier_without_a_loss_is_at_the_net_s_end(capsys):
    text = NET.replace("include { phase: TRAIN }", "include { phase: TEST }")
    Path("net.prototxt").write_text(text)
    value, *_ = measured(capsys, *snapshots())
    assert [layer["classifier"] for layer in value["layers"]] == [False, True]


def test_no_convolution_is_a_classifier_before_an_inner_product(capsys):
    text = NET.replace('bottom: "pool" bottom', 'bottom: "ip" bottom').replace(
        'layer { name: "loss"',
        'layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" '
        'param { lr_mult: 0 } inner_product_param { num_output: 2 } }\nlayer { name: "loss"',
    )
    Path("net.prototxt").write_text(text)
    value, *_ = measured(capsys, *snapshots())
    assert [layer["classifier"] for layer in value["layers"]] == [False, False]


def test_inner_products_are_measured_too(capsys):
    """Their rows are kernels; (1, 1, N, K) is how older files have them."""
    layers = (
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } } '
        'layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" '
        "inner_product_param { num_output: 4 } } "
        'layer { name: "t" type: "InnerProduct" bottom: "a" top: "t" '
        "inner_product_param { num_output: 5 transpose: true } } "
        'layer { name: "b" type: "InnerProduct" bottom: "t" top: "b" '
        "inner_product_param { num_output: 2 } }"
    )
    Path("net.prototxt").write_text(f'name: "little" {layers}')
    random, ways = np.random.default_rng(0), {"a": [], "b": []}
    paths = []
    for iteration in (100, 200, 300):
        net = caffe_pb.NetParameter()
        for name, shape in (("a", (4, 3)), ("t", (4, 5)), ("b", (1, 1, 2, 5))):
            array = random.normal(size=shape).astype(np.float32)
            schema.array_to_blob(array, net.layer.add(name=name, type="InnerProduct").blobs.add())
            if name in ways:
                ways[name].append(array.reshape(-1, array.shape[-1]))
        paths.append(f"run_iter_{iteration}.caffemodel")
        schema.write_binary(net, paths[-1])
    value, _, err = measured(capsys, *paths)
    assert err == "warning: left out, transposed weights: t\n"
    assert [(x["name"], x["classifier"], x["weights"]) for x in value["layers"]] == [
        ("a", False, 12),
        ("b", True, 10),
    ]
    for found in value["layers"]:
        first, middle, last = ways[found["name"]]
        length = np.linalg.norm(middle - first, axis=1) + np.linalg.norm(last - middle, axis=1)
        assert found["tpm"] == pytest.approx(
            np.linalg.norm(last - first, axis=1) / length, rel=1e-5
        )


# --- warnings ---


def test_few_and_unequally_spaced_snapshots(capsys):
    paths = snapshots(5)
    _, _, err = run(capsys, *paths[:2])
    assert err == ("warning: only 2 snapshots: the way between them is straight by itself\n")
    value, _, err = measured(capsys, *paths[:3], paths[4])
    assert value["spacing"] is None
    assert err == (
        "warning: the snapshots are not equally spaced (100 and 200 iterations apart): "
        "a longer gap hides more of the way\n"
    )
    _, _, err = run(capsys, *paths, "--window", 300, 650)
    assert err == "warning: the window 300 to 650 has snapshots only from 300 to 500\n"
    assert run(capsys, *paths, "--window", 250, 550)[2] == ""


SOLVER = 'net: "net.prototxt" base_lr: 0.1 gamma: 0.1 '
MULTISTEP = SOLVER + 'lr_policy: "multistep" stepvalue: 100 stepvalue: 250 stepvalue: 400'


@pytest.mark.parametrize(
    ("solver", "drops", "told"),
    [
        (SOLVER + 'lr_policy: "fixed"', [], ""),
        (MULTISTEP, [[250, 250]], "the learning rate dropped inside the window (at 250)"),
        (
            SOLVER + 'lr_policy: "step" stepsize: 50',
            [[s, s] for s in range(150, 400, 50)],
            "the learning rate dropped inside the window (at 150, at 200, at 250, at 300 and ...)",
        ),
        (SOLVER + 'lr_policy: "step" stepsize: 0', [], ""),
        (
            SOLVER + 'lr_policy: "poly" power: 1 max_iter: 400',
            None,
            "lr_policy 'poly' changes the learning rate all the time",
        ),
    ],
)
def test_rate_drops_told_by_the_solver(capsys, solver, drops, told):
    """A drop at the window's first or last iteration is not inside: no update in it sees both."""
    Path("solver.prototxt").write_text(solver)
    value, _, err = measured(capsys, *snapshots(4, step=0), "--solver", "solver.prototxt")
    assert value["rate_drops"] == drops
    assert (
        err.removeprefix("warning: ").removesuffix(", which changes TPM by itself\n").rstrip("\n")
        == told
    )


def test_rate_drops_told_by_solver_states(capsys):
    for i, step in enumerate((0, 1, 1, 3, 3), 1):
        snapshot(100 * i, weights(i), step=step)
    Path("run_iter_300.solverstate").unlink()  # nothing is lost but where exactly
    paths = sorted(Path().glob("*.caffemodel"))
    value, _, err = measured(capsys, *paths)
    assert value["rate_drops"] == [[100, 199], [200, 399], [200, 399]]
    assert err == (
        "warning: the learning rate dropped inside the window (from 100 to 199 or at "
        "its start, from 200 to 399 and from 200 to 399), which changes TPM by itself\n"
    )
    value, _, err = measured(capsys, *paths, "--window", 400, 500)
    assert value["rate_drops"] == []


def test_hdf5_and_broken_solver_states(capsys):
    for i in (1, 2, 3):
        with h5py.File(f"h_iter_{i}.caffemodel.h5", "w") as file:
            for name, array in weights(i).items():
                file[f"data/{name}/0"] = array
        with h5py.File(f"h_iter_{i}.solverstate.h5", "w") as file:
            file["current_step"] = np.array([i // 2], np.int32)
    paths = sorted(Path().glob("*.caffemodel.h5"))
    assert measured(capsys, *paths)[0]["rate_drops"] == [[1, 1]]
    Path("h_iter_2.solverstate.h5").write_bytes(b"no HDF5")
    value, _, err = measured(capsys, *paths)
    assert value["rate_drops"] == [[1, 2]]
    assert err.startswith("warning: left out: h_iter_2.solverstate.h5: cannot be read: ")


def test_dead_kernels_are_told(capsys):
    start, paths = weights(0), []
    for i in range(4):
        arrays = weights(10 + i)
        arrays["conv1"][[1, 3]] = start["conv1"][[1, 3]] * np.float32(0.9**i)
        paths.append(snapshot(i, arrays))
    value, _, err = measured(capsys, *paths)
    assert value["layers"][0]["dead"] == [False, True, False, True]
    assert value["layers"][0]["tpm"][1] == pytest.approx(1)
    assert err == (
        "warning: layer 'conv1': 2 of 4 kernels are dead (only their decay moves them)\n"
    )


# --- the table ---


def entry(name, num_output, weights, entropy):
    """What the table tells of a layer."""
    return growth.LayerMeasurement(
        name=name, num_output=num_output, weights=weights, entropy=entropy,
        group=1, classifier=False, shared=False, histogram=(), tpm=(), dead=(),
    )  # fmt: skip


def measurement(*layers):
    return growth.Measurement(net="little", window=(100, 500), bins=10, layers=layers)


@pytest.mark.parametrize("name", ["baseline", "msplit1"])
def test_table_is_printed_as_the_study_prints_it(name):
    lines = (TABLES / f"{name}.txt").read_text().splitlines()
    layers = []
    for line in reversed(lines[1:]):
        row, _, entropy = line.rpartition(" ")
        layer, outputs, *count = ast.literal_eval(row)
        layers.append(entry(layer, outputs, (count or [1])[0], float(entropy)))
    value = measurement(*layers)
    mean = float(lines[0].split(" = ")[1])
    assert value.mean_entropy == pytest.approx(mean, rel=1e-11)
    first, *rows = growth.table(value)
    assert first == f"Mean TPM ratio entropy = {value.mean_entropy:.12g}"
    assert rows == lines[1:]


def test_round_numbers_keep_their_point():
    assert growth.table(measurement(entry("a", 1, 1, 0.0))) == [
        "Mean TPM ratio entropy = 0.0",
        "('a', 1) 0.0",
    ]


def test_as_a_command():
    paths = snapshots(3)
    command = [sys.executable, "-m", "netgen", "tpm", "net.prototxt", *paths, "--json", "t.json"]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    value = growth.read_tpm("t.json")
    assert done.stdout.splitlines() == growth.table(value)


# --- errors ---


def test_errors_of_names_and_windows(capsys):
    paths = snapshots(3)
    assert "x.caffemodel: not a snapshot's name (..._iter_N.caffemodel or .h5)" in error(
        capsys, *paths, "x.caffemodel"
    )
    assert (
        "run_iter_100.caffemodel and ./run_iter_100.caffemodel are both of iteration 100"
        in error(capsys, paths[0], "./" + paths[0])
    )
    assert error(capsys, *paths, "--window", 150, 250) == (
        "netgen: the window 150 to 250 holds 1 of 3 snapshots (iterations 100 to 300); "
        "TPM needs at least 2\n"
    )
    assert error(capsys, paths[0]) == (
        "netgen: only one snapshot (iteration 100): TPM needs at least 2\n"
    )
    assert "--window 3 2: the end is before the start" in error(capsys, *paths, "--window", 3, 2)
    assert "--bins 1: a histogram takes at least 2" in error(capsys, *paths, "--bins", 1)
    assert error(capsys, *paths, "run_iter_400.caffemodel") == (
        "netgen: File not found: run_iter_400.caffemodel\n"
    )
    assert error(capsys, "run_iter_1.caffemodel.h5", paths[0]) == (
        "netgen: File not found: run_iter_1.caffemodel.h5\n"
    )
    assert "nowhere/t.json: cannot be written" in error(capsys, *paths, "--json", "nowhere/t.json")


def test_errors_of_weights(capsys):
    paths = snapshots(3)

    def fourth(change):
        arrays = weights(4)
        change(arrays)
        return error(capsys, *paths, snapshot(400, arrays))

    def put(name, array):
        return lambda arrays: arrays.update({name: array})

    where = "netgen: run_iter_400.caffemodel: "
    assert fourth(lambda arrays: arrays.pop("conv2")) == f"{where}no weights of layer 'conv2'\n"
    assert fourth(put("conv2", np.zeros((2, 4, 1, 3)))) == (
        f"{where}layer 'conv2' has weights of shape 2 4 1 3 (24), the net's are 3 4 1 3 (36)\n"
    )
    assert fourth(put("conv2", np.zeros((3, 4, 3, 1)))) == (
        f"{where}layer 'conv2' has weights of shape 3 4 3 1 (36), the net's are 3 4 1 3 (36)\n"
    )
    assert fourth(put("conv1", np.zeros((4, 2, 3, 3)))) == (
        f"{where}layer 'conv1' has weights of shape 4 2 3 3 (72), in the first snapshot they were "
        "4 1 3 3 (36)\n"
    )
    assert fourth(put("conv1", np.full((4, 1, 3, 3), np.nan))) == (
        f"{where}layer 'conv1' has weights that are not finite numbers\n"
    )
    Path("run_iter_400.caffemodel").write_bytes(b"\xff\xff")
    assert "run_iter_400.caffemodel: not a whole" in error(
        capsys, *paths, "run_iter_400.caffemodel"
    )
    with h5py.File("run_iter_500.caffemodel.h5", "w") as file:
        file["data/conv1/0"] = weights(5)["conv1"]
    assert error(capsys, *paths, "run_iter_500.caffemodel.h5") == (
        "netgen: run_iter_500.caffemodel.h5: no weights of layer 'conv2'\n"
    )


def test_errors_of_nets(capsys):
    paths = snapshots(3)
    Path("net.prototxt").write_text('layer { name: "a" type: "ReLU" bottom: "b" top: "c" }')
    assert "net.prototxt: Unknown bottom blob 'b'" in error(capsys, *paths)
    Path("net.prototxt").write_text(NET[: NET.index('layer { name: "conv1"')])
    assert error(capsys, *paths) == (
        "netgen: net.prototxt: no convolution or inner product that learns: nothing to measure\n"
    )


def test_msplit1_has_the_rows_of_the_study():
    """Names, outputs and weights, measured on snapshots of the bundled net."""
    net = nets.build_net("msplit1", nets.NetOptions())
    train = graph.filter_net(net, caffe_pb.NetState(phase=caffe_pb.TRAIN))
    shapes = {
        info.layer.name: info.shapes.params[0]
        for info in graph.infer(train, caffe_pb.TRAIN, (3, 32, 32))
        if info.layer.type == "Convolution"
    }
    paths = [
        snapshot(i, {name: np.full(shape, i) for name, shape in shapes.items()}) for i in (1, 2, 3)
    ]
    value = growth.measure(net, paths)
    assert [layer.name for layer in value.layers if layer.classifier] == ["conv9"]
    rows = [line.rpartition(" ")[0] for line in growth.table(value)[1:]]
    study = (TABLES / "msplit1.txt").read_text().splitlines()[1:]
    assert sorted(rows) == sorted(line.rpartition(" ")[0] for line in study)
