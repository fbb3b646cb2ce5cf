"""One run of `caffe train`: its log to a file, its gist to the screen, its signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tqdm import tqdm

from caffe_tools.machine import machine
from runner.log import number, read_line

ROOT = Path(__file__).resolve().parents[1]


class TrainingRun:
    """words: of the command after `caffe`. log: a file that grows. begin, end: iterations.

    After run(): seconds; reached: the iteration of the last solver state, or of the last line
    that tells one; interrupted: by a signal; last_line: of a run that failed.
    """

    def __init__(self, words, log, begin, end):
        self.words, self.log, self.begin, self.end = words, log, begin, end
        self.reached, self.seconds, self.interrupted = begin, 0.0, False
        self.last_line, self.gpu, self._process = "", None, None

    def run(self):
        """Returns the exit status."""
        # glog's own files would repeat the log.
        environment = os.environ | {"GLOG_logtostderr": "1"}
        path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(path)
        clock = time.monotonic()
        before = {
            number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            with open(self.log, "a+", encoding="utf-8", errors="replace", buffering=1) as log:
                _end_line(log)
                return self._follow(log, environment)
        finally:
            self.seconds = time.monotonic() - clock
            for number, handler in before.items():
                signal.signal(number, handler)

    def _follow(self, log, environment):
        # Not in this terminal's group: Ctrl-C is to reach it once, through _stop. Its log comes
        # through a pipe, so it ends when this process does.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "runner", *self.words],
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
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
        self.gpu = line.gpu or self.gpu
        output = line.output
        if output and output.phase == "Test" and "acc" in output.name:
            tqdm.write(f"iteration {self.reached}: {output.name} = {number(output.value)}")
            sys.stdout.flush()

    def _stop(self, number, frame):
        if not self.interrupted and self._process is not None:
            self._process.send_signal(signal.SIGINT)
        self.interrupted = True

    def account(self):
        """What the record says of this run."""
        return {
            "command": ["caffe", *self.words],
            "from": self.begin,
            "to": self.reached,
            "seconds": round(self.seconds, 3),
            **machine(self.gpu),
        }


def _end_line(log):
    """A run that was killed may have left half a line."""
    size = log.seek(0, os.SEEK_END)
    if size:
        log.seek(size - 1)
        if log.read(1) != "\n":
            log.write("\n")
