"""Grown nets in training: every bundled net, gradients into what is new, and solver states."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import runner
from data_prep import encode_datums, write_lmdb
from netgen import nets, schema
from netgen.growth.errors import TransferError
from netgen.growth.history import grow_history
from netgen.growth.kinds import KINDS
from netgen.growth.plan import LayerPlan, Plan, to_json
from netgen.growth.split import split_net
from netgen.growth.start import Init
from netgen.growth.transfer import transfer_weights
from netgen.schema import caffe_pb

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True, scope="module")
def _quiet():
    with runner.quiet():
        yield


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    """A folder of LMDBs with eight records each, named and shaped as CIFAR-10's and MNIST's."""
    folder = tmp_path_factory.mktemp("cifar")
    random = np.random.default_rng(0)
    shapes = {"cifar10": (3, 32, 32), "mnist": (1, 28, 28)}
    for name in ("cifar10_train", "cifar10_test", "mnist_train", "mnist_test"):
        images = random.normal(size=(8, *shapes[name.partition("_")[0]])).astype(np.float32)
        write_lmdb(folder / f"{name}_lmdb", [list(encode_datums(images, range(8)))])
    mean = schema.array_to_blob(np.zeros((1, 3, 32, 32), np.float32))
    schema.write_binary(mean, folder / "mean.binaryproto")
    return str(folder)


def halves(net, kind="residual"):
    """The plan that splits every convolution of at least two outputs."""
    counts = [
        (layer.name, layer.convolution_param.num_output)
        for layer in net.layer
        if layer.type == "Convolution"
    ]
    return Plan(
        tuple(
            LayerPlan(name, kind, tuple(range(0, n, 2)), tuple(range(1, n, 2)))
            for name, n in counts
            if n > 1
        )
    )


def solver(net, folder, type_name="SGD", **fields):
    if type_name != "RMSProp":
        fields["momentum"] = 0.9
    param = caffe_pb.SolverParameter(
        net_param=net,
        base_lr=0.001,
        lr_policy="fixed",
        max_iter=2,
        type=type_name,
        random_seed=1,
        snapshot_prefix=str(folder / "s"),
        snapshot_after_train=False,
        **fields,
    )
    return runner.Solver(param).engine


@pytest.mark.parametrize("name", nets.NETS)
def test_every_bundled_net_trains_with_all_its_convolutions_split(name, cifar, tmp_path):
    width = 0.25 if name in ("cifar10_full", "resnet20") else 0.06  # ReLUs of one channel may die
    options = nets.NetOptions(width=width, batch_size=2, test_batch_size=2, data=cifar)
    net = nets.build_net(name, options)
    for layer in net.layer:  # cifar10_full's own are too small to learn in two iterations
        if layer.convolution_param.weight_filler.type == "gaussian":
            layer.convolution_param.weight_filler.std = 0.1
    if not name.startswith("msplit"):
        net = split_net(net, halves(net)).child
    training = solver(net, tmp_path, test_iter=[1], test_interval=2)
    before = training.net.parameters.data.clone()
    training.solve()
    after = training.net.parameters.data
    assert training.iter == 2
    assert bool(after.isfinite().all())
    for name, (old, new) in {
        node.name: (training.net.parameters.split(before)[node.learnable[0]], node.blobs[0])
        for node in training.net.nodes
        if node.learnable
    }.items():
        assert not torch.equal(old, new), name


NET = """
layer { name: "data" type: "Data" top: "data" top: "label" transform_param { crop_size: 32 }
        data_param { source: "%s" batch_size: 4 backend: LMDB } }
layer { name: "a" type: "Convolution" bottom: "data" top: "a" param { name: "first" }
        convolution_param { num_output: 3 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "b" type: "BatchNorm" bottom: "a" top: "b" }
layer { name: "c" type: "Convolution" bottom: "b" top: "c"
        convolution_param { num_output: 3 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "d" type: "Convolution" bottom: "c" top: "d" param { name: "first" }
        convolution_param { num_output: 3 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "ip" type: "InnerProduct" bottom: "d" top: "ip"
        inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
PLAN = Plan((LayerPlan("c", "residual", (2, 0), (1,)),))


def shared_net(cifar):
    return schema.parse_text(NET % f"{cifar}/cifar10_train_lmdb", caffe_pb.NetParameter)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("init", ["study", "preserve"])
def test_gradients_reach_every_new_blob(kind, init, cifar, tmp_path):
    net = shared_net(cifar)
    weights = runner.Net(shared_net(cifar), phase="TRAIN", seed=1).to_proto()
    plan = Plan((LayerPlan("c", kind, (0,), (1, 2)),))
    schema.write_binary(
        transfer_weights(split_net(net, plan), weights, Init(init)), tmp_path / "w.caffemodel"
    )
    child = split_net(net, plan).child
    training = solver(child, tmp_path, weights=[str(tmp_path / "w.caffemodel")])
    training.step(2)
    fixed = {layer.name for layer in child.layer if layer.name.endswith(("_skip", "_average"))}
    assert bool(fixed) == (kind in ("skip", "average"))
    new = [
        blob
        for blob in training.net.parameters.learnable
        if blob.layer.startswith("c_") and blob.layer not in fixed
    ]
    assert len(new) == {"residual": 10, "extension": 8, "skip": 6, "average": 6}[kind]
    grads = training.net.parameters.split(training.net.parameters.grad)
    for blob, grad in zip(training.net.parameters.learnable, grads, strict=True):
        if blob in new:
            assert bool((grad != 0).any()), (blob.layer, blob.index)


# --- solver states ---


def trained(net, folder, type_name):
    """(caffemodel, solver state) of two iterations."""
    training = solver(net, folder, type_name)
    training.step(2)
    path = training.snapshot()
    return (
        schema.read_caffemodel(path.replace("solverstate", "caffemodel")),
        schema.read_solverstate(path),
    )


def by_blob(net, state):
    """{(layer, index): [history arrays]} in the engine's own order."""
    training = runner.Net(net, phase="TRAIN").engine
    names = [(blob.layer, blob.index) for blob in training.parameters.learnable]
    assert len(state.history) % len(names) == 0
    arrays = [schema.blob_to_array(blob) for blob in state.history]
    return {name: arrays[i :: len(names)] for i, name in enumerate(names)}


@pytest.mark.parametrize(
    ("type_name", "kinds"), [("SGD", 1), ("RMSProp", 1), ("Adam", 2), ("AdaDelta", 2)]
)
def test_history_goes_where_the_weights_go(type_name, kinds, cifar, tmp_path):
    net = shared_net(cifar)
    weights, state = trained(shared_net(cifar), tmp_path, type_name)
    state.current_step = 3
    child_weights = transfer_weights(split_net(net, PLAN), weights, Init("preserve"))
    grown = grow_history(split_net(net, PLAN), weights, child_weights, state, "child.caffemodel")
    assert (grown.iter, grown.current_step, grown.learned_net) == (2, 3, "child.caffemodel")
    old, new = by_blob(shared_net(cifar), state), by_blob(split_net(net, PLAN).child, grown)
    assert {len(arrays) for arrays in new.values()} == {kinds}
    rows = {("c_split1", i): [array[[0, 2]] for array in old["c", i]] for i in (0, 1)}
    rows |= {("c_split2", i): [array[[1]] for array in old["c", i]] for i in (0, 1)}
    rows |= {name: arrays for name, arrays in old.items() if name[0] != "c"}
    assert any(array.any() for arrays in rows.values() for array in arrays)
    for name, arrays in new.items():
        for kind, array in enumerate(arrays):
            expected = rows[name][kind] if name in rows else np.zeros_like(array)
            np.testing.assert_array_equal(array, expected, err_msg=name)
    assert {name for name in new if name not in rows} == {
        (f"c_{role}", i)
        for i in (0, 1)
        for role in ("split2_residual_pre", "split2_residual_post", "reorder")
    }


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            lambda state: state.history.pop(),
            "the solver state has 9 history blobs, the net 10 "
            "learnable blobs: neither one nor two each",
        ),
        (
            lambda state: state.ClearField("history"),
            "the solver state has 0 history blobs, the net "
            "10 learnable blobs: neither one nor two each",
        ),
        (
            lambda state: schema.array_to_blob(np.zeros(5), state.history[5]),
            "layer 'c': the solver state has a history of 5 (5), the weights are 3 3 3 3 (81)",
        ),
    ],
)
def test_states_of_another_net(change, error, cifar, tmp_path):
    net = shared_net(cifar)
    weights, state = trained(shared_net(cifar), tmp_path, "SGD")
    change(state)
    with pytest.raises(TransferError) as caught:
        grow_history(
            split_net(net, PLAN),
            weights,
            transfer_weights(split_net(net, PLAN), weights),
            state,
            "c",
        )
    assert str(caught.value) == error


def transfer(*arguments, cwd):
    words = [
        sys.executable,
        "-m",
        "netgen",
        "transfer",
        "net.prototxt",
        "s_iter_2.caffemodel",
        "--plan",
        "plan.json",
        *arguments,
    ]
    return subprocess.run(
        words, cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )


def test_training_goes_on_from_a_transferred_state(cifar, tmp_path, monkeypatch):
    net = shared_net(cifar)
    schema.write_text(net, tmp_path / "net.prototxt")
    (tmp_path / "plan.json").write_text(to_json(PLAN))
    trained(net, tmp_path, "SGD")
    result = transfer(
        "--init",
        "preserve",
        "--history",
        "s_iter_2.solverstate",
        "-o",
        "child.caffemodel",
        "--history-out",
        "child.solverstate",
        cwd=tmp_path,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    monkeypatch.chdir(tmp_path)
    net = schema.read_net("net.prototxt")
    child = solver(split_net(net, PLAN).child, tmp_path)
    child.restore("child.solverstate")
    assert child.iter == 2
    parent = solver(net, tmp_path)
    os.remove("s_iter_2.solverstate.resume")  # both from the first record on
    parent.restore("s_iter_2.solverstate")
    losses = [side.net.forward()[0].item() for side in (parent, child)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)

    parent.step(1)
    child.step(1)
    before = runner.Net(shared_net(cifar), "s_iter_2.caffemodel", "TRAIN").engine
    node = {
        name: {s.name: s for s in side.nodes}
        for name, side in (("before", before), ("parent", parent.net), ("child", child.net))
    }
    moved = node["parent"]["c"].blobs[0] - node["before"]["c"].blobs[0]
    new = node["child"]["c_split1"].blobs[0] - node["before"]["c"].blobs[0][[0, 2]]
    # momentum and gradient are the parent's, so that the kept kernels move as they did
    torch.testing.assert_close(new, moved[[0, 2]], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--history", "s.solverstate", "-o", "c"), "--history and --history-out go together"),
        (("--history-out", "s.solverstate"), "--history and --history-out go together"),
        (
            ("--history", "s", "--history-out", "t"),
            "--history needs -o: the solver state names the child's weights",
        ),
    ],
)
def test_history_flags(arguments, error, tmp_path):
    result = transfer(*arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", f"netgen: {error}\n")
