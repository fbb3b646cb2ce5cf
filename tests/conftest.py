"""What tests of several rooms share: signals as a terminal leaves them, logs, scripts, records.

A job that a script runs in the background, or under nohup, has SIGINT, SIGQUIT or SIGHUP
ignored, and so would every process that a test starts.
"""

import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from netgen.schema import caffe_pb

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests" / "shared"))  # what several rooms import, tiny.py

for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, usual)


class LogWriter:
    """The lines that Caffe logs of events, an event a method; time passes with each.

    style: old, new or nvidia; year: whether glog prints it; prefix: whether glog has one.
    """

    def __init__(self, style="new", year=False, prefix=True, start="2016-11-22 10:00:00"):
        self.style, self.year, self.prefix = style, year, prefix
        self.now = datetime.fromisoformat(start)
        self.lines = []

    def line(self, message, source="solver.cpp:239"):
        if self.prefix:
            day = self.now.strftime("%Y%m%d" if self.year else "%m%d")
            clock = self.now.strftime("%H:%M:%S.%f")
            message = f"I{day} {clock} 12345 {source}] {message}"
        self.lines.append(message)
        self.now += timedelta(milliseconds=1)
        return self

    def wait(self, seconds):
        self.now += timedelta(seconds=seconds)
        return self

    def solving(self, net="LeNet"):
        self.line("Initializing solver from parameters: ", "solver.cpp:45")
        self.lines += ["base_lr: 0.01", 'net: "net.prototxt"']
        self.line("Starting Optimization", "caffe.cpp:239")
        self.line(f"Solving {net}", "solver.cpp:289")
        return self.line("Learning Rate Policy: step", "solver.cpp:290")

    def test(self, iteration, *outputs, net=0):
        """outputs: (name, value) or, for a loss, (name, value, weight); values as text."""
        self.line(f"Iteration {iteration}, Testing net (#{net})", "solver.cpp:347").wait(1)
        if self.style == "nvidia":
            self.line("[MultiGPU] Tests completed in 1s", "solver.cpp:250")
        return self._outputs("Test", outputs)

    def display(self, iteration, loss, *outputs, rate="0.01"):
        self.wait(2)
        detail = {
            "old": "",
            "new": " (12.3 iter/s, 8.1s/100 iters)",
            "nvidia": " (22.093 s)" if iteration < 2 else " (497.307 iter/s, 0.197s/98 iter)",
        }[self.style]
        self.line(f"Iteration {iteration}{detail}, loss = {loss}")
        self._outputs("Train", outputs)
        extra = ", m = 0.9, wd = 0.0005, gs = 1" if self.style == "nvidia" else ""
        return self.line(f"Iteration {iteration}, lr = {rate}{extra}", "sgd_solver.cpp:112")

    def _outputs(self, phase, outputs):
        for number, (name, value, *weight) in enumerate(outputs):
            note = f" (* {weight[0]} = {float(value) * weight[0]:g} loss)" if weight else ""
            message = f"    {phase} net output #{number}: {name} = {value}{note}"
            self.line(message, "solver.cpp:414")
        return self

    def final_loss(self, iteration, loss):
        return self.line(f"Iteration {iteration}, loss = {loss}", "solver.cpp:327")

    def done(self):
        if self.style == "nvidia":
            return self.line("Optimization Done in 1m 2s", "caffe.cpp:258")
        self.line("Optimization Done.", "solver.cpp:332")
        return self.line("Optimization Done.", "caffe.cpp:250")

    def text(self, end="\n"):
        return "".join(line + end for line in self.lines)

    def write(self, path, end="\n"):
        path.write_bytes(self.text(end).encode())
        return path


def training(accuracies=("0.1", "0.8", "0.7"), net="LeNet", step=100, **style):
    """A short training, a test and a display for each of the accuracies."""
    log = LogWriter(**style).solving(net)
    for index, accuracy in enumerate(accuracies):
        loss = f"{2.3 / (1 + index):g}"
        log.test(step * index, ("accuracy", accuracy), ("loss", loss, 1))
        log.display(step * index, loss, ("loss", loss, 1))
    return log


@pytest.fixture
def writer():
    return LogWriter


@pytest.fixture
def example():
    return training


@pytest.fixture
def tool():
    """tool("parse_log", *arguments): run the script, or `-m study.report`; (status, out, err)."""

    def run(name, *arguments, cwd=ROOT, **more_environment):
        environment = {**os.environ, **more_environment}
        for display in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND"):
            environment.pop(display, None)
        script = ROOT / "tools" / f"{name}.py"
        start = ["-m", name] if "." in name else [str(script)]
        command = [sys.executable, *start, *map(str, arguments)]
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def records(tmp_path):
    """A folder of LMDBs: 24 training and 10 test records of random 3x32x32 images."""
    import lmdb

    random, folder = np.random.default_rng(1), tmp_path / "data"
    for name, count in (("cifar10_train_lmdb", 24), ("cifar10_test_lmdb", 10)):
        (folder / name).mkdir(parents=True)
        with lmdb.open(str(folder / name), map_size=1 << 24) as env, env.begin(write=True) as txn:
            for i in range(count):
                pixels = random.integers(0, 256, 3 * 32 * 32, np.uint8).tobytes()
                datum = caffe_pb.Datum(channels=3, height=32, width=32, label=i % 10, data=pixels)
                txn.put(b"%08d" % i, datum.SerializeToString())
    return folder
