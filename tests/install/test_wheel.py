"""The wheel, built from the sdist and installed where no checkout is, and every command of it."""

import re
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

from netgen import __version__

ROOT = Path(__file__).parents[2]
NET, SOLVER = "prototxt/cifar10_full.prototxt", "solvers/short.prototxt"
WEIGHTS = "snapshots/cifar10_full_iter_6.caffemodel"


@pytest.fixture(scope="module")
def trained(installed):
    """The environment after `netgen generate` and a training: its log is train.log."""
    installed("python", "-m", "netgen", "generate")
    installed("python", "-m", "data_prep", "synthetic", "--raw", "--limit", 100,
              "--out", "data/cifar10_raw")  # fmt: skip
    installed("python", "-m", "netgen", "solver", "cifar10_full", "--max-iter", 6,
              "--train-size", 100, "--test-size", 100, "--test-interval", 3, "--display", 1,
              "--snapshot", 2, "--random-seed", 1, "-o", SOLVER)  # fmt: skip
    done = installed("caffe", "train", "-solver", SOLVER)
    (installed.folder / "train.log").write_text(done.stderr)
    return installed


# --- what the archives hold ---


def test_sdist(sdist):
    for name in (
        "LICENSE",
        "README.md",
        "CONTRIBUTING.md",
        "Makefile",
        "constraints.txt",
        "netgen/schema/caffe.desc",
        "netgen/ruff.toml",
        "study/Snakefile",
        "tests/conftest.py",
        "tests/conformance/frozen/data.npz",
        "tests/install/test_wheel.py",
        "tools/demo.sh",
        "tools/plot_loss.py",
    ):
        assert (sdist / name).is_file(), name
    for folder in ("prototxt", "solvers"):
        checked_in = sorted(path.name for path in (ROOT / folder).glob("*.prototxt"))
        assert sorted(path.name for path in (sdist / folder).iterdir()) == checked_in
    assert not list(sdist.rglob("__pycache__"))


def contents(wheel):
    """The names in the wheel, its .dist-info folder and the metadata there."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
        text = archive.read(f"{info}/METADATA").decode()
    return names, info, HeaderParser().parsestr(text)


def test_wheel(wheel):
    names, info, metadata = contents(wheel)
    packages = {name.split("/")[0] for name in names if name.endswith("/__init__.py")}
    assert not packages & {"tools", "tests", "bench", "docs"}
    for package in packages:
        assert f"{package}/py.typed" in names
    assert {"netgen/schema/caffe.proto", "netgen/schema/caffe.desc", "study/Snakefile"} <= {*names}
    readmes = {path.relative_to(ROOT) for room in packages for path in ROOT.glob(f"{room}/**/*.md")}
    assert {str(path) for path in readmes} <= {*names}
    assert f"{info}/licenses/LICENSE" in names or f"{info}/LICENSE" in names
    assert metadata["Version"] == __version__
    assert metadata["License"] == "BSD-2-Clause"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().strip() == (ROOT / "README.md").read_text().strip()


def test_declared_minima_are_the_tested_ones(wheel):
    declared = {}
    for line in contents(wheel)[2].get_all("Requires-Dist"):
        name, minimum, extra = re.fullmatch(
            r"([\w-]+)(?:<\d+,)?>=([\d.]+)(?:,<\d+)?(?:; extra == \"(\w+)\")?", line
        ).groups()
        if extra in (None, "hdf5", "leveldb", "pycaffe"):
            declared[name] = minimum
    del declared["torch"]  # oldest.txt says why
    text = (ROOT / "tests" / "oldest.txt").read_text()
    tested = dict(re.findall(r"^([\w-]+)==([\d.]+)$", text, re.MULTILINE))
    assert tested.items() >= declared.items()
    assert tested.keys() - declared.keys() == {"grpcio-tools", "pyparsing"}


def test_bundled_prototxts_come_along(installed):
    share = installed.environment / "share" / "caffe-split"
    for folder in ("prototxt", "solvers"):
        for path in (ROOT / folder).glob("*.prototxt"):
            assert (share / folder / path.name).read_bytes() == path.read_bytes()


def test_a_bundled_solver_that_is_not_there_yet(installed, tmp_path):
    told = installed.run(
        ["sh", "-c", "caffe train -solver solvers/lenet.prototxt 2>&1 || true"], tmp_path
    ).stdout
    assert told.endswith(
        "] File not found: solvers/lenet.prototxt; this writes it: python -m netgen generate\n"
    )


def test_the_checkout_is_not_what_runs(installed):
    modules = ("netgen", "caffe", "data_prep", "runner", "study", "caffe_tools", "torch")
    show = f"import {', '.join(modules)}; print(*(m.__file__ for m in ({', '.join(modules)})))"
    *ours, torch = installed("python", "-c", show).stdout.split()
    assert all(Path(file).is_relative_to(installed.packages) for file in ours)
    assert not Path(torch).is_relative_to(installed.packages)


# --- the commands ---


def test_every_command_is_there_and_has_a_help(installed):
    names = installed.scripts()
    assert sorted(names) == sorted(
        [path.name for path in installed.bin.iterdir() if b"import" in path.read_bytes()[:400]]
    )
    for name in names:
        if name != "caffe":  # gflags' help exits with 1
            assert name in installed(name, "--help").stdout
    assert "usage: caffe <command> <args>" in installed("caffe").stdout
    for room in ("data_prep", "netgen", "study"):
        assert "--help" in installed("python", "-m", room, "--help").stdout


def test_version(installed):
    expected = f"caffe version 1.0.0\ncaffe-split {__version__}\n"
    assert installed("caffe", "--version").stdout == expected


def test_training(trained):
    assert "Optimization Done." in (trained.folder / "train.log").read_text()
    assert (trained.folder / WEIGHTS).is_file()


def test_scoring_and_timing(trained):
    done = trained("caffe", "test", "-model", NET, "-weights", WEIGHTS, "-iterations", 1)
    assert "] accuracy = " in done.stderr
    assert (
        "Average Forward-Backward"
        in trained("caffe", "time", "-model", NET, "-iterations", 1).stderr
    )


def test_logs(trained):
    trained("parse_log", "train.log", ".")
    rows = (trained.folder / "train.log.train").read_text().splitlines()
    assert rows[0].startswith("NumIters,Seconds,LearningRate")
    assert len(rows) == 7
    assert "accuracy" in trained("best_accuracy", "train.log").stdout
    trained("plot_loss", "--no_refresh", "-o", "loss.png", "train.log")
    assert (trained.folder / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_nets(trained):
    assert "89,578" in trained("python", "-m", "netgen", "describe", NET).stdout
    trained("draw_net", NET, "-o", "net.dot")
    assert (trained.folder / "net.dot").read_text().startswith('digraph "cifar10_full"')


def test_growth(trained):
    snapshots = [f"snapshots/cifar10_full_iter_{i}.caffemodel" for i in (2, 4, 6)]
    trained("python", "-m", "netgen", "tpm", NET, *snapshots, "--json", "tpm.json")
    trained("python", "-m", "netgen", "plan", "tpm.json", "--layers", "conv2", "-o", "plan.json")
    grow = ("--plan", "plan.json", "-o")
    trained("python", "-m", "netgen", "split", NET, *grow, "child.prototxt")
    trained("python", "-m", "netgen", "transfer", NET, WEIGHTS, *grow, "child.caffemodel")
    done = trained("verify_split", NET, WEIGHTS, "child.prototxt", "child.caffemodel")
    assert "103,722" in done.stdout
    trained("plot_tpm", "tpm.json", "--plan", "plan.json", "-o", "tpm.png")
    assert (trained.folder / "tpm.png").read_bytes().startswith(b"\x89PNG")
