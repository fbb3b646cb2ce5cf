"""train_to_end: real trainings that are begun, stopped, gone on with and begun anew."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from study.train_to_end import main

NET = """name: "line"
layer { name: "data" type: "DummyData" top: "x" top: "y" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 dim: 1 }
  data_filler { type: "gaussian" } data_filler { type: "gaussian" } } }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc"
  inner_product_param { num_output: 1 weight_filler { type: "gaussian" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "fc" bottom: "y" top: "loss" }
"""
SOLVER = """net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" display: 10 max_iter: %d
snapshot: 10 snapshot_prefix: "s" random_seed: 1
"""
ARGUMENTS = ["solver.prototxt", "--log", "train.log", "-o", "train.json"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "solver.prototxt").write_text(SOLVER % 35)
    return tmp_path


def snapshots(here):
    return sorted(path.name.removeprefix("s_iter_") for path in here.glob("s_iter_*"))


def record(here, name="train.json"):
    return json.loads((here / name).read_text())


def test_complete_untouched_changed_and_on_from_a_state(here, capsys):
    assert main([*ARGUMENTS, "--keep", "20-30"]) == 0
    assert snapshots(here) == [
        "20.caffemodel",
        "30.caffemodel",
        "35.caffemodel",
        "35.solverstate",
        "35.solverstate.resume",
    ]
    (run,) = record(here)["runs"]
    assert run["command"] == ["caffe", "train", "-solver", "solver.prototxt"]
    assert (run["from"], run["to"]) == (0, 35)
    assert {"torch", "numpy", "protobuf", "python"} <= run["versions"].keys()
    assert record(here)["inputs"].keys() == {"solver", "net"}
    weights, log = (here / "s_iter_35.caffemodel").read_bytes(), (here / "train.log").read_text()

    os.utime("train.json", (0, 0))
    assert main(ARGUMENTS) == 0  # complete: no run, but the record is younger than its inputs
    assert "train.json: complete" in capsys.readouterr().out
    assert (here / "train.log").read_text() == log
    assert (here / "train.json").stat().st_mtime > 0

    (here / "train.json").unlink()  # as a workflow engine does before it runs a job again
    (here / "s_iter_35.solverstate").unlink()
    (here / "train.log").write_text(log.rpartition("Iteration")[0])  # half a line at the end
    state = here / "s_iter_30.solverstate"
    assert main([*ARGUMENTS, "--keep", "last"]) == 0 and not state.exists()
    assert (here / "s_iter_35.caffemodel").read_bytes() == weights
    assert "\nI" in (here / "train.log").read_text()[len(log.rpartition("Iteration")[0]) :]

    (here / "solver.prototxt").write_text(SOLVER % 12)  # another training: the old one goes
    assert main([*ARGUMENTS, "--keep", "last"]) == 0
    assert snapshots(here) == ["12.caffemodel", "12.solverstate", "12.solverstate.resume"]
    assert len(record(here)["runs"]) == 1


def test_a_signal_stops_with_a_snapshot_and_the_same_command_goes_on(here):
    (here / "solver.prototxt").write_text(SOLVER % 100_000_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "study.train_to_end", *ARGUMENTS],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    log = here / "train.log"
    while process.poll() is None and not (log.exists() and "Iteration 20 " in log.read_text()):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    (run,) = record(here, "train.begun.json")["runs"]
    stopped = run["to"]
    assert stopped >= 20
    assert err.splitlines()[-1] == (
        f"solver.prototxt: stopped at iteration {stopped}; the same command goes on"
    )
    assert not (here / "train.json").exists()
    assert f"{stopped}.solverstate" in snapshots(here)

    begun = record(here, "train.begun.json")
    (here / "solver.prototxt").write_text(SOLVER % (stopped + 5))
    begun["inputs"]["solver"] = subprocess.run(
        ["sha256sum", "solver.prototxt"], capture_output=True, text=True
    ).stdout.split()[0]
    (here / "train.begun.json").write_text(json.dumps(begun))
    assert main(ARGUMENTS) == 0
    runs = record(here)["runs"]
    assert [(run["from"], run["to"]) for run in runs] == [(0, stopped), (stopped, stopped + 5)]
    assert runs[1]["command"][-2:] == ["-snapshot", f"s_iter_{stopped}.solverstate"]


def test_a_time_stops_it_as_a_signal_does(here, capsys):
    (here / "solver.prototxt").write_text(SOLVER % 100_000_000)
    assert main([*ARGUMENTS, "--until", str(time.time() - 1)]) == 75
    assert not (here / "train.log").exists()  # it did not begin
    clock = time.time()
    assert main([*ARGUMENTS, "--until", str(clock + 6)]) == 75
    assert time.time() - clock > 6
    (run,) = record(here, "train.begun.json")["runs"]
    assert f"stopped at iteration {run['to']}; the same command goes on" in capsys.readouterr().err
    assert not (here / "train.json").exists()
    assert run["to"] == 0 or f"{run['to']}.solverstate" in snapshots(here)


def test_a_training_that_diverges_is_ended_and_complete(here, capsys):
    (here / "solver.prototxt").write_text(SOLVER.replace("0.01", "1e19") % 100_000_000)
    assert main(ARGUMENTS) == 0
    found = record(here)
    assert found["diverged"] == 10  # the first line after iteration 0 that tells the loss
    assert (
        "solver.prototxt: the loss is no number at iteration 10: ended" in capsys.readouterr().out
    )
    assert main(ARGUMENTS) == 0 and "train.json: complete" in capsys.readouterr().out
    assert record(here) == found


def test_errors_are_one_line(here, tool):
    status, out, err = tool(
        "study.train_to_end", *ARGUMENTS, "--weights", "none.caffemodel", cwd=here
    )
    assert (status, err) == (1, "train_to_end: none.caffemodel: No such file or directory\n")
    (here / "net.prototxt").write_text(NET.replace('"InnerProduct"', '"Inner"'))
    status, out, err = tool("study.train_to_end", *ARGUMENTS, cwd=here)
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("train_to_end: train.log: ") and "Inner" in err
    assert not (here / "train.json").exists()
    (here / "train.begun.json").unlink()
    (here / "s_iter_3.solverstate").write_text("whose?")
    status, out, err = tool("study.train_to_end", *ARGUMENTS, cwd=here)
    assert (status, err) == (
        1,
        "train_to_end: s_iter_3.solverstate is there, but not "
        "train.begun.json, which tells of what it is: move one of them\n",
    )
    (here / "solver.prototxt").write_text('net: "net.prototxt" max_iter: 3')
    status, out, err = tool("study.train_to_end", *ARGUMENTS, cwd=here)
    assert (status, err) == (
        1,
        "train_to_end: solver.prototxt: needs the fields net and snapshot_prefix\n",
    )
