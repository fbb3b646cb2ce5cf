"""Bytes from a file and to a file, with one-line errors; a write is all or nothing."""

import contextlib
import os
import stat

from netgen.errors import CaffeError


class SchemaError(CaffeError):
    """A file or message that cannot be read, written or understood."""


def read_bytes(path):
    """The contents of a file. Raises SchemaError where there is none or it is empty."""
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise SchemaError(f"File not found: {path}") from None
    except OSError as error:
        raise SchemaError(f"{path}: cannot be read: {error.strerror}") from None
    if not data:
        raise SchemaError(f"{path}: the file is empty")
    return data


def write_bytes(data, path):
    """Write a file whole or not at all.

    The bytes go to a temporary name in the same folder, which then takes the file's place.
    A link is followed, so what it points to is replaced; a device or pipe is written to
    directly. Raises SchemaError.
    """
    path = os.fspath(path)
    target = os.path.realpath(path)
    temporary = None
    try:
        if os.path.exists(target) and not stat.S_ISREG(os.stat(target).st_mode):
            with open(path, "wb") as file:
                file.write(data)
            return
        temporary = f"{target}.{os.getpid()}.tmp"
        with open(temporary, "wb") as file:
            file.write(data)
        os.replace(temporary, target)
    except BaseException as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise SchemaError(f"{path}: cannot be written: {error.strerror}") from None
        raise
