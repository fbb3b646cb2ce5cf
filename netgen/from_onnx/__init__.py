"""ONNX models as Caffe nets: `python -m netgen from-onnx`. See README.md.

Importing this imports neither the package onnx nor anything else that takes time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netgen.from_onnx.conversion import Conversion as Conversion
    from netgen.from_onnx.conversion import convert as convert
    from netgen.from_onnx.errors import ConversionError as ConversionError
    from netgen.from_onnx.model import graph_of as graph_of
    from netgen.from_onnx.model import only_valid as only_valid
    from netgen.from_onnx.model import read_model as read_model
    from netgen.from_onnx.targets import TARGETS as TARGETS

_HOMES = {
    "Conversion": "conversion",
    "ConversionError": "errors",
    "TARGETS": "targets",
    "convert": "conversion",
    "graph_of": "model",
    "only_valid": "model",
    "read_model": "model",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'netgen.from_onnx' has no attribute '{name}'")
    return getattr(import_module(f"netgen.from_onnx.{_HOMES[name]}"), name)
