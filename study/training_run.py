"""One run of `caffe train`: its log to a file, its gist to the screen, its signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from math import isfinite
from types import FrameType
from typing import Any, TextIO

from tqdm import tqdm

from caffe_tools.machine import machine
from runner.log import number, read_line
from study.stage import environment


class TrainingRun:
    """A run from iteration `begin` on, of a training that has `end` iterations.

    words: the words of the command after `caffe`. log: the path of the log, which grows. until:
    the value of time.time() at which it stops as by a signal; None for no such time.
    After run(), reached: the last iteration that the log tells, by a line of the solver or a
    solver state. seconds: how long the run took. interrupted: whether a signal stopped it.
    diverged: the iteration at which the displayed loss was no finite number, and which ended the
    run, as weights do not recover from that; None where there was none. last_line: the last line of the log, which says why a run failed. gpu: the name of the GPU.
    """

    def __init__(
        self, words: Sequence[str], log: str, begin: int, end: int, until: float | None = None
    ):
        self.words, self.log, self.begin, self.end, self.until = words, log, begin, end, until
        self.reached, self.seconds, self.interrupted = begin, 0.0, False
        self.diverged: int | None = None
        self.last_line = ""
        self.gpu: str | None = None
        self._process: subprocess.Popen | None = None

    def run(self) -> int:
        """Run it to its end, or to the first signal; returns caffe's exit status."""
        clock = time.monotonic()
        before = {
            number: signal.signal(number, self._stop)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
        }
        if self.until is not None:
            signal.setitimer(signal.ITIMER_REAL, max(self.until - time.time(), 0.001))
        try:
            with open(self.log, "a+", encoding="utf-8", errors="replace", buffering=1) as log:
                _end_line(log)
                return self._follow(log)
        finally:
            self.seconds = time.monotonic() - clock
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _follow(self, log: TextIO) -> int:
        # The process is not in this terminal's group, as Ctrl-C is to reach it once, through
        # _stop. Its log comes through a pipe, so that it ends when this process does. Files of
        # glog's own would repeat that log.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "runner", *self.words],
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment() | {"GLOG_logtostderr": "1"},
            start_new_session=True,
        )
        bar = tqdm(total=self.end, initial=self.begin, unit="it", disable=None, leave=False)
        with bar, self._process:
            if self.interrupted:  # the signal came before there was anything to stop
                self._process.send_signal(signal.SIGINT)
            for line in self._process.stderr:
                log.write(line)
                self._look(line, bar)
        return self._process.returncode

    def _look(self, text: str, bar: tqdm) -> None:
        line = read_line(text)
        if text.strip():
            self.last_line = line.message if line.severity == "F" else text.strip()
        if line.iteration is not None:
            self.reached = line.iteration
            bar.update(self.reached - bar.n)
        if self.diverged is None and line.loss is not None and not isfinite(line.loss):
            self.diverged = self.reached
            if self.reached < self.end:  # else this is the line that tells how it ended
                self._process.send_signal(signal.SIGINT)
        self.gpu = line.gpu or self.gpu
        output = line.output
        if output and output.phase == "Test" and "acc" in output.name and output.value is not None:
            tqdm.write(f"iteration {self.reached}: {output.name} = {number(output.value)}")
            sys.stdout.flush()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if not self.interrupted and self._process is not None:
            self._process.send_signal(signal.SIGINT)
        self.interrupted = True

    def account(self) -> dict[str, Any]:
        """What the record says of this run; plain JSON values."""
        return {
            "command": ["caffe", *self.words],
            "from": self.begin,
            "to": self.reached,
            "seconds": round(self.seconds, 3),
            **machine(self.gpu),
        }


def _end_line(log: TextIO) -> None:
    """End the last line of the log: a run that was killed may have left half of one."""
    size = log.seek(0, os.SEEK_END)
    if size:
        log.seek(size - 1)
        if log.read(1) != "\n":
            log.write("\n")
