"""Caffe's kinds of files by name, brought to the current format on reading."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import Message

from netgen import own_layers
from netgen.schema import caffe_pb, forks
from netgen.schema.binary import read_binary
from netgen.schema.files import SchemaError, StrPath
from netgen.schema.text import read_text
from netgen.schema.upgrade import upgrade_net, upgrade_solver

M = TypeVar("M", bound=Message)


def read_net(path: StrPath, notes: list[str] | None = None) -> caffe_pb.NetParameter:
    """A net's prototxt, upgraded to the current format. Raises SchemaError.

    notes: a list that gets the lines upgrade_net returns, and one about fields that change no
    result, here and in the next two.
    """
    own_layers.load_environment()
    return _upgraded(read_text(path, caffe_pb.NetParameter), upgrade_net, path, notes)


def read_caffemodel(path: StrPath, notes: list[str] | None = None) -> caffe_pb.NetParameter:
    """A binary net with its weights, upgraded to the current format. Raises SchemaError.

    What a fork has under a number that means something else here is left out.
    """
    net = read_binary(path, caffe_pb.NetParameter)
    forks.drop_misread(net)
    return _upgraded(net, upgrade_net, path, notes)


def read_solver(path: StrPath, notes: list[str] | None = None) -> caffe_pb.SolverParameter:
    """A solver's prototxt, upgraded to the current format. Raises SchemaError."""
    own_layers.load_environment()
    return _upgraded(read_text(path, caffe_pb.SolverParameter), upgrade_solver, path, notes)


def read_solverstate(path: StrPath) -> caffe_pb.SolverState:
    """A binary solver state. Raises SchemaError."""
    return read_binary(path, caffe_pb.SolverState)


def read_blob(path: StrPath) -> caffe_pb.BlobProto:
    """A binary blob, such as a mean image. Raises SchemaError."""
    return read_binary(path, caffe_pb.BlobProto)


def _upgraded(
    message: M, upgrade: Callable[[M], list[str]], path: StrPath, notes: list[str] | None
) -> M:
    try:
        found = upgrade(message)
    except SchemaError as error:
        raise SchemaError(f"{os.fspath(path)}: {error}") from None
    if notes is not None:
        skipped = forks.skipped(message)
        notes += [*found, skipped] if skipped else found
    return message
