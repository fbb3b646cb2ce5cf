"""The wheel, built from the sdist and installed where no checkout is, and every command of it.

Nothing here needs the network: the wheel is built with this environment's setuptools, and the
packages that it requires are this environment's.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

from netgen import __version__

ROOT = Path(__file__).parents[2]
#: What a checkout may hold that is no part of it, and what is large.
LEFT_BEHIND = ("build", "data", "demo", "dist", "results")
NET, SOLVER = "prototxt/cifar10_full.prototxt", "solvers/short.prototxt"
WEIGHTS = "snapshots/cifar10_full_iter_6.caffemodel"


def python(*arguments, cwd):
    subprocess.run([sys.executable, *map(str, arguments)], cwd=cwd, check=True)


def left_behind(folder, names):
    """Of the names in a folder, those that the copy is to lack."""
    if Path(folder) != ROOT:
        return ["__pycache__"]
    return [n for n in names if n in LEFT_BEHIND or n.startswith(".") or n.endswith(".egg-info")]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The sdist's folder, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    checkout = shutil.copytree(ROOT, folder / "checkout", ignore=left_behind)
    build = f"from setuptools.build_meta import build_sdist; build_sdist({str(folder)!r})"
    python("-c", build, cwd=checkout)
    name = f"caffe_split-{__version__}"
    with tarfile.open(folder / f"{name}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / name


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    python("-m", "pip", "wheel", *options, "--wheel-dir", folder, sdist, cwd=folder)
    (path,) = folder.iterdir()
    return path


class Installed:
    """The commands of an environment that has the wheel, run in a folder of their own."""

    def __init__(self, wheel, folder):
        self.environment, self.folder = folder / "environment", folder / "work"
        self.bin = self.environment / "bin"
        self.folder.mkdir()
        venv.create(self.environment, symlinks=True)
        options = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
        pip = ("-m", "pip", "--python", self.bin / "python", "install", *options)
        python(*pip, wheel, cwd=folder)
        self.packages = next(self.environment.glob("lib/python3*/site-packages"))
        # Folders named in a .pth file come last on the path, and .pth files in them, such as
        # that of an editable checkout, are not followed.
        dependencies = [path for path in sys.path if Path(path).name == "site-packages"]
        (self.packages / "dependencies.pth").write_text("\n".join(dependencies))

    def __call__(self, *words):
        """The completed process of a command of the environment, which must exit with 0."""
        program, *arguments = map(str, words)
        kept = ("HOME", "LANG", "TMPDIR")
        done = subprocess.run(
            [self.bin / program, *arguments],
            cwd=self.folder,
            env={name: os.environ[name] for name in kept if name in os.environ}
            | {"PATH": f"{self.bin}:/usr/bin:/bin", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    def scripts(self):
        """The names of the wheel's console commands."""
        (info,) = self.packages.glob("caffe_split-*.dist-info")
        lines = (info / "entry_points.txt").read_text().splitlines()
        return [line.partition(" = ")[0] for line in lines if " = " in line]


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    return Installed(wheel, tmp_path_factory.mktemp("installed"))


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
            r"([\w-]+)>=([\d.]+)(?:; extra == \"(\w+)\")?", line
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
