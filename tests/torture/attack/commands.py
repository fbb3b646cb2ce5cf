"""The project's commands by name: as a function of this process, and as a command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TOOLS = ROOT / "tools"

#: name -> (module, function), which reads sys.argv
_MAINS = {
    "caffe": ("runner.commands.cli", "main"),
    "data_prep": ("data_prep.cli", "main"),
    "netgen": ("netgen.cli", "main"),
    "study": ("study.cli", "command"),
}
_MODULES = {"caffe": "runner", "data_prep": "data_prep", "netgen": "netgen", "study": "study"}
#: what is loaded once for many commands; torch is the longest
HEAVY = ("torch", "lmdb", "h5py", "matplotlib.pyplot", "PIL.Image", "onnx", "runner.commands.train")


def scripts() -> list[str]:
    """The commands that are scripts of tools/ over a module of caffe_tools."""
    return sorted(
        path.stem
        for path in TOOLS.glob("*.py")
        if (TOOLS / "caffe_tools" / path.name).exists() and path.stem != "build_pycaffe"
    )


def has(name: str) -> bool:
    """Whether the project has a command of this name."""
    return name in _MODULES or name in scripts()


def line(name: str, words: list[str]) -> list[str]:
    """The command line of a process of its own."""
    if name in _MODULES:
        return [sys.executable, "-m", _MODULES[name], *words]
    return [sys.executable, str(TOOLS / f"{name}.py"), *words]


def load() -> None:
    """Import what the commands import, so that a fork of this process begins with its work."""
    if str(TOOLS) not in sys.path:
        sys.path.append(str(TOOLS))
    for module in HEAVY:
        if find_spec(module.split(".")[0]):
            import_module(module)
    for module in (*(module for module, _ in _MAINS.values()), "attack.mutants"):
        import_module(module)
    for name in scripts():
        import_module(f"caffe_tools.{name}")


def function(name: str, words: list[str]) -> Callable[[], object]:
    """What a process of that command would run after its imports; it may raise SystemExit."""
    sys.argv = [name, *words]
    if name.startswith("attack."):  # many commands in one fork
        return lambda: import_module(name).command(words)
    if name in _MAINS:
        module, main = _MAINS[name]
        return lambda: getattr(import_module(module), main)()
    return lambda: import_module(f"caffe_tools.{name}").command()
