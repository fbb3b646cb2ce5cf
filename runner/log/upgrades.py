"""Nets, caffemodels and solvers, read with Caffe's lines about old formats (upgrade_proto.cpp)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TypeVar

from netgen import schema
from netgen.schema import caffe_pb
from runner.log import glog

_TOOLS = (
    "use ./build/tools/upgrade_net_proto_text for prototxt and "
    "./build/tools/upgrade_net_proto_binary for model weights upgrade this and any other net "
    "protos to the new format."
)
#: the upgrade's own note: (what is tried, its line), (what is done, its line), (warning, its line)
_LINES = {
    "upgraded from deprecated V0LayerParameter": (
        ("input file specified using deprecated V0LayerParameter", 28),
        ("file specified using deprecated V0LayerParameter", 36),
        (f"Note that future Caffe releases will not support V0NetParameter; {_TOOLS}", 39),
    ),
    "upgraded from deprecated transformation parameters": (
        ("input file specified using deprecated transformation parameters", 46),
        ("file specified using deprecated data transformation parameters.", 49),
        (
            "Note that future Caffe releases will only support transform_param messages for "
            "transformation fields.",
            51,
        ),
    ),
    "upgraded from deprecated V1LayerParameter": (
        ("input file specified using deprecated V1LayerParameter", 55),
        ("file specified using deprecated V1LayerParameter", 63),
        None,
    ),
    "upgraded from deprecated input fields": (
        ("input file specified using deprecated input fields", 69),
        ("file specified using deprecated input fields.", 72),
        (
            "Note that future Caffe releases will only support input layers and not input fields.",
            74,
        ),
    ),
    "upgraded batch norm layers using deprecated params": (
        ("batch norm layers using deprecated params", 79),
        ("batch norm layers using deprecated params.", 82),
        None,
    ),
    "upgraded from deprecated 'solver_type' field (enum) to 'type' field (string)": (
        ("input file specified using deprecated 'solver_type' field (enum)'", 1084),
        (
            "file specified using deprecated 'solver_type' field (enum) to 'type' field (string).",
            1091,
        ),
        (
            "Note that future Caffe releases will only support 'type' field (string) for a "
            "solver's type.",
            1093,
        ),
    ),
}


Path = str | os.PathLike[str]
Message = TypeVar("Message")

#: what was said of a file that Caffe has no line for
_said: set[tuple[Path, str]] = set()


def _logged(read: Callable[[Path, list[str]], Message], path: Path) -> Message:
    notes: list[str] = []
    message = read(path, notes)
    tell(notes, path)
    return message


def tell(notes: Iterable[str], path: Path) -> bool:
    """Log the notes of an upgrade of the file `path`; whether one is of what Caffe has no line for.

    That is what could not be carried over, and is told once for each file.
    """
    others = False
    for note in notes:
        if note not in _LINES:
            others = True
            if (path, note) in _said:  # a net is read once for training and once a test
                continue
            _said.add((path, note))
            glog.warning(f"{path}: {note}", "upgrade_proto.cpp:33")
            continue
        tried, done, warning = _LINES[note]
        glog.info(f"Attempting to upgrade {tried[0]}: {path}", f"upgrade_proto.cpp:{tried[1]}")
        glog.info(f"Successfully upgraded {done[0]}", f"upgrade_proto.cpp:{done[1]}")
        if warning:
            glog.warning(warning[0], f"upgrade_proto.cpp:{warning[1]}")
    return others


def read_net(path: Path) -> caffe_pb.NetParameter:
    """Read a net as schema.read_net does, and log what was upgraded."""
    return _logged(schema.read_net, path)


def read_caffemodel(path: Path) -> caffe_pb.NetParameter:
    """Read weights as schema.read_caffemodel does, and log what was upgraded."""
    return _logged(schema.read_caffemodel, path)


def read_solver(path: Path) -> caffe_pb.SolverParameter:
    """Read a solver as schema.read_solver does, and log what was upgraded."""
    return _logged(schema.read_solver, path)
