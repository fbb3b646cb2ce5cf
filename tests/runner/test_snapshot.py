"""Snapshots and weights: what is written, under which names, and what is read back."""

import hashlib
import os
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest
import torch

from netgen import schema
from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner.net import hdf5
from runner.net.weights import load_weights
from runner.solver import Solver

SHAPES = {"conv/0": (4, 2, 3, 3), "conv/1": (4,), "ip/0": (3, 64), "ip/1": (3,)}


@pytest.fixture
def train(caffe, write_solver):
    """train(*words, solver field=value, ...) -> Result of a run that worked."""

    def run(*words, **fields):
        fields = {"test_iter": None, "test_interval": None, "display": 0, "max_iter": 4, **fields}
        result = caffe("train", "-solver", write_solver(**fields), *words)
        assert result.status == 0, result.err
        return result

    return run


def blobs(path):
    """{"layer/i": array} of a caffemodel."""
    return {
        f"{layer.name}/{i}": schema.blob_to_array(blob)
        for layer in schema.read_caffemodel(path).layer
        for i, blob in enumerate(layer.blobs)
    }


def assert_equal(ours, theirs):
    assert list(ours) == list(theirs)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def report(result):
    (line,) = {m for m in result.messages if m.startswith("Loaded ")}
    return line


# --- what is written ---


def test_names_and_contents(work, train):
    result = train(snapshot=2)
    assert sorted(path.name for path in work.glob("s_*")) == sorted(
        f"s_iter_{i}.{end}"
        for i in (2, 4)
        for end in ("caffemodel", "solverstate", "solverstate.resume")
    )
    assert result.starting("Snapshotting")[:2] == [
        "Snapshotting to binary proto file s_iter_2.caffemodel",
        "Snapshotting solver state to binary proto file s_iter_2.solverstate",
    ]
    net = schema.read_binary("s_iter_4.caffemodel", caffe_pb.NetParameter)
    assert net.name == "tiny" and not net.layers and not net.HasField("state")
    assert [layer.name for layer in net.layer] == ["data", "conv", "relu", "drop", "ip", "loss"]
    assert {layer.phase for layer in net.layer} == {caffe_pb.TRAIN}
    assert net.layer[0].data_param.batch_size == 4
    assert [spec.lr_mult for spec in net.layer[1].param] == [1, 2]
    assert {name: blob.shape for name, blob in blobs("s_iter_4.caffemodel").items()} == SHAPES
    assert not any(len(blob.diff) for layer in net.layer for blob in layer.blobs)
    state = schema.read_solverstate("s_iter_4.solverstate")
    assert (state.iter, state.learned_net) == (4, "s_iter_4.caffemodel")
    assert [schema.blob_to_array(b).shape for b in state.history] == list(SHAPES.values())


def test_split_layers_are_in_the_caffemodel(work, train):
    net = work / "net.prototxt"
    net.write_text(net.read_text().replace("include { phase: TEST }\n}", "}"))
    train(max_iter=1)
    names = [layer.name for layer in schema.read_caffemodel("s_iter_1.caffemodel").layer]
    assert [name for name in names if "split" in name] == ["label_data_1_split", "ip_ip_0_split"]


@pytest.mark.parametrize("kind, count", [("SGD", 4), ("AdaDelta", 8), ("Adam", 8)])
def test_history(train, kind, count):
    train(type=f'"{kind}"', max_iter=2)
    state = schema.read_solverstate("s_iter_2.solverstate")
    arrays = [schema.blob_to_array(blob) for blob in state.history]
    assert [array.shape for array in arrays] == list(SHAPES.values()) * (count // 4)
    if kind == "Adam":  # first the means, then the running squares
        assert all((array >= 0).all() for array in arrays[4:])
        assert any((array < 0).any() for array in arrays[:4])


def test_current_step(train):
    train(lr_policy='"multistep"', gamma=0.5, stepvalue=[1, 2, 9], max_iter=5)
    assert schema.read_solverstate("s_iter_5.solverstate").current_step == 2


@pytest.mark.parametrize("kind", ["SGD", "Nesterov"])
def test_snapshot_diff_holds_the_last_step(train, kind):
    train(type=f'"{kind}"', snapshot=1, max_iter=3, snapshot_diff="true")
    before, after = blobs("s_iter_2.caffemodel"), blobs("s_iter_3.caffemodel")
    for layer in schema.read_caffemodel("s_iter_3.caffemodel").layer:
        for i, blob in enumerate(layer.blobs):
            name = f"{layer.name}/{i}"
            step = np.array(blob.diff).reshape(SHAPES[name])
            assert np.abs(step).max() > 1e-4
            np.testing.assert_allclose(before[name] - step, after[name], atol=1e-6)


@pytest.mark.parametrize(
    "solver, prefix, expected",
    [
        ("solver", None, "solver"),
        ("my.solver", None, "my.solver"),
        ("sub/solver", None, "sub/solver"),
        ("solver", '"folder"', "folder/solver"),
        ("solver", '"folder/"', "folder/solver"),
        ("sub/solver", '"folder"', "folder/solver"),
        ("solver", '"folder/x"', "folder/x"),
        ("solver", '"x.y"', "x.y"),
    ],
)
def test_prefix(work, write_solver, caffe, solver, prefix, expected):
    for folder in ("sub", "folder"):
        (work / folder).mkdir()
    path = write_solver(solver, snapshot_prefix=prefix, max_iter=1, display=0)
    result = caffe("train", "-solver", path)
    assert result.status == 0
    assert (work / f"{expected}_iter_1.caffemodel").exists()
    told = result.starting("snapshot_prefix was ")
    if prefix is None:
        assert told == [f"snapshot_prefix was not specified and is set to {expected}"]
    elif prefix.startswith('"folder') and not prefix.endswith('x"'):
        assert told == [f"snapshot_prefix was a directory and is replaced to {expected}"]
    else:
        assert told == []


# --- HDF5 ---


def test_hdf5(work, train):
    result = train(snapshot_format="HDF5", max_iter=3)
    assert result.starting("Snapshotting") == [
        "Snapshotting to HDF5 file s_iter_3.caffemodel.h5",
        "Snapshotting solver state to HDF5 file s_iter_3.solverstate.h5",
    ]
    train(snapshot_prefix='"binary"', max_iter=3)
    expected = blobs("binary_iter_3.caffemodel")
    with h5py.File("s_iter_3.caffemodel.h5") as f:
        assert list(f) == ["data"]
        assert sorted(f["data"]) == ["conv", "data", "drop", "ip", "loss", "relu"]
        found = {}
        f["data"].visititems(
            lambda name, item: found.update({name: item[()]} if hasattr(item, "shape") else {})
        )
    assert_equal(found, expected)
    state = schema.read_solverstate("binary_iter_3.solverstate")
    with h5py.File("s_iter_3.solverstate.h5") as f:
        assert f["iter"][()].tolist() == [3] and f["current_step"][()].tolist() == [0]
        assert f["iter"].dtype == f["current_step"].dtype == np.int32
        assert f["learned_net"][()] == b"s_iter_3.caffemodel.h5"
        # Caffe reads it as a C string, into as many bytes as are stored: the zero must be there.
        assert f["learned_net"].dtype.itemsize == len("s_iter_3.caffemodel.h5") + 1
        assert sorted(f["history"]) == ["0", "1", "2", "3"]
        for i, blob in enumerate(state.history):
            np.testing.assert_array_equal(f["history"][str(i)], schema.blob_to_array(blob))


def test_hdf5_with_diffs(train):
    train(snapshot_format="HDF5", snapshot_diff="true", max_iter=1)
    with h5py.File("s_iter_1.caffemodel.h5") as f:
        assert sorted(f) == ["data", "diff"]
        assert f["diff"]["ip"]["0"].shape == SHAPES["ip/0"] and np.any(f["diff"]["ip"]["0"])


SHARED = """
  layer {{ name: "d" type: "DummyData" top: "x" top: "y" dummy_data_param {{
    shape {{ dim: 2 dim: 3 }} shape {{ dim: 2 dim: 3 }} data_filler {{ type: "gaussian" }} }} }}
  layer {{ name: "a" type: "InnerProduct" bottom: "x" top: "a" param {{ name: "w" }}
    inner_product_param {{ num_output: 3 weight_filler {{ type: "gaussian" std: {std} }} }} }}
  layer {{ name: "b" type: "InnerProduct" bottom: "a" top: "b" param {{ name: "w" }}
    inner_product_param {{ num_output: 3 weight_filler {{ type: "gaussian" }} }} }}
  layer {{ name: "loss" type: "EuclideanLoss" bottom: "b" bottom: "y" top: "loss" }}
"""


def test_a_shared_blob_is_stored_once_in_hdf5_and_twice_in_binary(work, train):
    (work / "net.prototxt").write_text(SHARED.format(std=0.1))
    train(max_iter=1)
    binary = blobs("s_iter_1.caffemodel")
    assert list(binary) == ["a/0", "a/1", "b/0", "b/1"]
    np.testing.assert_array_equal(binary["a/0"], binary["b/0"])
    train(max_iter=1, snapshot_format="HDF5")
    with h5py.File("s_iter_1.caffemodel.h5") as f:
        assert {name: sorted(f["data"][name]) for name in "ab"} == {"a": ["0", "1"], "b": ["1"]}
    result = train("-weights", "s_iter_1.caffemodel.h5", max_iter=0, snapshot_prefix='"again"')
    assert report(result) == "Loaded 2 layers from s_iter_1.caffemodel.h5: a, b"
    assert_equal(blobs("again_iter_0.caffemodel"), binary)


# --- weights ---


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_weights(train, form):
    train(snapshot_format=form)
    end = ".h5" if form == "HDF5" else ""
    result = train(
        "-weights", f"s_iter_4.caffemodel{end}", max_iter=0, snapshot_prefix='"t"', random_seed=9
    )
    assert f"Finetuning from s_iter_4.caffemodel{end}" in result.messages
    assert report(result) == f"Loaded 2 layers from s_iter_4.caffemodel{end}: conv, ip"
    train(snapshot_prefix='"same"')
    assert_equal(blobs("t_iter_0.caffemodel"), blobs("same_iter_4.caffemodel"))


def rename(path, new, **names):
    """A copy of a caffemodel with layers renamed; those named "" are left out."""
    net = schema.read_caffemodel(path)
    for layer in list(net.layer):
        layer.name = names.get(layer.name, layer.name)
        if not layer.name:
            net.layer.remove(layer)
    schema.write_binary(net, new)


def test_several_files_and_partial_ones(work, train):
    """Layers match by name; the last file that has one wins; the rest keeps its filler."""
    train(max_iter=0, snapshot_prefix='"fresh"')
    train(max_iter=3, random_seed=5)
    train(max_iter=2, random_seed=6)
    rename("s_iter_3.caffemodel", "one.caffemodel", ip="")
    rename("s_iter_2.caffemodel", "two.caffemodel", ip="ip_old")
    result = train("-weights", "one.caffemodel, two.caffemodel", max_iter=0)
    assert result.starting("Finetuning") == [
        "Finetuning from one.caffemodel", "Finetuning from two.caffemodel",
    ]  # fmt: skip
    assert result.starting("Loaded") == [
        "Loaded 1 layers from one.caffemodel: conv; not in the file, left as they were: ip",
        "Loaded 1 layers from two.caffemodel: conv; not in the net: ip_old; "
        "not in the file, left as they were: ip",
    ]
    assert result.starting("Ignoring") == ["Ignoring source layer ip_old"]
    found = blobs("s_iter_0.caffemodel")
    expected = {**blobs("s_iter_2.caffemodel")}
    expected.update({k: v for k, v in blobs("fresh_iter_0.caffemodel").items() if k[:2] == "ip"})
    assert_equal(found, expected)


def test_weights_of_the_solver_and_of_the_flag(train):
    train(max_iter=3)
    field = {"weights": ['"s_iter_3.caffemodel"'], "max_iter": 0}
    assert train(**field).starting("Finetuning") == ["Finetuning from s_iter_3.caffemodel"]
    os.rename("s_iter_3.caffemodel", "other.caffemodel")  # the flag's file instead of it
    result = train("-weights=other.caffemodel", **field)
    assert result.starting("Finetuning") == ["Finetuning from other.caffemodel"]
    # A solver state takes the place of both.
    os.rename("other.caffemodel", "s_iter_3.caffemodel")
    assert not train("-snapshot=s_iter_3.solverstate", **field).starting("Finetuning")


def test_test_nets_get_the_weights_too(train):
    train(max_iter=1)
    result = train("-weights", "s_iter_1.caffemodel", max_iter=0, test_iter=1, test_interval=1)
    assert len(result.starting("Loaded 2 layers from s_iter_1.caffemodel: conv, ip")) == 2


def legacy(path, new, axes=4):
    """The caffemodel as Caffe before 2014 would have written it: 4-D blobs, no shape."""
    net = schema.read_caffemodel(path)
    for layer in net.layer:
        for blob in layer.blobs:
            dims = [1] * (axes - len(blob.shape.dim)) + list(blob.shape.dim)
            blob.ClearField("shape")
            blob.num, blob.channels, blob.height, blob.width = dims
    schema.write_binary(net, new)


def test_legacy_blobs(train):
    train()
    legacy("s_iter_4.caffemodel", "old.caffemodel")
    train("-weights", "old.caffemodel", max_iter=0, snapshot_prefix='"t"')
    assert_equal(blobs("t_iter_0.caffemodel"), blobs("s_iter_4.caffemodel"))


def mistake(caffe, *words):
    result = caffe(*words)
    assert result.status == 1 and "Traceback" not in result.err
    return result.messages[-1]


def test_a_shape_that_differs(caffe, work, train):
    train(max_iter=1)
    net = work / "net.prototxt"
    net.write_text(net.read_text().replace("num_output: 3", "num_output: 30"))
    told = (
        "Cannot copy param 0 weights from layer 'ip'; shape mismatch.  Source param shape is {} "
        "(192); target param shape is 30 64 (1920). To learn this layer's parameters from scratch "
        "rather than copying from a saved net, rename the layer."
    )
    words = ["test", "-model", "net.prototxt", "-weights"]
    assert mistake(caffe, *words, "s_iter_1.caffemodel") == told.format("3 64")
    legacy("s_iter_1.caffemodel", "old.caffemodel")
    assert mistake(caffe, *words, "old.caffemodel") == told.format("1 1 3 64")
    net.write_text(net.read_text().replace("num_output: 30", "num_output: 3"))
    train(max_iter=1, snapshot_format="HDF5")
    net.write_text(net.read_text().replace("num_output: 3", "num_output: 30"))
    assert mistake(caffe, *words, "s_iter_1.caffemodel.h5") == told.format("3 64")


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_a_count_of_blobs_that_differs(caffe, work, train, form):
    train(max_iter=1, snapshot_format=form)
    net = work / "net.prototxt"
    text = net.read_text()
    net.write_text(text.replace("num_output: 4", "num_output: 4 bias_term: false"))
    weights = "s_iter_1.caffemodel" + (".h5" if form == "HDF5" else "")
    # Too many parameters for the prototxt's own two `param`s: leave one
    net.write_text(net.read_text().replace("param { lr_mult: 2 decay_mult: 0 }", ""))
    message = mistake(caffe, "test", "-model", "net.prototxt", "-weights", weights)
    assert message.startswith("Incompatible number of blobs for layer conv")
    net.write_text(text.replace("num_output: 3", "num_output: 3 bias_term: false"))
    train(max_iter=1, snapshot_format=form)
    net.write_text(text)
    message = mistake(caffe, "test", "-model", "net.prototxt", "-weights", weights)
    assert message.startswith("Incompatible number of blobs for layer ip")


def test_nothing_is_copied_from_a_file_that_does_not_fit(train, work):
    train(max_iter=2)
    weights = schema.read_caffemodel("s_iter_2.caffemodel")
    weights.layer[4].blobs.add()
    schema.write_binary(weights, "bad.caffemodel")
    param = schema.read_solver("solver.prototxt")
    solver = Solver(param)
    before = solver.net.parameters.data.clone()
    with pytest.raises(CaffeError, match="blobs for layer ip"):
        load_weights(solver.net, "bad.caffemodel")
    assert solver.net.parameters.data.equal(before)


# --- going on from a state that is not what it should be ---


def test_a_caffemodel_given_to_snapshot(caffe, write_solver, train):
    train()
    message = mistake(
        caffe, "train", "-solver", "solver.prototxt", "-snapshot", "s_iter_4.caffemodel"
    )
    assert message == (
        "s_iter_4.caffemodel: Check failed: state.history_size() == history_.size() (0 vs. 4) "
        "Incorrect length of history blobs. (Is it a caffemodel? Those go to -weights.)"
    )


def test_a_state_of_another_solver_or_net(caffe, work, write_solver, train):
    train()
    message = mistake(
        caffe, "train", "-solver", write_solver("adam", type='"Adam"'),
        "-snapshot", "s_iter_4.solverstate",
    )  # fmt: skip
    assert message.endswith("(4 vs. 8) Incorrect length of history blobs.")
    net = work / "net.prototxt"
    net.write_text(net.read_text().replace("num_output: 3", "num_output: 5"))
    message = mistake(
        caffe, "train", "-solver", "solver.prototxt", "-snapshot", "s_iter_4.solverstate"
    )
    assert message == (
        "s_iter_4.solverstate: history blob 2 has shape (3, 64), the net's parameter has (5, 64)"
    )


def test_the_wrong_form_of_a_state(caffe, train):
    train(snapshot_format="HDF5")
    words = ["train", "-solver", "solver.prototxt", "-snapshot"]
    os.rename("s_iter_4.solverstate.h5", "s_iter_4.solverstate")  # the suffix chooses
    message = mistake(caffe, *words, "s_iter_4.solverstate")
    assert message.startswith("s_iter_4.solverstate: not a whole caffe.SolverState")
    message = mistake(caffe, *words, "s_iter_4.caffemodel.h5")
    assert message == "s_iter_4.caffemodel.h5: no solver state, it has no 'iter'"
    train()
    os.rename("s_iter_4.solverstate", "x.solverstate.h5")
    message = mistake(caffe, *words, "x.solverstate.h5")
    assert message.startswith("x.solverstate.h5: cannot be read: ") and "\n" not in message


def test_blobs_that_hold_too_little(caffe, train):
    train(max_iter=1)
    net = schema.read_caffemodel("s_iter_1.caffemodel")
    del net.layer[1].blobs[1].data[-1]
    schema.write_binary(net, "short.caffemodel")
    message = mistake(caffe, "test", "-model=net.prototxt", "-weights=short.caffemodel")
    assert message == "param 1 of layer 'conv': a blob of shape 4 (4) holds 3 values"
    state = schema.read_solverstate("s_iter_1.solverstate")
    del state.history[3].data[-1]
    schema.write_binary(state, "short.solverstate")
    message = mistake(caffe, "train", "-solver=solver.prototxt", "-snapshot=short.solverstate")
    assert message == "short.solverstate: history blob 3: a blob of shape 3 (3) holds 2 values"


def no_group(f):
    f["data"] = 1.0


def a_name_that_is_no_number(f):
    f["data/conv/weight"] = np.zeros(3)


def a_text(f):
    f["data/conv/0"] = "text"


@pytest.mark.parametrize("build", [no_group, a_name_that_is_no_number, a_text])
def test_an_hdf5_file_of_somebody_else(caffe, work, build):
    with h5py.File("x.h5", "w") as f:
        build(f)
    message = mistake(caffe, "test", "-model=net.prototxt", "-weights=x.h5")
    assert message.startswith("x.h5: not laid out as Caffe's HDF5 files: ")
    assert "\n" not in message


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_learned_net_may_move_with_its_state(caffe, work, train, form):
    train(snapshot_format=form)
    end = ".h5" if form == "HDF5" else ""
    (work / "kept").mkdir()
    for path in work.glob("s_iter_4*"):
        path.rename(work / "kept" / path.name)
    words = ["-snapshot", f"kept/s_iter_4.solverstate{end}"]
    result = train(*words, max_iter=5, snapshot_prefix='"t"')
    assert report(result) == f"Loaded 2 layers from kept/s_iter_4.caffemodel{end}: conv, ip"
    (work / "kept" / f"s_iter_4.caffemodel{end}").unlink()
    message = mistake(caffe, "train", "-solver", "solver.prototxt", *words)
    assert message == (
        f"Check failed: fd != -1 (-1 vs. -1) File not found: s_iter_4.caffemodel{end}"
    )


def test_an_unreadable_resume_file(caffe, work, train):
    train(max_iter=2)
    words = ["train", "-solver", "solver.prototxt", "-snapshot", "s_iter_2.solverstate"]
    for content in (b"", b"nonsense", (work / "s_iter_2.solverstate.resume").read_bytes()[:500]):
        (work / "s_iter_2.solverstate.resume").write_bytes(content)
        message = mistake(caffe, *words)
        assert message.startswith("s_iter_2.solverstate.resume: unreadable (")
        assert message.endswith("); delete it to resume as Caffe does") and "\n" not in message
    train(max_iter=3, snapshot_prefix='"other"')
    os.replace("other_iter_3.solverstate.resume", "s_iter_2.solverstate.resume")
    assert mistake(caffe, *words) == (
        "s_iter_2.solverstate.resume: s_iter_2.caffemodel has SHA-256 "
        f"{schema.file_digest('s_iter_2.caffemodel')}, "
        f"{schema.file_digest('other_iter_3.caffemodel')} was written: it is damaged, or of "
        "another run. Go on from another snapshot; without this file a run resumes as Caffe does, "
        "and nothing tells that the others are whole"
    )


# --- all or nothing ---


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_a_snapshot_that_cannot_be_written_leaves_what_was_there(
    caffe, work, train, write_solver, monkeypatch, form
):
    """A full disk at the last moment: nothing half-written, and the old files still whole."""
    train(snapshot_format=form, max_iter=2)
    before = {path.name: path.read_bytes() for path in work.glob("s_iter_2*")}

    def full(source, target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        message = mistake(
            caffe, "train", "-solver",
            write_solver(snapshot_format=form, max_iter=2, random_seed=77, display=0),
        )  # fmt: skip
    assert "No space left on device" in message and "s_iter_2" in message
    assert {path.name: path.read_bytes() for path in work.glob("s_iter_2*")} == before
    assert not list(work.glob("*tmp*"))


def test_the_probe_leaves_nothing_and_needs_no_snapshot(caffe, work, train, write_solver):
    train(snapshot=2, max_iter=0, snapshot_after_train="false")
    assert not list(work.glob("s_iter*"))
    # Whoever wants no snapshot may well train where nothing can be written.
    train(snapshot_prefix='"no/such/folder"', snapshot_after_train="false", max_iter=1)


def test_hdf5_without_h5py_is_told_before_training(caffe, write_solver, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    result = caffe("train", "-solver", write_solver(snapshot_format="HDF5"))
    assert result.status == 1
    assert result.messages[-1] == "s: HDF5 files need the package h5py: pip install h5py"
    assert not result.starting("Iteration")


# --- what belongs together ---


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
@pytest.mark.parametrize("part", ["caffemodel", "solverstate", "solverstate.resume"])
def test_a_set_mixed_of_two_runs_is_refused(caffe, work, train, form, part):
    """As a rerun leaves it that is killed between two of its files."""
    tail = ".h5" if form == "HDF5" else ""
    name = "iter_2." + part.replace("model", f"model{tail}").replace("state", f"state{tail}")
    for seed, prefix in ((1, "s"), (2, "other")):
        train(max_iter=2, snapshot_format=form, random_seed=seed, snapshot_prefix=f'"{prefix}"')
    os.replace(work / f"other_{name}", work / f"s_{name}")
    words = ["-solver", "solver.prototxt", "-snapshot", f"s_iter_2.solverstate{tail}"]
    message = mistake(caffe, "train", *words)
    assert message.startswith(f"s_iter_2.solverstate{tail}.resume: ")
    assert " was written: it is damaged, or of another run. Go on from another" in message
    (work / f"s_iter_2.solverstate{tail}.resume").unlink()  # as the message says
    assert caffe("train", *words).status == 0


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_weights_with_a_bit_flipped_are_told_by_the_resume_beside_them(caffe, work, train, form):
    """A flipped bit of a weight is a good caffemodel to every reader."""
    tail = ".h5" if form == "HDF5" else ""
    train(max_iter=2, snapshot_format=form)
    model, resume = work / f"s_iter_2.caffemodel{tail}", f"s_iter_2.solverstate{tail}.resume"
    whole = model.read_bytes()
    weights = hdf5.read_weights(model)["ip"][0] if tail else blobs(model)["ip/0"]
    place = whole.index(weights.tobytes())
    model.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    written = hashlib.sha256(whole).hexdigest()
    for words in (
        ["train", "-solver", "solver.prototxt", "-weights", model.name],
        ["test", "-model", "net.prototxt", "-iterations", "1", "-weights", model.name],
    ):
        message = mistake(caffe, *words)
        assert message == (
            f"{model.name} has SHA-256 {schema.file_digest(model)}, {written} was written: it is "
            f"damaged, or of another run ({resume} tells so). Take another snapshot; a copy under "
            "another name is taken as it is"
        )
    message = mistake(
        caffe, "train", "-solver", "solver.prototxt", "-snapshot", f"s_iter_2.solverstate{tail}"
    )
    assert message.startswith(f"{resume}: {model.name} has SHA-256 ")
    assert "delete" not in message
    model.rename(work / f"copy.caffemodel{tail}")
    words = ["-iterations", "1", "-weights", f"copy.caffemodel{tail}"]
    assert caffe("test", "-model", "net.prototxt", *words).status == 0
    model.write_bytes(whole)
    (work / resume).write_bytes(b"nonsense")  # evidence of nothing
    assert caffe("test", "-model", "net.prototxt", *words[:-1], model.name).status == 0


def test_a_resume_without_digests_is_of_an_older_version(caffe, work, train):
    train(max_iter=2)
    path = work / "s_iter_2.solverstate.resume"
    content = torch.load(path, weights_only=True)
    del content["digests"]
    torch.save(content, path)
    words = ["-solver", "solver.prototxt", "-snapshot", "s_iter_2.solverstate"]
    assert caffe("train", *words).status == 0


def test_a_compressed_resume_is_not_unpacked(caffe, work, train):
    train(max_iter=2)
    with zipfile.ZipFile(work / "s_iter_2.solverstate.resume", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("archive/data.pkl", bytes(1 << 26))
    words = ["-solver", "solver.prototxt", "-snapshot", "s_iter_2.solverstate"]
    assert "it holds something compressed" in mistake(caffe, "train", *words)


def test_a_resume_of_numbers_that_no_training_writes(caffe, work, train):
    train(max_iter=2)
    path = work / "s_iter_2.solverstate.resume"
    words = ["-solver", "solver.prototxt", "-snapshot", "s_iter_2.solverstate"]
    content = torch.load(path, weights_only=True)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[whole.index(b"digests") + 2] ^= 1
    path.write_bytes(damaged)
    assert "s_iter_2.solverstate.resume: it is damaged: its checksum" in mistake(
        caffe, "train", *words
    )
    for number in (-3, 1 << 70):
        content["train"]["data"]["seed"] = number
        torch.save(content, path)
        told = f"s_iter_2.solverstate.resume: it holds the number {number}, which no training"
        assert told in mistake(caffe, "train", *words)


def test_two_trainings_of_one_prefix(caffe, work, write_solver):
    """The second is refused while the first lives, and no lock is left behind by a kill."""
    long = write_solver("long", max_iter=10**6, display=1)
    first = subprocess.Popen(
        [sys.executable, "-m", "runner", "train", "-solver", long],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for line in first.stderr:
            if "Iteration 1 " in line:
                break
        short = write_solver("short", max_iter=1)
        assert mistake(caffe, "train", "-solver", short) == (
            f"another training (process {first.pid}) writes snapshots of snapshot_prefix 's' now: "
            "stop it, or give this one a prefix of its own"
        )
        assert caffe("train", "-solver", write_solver("b", max_iter=1, snapshot_prefix='"b"'))
    finally:
        first.kill()
        first.communicate()
    assert caffe("train", "-solver", short).status == 0
    assert not list(work.glob(".*"))


def test_a_training_that_may_write_nothing_leaves_nothing(work, write_solver):
    """Not even the file of its lock, in which there is no room for the number of its process."""
    before = sorted(work.iterdir())
    solver = write_solver(max_iter=1)
    command = f'ulimit -f 0; "{sys.executable}" -m runner train -solver {solver}'
    told = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert told.returncode == 1
    assert told.stderr.endswith("] s_iter_1.caffemodel: cannot be written: File too large\n")
    assert sorted(work.iterdir()) == sorted({*before, work / solver})
