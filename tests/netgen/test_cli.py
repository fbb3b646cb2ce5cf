"""`python -m netgen` as a person types it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from netgen import nets, schema, solvers
from netgen.commands.generate import bundled
from netgen.schema import caffe_pb

ROOT = Path(__file__).parents[2]
KNOWN = f"(known nets: {', '.join(nets.NETS)})"


def netgen(*arguments, cwd=ROOT, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "netgen", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        text=True,
        **({"capture_output": True} | options),
    )


def test_net_to_stdout():
    result = netgen("baseline", "--width", 0.25, "--deploy")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0] == "# python -m netgen baseline --deploy --width 0.25"
    net = schema.parse_text(result.stdout, caffe_pb.NetParameter)
    assert net == nets.build_net("baseline", nets.NetOptions(width=0.25), deploy=True)


def test_every_net_option():
    result = netgen(
        "--batch-size",
        64,
        "allcnn-b",
        "--test-batch-size",
        50,
        "--data",
        "a b",
        "--weight-filler",
        "xavier",
        "--input-dropout",
        0,
        "--dropout",
        0.1,
    )
    assert result.stderr == ""
    assert schema.parse_text(result.stdout, caffe_pb.NetParameter) == nets.build_net(
        "allcnn-b", nets.NetOptions(64, 50, 1.0, "a b", "xavier", 0, 0.1)
    )
    assert result.stdout.splitlines()[0] == (
        "# python -m netgen allcnn-b --batch-size 64 --test-batch-size 50 --data 'a b' "
        "--weight-filler xavier --input-dropout 0.0 --dropout 0.1"
    )


def test_every_solver_option():
    result = netgen(
        "solver",
        "allcnn-c",
        "--epochs",
        7,
        "--batch-size",
        50,
        "--train-size",
        1000,
        "--test-size",
        200,
        "--test-batch-size",
        20,
        "--base-lr",
        0.02,
        "--momentum",
        0.8,
        "--weight-decay",
        0,
        "--type",
        "Nesterov",
        "--test-interval",
        10,
        "--display",
        5,
        "--snapshot",
        20,
        "--net",
        "n.prototxt",
        "--prefix",
        "s/n",
        "--random-seed",
        1,
    )
    assert result.stderr == ""
    assert schema.parse_text(result.stdout, caffe_pb.SolverParameter) == schema.parse_text(
        """
        net: "n.prototxt" test_iter: 10 test_interval: 10 base_lr: 0.02 lr_policy: "multistep"
        gamma: 0.1 stepvalue: 80 stepvalue: 100 stepvalue: 120 max_iter: 140 momentum: 0.8
        weight_decay: 0 display: 5 snapshot: 20 snapshot_prefix: "s/n" random_seed: 1
        type: "Nesterov" """,
        caffe_pb.SolverParameter,
    )
    result = netgen("solver", "baseline", "--max-iter", 70)
    assert schema.parse_text(result.stdout, caffe_pb.SolverParameter) == solvers.build_solver(
        "baseline", solvers.SolverOptions(max_iter=70)
    )


def test_output_file_makes_the_same_text(tmp_path):
    result = netgen("baseline", "-o", tmp_path / "net.prototxt")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert (tmp_path / "net.prototxt").read_text() == netgen("baseline").stdout
    assert os.listdir(tmp_path) == ["net.prototxt"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["basline"], f"Unknown net: 'basline' {KNOWN}"),
        (["sovler", "baseline", "--epochs", "3"], f"Unknown net: 'sovler' {KNOWN}"),
        (["solver", "x"], f"Unknown net: 'x' {KNOWN}"),
        (["baseline", "--width", "0"], "width must be above 0 and below 100, not 0.0"),
        (
            ["solver", "baseline", "--type", "Sgd"],
            "Unknown solver type: Sgd (known types: AdaDelta, AdaGrad, Adam, Nesterov, RMSProp, SGD)",
        ),
        (["baseline", "-o", "no/where"], "no/where: cannot be written: No such file or directory"),
        (["baseline", "--data", b"\xff"], "arguments must be UTF-8 text"),
    ],
)
def test_errors_are_one_line(arguments, error, tmp_path):
    command = [sys.executable, "-m", "netgen", *arguments]
    result = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (result.returncode, result.stdout, result.stderr) == (1, "", f"netgen: {error}\n")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["baseline", "--wdith", "1"],
        ["baseline", "--width", "wide"],
        ["baseline", "twice"],
        ["solver"],
        ["solver", "baseline", "--epochs", "1", "--max-iter", "1"],
        ["generate", "now"],
    ],
)
def test_wrong_usage(arguments):
    result = netgen(*arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("python -m netgen") and result.stderr.count("\n") == 1


def test_help_shows_the_nets_and_three_examples():
    text = netgen("--help").stdout
    assert all(name in text for name in nets.NETS)
    assert text.count("\n  python -m netgen ") == 3
    assert "--base-lr" in netgen("solver", "--help").stdout
    assert "--check" in netgen("generate", "-h").stdout


def test_the_examples_of_the_help_work(tmp_path):
    for line in netgen("--help").stdout.splitlines():
        if line.startswith("  python -m netgen "):
            assert netgen(*line.split()[3:], cwd=tmp_path).returncode == 0


def test_describe_is_handed_on():
    result = netgen("describe", "prototxt/baseline.prototxt")
    assert result.returncode == 0
    assert "1,369,738" in result.stdout
    result = netgen("describe", "nowhere.prototxt")
    assert result.returncode == 1
    assert "File not found: nowhere.prototxt" in result.stderr


def test_generate_and_check(tmp_path):
    result = netgen("generate", "--check", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr == (
        f"netgen: stale: {' '.join(bundled())} (run: python -m netgen generate)\n"
    )
    assert os.listdir(tmp_path) == []

    assert netgen("generate", cwd=tmp_path).returncode == 0
    assert netgen("generate", "--check", cwd=tmp_path).returncode == 0
    for path in ("prototxt/baseline.prototxt", "solvers/allcnn_b.prototxt"):
        assert (tmp_path / path).read_text() == (ROOT / path).read_text()

    made = {path.partition("/")[0] for path in bundled()}
    assert {path.name for path in tmp_path.iterdir()} == made | {"snapshots", "logs"}
    for path in (tmp_path / "solvers").iterdir():
        solver = schema.parse_text(path.read_text(), caffe_pb.SolverParameter)
        assert (tmp_path / solver.snapshot_prefix).parent.is_dir()

    (tmp_path / "solvers/baseline.prototxt").write_text("edited")
    result = netgen("generate", "--check", cwd=tmp_path)
    assert result.stderr == (
        "netgen: stale: solvers/baseline.prototxt (run: python -m netgen generate)\n"
    )
    assert netgen("generate", cwd=tmp_path).stderr == "wrote solvers/baseline.prototxt\n"


def test_a_reader_that_went_away_is_no_error():
    read, write = os.pipe()
    os.close(read)
    result = netgen("baseline", capture_output=False, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert result.stderr == ""


@pytest.mark.parametrize("arguments", [["baseline"], ["solver", "baseline"]])
def test_a_net_is_written_without_heavy_imports(arguments):
    code = (
        f"import sys; from netgen.cli import main; main({arguments}); "
        "print({'torch', 'lmdb', 'matplotlib', 'numpy', 'netgen.graph'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (result.stdout.splitlines()[-1], result.stderr) == ("set()", "")
