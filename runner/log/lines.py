"""The lines of a training's log, both ways: what the solver writes beside what finds it again.

    I1122 10:00:00.123456 12345 solver.cpp:239] Iteration 0 (0 iter/s, 0s/20 iters), loss = 2.3
    [------------- prefix ------------------] [------------------- message -------------------]

Written are the lines of Caffe 1.0. Read are those of any Caffe, see reader.py for whole files;
`read_line` takes a single line apart. Values are printed as a C++ stream does (`number`).
"""

import re
import time
from math import nan
from typing import NamedTuple

_DATE = r"(?:\d{4})?\d{4}"  # with a year since glog 0.5
PREFIX = re.compile(
    rf"(?P<severity>[IWEF]){_DATE} (?P<clock>\d\d:\d\d:\d\d\.\d+) +\d+ (?P<source>[^\s:]+:\d+)\] "
)
STAMP = re.compile(rf"[IWEF]({_DATE} \d\d:\d\d):\d\d\.\d{{6}}")
#: abseil's, in seconds since 1970, as long as it has not been told to log.
EPOCH_STAMP = re.compile(r"[IWEF]0000 00:00:(\d{9,11}\.\d{6})")
#: How Python's logging, DIGITS and containers write the time, in front of what was logged.
ISO_STAMP = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d{3}(?:\d{3})?)?")
FATAL = re.compile(rf"F{_DATE} \d\d:\d\d:\d\d\.")

STARTING = "Starting Optimization"
DONE = "Optimization Done."
STOPPED = "Optimization stopped early."
SETUP = re.compile(rf"Initializing solver from parameters|(?P<starting>{STARTING}\s*$)")
#: At the start of a message, which the prefixes of other loggers end in a word or a sign.
SOLVING = re.compile(r"(?:^|(?:[^\w\s]|\d|INFO|DEBUG) *)Solving\b ?(.*)")
END = re.compile(r"Optimization (Done|stopped)|\*\*\* (Check failure)")
ENDINGS = {"Done": "done", "stopped": "stopped", "Check failure": "failed"}

AT = re.compile(r"Iteration (\d+)\b")
SPEED = re.compile(r" \(\S+ iter/s, \S+s/\S+ iters\)")
LOSS = re.compile(r"Iteration \d+(?: \([^)]*\))?, loss = (.+)$")
TESTING = re.compile(r"Iteration (\d+), Testing net(?: \(#(\d+)\))?")
OUTPUT = re.compile(r"(Train|Test) net output #(\d+): (.+)$")
SCORE = re.compile(r"Test score #(\d+): (\S+)")  # of 2013, when outputs had no names
LOSS_WEIGHT = re.compile(r"\S+ \(\* (-?\d[\d.]*(?:e[-+]\d+)?) = ")
STATE = re.compile(r"Snapshotting solver state to .*_iter_(\d+)\.solverstate")
GPU = re.compile(r"GPU \d+: (.*)")

MILLISECONDS = re.compile(r"\S+ ms\b")
#: The codes that colour a terminal, also where their first character has been lost.
ANSI = re.compile(rb"(?:\x1b|\^\[)\[[0-9;?]*[A-Za-z]|\[\d[\d;]{0,7}m")
#: How a program prints a number whose locale has a comma for the point.
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d")
#: What MPI and other launchers put before the lines of each of several processes.
RANK = re.compile(rb"(?:^|\n)(?:\[(?:\d+,)?(\d+)\](?:<std\w+>)?:? ?|(\d+): +)(?=[IWEF]\d{4})")
#: How Docker keeps what a container prints, a line each.
DOCKER = b'{"log":"'
WINDOWS_NAN = re.compile(r"([-+]?)(1\.#INF|1\.#IND|1\.#QNAN|nan\(ind\))")


def number(value: float) -> str:
    """A number as a C++ stream prints it by default: six significant digits."""
    return f"{float(value):.6g}"


def parse_number(text: str) -> float | None:
    """The number at the start of a text, up to a comma or blank; None if there is none.

    Windows prints `1.#INF` and `1.#QNAN` where others print `inf` and `nan`. A comma before a
    digit is no end: such a number is not read, rather than cut.
    """
    if DECIMAL_COMMA.match(text):
        return None
    text = text.replace(",", " ").partition(" ")[0]
    try:
        return float(text)
    except ValueError:
        windows = WINDOWS_NAN.match(text)
        if windows is None:
            return None
        return float(windows[1] + ("inf" if windows[2] == "1.#INF" else "nan"))


# --- what is written ---


def prefix(severity: str, seconds: float, thread: int, where: str, year: bool = False) -> str:
    """What glog writes before a message, for `seconds` since the epoch; year: with the year."""
    now = time.localtime(seconds)
    date = time.strftime("%Y%m%d" if year else "%m%d", now)
    clock = time.strftime("%H:%M:%S", now)
    return f"{severity}{date} {clock}.{int(seconds % 1 * 1e6):06d} {thread:5d} {where}] "


def solving(net: str) -> str:
    """The message from which on a training's time counts."""
    return f"Solving {net}"


def at(iteration: int) -> str:
    """How every message about an iteration begins."""
    return f"Iteration {iteration}"


def display(iteration: int, rate: float, seconds: float, interval: int, loss: float) -> str:
    """The message of a display: `rate` iterations a second, in `seconds` since the last one."""
    speed = f"({number(rate)} iter/s, {number(seconds)}s/{interval} iters)"
    return f"{at(iteration)} {speed}, loss = {number(loss)}"


def final_loss(iteration: int, loss: float) -> str:
    """The message of the loss after the last update."""
    return f"{at(iteration)}, loss = {number(loss)}"


def learning_rate(iteration: int, rate: float) -> str:
    """The message of the rate that an update uses."""
    return f"{at(iteration)}, lr = {number(rate)}"


def testing(iteration: int, net: int) -> str:
    """The message before a test of test net number `net`."""
    return f"{at(iteration)}, Testing net (#{net})"


def output(phase: str, position: int, name: str, shown: float, weight: float = 0.0) -> str:
    """The message of one number of a net's outputs; phase: `Train` or `Test`.

    weight: the loss weight of an output that is a loss, 0 for others.
    """
    text = f"    {phase} net output #{position}: {name} = {number(shown)}"
    if weight:
        text += f" (* {number(weight)} = {number(weight * shown)} loss)"
    return text


def snapshotting(kind: str, path: str, state: bool = False) -> str:
    """The message before a snapshot file of a `kind`; state: it is the solver's."""
    return f"Snapshotting {'solver state ' if state else ''}to {kind} file {path}"


def gpu(position: int, name: str) -> str:
    """The message that names a GPU in use."""
    return f"GPU {position}: {name}"


# --- what is read ---


class Output(NamedTuple):
    """One number of a net's outputs. phase: `Train` or `Test`; value: None if it is no number."""

    phase: str
    position: int
    name: str
    value: float | None


class Line(NamedTuple):
    """A log line, taken apart. Without glog's prefix, the whole line is its message.

    severity: one of I, W, E, F, or "". clock: seconds since midnight, nan if unknown. source:
    `solver.cpp:239`, or "".
    """

    severity: str
    clock: float
    source: str
    message: str

    @property
    def iteration(self) -> int | None:
        """The iteration of a display, rate, test or solver state; None for all other lines."""
        found = AT.match(self.message) or STATE.match(self.message)
        return int(found[1]) if found else None

    @property
    def loss(self) -> float | None:
        """The displayed loss; None for all other lines."""
        found = LOSS.match(self.message)
        return parse_number(found[1]) if found else None

    @property
    def output(self) -> Output | None:
        """The net's output that the line tells; None for all other lines."""
        left, _, right = self.message.partition(" = ")
        found = OUTPUT.search(left)
        return found and Output(found[1], int(found[2]), found[3].strip(), parse_number(right))

    @property
    def gpu(self) -> str | None:
        """The name of a GPU in use; None for all other lines."""
        found = GPU.match(self.message)
        return found and found[1]

    @property
    def tells_progress(self) -> bool:
        """Whether the line tells how far a training has come, how well, or how it ended."""
        return (
            self.severity == "F"
            or self.iteration is not None
            or self.output is not None
            or self.message.startswith(STARTING)
            or END.match(self.message) is not None
        )


def read_line(text: str) -> Line:
    """The parts of one line; text before its prefix, as a progress bar leaves it, is dropped."""
    text = text.rstrip("\r\n")
    found = PREFIX.search(text)
    if found is None:
        return Line("", nan, "", text)
    hours, minutes, seconds = found["clock"].split(":")
    clock = 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    return Line(found["severity"], clock, found["source"], text[found.end() :])


def timeless(text: str) -> str:
    """The line without date, time and thread, with `# ms` for milliseconds, and without speed.

    It is the same for two runs of the same work.
    """
    found = PREFIX.match(text)
    if found:
        text = f"{found['source']}] {text[found.end() :]}"
    return MILLISECONDS.sub("# ms", SPEED.sub("", text)).rstrip()
