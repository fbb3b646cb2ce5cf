"""Disks that are full, read-only or gone, limits, closed and full outputs, for every writer.

A command that cannot write says so in one line, leaves nothing broken and nothing behind, and
leaves what was there as it was; once it can write, the same command ends as an undisturbed run.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attack import contents
from attack.disks import may_mount, memory_disk, remount
from attack.kills import Kills, Reference
from attack.starter import Command
from attack.trial import Place, Refused, Trial, one_line
from attack.writers import Writer, writers

#: of a process: how its outputs or limits differ from a healthy one's
PROCESS: dict[str, dict[str, Any]] = {
    "file size limited to 1 kB": {"limits": (("FSIZE", 1024),)},
    "8 descriptors": {"limits": (("NOFILE", 8),)},
    "stderr closed": {"closed": (2,)},
    "stderr on a full device": {"err": "/dev/full"},
    "stdout closed": {"closed": (1,)},
    "stdout on a full device": {"out": "/dev/full"},
    "stdin, stdout and stderr closed": {"closed": (0, 1, 2)},
}
#: of the disk under the current folder
DISKS = ("full", "nearly full", "read-only")
FAULTS = (*PROCESS, *(f"disk {kind}" for kind in DISKS), "folder removed")
HEALTHY = ("stderr closed", "stderr on a full device")  # end nothing


class Faults:
    """The part of the faults of input and output."""

    name, title, count = "faults", "fault of input or output under a command that writes", 165
    counts_attacks = False

    def __init__(self) -> None:
        self._kills = Kills()

    def ready(self) -> None:
        """It can be tried everywhere; a disk of its own is left out without root."""

    def trial(self, place: Place, number: int, draw: random.Random) -> Trial:
        """A fault under a writer: all pairs in turn."""
        table = list({writer.title: writer for writer in writers(place.inputs)}.values())
        fault = FAULTS[number % len(FAULTS)]
        writer = table[number // len(FAULTS) % len(table)]
        reference = self._kills.reference(place, writer)
        trial = Trial(fault)
        with place.empty() as folder:
            if fault in PROCESS:
                command = writer.first(folder)
                command = Command(command.name, command.words, folder, **PROCESS[fault])
                trial.complaints = self._answer(place, writer, command, reference, fault)
            elif fault == "folder removed":
                trial.complaints = self._removed(place, writer, folder, reference, draw)
            else:
                try:
                    may_mount()
                except Refused as refused:
                    return Trial(f"{fault}: not tried, {refused}", attacks=0)
                trial.complaints = self._disk(place, writer, folder, reference, fault)
        return trial

    def _answer(
        self,
        place: Place,
        writer: Writer,
        command: Command,
        reference: Reference,
        fault: str,
        mend: Callable[[], None] = lambda: None,
    ) -> list[str]:
        """What is wrong with the command under the fault, and with the same command after it."""
        ended = place.run(command)
        wrong = one_line(command, ended)
        if fault in HEALTHY and ended.status:
            wrong.append(f"{command}: status {ended.status}")
        mend()
        wrong += contents.broken(command.folder, set(reference.files))
        if ended.status:
            left = contents.files(command.folder).keys() - reference.files.keys()
            wrong += [f"{command}: left over: {name}" for name in sorted(left)]
            wrong += self._kills.go_on(place, writer, command.folder, reference)
        else:
            wrong += contents.differences(contents.read(command.folder), reference.files)
        return [f"{fault}: {line}" for line in wrong]

    def _disk(
        self, place: Place, writer: Writer, folder: Path, reference: Reference, fault: str
    ) -> list[str]:
        with memory_disk(folder / "disk", "200m") as disk:
            filler, work = disk / "filler", disk / "work"
            work.mkdir()
            if fault == "disk read-only":
                remount(disk, "ro")
                mend = "rw"
            else:
                filler.write_bytes(bytes(1 << 20))
                free = 0 if fault == "disk full" else 12
                remount(disk, f"size={(1 << 20) // 1024 + 4 + free}k")
                mend = "size=200m"

            def mended() -> None:
                remount(disk, mend)

            return self._answer(place, writer, writer.first(work), reference, fault, mended)

    def _removed(
        self, place: Place, writer: Writer, folder: Path, reference: Reference, draw: random.Random
    ) -> list[str]:
        """The current folder goes away in the middle: there is one line, or the work was done."""
        work = folder / "work"
        work.mkdir()
        command = writer.first(work)
        with place.starter.started(command) as running:
            time.sleep(draw.uniform(0, reference.seconds))
            shutil.rmtree(work, ignore_errors=True)
            ended = running.end()
        return [f"folder removed: {line}" for line in one_line(command, ended)]
