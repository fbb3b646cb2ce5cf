"""Binary protobuf files: caffemodel, solverstate, binaryproto."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import DecodeError, EncodeError, Message

from netgen.schema import encoding
from netgen.schema.files import SchemaError, StrPath, read_bytes, write_bytes

M = TypeVar("M", bound=Message)


def read_binary(path: StrPath, message_class: type[M]) -> M:
    """Read a binary file into a new message. Raises SchemaError."""
    path = os.fspath(path)
    message = message_class()
    try:
        message.ParseFromString(read_bytes(path))
    except DecodeError:
        name = message_class.DESCRIPTOR.full_name
        raise SchemaError(
            f"{path}: not a whole {name} (truncated, or another kind of file)"
        ) from None
    encoding.take_strings(message)
    return message


def write_binary(
    message: Message, path: StrPath, ready: Callable[[bytes], object] | None = None
) -> None:
    """Write a message as a binary file, whole or not at all. Raises SchemaError.

    ready: is called with the bytes before anything is written.
    """
    try:
        data = encoding.to_wire(message)
    except (EncodeError, ValueError) as error:
        raise SchemaError(f"{os.fspath(path)}: cannot be written: {error}") from None
    if ready is not None:
        ready(data)
    write_bytes(data, path)
