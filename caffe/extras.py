"""Packages that few calls need, imported when one of them is made."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def extra(module: str, package: str, what: str) -> ModuleType:
    """The module `module` of the optional package `package`, which `what` needs.

    Raises ImportError, in one line that names the package and the extra, where it is missing.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{what} needs the package {package}: pip install {package}, "
            f"or 'caffe-split[pycaffe]' ({error})"
        ) from None
