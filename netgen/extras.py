"""Packages that only some commands need: each belongs to an extra of the distribution."""

from __future__ import annotations

import importlib
from types import ModuleType

from netgen.errors import CaffeError


def needed(
    package: str, extra: str, why: str = "", error: type[CaffeError] = CaffeError
) -> ModuleType:
    """The module of a package of an extra.

    why: what is told where it is not installed, before the command that installs it; by default
    that it is not. Raises `error` there, in one line.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        why = why or f"the package {package} is not installed"
        raise error(f"{why}: pip install 'caffe-split[{extra}]'") from None
