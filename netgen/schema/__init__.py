"""Caffe's messages and files: nets, solvers, weights, solver states, blobs."""

from netgen.schema import caffe_pb
from netgen.schema.binary import read_binary, write_binary
from netgen.schema.files import SchemaError, write_bytes
from netgen.schema.load import (
    read_blob,
    read_caffemodel,
    read_net,
    read_solver,
    read_solverstate,
)
from netgen.schema.text import parse_text, read_text, to_text, write_text
from netgen.schema.upgrade import upgrade_net, upgrade_solver

_BLOBS = ("array_to_blob", "blob_shape", "blob_to_array")

__all__ = [
    "SchemaError",
    "array_to_blob",
    "blob_shape",
    "blob_to_array",
    "caffe_pb",
    "parse_text",
    "read_binary",
    "read_blob",
    "read_caffemodel",
    "read_net",
    "read_solver",
    "read_solverstate",
    "read_text",
    "to_text",
    "upgrade_net",
    "upgrade_solver",
    "write_binary",
    "write_bytes",
    "write_text",
]


def __getattr__(name):
    # NumPy takes longer to import than all of the schema, and writing a net needs none.
    if name in _BLOBS:
        from netgen.schema import blobs

        return getattr(blobs, name)
    raise AttributeError(f"module 'netgen.schema' has no attribute '{name}'")
