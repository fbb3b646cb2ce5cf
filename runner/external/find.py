"""Which external Caffe there is: CAFFE_ROOT's, one whose pycaffe is importable, or our build."""

from __future__ import annotations

import importlib.machinery
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from netgen.errors import CaffeError

#: Where a Caffe keeps its command: built in its own folder, or installed.
TOOLS = ("build/tools/caffe", "bin/caffe")


@dataclass(frozen=True)
class External:
    """A C++ Caffe. root: its folder; tool: its `caffe` command; source: what named it."""

    root: Path
    tool: Path
    source: str

    def environment(self) -> dict[str, str]:
        """This process's environment, with what that Caffe's Python layers import in front.

        Our build has a virtual environment of its own; another Caffe's Python is the user's.
        """
        paths = [self.root / "python", *self.root.glob("venv/lib/python3*/site-packages")]
        found = [str(path) for path in paths if path.is_dir()]
        before = os.environ.get("PYTHONPATH")
        return {**os.environ, "PYTHONPATH": os.pathsep.join(found + [before] * bool(before))}


def build_folder() -> Path:
    """The folder of the builds of `build_pycaffe`; `current` in it is the one to use.

    $PYCAFFE_CACHE, else caffe-split in the user's cache folder: outside any clone, so that a
    fresh clone finds the build of another.
    """
    named = os.environ.get("PYCAFFE_CACHE")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named).absolute() if named else Path(cache, "caffe-split", "pycaffe")


def find(root: Path | None = None) -> External:
    """The External to use, or the one in folder `root`.

    Raises CaffeError where there is none, or none at CAFFE_ROOT.
    """
    named = os.environ.get("CAFFE_ROOT")
    if root is not None:
        tool = _tool(root)
        if tool is None:
            raise CaffeError(f"{root}: no Caffe there (neither {' nor '.join(TOOLS)} is a command)")
        return External(root, tool, "asked for")
    if named:
        tool = _tool(Path(named).absolute())
        if tool is None:
            raise CaffeError(
                f"CAFFE_ROOT={named}: no Caffe there (neither {' nor '.join(TOOLS)} is a command)"
            )
        return External(Path(named).absolute(), tool, "CAFFE_ROOT")
    candidates = [(root, "its pycaffe is importable") for root in _importable()]
    candidates.append((build_folder() / "current", "built by build_pycaffe"))
    for root, source in candidates:
        tool = _tool(root)
        if tool is not None:
            return External(root, tool, source)
    raise CaffeError(
        "-engine pycaffe: no external Caffe found; `build_pycaffe` builds one, "
        "or set CAFFE_ROOT to the folder of yours"
    )


def _importable():
    """The folders that a C++ pycaffe on Python's path may belong to: its source, its prefix.

    Our own `caffe`, and whatever else has that name, may come before it on the path.
    """
    for entry in sys.path:
        spec = importlib.machinery.PathFinder.find_spec("caffe", [entry])
        if spec is None or not spec.origin:
            continue
        package = Path(spec.origin).resolve().parent
        if any(package.glob("_caffe*.so")):
            parents = package.parents  # ROOT/python/caffe; PREFIX/lib/python3.x/site-packages/caffe
            return [parents[index] for index in (1, 3) if index < len(parents)]
    return []


def _tool(root):
    for name in TOOLS:
        path = root / name
        if path.is_file() and os.access(path, os.X_OK) and not _is_our_own(path):
            return path
    return None


def _is_our_own(path):
    """Whether it is the script that pip made of our entry point: it would start itself."""
    with open(path, "rb") as file:
        start = file.read(1000)
    return start.startswith(b"#!") and b"from runner." in start
