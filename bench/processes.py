"""Whole commands, each in its own process: how long, how much memory, what the log says when."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from runner.log import read_line

ROOT = Path(__file__).resolve().parents[1]
CAFFE = [sys.executable, "-m", "runner"]

DAY = 24 * 3600


class Failed(RuntimeError):
    """A command that did not end well; its last lines."""


@dataclass
class Finished:
    """seconds: until its end, or until the line that was waited for. rss: peak, in bytes."""

    seconds: float
    rss: int
    text: str


def run(command, until=None, env=None, cwd=ROOT):
    """Run a command to its end, reading stdout and stderr together.

    until: the time is taken when a line has this in it. Raises Failed.
    """
    start, took, lines = time.perf_counter(), None, []
    env = {**(os.environ if env is None else env), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.STDOUT,
        env=env,
        cwd=cwd,
    ) as process:
        for line in process.stdout:
            if took is None and until and until in line:
                took = time.perf_counter() - start
            lines.append(line)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or (until and took is None):
        raise Failed(
            f"{' '.join(map(str, command))}: status {process.returncode}: " + "".join(lines[-3:])
        )
    if took is None:
        took = time.perf_counter() - start
    scale = 1 if sys.platform == "darwin" else 1024
    return Finished(took, usage.ru_maxrss * scale, "".join(lines))


def displayed(text):
    """[(iteration, seconds of the day)] of the displays in a training log, in its order."""
    lines = map(read_line, text.splitlines())
    return [(line.iteration, line.clock) for line in lines if line.source and line.loss is not None]


def seconds_a_step(text):
    """Seconds of a training step by a log's first and last display. Raises Failed."""
    shown = displayed(text)
    if len(shown) < 2 or shown[0][0] == shown[-1][0]:
        raise Failed(f"a log with {len(shown)} displays: {text[-300:]}")
    (first, began), (last, ended) = shown[0], shown[-1]
    return (ended - began) % DAY / (last - first)
