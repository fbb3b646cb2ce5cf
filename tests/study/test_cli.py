"""The whole study as it is typed, with a few iterations a training."""

import html
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import runner
from netgen import schema
from study.plan import script
from study.settings import SCALES, read_settings

ROOT = Path(__file__).resolve().parents[2]
SMALLEST = (
    "--scale",
    "tiny",
    "--width",
    "0.04",
    "--batch-size",
    "4",
    "--iterations",
    "6",
    "3",
    "--layers",
    "conv2",
)


@pytest.fixture
def study(tmp_path, records):
    """study(*options): run the script in tmp_path; (status, out, err)."""

    def run(*options):
        done = subprocess.run(
            [sys.executable, str(ROOT / "tools/case_study.py"), *map(str, options)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def test_from_data_to_report_and_on(study, tmp_path):
    begin = (*SMALLEST, "--data", "data", "--out", "o", "--arms", "none")
    status, out, err = study(*begin, "--minutes", "0.00001")
    assert (status, err) == (75, "stopped in seed1_baseline_net; the same command goes on\n")
    status, out, err = study(*begin)
    assert status == 0, err
    stages = re.findall(r"^\[(\d+)/8\] (\w+)$", out, re.M)
    assert [name for _, name in stages] == [
        "seed1_baseline_net",
        "seed1_baseline_train",
        "seed1_round1_tpm",
        "seed1_round1_tpm_plan",
        "seed1_round1_tpm_net",
        "seed1_round1_tpm_transfer",
        "seed1_round1_tpm_train",
        "report",
    ]
    here = tmp_path / "o/seed1"
    weights = [path.name for path in (here / "baseline").glob("*.caffemodel")]
    assert sorted(weights) == [f"snapshot_iter_{i}.caffemodel" for i in range(1, 7)]
    assert json.loads((here / "round1/tpm.json").read_text())["iterations"] == [1, 2, 3, 4, 5, 6]
    child = (here / "round1/tpm/net.prototxt").read_text()
    assert 'name: "round1_tpm"' in child and "conv2_split2_residual_post" in child
    record = json.loads((here / "round1/tpm/train.json").read_text())
    assert record["runs"][0]["command"][-2:] == ["-weights", "o/seed1/round1/tpm/start.caffemodel"]
    report = (tmp_path / "o/report.md").read_text()
    assert "| **round 1 tpm** |" in report and "Unfinished" not in report
    page = (tmp_path / "o/report.html").read_text()
    assert page.count("data:image/png;base64,") >= 2  # these nets may have learnt nothing

    assert study("--out", "o") == (0, "o/report.html tells of all 8 stages\n", "")
    assert study("--out", "o", "--list") == (0, "", "")
    status, out, err = study("--out", "o", "--arms", "restart", "--list")
    assert (status, re.findall("^# (.*)", out, re.M)) == (
        0,
        ["seed1_round1_restart_train", "report"],
    )
    os.utime(here / "baseline/net.prototxt")  # carried to another machine: all times are new,
    status, out, err = study("--out", "o", "--arms", "none")
    assert status == 0, err  # but trainings know by content that they are complete
    assert "baseline/train.json: complete" in out and "tpm/train.json: complete" in out
    assert "iteration" not in out.replace("iterations", "")


def test_a_split_within_the_training_goes_on_with_momentum_rate_and_iteration(
    study, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    options = ("--split-at", "3", "--arms", "inverse", "--data", "data", "--out", "o")
    status, _, err = study(*SMALLEST, *options)
    assert status == 0, err
    here = tmp_path / "o/seed1"
    assert json.loads((here / "round1/tpm.json").read_text())["iterations"] == [1, 2, 3]
    kept = sorted(path.name for path in (here / "baseline").glob("*.solverstate"))
    assert kept == ["snapshot_iter_3.solverstate", "snapshot_iter_6.solverstate"]

    folder = here / "round1/tpm"
    (layer,) = json.loads((folder / "plan.json").read_text())["layers"]
    parent, child = schema.read_net(here / "baseline/net.prototxt"), schema.read_net(
        folder / "net.prototxt")  # fmt: skip
    before = by_blob(parent, schema.read_solverstate(here / "baseline/snapshot_iter_3.solverstate"))
    state = schema.read_solverstate(folder / "start.solverstate")
    after = by_blob(child, state)
    assert state.iter == 3
    for part, rows in (("split1", layer["fast"]), ("split2", layer["slow"])):
        for index in (0, 1):
            momentum = after[f"conv2_{part}", index]
            np.testing.assert_array_equal(momentum, before["conv2", index][rows])
            assert momentum.any()
    np.testing.assert_array_equal(after["conv5", 0], before["conv5", 0])
    assert not after["conv2_split2_residual_pre", 0].any()
    assert json.loads((folder / "verify.json").read_text())["random"]["difference"] < 1e-5

    def rates(name):
        log = (here / name / "train.log").read_text()
        return dict(re.findall(r"Iteration (\d+), lr = (\S+)", log))

    assert list(rates("round1/tpm")) == list(rates("round1/inverse")) == ["3", "4", "5"]
    assert rates("round1/tpm").items() <= rates("baseline").items()
    record = json.loads((folder / "train.json").read_text())
    assert record["runs"][0]["command"][-2:] == [
        "-snapshot",
        "o/seed1/round1/tpm/start.solverstate",
    ]
    assert (record["runs"][0]["from"], record["runs"][0]["to"]) == (3, 6)
    report = (tmp_path / "o/report.md").read_text()
    assert "| **round 1 tpm** |" in report and "Unfinished" not in report


def by_blob(net, state):
    """{(layer, index): history} of an SGD solver's state."""
    with runner.quiet():
        learnable = runner.Net(net, phase="TRAIN").engine.parameters.learnable
    history = map(schema.blob_to_array, state.history)
    return {
        (blob.layer, blob.index): array.reshape(blob.shape)
        for blob, array in zip(learnable, history, strict=True)
    }


def test_every_command_of_a_report_runs_as_typed_in_an_empty_folder(study, tmp_path):
    """The commands of a study that is only begun are those of its report, made by typing them."""
    made = "data_prep synthetic --raw --pad 5 --limit 24 --seed 0 --out data/drawn"
    subprocess.run([sys.executable, "-m", *made.split()], cwd=tmp_path, check=True)
    options = (*SMALLEST, "--data", "data/drawn", "--out", "my studies/o", "--arms", "none")
    status, _, err = study(*options, "--note", "it's <b>mine</b>; $HOME", "--list")
    assert status == 0, err
    here, empty = os.getcwd(), tmp_path / "empty"
    empty.mkdir()
    os.chdir(tmp_path)
    try:
        lines = script(read_settings("my studies/o"), "my studies/o")
    finally:
        os.chdir(here)
    assert lines[0] == f"python -m {made}"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for line in lines:
        done = subprocess.run(
            line,
            shell=True,
            cwd=empty,
            env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (line, done.stderr)
    report = (empty / "my studies/o/report.md").read_text()
    (told,) = re.findall("<summary>commands</summary>\n<pre>(.*?)</pre>", report, re.S)
    assert html.unescape(told).splitlines() == lines
    assert "<b>" not in report and "No conclusion yet" not in report


OWN = """name: "own"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { scale: 0.01 }
  data_param { source: "data/cifar10_train_lmdb" backend: LMDB batch_size: 6 } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { scale: 0.01 }
  data_param { source: "data/cifar10_test_lmdb" backend: LMDB batch_size: 5 } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 4 kernel_size: 4 stride: 4 weight_filler { type: "msra" } } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "h" type: "InnerProduct" bottom: "c" top: "h"
  inner_product_param { num_output: 6 weight_filler { type: "msra" } } }
layer { name: "s" type: "ReLU" bottom: "h" top: "h" }
layer { name: "o" type: "InnerProduct" bottom: "h" top: "o"
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "acc" type: "Accuracy" bottom: "o" bottom: "label" top: "acc" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "o" bottom: "label" top: "loss" }
"""


def test_a_net_and_solver_of_one_s_own_with_an_inner_product_split(study, tmp_path):
    (tmp_path / "own.prototxt").write_text(OWN)
    (tmp_path / "solver.prototxt").write_text(
        'net: "own.prototxt" base_lr: 0.01 lr_policy: "multistep" gamma: 0.1 stepvalue: 50 '
        "stepvalue: 90 max_iter: 100 momentum: 0.9 test_iter: 2 test_interval: 10"
    )
    own = ("--net", "own.prototxt", "--solver", "solver.prototxt", "--layers", "c,h")
    size = ("--scale", "tiny", "--iterations", 20, 10, "--arms", "gradient_pre,restart_cost")
    status, _, err = study(*own, *size, "--out", "o")
    assert status == 0, err
    here = tmp_path / "o/seed1"
    child = (here / "round1/tpm/net.prototxt").read_text()
    assert "c_split2_residual_post" in child and "h_split2_residual_post" in child
    solver = (here / "baseline/solver.prototxt").read_text()
    assert re.findall(r"stepvalue: (\d+)", solver) == ["10", "18"]
    longer = (here / "round1/restart_cost/solver.prototxt").read_text()
    assert int(re.search(r"max_iter: (\d+)", longer)[1]) > 10
    for name in ("tpm", "gradient_pre"):  # both begin with the parent's function
        log = (here / f"round1/{name}/train.log").read_text()
        before = re.findall(r"loss = ([\d.]+)", (here / "baseline/train.log").read_text())[-1]
        assert float(re.search(r"#1: loss = ([\d.]+)", log)[1]) == pytest.approx(
            float(before), 1e-3
        )
    report = (tmp_path / "o/report.md").read_text()
    assert report.startswith("# Case study: own.prototxt, grown by splits")
    assert "the net" in report and "are not beside ours" in report


UNLUCKY = """name: "unlucky"
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 20 dim: 3 dim: 4 dim: 4 } shape { dim: 20 }
  data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "o" type: "InnerProduct" bottom: "c" top: "o"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "b" type: "Bias" bottom: "o" top: "b" param { lr_mult: 0 decay_mult: 0 }
  bias_param { axis: 0 num_axes: 0 filler { type: "gaussian" std: 1e4 } } }
layer { name: "p" type: "Power" bottom: "b" top: "p" power_param { power: 0.5 } }
layer { name: "q" type: "Power" bottom: "p" top: "q" power_param { scale: 100 } }
layer { name: "acc" type: "Accuracy" bottom: "q" bottom: "label" top: "acc" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "q" bottom: "label" top: "loss" }
"""  # of seed 3 the number drawn for `b` is positive; of seed 4 negative, and has no root


def test_a_seed_that_diverges_is_named_and_the_others_go_on(study, tmp_path):
    (tmp_path / "own.prototxt").write_text(UNLUCKY)
    (tmp_path / "solver.prototxt").write_text(
        'net: "own.prototxt" base_lr: 0.5 lr_policy: "fixed" momentum: 0.9 max_iter: 9 '
        "test_iter: 1 test_interval: 3"
    )
    own = ("--net", "own.prototxt", "--solver", "solver.prototxt", "--layers", "c", "--out", "o")
    size = ("--scale", "tiny", "--iterations", 5, 2, "--arms", "restart,fresh")
    status, out, err = study(*own, *size, "--first-seed", 3, "--seeds", 2)
    assert (status, err) == (0, "")
    assert "o/seed4/baseline/solver.prototxt: the loss is no number at iteration 0: ended" in out
    record = json.loads((tmp_path / "o/seed4/baseline/train.json").read_text())
    assert record["diverged"] == 0 and (tmp_path / "o/seed3/round1/fresh/train.json").exists()
    report = (tmp_path / "o/report.md").read_text()
    assert (
        "\n**Nothing learnt**: baseline of seed 4 (diverged by iteration 0). They ended " in report
    )
    assert (
        "\n**Left out**, as what they are made of learnt nothing: round 1 tpm of seed 4, "
        "round 1 restart of seed 4, round 1 fresh of seed 4.\n"
    ) in report
    conclusion = report.split("\n\n")[1]
    assert "round 1 tpm - restart is +0.00 points of final accuracy (n = 1 seed)" in conclusion
    commands = report.split("<summary>commands</summary>")[1]
    assert "o/seed4/baseline" in commands and "o/seed4/round1" not in commands
    assert study("--out", "o", "--list") == (0, "", "")


def test_a_parent_of_dead_kernels_has_no_children(study, tmp_path):
    """A rate of 3 is too much: ReLUs pass nothing on, and no layer's kernels differ in TPM."""
    sizes = ("--width", 0.04, "--batch-size", 4, "--iterations", 40, 2, "--base-lr", 3)
    begin = ("--scale", "tiny", *sizes, "--data", "data", "--out", "o")
    status, out, err = study(*begin, "--arms", "restart,restart_cost")
    assert status == 0, err
    assert "no layer to split: the nearest is" in err
    assert err.endswith("\no/seed1/round1/tpm is left out: its parent learnt nothing\n")
    assert (tmp_path / "o/seed1/round1/restart/train.json").exists()
    conclusion, *_, left = (tmp_path / "o/report.md").read_text().split("\n\n")[1:5]
    assert conclusion.endswith("of `tpm` and `restart` some collapsed or were left out.")
    assert left.endswith("nothing: round 1 tpm of seed 1, round 1 restart_cost of seed 1.")
    assert study("--out", "o", "--list") == (0, "", "")


def test_errors_are_one_line(study, tmp_path):
    for options, wanted in (
        ((), "--scale begins a study, --out names one that goes on (--help tells more)"),
        (
            ("--scale", "tiny", "--data", "none"),
            "none/cifar10_train_lmdb: No such file or "
            "directory; `python -m data_prep cifar10 --out none` makes it",
        ),
        (
            ("--out", "o"),
            f"o/study.json is not there, so --scale must be one of {', '.join(SCALES)}",
        ),
    ):
        assert study(*options) == (1, "", f"study: {wanted}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_stage_that_fails_tells_its_command(study, tmp_path):
    begin = (*SMALLEST, "--data", "data", "--out", "o")
    net = tmp_path / "o/seed1/baseline/net.prototxt"
    net.mkdir(parents=True)  # where a file is to be
    status, out, err = study(*begin)
    assert status == 1
    said, told = err.splitlines()
    assert said.startswith("netgen: o/seed1/baseline/net.prototxt: ")
    assert told == (
        "study: stage seed1_baseline_net: exit status 1 of `python -m netgen baseline "
        "--width 0.04 --batch-size 4 --test-batch-size 10 --data data --input-dropout 0 "
        "--dropout 0 -o o/seed1/baseline/net.prototxt`"
    )


def test_the_workflow_engine_finds_the_same_stages(study, tmp_path):
    study(*SMALLEST, "--data", "data", "--out", "o", "--arms", "wider", "--list")
    code = (
        "import sys\n"
        "from study.plan import stages; from study.settings import read_settings\n"
        "found = stages(read_settings('o'), 'o')\n"
        "print(*(stage.shell() for stage in found), sep='\\n')\n"
        "print({'torch', 'numpy', 'lmdb', 'google', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    *lines, heavy = done.stdout.splitlines()
    assert (done.stderr, heavy) == ("", "set()")
    status, out, _ = study("--out", "o", "--list")
    listed = [block.splitlines()[2:] for block in out.split("# ")[1:]]  # without its mkdir
    assert lines == [" && ".join(commands) for commands in listed]
    assert all(line.startswith("python ") for line in lines)


@pytest.mark.skipif(find_spec("snakemake") is None, reason="Snakemake is optional, and not here")
def test_snakemake_runs_the_stages(study, tmp_path):
    begin = (*SMALLEST, "--data", "data", "--out", "o", "--arms", "none")
    status, out, err = study(*begin, "--jobs", "2", "--minutes", "0.01")
    assert status == 75 and err.endswith("stopped as the time is up; the same command goes on\n")
    assert not (tmp_path / "o/seed1/baseline/train.json").exists()
    status, out, err = study(*begin, "--jobs", "2")
    assert status == 0, err
    assert (tmp_path / "o/report.html").exists()
    assert study("--out", "o", "--list") == (0, "", "")
