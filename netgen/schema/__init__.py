"""Caffe's messages and files: nets, solvers, weights, solver states, blobs, records.

A name is loaded when it is first asked for: who writes a file whole needs no protobuf, and who
writes a net needs no NumPy, which takes longer to import than all of the schema.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netgen.schema import caffe_pb
    from netgen.schema.binary import read_binary, write_binary
    from netgen.schema.blobs import array_to_blob, blob_shape, blob_to_array
    from netgen.schema.datum import DatumReader, encode_datums
    from netgen.schema.digest import file_digest
    from netgen.schema.encoding import encode, to_wire
    from netgen.schema.files import SchemaError, write_bytes, writing
    from netgen.schema.hdf5 import GrowingHDF5, is_hdf5, open_hdf5, require_h5py, writing_hdf5
    from netgen.schema.jsonfile import json_text, read_json, write_json
    from netgen.schema.load import (
        read_blob,
        read_caffemodel,
        read_net,
        read_solver,
        read_solverstate,
    )
    from netgen.schema.own import declare, own_parameters
    from netgen.schema.preprocessing import (
        DAMAGED_ARRAYS,
        ZCA,
        Preprocessing,
        global_contrast_normalize,
    )
    from netgen.schema.solver_types import SOLVER_TYPES, SolverType, find_solver_type
    from netgen.schema.text import parse_text, read_text, to_text, write_text
    from netgen.schema.upgrade import upgrade_net, upgrade_solver

_HOMES = {
    "binary": ("read_binary", "write_binary"),
    "blobs": ("array_to_blob", "blob_shape", "blob_to_array"),
    "datum": ("DatumReader", "encode_datums"),
    "digest": ("file_digest",),
    "encoding": ("encode", "to_wire"),
    "files": ("SchemaError", "write_bytes", "writing"),
    "hdf5": ("GrowingHDF5", "is_hdf5", "open_hdf5", "require_h5py", "writing_hdf5"),
    "jsonfile": ("json_text", "read_json", "write_json"),
    "load": ("read_blob", "read_caffemodel", "read_net", "read_solver", "read_solverstate"),
    "solver_types": ("SOLVER_TYPES", "SolverType", "find_solver_type"),
    "own": ("declare", "own_parameters"),
    "preprocessing": ("DAMAGED_ARRAYS", "ZCA", "Preprocessing", "global_contrast_normalize"),
    "text": ("parse_text", "read_text", "to_text", "write_text"),
    "upgrade": ("upgrade_net", "upgrade_solver"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "DAMAGED_ARRAYS",
    "GrowingHDF5",
    "DatumReader",
    "Preprocessing",
    "SOLVER_TYPES",
    "SchemaError",
    "SolverType",
    "ZCA",
    "array_to_blob",
    "blob_shape",
    "blob_to_array",
    "caffe_pb",
    "declare",
    "encode",
    "encode_datums",
    "file_digest",
    "find_solver_type",
    "global_contrast_normalize",
    "is_hdf5",
    "json_text",
    "open_hdf5",
    "own_parameters",
    "parse_text",
    "read_binary",
    "read_blob",
    "read_caffemodel",
    "read_json",
    "read_net",
    "read_solver",
    "read_solverstate",
    "read_text",
    "require_h5py",
    "to_text",
    "to_wire",
    "upgrade_net",
    "upgrade_solver",
    "write_binary",
    "write_bytes",
    "write_json",
    "write_text",
    "writing",
    "writing_hdf5",
]


def __getattr__(name: str) -> Any:
    if name == "caffe_pb":
        return import_module("netgen.schema.caffe_pb")
    if name not in _HOME:
        raise AttributeError(f"module 'netgen.schema' has no attribute '{name}'")
    value = getattr(import_module(f"netgen.schema.{_HOME[name]}"), name)
    globals()[name] = value
    return value
