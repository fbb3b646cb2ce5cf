"""Small disks of our own: one that loses its power, one that is full. Both need root."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from attack.trial import Refused

#: ioctl EXT4_IOC_SHUTDOWN of Linux, and its flag for "without writing the journal": whatever has
#: not reached the disk by then is lost, as it is to a power cut.
_SHUTDOWN, _NO_FLUSH = 0x8004587D, 2


def may_mount() -> None:
    """Raises Refused, with the reason, where disks cannot be mounted."""
    if os.geteuid():
        raise Refused("only root may mount a disk")
    for program in ("mkfs.ext4", "mount", "umount"):
        if not shutil.which(program):
            raise Refused(f"there is no {program}")
    if not os.path.exists("/dev/loop-control"):
        raise Refused("there are no loop devices")


def _call(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"{' '.join(words)}: {done.stderr.strip()}")


class LoopDisk:
    """An ext4 image on a loop device, mounted at `path`; it commits its journal every second."""

    def __init__(self, folder: Path, megabytes: int = 256) -> None:
        may_mount()
        self.image, self.path = folder / "disk.img", folder / "disk"
        self.path.mkdir(parents=True)
        with open(self.image, "wb") as file:
            file.truncate(megabytes << 20)
        _call("mkfs.ext4", "-q", "-F", "-m", "0", str(self.image))
        self._mounted = False

    def mount(self) -> None:
        """Mount it, which replays the journal as after any crash."""
        _call("mount", "-o", "loop,commit=1", str(self.image), str(self.path))
        self._mounted = True

    def cut(self) -> None:
        """Lose the power: nothing is written any more, and what was not on the disk is lost."""
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, struct.pack("I", _NO_FLUSH))
        except OSError as error:
            raise Refused(f"this kernel cannot shut an ext4 down: {error.strerror}") from None
        finally:
            os.close(handle)

    def unmount(self) -> None:
        """Let go of it."""
        if self._mounted:
            _call("umount", str(self.path))
            self._mounted = False

    def close(self) -> None:
        """Unmount it whatever it takes."""
        with contextlib.suppress(Refused):
            self.unmount()
        if self._mounted:
            subprocess.run(["umount", "-l", str(self.path)], capture_output=True)


@contextlib.contextmanager
def memory_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk in memory of `size` ("64k"), gone at the end of the block."""
    may_mount()
    folder.mkdir(parents=True, exist_ok=True)
    _call("mount", "-t", "tmpfs", "-o", f"size={size}", "torture", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True)


def remount(folder: Path, options: str) -> None:
    """Change a mounted disk: "ro", "rw", "size=1m"."""
    _call("mount", "-o", f"remount,{options}", str(folder))
