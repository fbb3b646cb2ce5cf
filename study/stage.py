"""A stage of a study: commands, what they read and what they make. It runs when it must."""

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from netgen.errors import CaffeError
from netgen.schema import writing

ROOT = Path(__file__).resolve().parents[1]
STOPPED = 75  # exit status of a training that can go on where it stopped (EX_TEMPFAIL)


class Stopped(Exception):
    """The time is up or a signal came: what is unfinished goes on in the next call."""


@dataclass(frozen=True)
class Command:
    """words: as typed in the project's root, beginning with `python`. stdout: a file or None."""

    words: tuple[str, ...]
    stdout: str | None = None

    def __str__(self):
        return shlex.join(self.words) + (f" > {shlex.quote(self.stdout)}" if self.stdout else "")


@dataclass(frozen=True)
class Stage:
    """outputs: files that are there, newer than all inputs, once the stage is complete.
    trains: the last command is a training; it takes flags for caffe after `--`.
    """

    name: str
    commands: tuple[Command, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    trains: bool = False

    def with_flags(self, flags):
        """The commands, with flags for caffe (a list of words) where there is a training."""
        if not self.trains or not flags:
            return self.commands
        *others, last = self.commands
        return (*others, Command((*last.words, "--", *flags), last.stdout))

    def shell(self, flags=(), python="python"):
        """One line of shell that runs the stage with this interpreter, in the project's root."""
        lines = [str(command) for command in self.with_flags(flags)]
        return " && ".join(shlex.quote(python) + line.removeprefix("python") for line in lines)


def stale(stages):
    """The stages to run, in order: outputs missing or older than inputs, or inputs to be made."""
    waiting, unmade = [], set()
    for stage in stages:
        if unmade.intersection(stage.inputs) or not _fresh(stage):
            waiting.append(stage)
            unmade.update(stage.outputs)
    return waiting


def _fresh(stage):
    made = [_time(path) for path in stage.outputs]
    return None not in made and all((_time(path) or 0) <= min(made) for path in stage.inputs)


def _time(path):
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return None


def run_stage(stage, flags=(), deadline=None):
    """Run a stage's commands. Raises Stopped, and CaffeError for a command that fails.

    deadline: time.monotonic() at which a training stops with a snapshot; None: never.
    """
    for path in stage.outputs:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    for command in stage.with_flags(flags):
        if deadline is not None and time.monotonic() > deadline:
            raise Stopped
        with writing(command.stdout) if command.stdout else nullcontext() as file:
            status = _run(command, file, deadline if stage.trains else None)
            if status == STOPPED:
                raise Stopped
            if status:
                raise CaffeError(f"stage {stage.name}: exit status {status} of `{command}`")


def _run(command, stdout, deadline):
    words = list(command.words)
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, *words[1:]], stdout=stdout, env=os.environ | {"PYTHONPATH": path}
    )
    try:
        left = None if deadline is None else max(deadline - time.monotonic(), 0)
        return process.wait(left)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.send_signal(signal.SIGINT)
        process.wait()
        raise Stopped from None
