"""The wheel, built from the sdist, and an environment that it is installed in, once for all tests.

Nothing here needs the network: the wheel is built with this environment's setuptools, and the
packages that it requires are this environment's.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

from netgen import __version__

ROOT = Path(__file__).parents[2]
#: What a checkout may hold that is no part of it, and what is large.
LEFT_BEHIND = ("build", "data", "demo", "dist", "results")


def python(*arguments, cwd):
    subprocess.run([sys.executable, *map(str, arguments)], cwd=cwd, check=True)


def left_behind(folder, names):
    """Of the names in a folder, those that the copy is to lack."""
    if Path(folder) != ROOT:
        return ["__pycache__"]
    return [n for n in names if n in LEFT_BEHIND or n.startswith(".") or n.endswith(".egg-info")]


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
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

    def __call__(self, *words, cwd=None):
        """The completed process of a command of the environment, which must exit with 0."""
        program, *arguments = map(str, words)
        return self.run([self.bin / program, *arguments], cwd or self.folder)

    def run(self, words, cwd):
        """The same of any command line, with the environment's commands on its path."""
        kept = ("HOME", "LANG", "TMPDIR")
        done = subprocess.run(
            words,
            cwd=cwd,
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


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    return Installed(wheel, tmp_path_factory.mktemp("installed"))
