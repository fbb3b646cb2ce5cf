"""Power cuts: a disk of our own that forgets what was not synced, under every command that writes.

The disk is an ext4 image on a loop device, shut down in the middle by the kernel's own means, its
journal unwritten, and mounted again, which replays the journal as after any crash. Whatever bears
a final name then must be whole. Beside the command a file is written as a careless program does,
closed and renamed without fsync: how often the cut takes it says whether the cut is one.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from attack import contents
from attack.disks import LoopDisk, may_mount
from attack.kills import Kills
from attack.trial import Place, Trial
from attack.writers import writers

CARELESS = "careless"


class Cuts:
    """The part of the power cuts."""

    name, title, count = "cuts", "power cut under a command that writes", 20
    counts_attacks = False

    def __init__(self) -> None:
        self._kills = Kills()

    def ready(self) -> None:
        """Raises Refused where disks cannot be mounted."""
        may_mount()

    def trial(self, place: Place, number: int, draw: random.Random) -> Trial:
        """One command on the disk, one cut, up to two seconds after the command's end."""
        table = writers(place.inputs)
        writer = table[number % len(table)]
        reference = self._kills.reference(place, writer)
        trial = Trial(writer.title)
        with place.empty() as folder:
            disk = LoopDisk(folder)
            try:
                disk.mount()
                work = disk.path / "work"
                work.mkdir()
                os.sync()
                command = writer.first(work)
                moment = draw.uniform(0, reference.seconds + 2)
                with place.starter.started(command) as running:
                    _write_careless(work)
                    time.sleep(moment)
                    disk.cut()
                    running.kill()
                disk.unmount()
                disk.mount()
                trial.notes["careless"] = float(_lost_careless(work))
                what = f"{command}: power cut after {moment:.3f} s"
                wrong = contents.broken(work, set(reference.files))
                trial.complaints += [f"{what}: {line}" for line in wrong]
                (work / CARELESS).unlink(missing_ok=True)
                if not wrong:
                    trial.complaints += self._kills.go_on(place, writer, work, reference)
            finally:
                disk.close()
        return trial


def _write_careless(folder: Path) -> None:
    """Write a file as the project must not."""
    temporary = folder / f"{CARELESS}.new"
    temporary.write_bytes(b"x" * 50000)
    temporary.rename(folder / CARELESS)


def _lost_careless(folder: Path) -> bool:
    """Whether the cut has taken the careless file: gone, or empty under its final name."""
    (folder / f"{CARELESS}.new").unlink(missing_ok=True)
    path = folder / CARELESS
    return not path.exists() or path.stat().st_size != 50000
