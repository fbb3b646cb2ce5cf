"""The door for people's own layer types: Python files and installed packages that register them.

A file is named by `caffe ... -layers FILE.py`, by `--layers` of netgen's commands, or by
CAFFE_LAYERS (several, separated by ','); a package has an entry point of the group
`caffe_split.layers`. See docs/own_layers.md.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from netgen.errors import CaffeError

VARIABLE = "CAFFE_LAYERS"
GROUP = "caffe_split.layers"

#: Whether the types that are being registered are people's own.
_loading = False


def are_loading() -> bool:
    """Whether a file or package of people's own layers is being loaded."""
    return _loading


def load(files: str) -> None:
    """Load Python files, separated by ',', each once. Raises CaffeError, which names the line."""
    for path in files.split(",") if not os.path.exists(files) else (files,):
        if path:
            _load_file(os.path.realpath(path), path)


def load_environment() -> None:
    """Load the files of CAFFE_LAYERS, once."""
    load(os.environ.get(VARIABLE, ""))


@functools.cache
def load_installed() -> bool:
    """Load what installed packages register, once; returns whether there was anything."""
    from importlib.metadata import entry_points

    found = entry_points(group=GROUP)
    for entry in found:
        _guarded(f"entry point {entry.name} of {GROUP}", entry.load)
    return bool(found)


@functools.cache
def _load_file(path: str, shown: str) -> None:
    if not os.path.isfile(path):
        raise CaffeError(f"File not found: {shown} (of -layers or {VARIABLE})")
    stem = os.path.splitext(os.path.basename(path))[0]
    name = f"caffe_layers_{stem}_{abs(hash(path))}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CaffeError(f"{shown}: not a Python file (its name should end in .py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that its classes can be pickled
    _guarded(shown, lambda: spec.loader.exec_module(module), path)


def _guarded(shown: str, run: Callable[[], object], path: str | None = None) -> None:
    try:
        with _own():
            run()
    except Exception as error:
        if isinstance(error, SyntaxError):
            line = error.lineno
        else:
            frames = traceback.extract_tb(error.__traceback__)
            line = next((f.lineno for f in reversed(frames) if f.filename == path), None)
        where = f"{shown}:{line}" if line else shown
        what = error if isinstance(error, CaffeError) else f"{type(error).__name__}: {error}"
        raise CaffeError(f"{where}: {what}") from None


@contextmanager
def _own() -> Iterator[None]:
    global _loading
    before, _loading = _loading, True
    try:
        yield
    finally:
        _loading = before


class LayersOption(argparse.Action):
    """The option --layers of a command line, which loads its files at once."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        load(values)
        setattr(namespace, self.dest, values)


def add_layers_option(parser: argparse.ArgumentParser) -> None:
    """Give a command that reads nets the option --layers."""
    parser.add_argument(
        "--layers",
        action=LayersOption,
        metavar="FILE.py",
        help=f"a Python file that registers layer types; several, separated by ',' ({VARIABLE})",
    )
