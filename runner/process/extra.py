"""Packages that only some commands need."""

from __future__ import annotations

import importlib
from types import ModuleType

from netgen.errors import CaffeError


def needed(package: str, extra: str) -> ModuleType:
    """The module of a package of an extra. Raises CaffeError where it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError:
        raise CaffeError(
            f"the package {package} is not installed: pip install 'caffe-split[{extra}]'"
        ) from None
