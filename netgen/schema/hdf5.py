"""HDF5 files: opened, recognised and written whole, with one-line errors.

Caffe's own are its snapshots, /data/<layer>/<i> and /history/<i>, and the data of HDF5Data. The
package h5py is needed only where such a file is read or written.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from typing import Any

from netgen.errors import CaffeError
from netgen.schema.files import SchemaError, StrPath, write_bytes

_MAGIC = b"\x89HDF\r\n\x1a\n"


def require_h5py(path: StrPath) -> Any:
    """The module h5py, needed for the file `path`. Raises SchemaError where it is missing."""
    try:
        import h5py
    except ImportError:
        raise SchemaError(
            f"{os.fspath(path)}: HDF5 files need the package h5py: pip install h5py"
        ) from None
    return h5py


def is_hdf5(path: StrPath) -> bool:
    """Whether the file begins as HDF5 files do. Raises OSError where it cannot be read."""
    with open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


@contextlib.contextmanager
def open_hdf5(path: StrPath) -> Iterator[Any]:
    """Give the h5py.File, for reading.

    Raises SchemaError where it cannot be read, and where the block does not find in it what it
    looks for (AttributeError, KeyError, TypeError, ValueError).
    """
    path = os.fspath(path)
    h5py = require_h5py(path)
    if not os.path.exists(path):
        raise SchemaError(f"File not found: {path}")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except CaffeError:  # a ValueError, too
        raise
    except OSError as error:
        raise SchemaError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error.args[0] if error.args else type(error).__name__).split())
        raise SchemaError(f"{path}: not laid out as Caffe's HDF5 files: {reason}") from None


@contextlib.contextmanager
def writing_hdf5(
    path: StrPath, ready: Callable[[memoryview], object] | None = None
) -> Iterator[Any]:
    """Give an h5py.File in memory that is written to `path`, whole, when the block ends well.

    ready: is called with the bytes before anything is written. Raises SchemaError, and what the
    block raises.
    """
    content = io.BytesIO()
    with require_h5py(path).File(content, "w") as file:
        yield file
    if ready is not None:
        ready(content.getbuffer())
    write_bytes(content.getbuffer(), path)
