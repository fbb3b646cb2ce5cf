"""HDF5 files: opened, recognised and written whole, with one-line errors.

Caffe's own are its snapshots, /data/<layer>/<i> and /history/<i>, and the data of HDF5Data. The
package h5py is needed only where such a file is read or written.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import weakref
from collections.abc import Callable, Iterator
from typing import IO, Any

from netgen.errors import CaffeError
from netgen.schema.files import (
    SchemaError,
    StrPath,
    lock,
    sync,
    temporary_name,
    write_bytes,
    writing,
)

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


class GrowingHDF5:
    """An HDF5 file that grows while it may be read, and is whole under its name at every moment.

    Two files take turns: the one under the name is never written to; the other, hidden beside it,
    gets what it misses and then the name. So a kill or a power cut leaves the file as some change
    left it. Every change is written twice, and until the object goes there is a second copy.
    """

    def __init__(self, path: StrPath):
        """An empty one takes the place of what is at `path`. Raises SchemaError."""
        self.path = os.path.realpath(path)
        self._h5py = require_h5py(path)
        with writing(path, "w+b") as file, self._h5py.File(file, "w"):
            pass
        self._missed: list[Callable[[Any], object]] = []
        self._hidden: list[IO[bytes]] = []  # that one file, or none
        weakref.finalize(self, _remove, self._hidden)

    def change(self, make: Callable[[Any], object]) -> None:
        """Have `make(file)` change the h5py.File; it is called again for the other copy.

        Raises OSError, and what `make` raises; then the file is as it was.
        """
        try:
            if not self._hidden:
                self._hidden.append(self._copied())
                self._missed = []
            file = self._hidden[0]
            with self._h5py.File(file, "r+") as opened:
                for change in (*self._missed, make):
                    change(opened)
            file.flush()
            os.fsync(file.fileno())
            self._hidden += self._linked()
            os.replace(file.name, self.path)
            self._hidden.remove(file)
            self._missed = [make]
            file.close()
            sync(os.path.dirname(self.path))
        except BaseException:
            _remove(self._hidden)
            raise

    def _copied(self) -> IO[bytes]:
        """A hidden copy of the file."""
        copy = open(temporary_name(self.path), "x+b")  # noqa: SIM115
        with contextlib.suppress(OSError):  # a file system without locks
            lock(copy.fileno())
        with open(self.path, "rb") as shown:
            os.fchmod(copy.fileno(), os.fstat(shown.fileno()).st_mode & 0o777)
            shutil.copyfileobj(shown, copy)
        return copy

    def _linked(self) -> list[IO[bytes]]:
        """The file that loses its name, under a hidden one; none where it cannot be kept."""
        hidden = temporary_name(self.path)
        try:
            os.link(self.path, hidden)
        except OSError:  # a file system without links
            return []
        file = open(hidden, "r+b")  # noqa: SIM115
        try:
            lock(file.fileno())
        except BlockingIOError:  # who reads it goes on reading it as it is
            _remove([file])
            return []
        except OSError:
            pass
        return [file]


def _remove(files: list[IO[bytes]]) -> None:
    """Remove hidden files, and let go of them."""
    while files:
        file = files.pop()
        with contextlib.suppress(OSError):
            os.unlink(file.name)
        file.close()
