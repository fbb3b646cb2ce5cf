"""The face: nets and solvers from Python."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import runner
from netgen import nets, schema
from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner.log import glog
from runner.net.net import Net as EngineNet
from runner.net.net import net_param_for

ROOT = Path(__file__).parents[2]
RANDOM = np.random.default_rng(0)

NET = """
name: "small"
layer { name: "in" type: "Input" top: "data" top: "scale"
  input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } shape { dim: 2 dim: 3 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {
  num_output: 3 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm" }
layer { name: "gamma" type: "Scale" bottom: "norm" top: "gamma" scale_param {
  bias_term: true filler { value: 2 } bias_filler { value: 1 } } }
layer { name: "relu" type: "ReLU" bottom: "gamma" top: "gamma" }
layer { name: "by" type: "Scale" bottom: "gamma" bottom: "scale" top: "by" scale_param { axis: 0 } }
layer { name: "only" type: "ReLU" bottom: "conv" top: "only" include { stage: "extra" } }
layer { name: "trained" type: "ReLU" bottom: "conv" top: "trained" include { phase: TRAIN } }
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    return tmp_path / "net.prototxt"


def values(batch):
    return {"data": RANDOM.normal(size=(batch, 3, 4, 4)), "scale": RANDOM.normal(size=(batch, 3))}


def test_import_loads_nothing():
    code = "import sys, runner; print(sorted({'torch', 'numpy', 'google', 'netgen'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_every_name_is_there_and_no_other():
    assert runner.__dir__() == runner.__all__
    assert all(getattr(runner, name) is not None for name in runner.__all__)
    with pytest.raises(AttributeError, match="module 'runner' has no attribute 'Network'"):
        runner.Network  # noqa: B018


# --- Net ---


def test_outputs_are_the_engines_for_any_batch(path, capfd):
    net = runner.Net(path, seed=1)
    assert net.name == "small"
    assert net.inputs == {"data": (2, 3, 4, 4), "scale": (2, 3)}
    assert net.outputs == ["by"]
    given = values(5)
    found = net.forward(**given)
    assert {name: (x.shape, x.dtype) for name, x in found.items()} == {
        "by": ((5, 3, 2, 2), np.float32)
    }
    relu = net.forward(["gamma"], **given)["gamma"]
    scale = given["scale"].astype(np.float32)[:, :, None, None]
    np.testing.assert_allclose(found["by"], relu * scale, rtol=1e-5, atol=1e-6)
    assert capfd.readouterr() == ("", "")


def test_an_input_keeps_its_values_until_it_is_given_others(path):
    net = runner.Net(path, seed=1)
    assert not net.forward()["by"].any()  # scale is zero
    given = values(2)
    first = net.forward(**given)
    np.testing.assert_array_equal(net.forward(data=given["data"])["by"], first["by"])
    first["by"][:] = 7  # a copy
    assert not (net.forward()["by"] == 7).any()


def test_inputs_are_copied(path):
    net = runner.Net(path, seed=1)
    given = {name: value.astype(np.float32) for name, value in values(2).items()}
    first = net.forward(**given)["by"]
    for value in given.values():
        value[:] = 0
        value.flags.writeable = False
    np.testing.assert_array_equal(net.forward()["by"], first)
    assert not net.forward(**given)["by"].any()


def test_any_blob_is_there_by_name_even_one_that_is_fused_away(path):
    net = runner.Net(path, seed=1)
    blobs = net.forward(["conv", "norm", "gamma", "data"], **values(2))
    assert list(blobs) == ["conv", "norm", "gamma", "data"]
    np.testing.assert_allclose(blobs["gamma"], np.maximum(2 * blobs["norm"] + 1, 0), rtol=1e-5)
    assert net.forward([]) == {}


def test_tensors_are_taken_as_arrays_are(path):
    net = runner.Net(path, seed=1)
    given = values(2)
    tensors = {name: torch.tensor(value) for name, value in given.items()}
    np.testing.assert_array_equal(net.forward(**tensors)["by"], net.forward(**given)["by"])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"dada": 0}, "net 'small' has no input 'dada'; did you mean 'data'?"),
        ({"x": 0}, "net 'small' has no input 'x' (data, scale)"),
        ({"conv": 0}, "net 'small' has no input 'conv' (data, scale)"),
        ({"blobs": ["cnov"]}, "net 'small' has no blob 'cnov'; did you mean 'conv'?"),
        (
            {"scale": np.zeros((2, 4))},
            "net 'small': input 'scale' is 2 x 3, its first axis of any size, and was given 2 x 4",
        ),
        (
            {"scale": 1.0},
            "net 'small': input 'scale' is 2 x 3, its first axis of any size, and was given a "
            "single number",
        ),
    ],
)
def test_names_and_shapes_that_do_not_fit_are_one_line(path, arguments, error):
    net = runner.Net(path, seed=1)
    before = net.forward(**values(3))["by"]
    with pytest.raises(CaffeError) as caught:
        net.forward(**{"data": np.zeros((1, 3, 4, 4)), **arguments})
    assert str(caught.value) == error
    np.testing.assert_array_equal(net.forward()["by"], before)  # nothing was taken


def test_phase_stage_and_a_parameter_instead_of_a_file(path):
    param = schema.read_net(path)
    before = param.SerializeToString()
    assert runner.Net(param, phase="TRAIN").outputs == ["by", "trained"]
    assert runner.Net(param, phase=caffe_pb.TRAIN, stages=["extra"]).outputs == [
        "by", "only", "trained",
    ]  # fmt: skip
    assert param.SerializeToString() == before
    types = [layer.type for layer in runner.Net(param, phase="TRAIN").layers]
    assert types.count("Split") == 1


def test_an_old_parameter_is_upgraded():
    param = caffe_pb.NetParameter(input=["data"])
    param.input_shape.add(dim=[1, 2])
    assert runner.Net(param).inputs == {"data": (1, 2)}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"phase": "VALIDATION"}, "phase 'VALIDATION': it is TRAIN or TEST"),
        ({"device": "tpu"}, "device 'tpu': it is cpu, cuda or cuda:N"),
        ({"device": "meta"}, "device 'meta': it is cpu, cuda or cuda:N"),
        ({"precision": "tf32"}, "-precision tf32 is for CUDA devices; a CPU has fp32 and bf16"),
        ({"weights": "no.caffemodel"}, r".* File not found: no.caffemodel"),
    ],
)
def test_refusals_are_one_line(path, arguments, error):
    with pytest.raises(CaffeError, match=f"^{error}$"):
        runner.Net(path, **arguments)


def test_a_net_that_cannot_be_names_its_file(path):
    path.write_text(NET.replace('bottom: "norm"', 'bottom: "nrom"'))
    with pytest.raises(CaffeError, match=rf"^{path}: .*'nrom'.*$"):
        runner.Net(path)


def test_params_are_the_nets_memory(path):
    net = runner.Net(path, seed=1)
    assert {name: [x.shape for x in blobs] for name, blobs in net.params.items()} == {
        "conv": [(3, 3, 3, 3), (3,)],
        "norm": [(3,), (3,), (1,)],
        "gamma": [(3,), (3,)],
    }
    net.params["gamma"][0][:] = 0
    blobs = net.forward(["gamma"], **values(2))
    np.testing.assert_array_equal(blobs["gamma"], 1)


def test_weights_are_saved_loaded_and_reported(path, tmp_path):
    net = runner.Net(path, seed=1)
    net.save(tmp_path / "a.caffemodel")
    given = values(2)
    loaded = runner.Net(path, weights=tmp_path / "a.caffemodel")
    np.testing.assert_array_equal(loaded.forward(**given)["by"], net.forward(**given)["by"])

    (tmp_path / "other.prototxt").write_text(NET.replace('name: "gamma"', 'name: "beta"'))
    other = runner.Net(tmp_path / "other.prototxt")
    report = runner.load_weights(other, net.to_proto())
    assert (report.loaded, report.skipped, report.missing) == (
        ("conv", "norm"), ("gamma",), ("beta",),
    )  # fmt: skip


def test_of_several_weights_the_later_ones_win(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in (1, 2):
        runner.Net(path, seed=seed).save(f"{seed}.caffemodel")
    expected = runner.Net(path, weights="2.caffemodel").params["conv"][0]
    for weights in (["1.caffemodel", "2.caffemodel"], "1.caffemodel, 2.caffemodel"):
        np.testing.assert_array_equal(runner.Net(path, weights=weights).params["conv"][0], expected)


# --- the log ---


def test_a_net_logs_if_it_is_asked_to(path, capfd, tmp_path):
    net = runner.Net(path, seed=1, log=True)
    assert "This network produces output by" in capfd.readouterr().err
    net.save(tmp_path / "a.caffemodel")
    runner.load_weights(net, tmp_path / "a.caffemodel")
    assert "Loaded 3 layers from" in capfd.readouterr().err


def test_quiet_is_this_threads_alone_and_may_be_nested(capfd):
    def elsewhere():
        glog.info("from another thread", "x.cpp:1")

    with runner.quiet():
        with runner.quiet():
            pass
        glog.error("inside", "x.cpp:1")
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    glog.info("after", "x.cpp:1")
    lines = [line.partition("] ")[2] for line in capfd.readouterr().err.splitlines()]
    assert lines == ["from another thread", "after"]


def test_quiet_silences_the_engine_as_well(path, capfd):
    with runner.quiet():
        EngineNet(net_param_for(schema.read_net(path), caffe_pb.TEST))
    assert capfd.readouterr().err == ""


# --- Solver ---


def test_a_solver_trains_as_the_command_does(write_solver, caffe, capfd):
    path = write_solver()
    assert caffe("train", "-solver", path).status == 0
    expected = schema.read_caffemodel("s_iter_8.caffemodel")
    capfd.readouterr()
    solver = runner.Solver(path)
    solver.solve()
    assert capfd.readouterr() == ("", "")
    assert solver.iter == 8
    assert solver.loss > 0
    found = solver.net.to_proto()
    assert [layer.blobs for layer in found.layer] == [layer.blobs for layer in expected.layer]


def test_a_solver_steps_snapshots_and_goes_on(write_solver, capfd):
    path = write_solver(test_initialization="false")
    whole = runner.Solver(path)
    whole.step(6)
    half = runner.Solver(path, log=True)
    half.step(3)
    assert "Iteration 2" in capfd.readouterr().err
    state = half.snapshot()
    assert state == "s_iter_3.solverstate"
    resumed = runner.Solver(path, snapshot=state)
    assert resumed.iter == 3
    resumed.step(3)
    for name, blobs in whole.net.params.items():
        for ours, theirs in zip(resumed.net.params[name], blobs, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    resumed.restore(state)
    assert resumed.iter == 3


def test_test_nets_have_the_trained_weights(write_solver):
    solver = runner.Solver(write_solver())
    solver.step(2)
    (test,) = solver.test_nets
    assert set(test.forward()) == {"accuracy", "loss"}
    np.testing.assert_array_equal(test.params["ip"][0], solver.net.params["ip"][0])


def test_a_solver_starts_from_weights(write_solver):
    first = runner.Solver(write_solver(random_seed="4"))
    first.net.save("w.caffemodel")
    param = schema.read_solver(write_solver())
    solver = runner.Solver(param, weights="w.caffemodel")
    assert not param.weights
    np.testing.assert_array_equal(solver.net.params["conv"][0], first.net.params["conv"][0])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"weights": "a", "snapshot": "b"}, "takes a snapshot to resume from or weights, not both"),
        ({"snapshot": "no.solverstate"}, "File not found: no.solverstate"),
        ({"device": "cuda:99"}, "device 'cuda:99'"),
    ],
)
def test_solver_refusals_are_one_line(write_solver, arguments, error):
    with pytest.raises(CaffeError, match=error) as caught:
        runner.Solver(write_solver(), **arguments)
    assert "\n" not in str(caught.value)


def test_a_solver_without_a_prefix_writes_no_snapshot(write_solver):
    param = schema.read_solver(write_solver(snapshot_prefix=None))
    with pytest.raises(CaffeError, match="has no snapshot_prefix"):
        runner.Solver(param).snapshot()


def test_bundled_nets_run_from_the_face():
    net = runner.Net(nets.build_net("lenet", deploy=True))
    assert net.forward(data=np.zeros((1, 1, 28, 28)))["prob"].shape == (1, 10)
