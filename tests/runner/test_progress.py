"""The progress bar: on a terminal, and nowhere else. The terminal is a pseudo-terminal."""

import codecs
import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from runner.commands.progress import progress_bar

CAFFE = Path(sys.executable).with_name("caffe")


class Terminal:
    """A process with a pseudo-terminal for its stderr; a session of its own, as in a window."""

    def __init__(self, *words):
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        # The first terminal that the leader of a session opens is the one that hangs up on it.
        script = 'exec "$@" <{0} >{0} 2>&1'.format(os.ttyname(self.slave))
        self.child = subprocess.Popen(
            ["sh", "-c", script, "sh", *map(str, words)], start_new_session=True
        )
        self.text = ""
        self.decoder = codecs.getincrementaldecoder("utf-8")()  # a read may end within a sign

    def read(self, until=None, limit=60):
        """Read until `until` was shown, or to the end."""
        end = time.monotonic() + limit
        while until is None or until not in self.text:
            assert time.monotonic() < end, self.text[-2000:]
            if not select.select([self.master], [], [], 1)[0]:
                continue
            try:
                data = os.read(self.master, 65536)
            except OSError:  # Linux tells the end of a terminal so
                data = b""
            if not data:
                break
            self.text += self.decoder.decode(data)
            if self.slave is not None:  # the process has it open now: its end can be seen
                os.close(self.slave)
                self.slave = None
        return self.text

    def hang_up(self):
        """Close the window."""
        os.close(self.master)
        self.master = None

    def close(self):
        self.child.kill()
        self.child.wait()
        for end in (self.master, self.slave):
            if end is not None:
                os.close(end)


@pytest.fixture
def terminal():
    opened = []

    def start(*words):
        opened.append(Terminal(*words))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def test_a_terminal_has_a_bar_under_the_log(write_solver, read_result, terminal):
    run = terminal(CAFFE, "train", "-solver", write_solver(max_iter=30, display=10))
    text = run.read()
    assert run.child.wait(timeout=30) == 0
    bars = re.findall(
        r"\r *(\d+)%\|[^|]*\| (\d+)/30 \[\d\d:\d\d<[\d:?]+, [ ?\d.]+(?:it/s|s/it)\]", text
    )
    assert bars[0] == ("0", "0") and bars[-1] == ("100", "30")
    # The lines are whole and in order: the bar is wiped before each.
    plain = re.sub(r"\r[^\n]*\r", "", text.replace("\r\n", "\n"))
    lines = [re.sub(r"^.*\r(?:\x1b\[A)?", "", line) for line in plain.split("\n")]
    log = read_result(0, "", "\n".join(lines))
    shown = [m for m in log.messages if re.match(r"Iteration \d+ \(", m)]
    assert [m.split()[1] for m in shown] == ["0", "10", "20"]
    assert log.starting("Optimization Done.")


def test_a_test_is_told_and_left_out_of_the_time_left(monkeypatch, capfd):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bar(0, 100) as progress:
        progress(1)
        bar, before = progress._bar, time.time()
        start, shown = bar.start_t, bar.last_print_t
        with progress.testing():
            assert "testing" in str(bar)
            time.sleep(0.05)
        lapse = time.time() - before
        assert "testing" not in str(bar)
        for later, earlier in (bar.start_t, start), (bar.last_print_t, shown):
            assert 0.05 <= later - earlier <= lapse
        progress.part(progress)(3)
        assert bar.n == 3


def test_the_start_tells_the_disk_and_an_interrupted_run_how_to_go_on(work, write_solver, terminal):
    path = write_solver(max_iter=100000, display=1, snapshot=40000, test_interval=0, test_iter=None)
    run = terminal(CAFFE, "train", "-solver", path, "-weights=", "-log_dir", "a log")
    run.read(until="Iteration 5, lr")
    os.kill(run.child.pid, signal.SIGINT)
    text = run.read()
    assert run.child.wait(timeout=60) == 0
    assert re.search(r"3 snapshot\(s\) of \d+\.\d MB to come, \d+\.\d MB under ", text)
    (state,) = work.glob("*.solverstate")
    name = os.path.relpath(state, work)
    (command,) = re.findall(r"To go on: (.*)\r\n", text)
    assert command.endswith(f"{state.name}") and name in command
    words = shlex.split(command)
    assert words[:2] == ["caffe", "train"] and words[-4:-2] == ["-log_dir", "a log"]
    assert "-weights=" not in words


def test_the_terminal_vanishes_and_the_run_goes_on(work, write_solver, terminal):
    """Closing the window sends SIGHUP: a snapshot, and training continues to its end."""
    path = write_solver(max_iter=150, display=1, test_interval=0, test_iter=None)
    run = terminal(CAFFE, "train", "-solver", path, "-log_dir", "log")
    run.read(until="Iteration 5, lr")
    run.hang_up()
    assert run.child.wait(timeout=60) == 0
    snapshots = {int(re.search(r"\d+", path.stem)[0]) for path in work.glob("*.solverstate")}
    assert len(snapshots) == 2 and max(snapshots) == 150
    (log,) = (work / "log").iterdir()
    assert log.read_text().endswith("Optimization Done.\n")


def test_no_bar_where_there_is_no_terminal(capfd):
    assert not sys.stderr.isatty()
    with progress_bar(0, 5) as progress:
        assert progress is None
    assert capfd.readouterr() == ("", "")
