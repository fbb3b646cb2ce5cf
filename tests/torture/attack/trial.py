"""What a part of the attack is: numbered trials, each the same whenever it is repeated."""

from __future__ import annotations

import random
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from attack.inputs import Inputs
from attack.starter import Command, Ended, Starter


@dataclass
class Trial:
    """What came of one trial: its kind, how many attacks it was, and what went wrong."""

    kind: str
    complaints: list[str] = field(default_factory=list)
    attacks: int = 1
    notes: dict[str, float] = field(default_factory=dict)


class Refused(Exception):
    """Why a part cannot be tried on this machine."""


class Part(Protocol):
    """A part of the attack.

    name: on the command line; title: on the page; count: trials unless the command line says, or
    attacks where `counts_attacks` is True. `trial` is given the number of the trial and random numbers that depend on it and the seed
    alone. `ready` raises Refused where the machine does not allow it.
    """

    name: str
    title: str
    count: int
    counts_attacks: bool

    def ready(self) -> None: ...

    def trial(self, place: Place, number: int, draw: random.Random) -> Trial: ...


class Place:
    """Where an attack happens: the inputs, the starter, and a folder for what is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.starter = Starter(self.folder)
        self.inputs = Inputs(self.folder / "inputs", self.starter)
        if not self.inputs.plan.exists():
            shutil.rmtree(self.inputs.folder, ignore_errors=True)
            self.inputs.folder.mkdir()
            self.inputs.make()

    def close(self) -> None:
        """End the starter."""
        self.starter.close()

    def run(self, command: Command, timeout: float = 60.0) -> Ended:
        """Starter.run."""
        return self.starter.run(command, timeout)

    @contextmanager
    def empty(self) -> Iterator[Path]:
        """A new folder, gone at the end of the block."""
        made = Path(tempfile.mkdtemp(dir=self.folder, prefix="work."))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)


def draws(seed: int, part: str, number: int) -> random.Random:
    """The random numbers of one trial."""
    return random.Random(f"{seed}/{part}/{number}")


_PREFIX = re.compile(r"^[IWEF]\d{4,8} \d\d:\d\d:\d\d\.\d{6} +\d+ [\w.]+:\d+\] ")


def one_line(command: Command, ended: Ended) -> list[str]:
    """How an answer of an error fails to be one line and an exit status; [] where it is that."""
    said = ended.err
    if "Traceback" in said or "Exception ignored" in said:
        last = said.strip().splitlines()[-1]
        return [f"{command}: traceback: {last[:200]}"]
    if ended.status < 0:
        return [f"{command}: ended by signal {-ended.status}: {said.strip()[-200:]}"]
    if not ended.status:
        return []
    lines = [line for line in said.splitlines() if line.strip()]
    if command.name == "caffe":  # a log, whose last line says why it ends
        lines = [line for line in lines if line[:1] in "FE" and _PREFIX.match(line)] or lines[-1:]
    else:  # of Caffe's small programs, which log too
        lines = [line for line in lines if not (line[:1] in "IWE" and _PREFIX.match(line))]
    if command.err is not None or 2 in command.closed:  # nobody listens
        return []
    if command.words[:1] == ("verify",):  # what is damaged is the answer asked for
        lines = [line for line in (*lines, *ended.out.splitlines()) if line.strip()][:1]
    if len(lines) != 1:
        return [f"{command}: status {ended.status}, {len(lines)} lines: {' / '.join(lines)[-300:]}"]
    return []
