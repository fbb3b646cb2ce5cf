"""Read Caffe training logs: the one place that knows what a log line looks like.

Understood are BVLC Caffe's lines, old (`Iteration 20, loss = 1.7`) and new
(`Iteration 20 (12.3 iter/s, 8.1s/100 iters), loss = 1.7`), NVIDIA's, and this
project's; with glog's date with or without a year, or with no prefix at all. All
else in the file (net dumps, progress bars, garbage) is skipped.

Lines are taken apart with `partition` rather than one regular expression, and known
outputs are found in a dictionary: that is twice as fast.
"""

import os
import re
from datetime import date
from math import inf, nan

from netgen.errors import CaffeError
from runner.log.tables import Run, Table, join

OUTPUT = re.compile(rb"\s*(Train|Test) net output #(\d+): (.+)$")
LOSS_WEIGHT = re.compile(rb"\S+ \(\* (-?\d[\d.]*(?:e[-+]\d+)?) = ")
TESTING = re.compile(rb"\s*Iteration (\d+), Testing net \(#(\d+)\)")
SETUP = re.compile(rb"Initializing solver from parameters|Starting Optimization\s*$")
SOLVING = re.compile(rb"Solving\b ?(.*)")
END = re.compile(rb"Optimization (Done|stopped)|\*\*\* (Check failure)")
ENDINGS = {b"Done": "done", b"stopped": "stopped", b"Check failure": "failed"}
WINDOWS_NAN = re.compile(rb"([-+]?)(1\.#INF|1\.#IND|1\.#QNAN|nan\(ind\))")
FATAL = re.compile(rb"F(?:\d{4})?\d{4} \d\d:\d\d:\d\d\.")
STAMP = re.compile(rb"[IWEF]((?:\d{4})?\d{4} \d\d:\d\d):\d\d\.\d{6}")

BLOCK = 1 << 18  # its lines fit a processor's cache
LONGEST_LINE = 1 << 16  # what goes on for longer without an end is garbage


class LogError(CaffeError):
    """A log that cannot be read or tells nothing; str(error) is the whole message."""


class Log:
    """A log file, parsed as far as it has grown: call read() again for what is new.

    runs: a Run for each time a solver was set up, began to solve, or went back to an
    earlier iteration. A last line without its end is left for later: its number may
    be cut short.
    """

    def __init__(self, path):
        self.path = path
        self._clear()

    def _clear(self):
        self.runs = []
        self._head, self._offset, self._rest = b"", 0, b""
        self._start_run()

    @property
    def ended(self):
        """How the last run ended (Run.ended), None while it may go on."""
        return self.runs[-1].ended

    def training(self):
        """The training that the runs make up, as a Run (see log_tables.join).

        Raises LogError if there is not one iteration in the file.
        """
        runs = [run for run in self.runs if len(run)]
        if not runs:
            raise LogError(f"{self.path}: no iterations found; is it a Caffe training log?")
        return runs[0] if len(runs) == 1 else join(runs)

    def read(self):
        """Parse what the file has gained; returns whether that was anything.

        A file that was cut or replaced is read anew. Raises LogError if it cannot be opened.
        """
        try:
            with open(self.path, "rb") as file:
                return self._read(file)
        except OSError as error:
            raise LogError(f"{self.path}: {error.strerror}") from None

    def _read(self, file):
        size = os.fstat(file.fileno()).st_size
        news = size < self._offset or file.read(len(self._head)) != self._head
        if news:
            self._clear()
        file.seek(self._offset)
        while data := file.read(BLOCK):
            self._head = self._head or data[:256]
            self._offset += len(data)
            *lines, rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
            self._rest = rest[-LONGEST_LINE:]
            self._parse(lines)
            news = True
        if self._rest.endswith((b"Done.", b" loss)")):  # whole but for its line end
            self._parse([self._rest])
            self._rest = b""
        return news

    def _start_run(self):
        """Begin a new run, unless nothing has happened yet in the one at hand."""
        if self.runs:
            self.runs[-1].seconds = self._clock.elapsed
        if not self.runs or len(self.runs[-1]) or self.ended:
            run = Run()
            self.runs.append(run)
            self._clock, self._iteration, self._net = _Clock(), -1, 0
            self._rate, self._rate_text = nan, b""
            self._columns = {}
            self._loss = run.loss, run.loss.column((0, "loss"))

    def _parse(self, lines):
        """The loop over all lines; for speed, outputs are dealt with here once they are known.

        They are known by all that stands between time stamp and value.
        """
        columns, clock = self._columns, self._clock
        for line in lines:
            left, equals, right = line.partition(b" = ")
            known = columns.get(left[clock.width :])
            if known is None:
                if equals:
                    known = self._equation(left, right)
                else:
                    self._event(line)
                columns, clock = self._columns, self._clock
                if known is None:
                    continue
            table, values = known
            try:
                value = float(right.partition(b" ")[0])
            except ValueError:
                value = _number(right)
                if value is None:
                    continue
            if table.last != self._iteration or len(values) == table.rows:
                table.open_row(self._iteration, clock.seconds(line), self._rate)
            values.append(value)
        self.runs[-1].seconds = clock.elapsed

    def _equation(self, left, right):
        """`left = right`: the table and the column of a loss or an output, None for all else."""
        _, found, what = left.partition(b"Iteration ")
        if found:  # `20 (12.3 iter/s, 8.1s/100 iters), loss` or `20, lr`
            number, _, what = what.partition(b" ")
            try:
                iteration = int(number.rstrip(b","))
            except ValueError:
                return None
            is_loss = what.endswith(b"loss")
            if is_loss or what.endswith(b"lr"):
                if iteration != self._iteration:
                    self._reach(iteration)
                if is_loss:
                    return self._loss
                if right != self._rate_text:
                    self._set_rate(right)
            return None
        output = OUTPUT.match(left.rpartition(b"] ")[2])
        if output is None or self._iteration in (-1, inf):
            return None
        which, number, name = output.groups()
        run = self.runs[-1]
        table = run.train if which == b"Train" else run.tests.setdefault(self._net, Table())
        key = int(number), name.decode("utf-8", "replace").strip()
        if weight := LOSS_WEIGHT.match(right):
            table.weights[key] = float(weight[1])
        known = self._columns[left[self._clock.width :]] = table, table.column(key)
        return known

    def _set_rate(self, text):
        """A rate is logged after the row of its iteration, and after the first tests."""
        rate = _number(text)
        if rate is None:
            return
        run = self.runs[-1]
        for table in (run.loss, run.train):
            if table.last == self._iteration:
                table.rates[-1] = rate
        if not self._rate_text:
            for table in run.tables():
                table.rates[:] = [rate] * table.rows
        self._rate, self._rate_text = rate, text

    def _reach(self, iteration):
        """Going back begins a new run."""
        if iteration < self._iteration:
            self._start_run()
        self._iteration = iteration

    def _event(self, line):
        """A line without ` = `: where runs and tests begin and end."""
        message = line.rpartition(b"] ")[2]
        if testing := TESTING.match(message):
            self._reach(int(testing[1]))
            if int(testing[2]) != self._net:
                self._net = int(testing[2])
                self._columns.clear()
        elif end := END.match(message):
            self._end(line, ENDINGS[end[1] or end[2]])
        elif FATAL.match(line):
            self._end(line, "failed")
        elif solving := SOLVING.match(message):
            self._start_run()
            self.runs[-1].net = solving[1].decode("utf-8", "replace").strip()
            self._clock.start(line)
        elif SETUP.match(message):
            self._start_run()
            if message.startswith(b"Starting"):
                self._clock.start(line)

    def _end(self, line, how):
        self._clock.seconds(line)
        self.runs[-1].ended = self.ended or how
        self._iteration = inf  # whatever follows is another run
        self._columns.clear()


def _number(text):
    """The number at the start of text, up to a comma or blank; None if there is none."""
    text = text.replace(b",", b" ").partition(b" ")[0]
    try:
        return float(text)
    except ValueError:
        windows = WINDOWS_NAN.match(text)
        if windows is None:
            return None
        return float(windows[1] + (b"inf" if windows[2] == b"1.#INF" else b"nan"))


class _Clock:
    """Seconds of a run, from glog's time stamps.

    Without a year, December to January begins a new one, and a year is a leap year
    if its 29th of February is seen: no guess from the file's own date is needed.
    width: length of the stamps at the start of this log's lines; elapsed: the seconds
    last read.
    """

    def __init__(self):
        self.width, self.elapsed = 0, nan
        self._minute, self._base, self._start = None, 0, None
        self._year_start, self._leap, self._month = 0, False, 0

    def start(self, line):
        """Count from this line's time on; otherwise from that of the first line read."""
        self._start = None
        self.seconds(line)

    def seconds(self, line):
        """Exact to the microsecond; nan if the line has no (valid) stamp."""
        width = self.width
        try:
            if line[: width - 9] != self._minute:
                stamp = STAMP.search(line)
                if stamp is None:
                    return nan
                self._base = 60_000_000 * self._minutes(stamp[1].decode())
                line, width = stamp[0], len(stamp[0])
                self.width, self._minute = width, line[: width - 9]
            now = self._base + int(line[width - 9 : width].replace(b".", b""))
        except ValueError:
            return nan
        if self._start is None:
            self._start = now
        self.elapsed = (now - self._start) / 1e6
        return self.elapsed

    def _minutes(self, text):
        day, _, clock = text.partition(" ")
        month, month_day = int(day[-4:-2]), int(day[-2:])
        if len(day) == 8:
            days = date(int(day[:4]), month, month_day).toordinal()
        else:
            days = self._day_without_year(month, month_day)
        return (24 * days + int(clock[:2])) * 60 + int(clock[3:])

    def _day_without_year(self, month, month_day):
        if self._month - month >= 6:  # less is a clock put back
            self._year_start += 366 if self._leap else 365
            self._leap = False
        self._leap = self._leap or (month, month_day) == (2, 29)
        self._month = month
        year = 2000 if self._leap else 2001
        return self._year_start + (date(year, month, month_day) - date(year, 1, 1)).days
