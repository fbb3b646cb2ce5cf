"""A stage of a study: commands, what they read and what they make. It runs when it must."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import IO

from netgen.errors import CaffeError
from netgen.schema import writing

STOPPED = 75  # exit status of a training that can go on where it stopped (EX_TEMPFAIL)


class Stopped(Exception):
    """The time is up or a signal came: what is unfinished goes on in the next call."""


@dataclass(frozen=True)
class Command:
    """A command and the files that it makes, its standard output `stdout` among them.

    words: the command as it is typed, beginning with `python`.
    """

    words: tuple[str, ...]
    makes: tuple[str, ...] = ()
    stdout: str | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """All files that are there once the command is done."""
        return (*self.makes, self.stdout) if self.stdout else self.makes

    def __str__(self) -> str:
        return shlex.join(self.words) + (f" > {shlex.quote(self.stdout)}" if self.stdout else "")


@dataclass(frozen=True)
class Stage:
    """Commands that are run together. inputs: files that they read of other stages.

    trains: the last command is a training; it takes flags for caffe after `--`. of: the folder of
    the training that it is a part of; "" of the report. passing: outputs that may be gone once the
    file `begun` is there, as the training has a snapshot of its own.
    """

    name: str
    commands: tuple[Command, ...]
    inputs: tuple[str, ...]
    trains: bool = False
    of: str = ""
    begun: str = ""
    passing: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """The files that are there, newer than all inputs, once the stage is complete."""
        return tuple(path for command in self.commands for path in command.outputs)

    def with_flags(self, flags: Sequence[str], until: float | None = None) -> tuple[Command, ...]:
        """The commands, with flags for caffe (words) where there is a training.

        until: the value of time.time() at which a training stops with a snapshot.
        """
        if not self.trains:
            return self.commands
        *others, last = self.commands
        more = () if until is None else ("--until", f"{until:.0f}")
        more += ("--", *flags) if flags else ()
        return (*others, replace(last, words=(*last.words, *more)))

    def folders(self) -> tuple[str, ...]:
        """The folders that must be there before the commands are run."""
        return tuple(dict.fromkeys(os.path.dirname(path) or "." for path in self.outputs))

    def typed(self, flags: Sequence[str] = ()) -> list[str]:
        """The lines of shell that a person types to run it in any folder with its inputs."""
        return [shlex.join(["mkdir", "-p", *self.folders()]), *map(str, self.with_flags(flags))]

    def shell(
        self, flags: Sequence[str] = (), python: str = "python", until: float | None = None
    ) -> str:
        """One line of shell that runs the stage with the interpreter `python`."""
        lines = [str(command) for command in self.with_flags(flags, until)]
        return " && ".join(shlex.quote(python) + line.removeprefix("python") for line in lines)


def stale(stages: Iterable[Stage]) -> list[Stage]:
    """The stages to run, in order.

    They lack an output, have one that is older than an input, or read what such a stage makes.
    """
    waiting, unmade = [], set()
    for stage in stages:
        if unmade.intersection(stage.inputs) or not _fresh(stage):
            waiting.append(stage)
            unmade.update(stage.outputs)
    return waiting


def _fresh(stage: Stage) -> bool:
    gone = stage.passing if stage.begun and os.path.exists(stage.begun) else ()
    kept = (path for path in stage.outputs if path not in gone or os.path.exists(path))
    made = [_time(path) for path in kept]
    if None in made:
        return False
    return all((_time(path) or 0) <= min(made, default=inf) for path in stage.inputs)


def _time(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return None


def run_stage(stage: Stage, flags: Sequence[str] = (), deadline: float | None = None) -> None:
    """Run a stage's commands. Raises Stopped, and CaffeError for a command that fails.

    deadline: the value of time.monotonic() at which a training stops with a snapshot; None for
    no such time.
    """
    for folder in stage.folders():
        os.makedirs(folder, exist_ok=True)
    for command in stage.with_flags(flags):
        if deadline is not None and time.monotonic() > deadline:
            raise Stopped
        with writing(command.stdout) if command.stdout else nullcontext() as file:
            status = _run(command, file, deadline if stage.trains else None)
            if status == STOPPED:
                raise Stopped
            if status:
                raise CaffeError(f"stage {stage.name}: exit status {status} of `{command}`")


def environment() -> dict[str, str]:
    """The environment for a process that is to find the project's packages where this one does."""
    import caffe_tools  # only now, as a workflow engine that lists the stages may lack it

    homes = [str(Path(found).parents[1]) for found in (__file__, caffe_tools.__file__)]
    paths = dict.fromkeys([*homes, *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def _run(command: Command, stdout: IO[bytes] | None, deadline: float | None) -> int:
    process = subprocess.Popen(
        [sys.executable, *command.words[1:]], stdout=stdout, env=environment()
    )
    try:
        left = None if deadline is None else max(deadline - time.monotonic(), 0)
        return process.wait(left)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.send_signal(signal.SIGINT)
        process.wait()
        raise Stopped from None
