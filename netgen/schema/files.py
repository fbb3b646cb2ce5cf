"""Bytes from a file and to a file, with one-line errors; a write is all or nothing."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import sys
import time
import zlib
from collections.abc import Iterator
from typing import IO, Any, TypeAlias

from netgen.errors import CaffeError

StrPath: TypeAlias = "str | os.PathLike[str]"


#: Where a package that was installed has the bundled nets and solvers, to be looked at.
BUNDLED = os.path.join(sys.prefix, "share", "caffe-split")


class SchemaError(CaffeError):
    """A file or message that cannot be read, written or understood."""


LARGEST = 2**31 - 1  # bytes of a message of protobuf (io.cpp, kProtoReadBytesLimit)
_MOST_OF_DEVICE = 1 << 24  # a terminal, say


def read_bytes(path: StrPath) -> bytes:
    """The contents of a file. Raises SchemaError where there is none, it is empty or larger than
    any message of protobuf: a device may never end, and a file with holes be of any size.
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            about = os.fstat(file.fileno())
            most = _MOST_OF_DEVICE if stat.S_ISCHR(about.st_mode) else LARGEST
            data = file.read(most + 1) if about.st_size <= most else b""
    except FileNotFoundError:
        told = f"File not found: {path}"
        if os.path.isfile(os.path.join(BUNDLED, path)):
            told += "; this writes it: python -m netgen generate"
        raise SchemaError(told) from None
    except OSError as error:
        raise SchemaError(f"{path}: cannot be read: {error.strerror}") from None
    if about.st_size > most or len(data) > most:
        raise SchemaError(f"{path}: larger than {most:,} bytes")
    if not data:
        raise SchemaError(f"{path}: the file is empty")
    return data


def write_bytes(data: bytes | bytearray | memoryview, path: StrPath) -> None:
    """Write a file whole or not at all; see `writing`. Raises SchemaError."""
    with writing(path) as file:
        file.write(data)


@contextlib.contextmanager
def writing(path: StrPath, mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """Give an open file that takes the place of `path`, whole, when the block ends well.

    mode: "wb", or "w" for text, which is UTF-8; options: further ones of open(). Until the end
    of the block the file has an unpredictable name in the same folder. It is on the disk before
    it is renamed, and so is the folder afterwards: nothing is lost at a power cut. What killed
    processes have left of theirs in that folder is removed. A file that is replaced hands its
    permissions on, a new one has those of the umask. A link is followed, so what it points to is
    replaced; a device or pipe is written to directly. Raises SchemaError, and what the block
    raises; then `path` is as it was.
    """
    path = os.fspath(path)
    if "b" not in mode:
        options.setdefault("encoding", "utf-8")
    target = os.path.realpath(path)
    temporary, made = None, False
    try:
        old = os.stat(path) if os.path.exists(path) else None
        if old is not None and not stat.S_ISREG(old.st_mode):
            with open(path, mode, **options) as file:
                yield file
            return
        temporary = temporary_name(target)
        with open(temporary, mode, opener=_exclusive, **options) as file:
            made = True
            with contextlib.suppress(OSError):  # a file system without locks
                lock(file.fileno())  # tells who sweeps that its process is alive
            yield file
            file.flush()
            if old is not None:
                os.fchmod(file.fileno(), old.st_mode & 0o777)
            os.fsync(file.fileno())
            os.replace(temporary, target)  # still locked: who sweeps would take it for left over
        sync(os.path.dirname(target))
    except BaseException as error:
        if temporary is not None and made:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        if isinstance(error, OSError) and _is_of_writing(error, path, temporary):
            raise SchemaError(f"{path}: cannot be written: {error.strerror or error}") from None
        raise


_NEW = 2.0  # seconds that a temporary file may take from its making to its lock


def host() -> str:
    """Eight hex digits that stand for this machine, or container, in names of temporary files."""
    return f"{zlib.crc32(os.uname().nodename.encode(errors='replace')):08x}"


#: file systems of a disk that one kernel has for itself, so that its locks say who lives
_LOCAL = {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "zfs", "tmpfs", "overlay"}
#: seconds after which nobody can be writing any more what bears the name of another host; a
#: machine that we serve our disk to may not hand its locks on
DAY = 86_400.0


def swept_hosts(folder: StrPath, mounts: StrPath = "/proc/self/mountinfo") -> str:
    """The regular expression of the hosts whose leftovers in a folder may be looked at.

    On a disk of this machine those are all, for whoever else writes there, a container with a
    name drawn at random, is under the same kernel and has locked what it writes; that was written
    a DAY ago, at least, as such a disk may be served to others. In a folder that machines share
    it is this host: not every network file system hands locks on.

    mounts: the file that says of what kind file systems are; see proc(5).
    """
    with contextlib.suppress(OSError):
        device = os.stat(folder or ".").st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
        with open(mounts, encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file]
        kinds = {line[line.index("-") + 1] for line in lines if line[2:3] == [number]}
        if kinds and kinds <= _LOCAL:
            return "[0-9a-f]{8}"
    return host()


def temporary_name(path: str) -> str:
    """A name that nobody foresees, in the folder of a file, for what is to take its place.

    What killed processes have left under such names in that folder is removed; see swept_hosts.
    """
    folder, name = os.path.split(path)
    _sweep(folder)
    return os.path.join(folder, f".{name[:40]}.{host()}.{os.urandom(8).hex()}.tmp")


def _sweep(folder: str) -> None:
    """Remove the temporary files in a folder that no process has locked."""
    pattern = re.compile(rf"\..{{1,40}}\.{swept_hosts(folder)}\.[0-9a-f]{{16}}\.tmp")
    left: list[str] = []
    with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
        left = [entry.path for entry in entries if pattern.fullmatch(entry.name)]
    for path in left:
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                of = os.fstat(handle)
                age = time.time() - of.st_mtime
                foreign = f".{host()}." not in os.path.basename(path)
                old = age > DAY if foreign else of.st_size or age > _NEW
                ours = of.st_uid == os.getuid() and of.st_nlink == 1
                if stat.S_ISREG(of.st_mode) and ours and old:
                    lock(handle)
                    if foreign:  # the lock that a machine would have that we serve the disk to
                        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(path)
            finally:
                os.close(handle)


def lock(handle: int) -> None:
    """Lock an open file or folder for as long as it is open, however its process ends.

    Raises BlockingIOError where another holds it, OSError on a file system without locks.
    """
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sync(path: StrPath) -> None:
    """Have a file or folder, as it is now, on the disk. Raises OSError."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder that may be written to, but not read
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not every file system can
            raise
    finally:
        os.close(handle)


def _exclusive(path: str, flags: int) -> int:
    """For open(): the file is new and no link; its permissions are those of the umask."""
    return os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)


def _is_of_writing(error: OSError, path: str, temporary: str | None) -> bool:
    """Whether an error is of the file being written, not of another that the block reads."""
    if isinstance(error, BrokenPipeError):  # the reader of a pipe has seen enough
        return False
    return error.filename in (None, path, temporary)
