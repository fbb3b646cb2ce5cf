"""Read the log of a training by any Caffe, as far as it has been written.

Understood are BVLC Caffe's lines, old (`Iteration 20, loss = 1.7`) and new
(`Iteration 20 (12.3 iter/s, 8.1s/100 iters), loss = 1.7`), NVIDIA's, and this
project's, and Caffe's of 2013 (`Test score #0: 0.11`); with glog's date with or without a
year, behind another logger's prefix, in a terminal's colours, in Docker's JSON, or with no prefix
at all; in UTF-8 or UTF-16, also compressed. All else in the file (net dumps, progress bars,
garbage) is skipped, as are lines that stand there twice and those of other ranks than the first.

Most lines of a log are displays and outputs. They are taken apart as bytes, with `partition`
instead of the patterns of lines.py, and known outputs are found in a dictionary: that is twice
as fast. All other lines are decoded and matched against the patterns.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import json
import lzma
import os
import stat
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from datetime import date, datetime
from math import nan
from typing import BinaryIO, cast

from netgen.errors import CaffeError
from runner.log import lines as pattern
from runner.log.lines import parse_number
from runner.log.tables import Run, Table, Values, join

BLOCK = 1 << 18  # its lines fit a processor's cache
NONE, ENDED = -1, sys.maxsize  # iterations before the first, and after the end of a run
LONGEST_LINE = 1 << 16  # what goes on for longer without an end is garbage
MOST_KNOWN = 1 << 12  # outputs; more are of lines that begin with a time we do not know
SILENT_SECONDS = 3600  # an unfinished log that has not grown for so long is taken as ended
OPENERS: dict[bytes, Callable[..., BinaryIO]] = {
    b"\x1f\x8b": cast(Callable[..., BinaryIO], gzip.open),
    b"BZh": cast(Callable[..., BinaryIO], bz2.open),
    b"\xfd7zXZ": cast(Callable[..., BinaryIO], lzma.open),
}
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class LogError(CaffeError):
    """A log that cannot be read or tells nothing; str(error) is the whole message."""


class Log:
    """A log file, parsed as far as it has grown: call read() again for what is new.

    runs: a Run for each time a solver was set up, began to solve, or went back to an
    earlier iteration. A last line without its end is left for later: its number may
    be cut short. unread: how many lines tell a net's output that could not be read, the first
    of which is first_unread.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._clock = _Clock()
        self._clear()

    def _clear(self) -> None:
        self.runs: list[Run] = []
        self.unread, self.first_unread = 0, ""
        self._decimal_comma = ""
        self._ranked = False
        self._rank: tuple[bytes, ...] | None = None
        self._before: bytes | None = None
        self._head, self._offset, self._rest = b"", 0, b""
        self._decoder: codecs.IncrementalDecoder | None = None
        self._start_run()

    @property
    def ended(self) -> str | None:
        """How the last run ended (Run.ended), None while it may go on."""
        return self.runs[-1].ended

    @property
    def complaint(self) -> str:
        """What a person should know of lines that could not be read; "" if there are none."""
        if not self.unread:
            return ""
        lines = (
            "line that tells a net output" if self.unread == 1 else "lines that tell net outputs"
        )
        return (
            f"{self.path}: {self.unread} {lines} could not be read and"
            f" left out, the first: {self.first_unread}"
        )

    def may_grow(self) -> bool:
        """Whether the log is of a training that seems to be running.

        It does not where the log tells its end, the file has not changed for an hour, or the
        last line's date is not that of the file, which is then a copy of an old log.
        """
        try:
            changed = os.stat(self.path).st_mtime
        except OSError:
            return False
        if self.ended or time.time() - changed > SILENT_SECONDS:
            return False
        return self._clock.is_near(date.fromtimestamp(changed))

    def training(self) -> Run:
        """The training that the runs make up, as a Run (see tables.join).

        Raises LogError if there is not one iteration in the file, and for numbers with commas
        where points belong.
        """
        if self._decimal_comma:
            raise LogError(
                f"{self.path}: its numbers have a comma for the point ({self._decimal_comma});"
                " sed -E 's/([0-9]),([0-9])/\\1.\\2/g' makes a log of it that can be read"
            )
        runs = [run for run in self.runs if len(run)]
        if not runs:
            unread = f" (unread: {self.first_unread})" if self.unread else ""
            raise LogError(f"{self.path}: no iterations found; is it a Caffe training log?{unread}")
        return runs[0] if len(runs) == 1 else join(runs)

    def read(self) -> bool:
        """Parse what the file has gained; returns whether that was anything.

        A file that was cut or replaced is read anew. Raises LogError if it cannot be opened.
        """
        try:
            with open(self.path, "rb") as file:
                return self._read(file)
        except OSError as error:
            raise LogError(f"{self.path}: {error.strerror}") from None

    def _read(self, file: BinaryIO) -> bool:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):  # which may have no end, and cannot be read again
            raise LogError(f"{self.path}: a device or a pipe; a log is a file")
        size = about.st_size
        news = size < self._offset or file.read(len(self._head)) != self._head
        if news:
            self._clear()
        file.seek(0)
        magic = file.read(6)
        for start, opener in OPENERS.items():
            if magic.startswith(start):
                return self._read_compressed(file, opener)
        file.seek(self._offset)
        while data := file.read(BLOCK):
            self._offset += len(data)
            self._take(data)
            news = True
        self._take_last()
        return news

    def _read_compressed(self, file: BinaryIO, opener: Callable[..., BinaryIO]) -> bool:
        """Read a compressed log, which is whole; one that was cut is read as far as it goes."""
        size = os.fstat(file.fileno()).st_size
        if self._offset == size:
            return False
        self._clear()
        self._offset = size
        file.seek(0)
        try:
            with opener(file) as content:
                while data := content.read(BLOCK):
                    self._take(data)
        except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
            if not self._head:
                raise LogError(f"{self.path}: cannot be decompressed: {error}") from None
        self._head = b""  # that of the content, which the file does not begin with
        self._take_last()
        return True

    def _take(self, data: bytes) -> None:
        """Parse the whole lines of what comes next in the file."""
        if not self._head:
            self._head = data[:256]
            if data.startswith(UTF16):
                self._decoder = codecs.getincrementaldecoder("utf-16")("replace")
            ranks = pattern.RANK.findall(data) if pattern.RANK.search(self._head) else []
            self._ranked = 0 < 2 * len(set(ranks)) <= len(ranks)  # else the lines are numbered
        if self._decoder is not None:
            data = self._decoder.decode(data).encode()
        elif b"\0" in data:  # UTF-16 without its mark, or behind lines in ASCII
            data = data.replace(b"\0", b"")
        data = self._rest + data
        if b"\x1b[" in data or b"[0m" in data or b"[m" in data:
            data = pattern.ANSI.sub(b"", data)
        *lines, rest = data.replace(b"\r", b"\n").split(b"\n")
        self._rest = rest[-LONGEST_LINE:]
        if self._ranked:
            lines = [line for line in lines if self._is_of_rank(line)]
        if self._head.startswith(pattern.DOCKER):
            lines = [_printed(line) for line in lines]
        self._parse(lines)

    def _is_of_rank(self, line: bytes) -> bool:
        """Whether a line is of the process that told an iteration first, or of none."""
        rank = pattern.RANK.match(line)
        if rank is None:
            return True
        if self._rank is None and b"Iteration " in line:
            self._rank = rank.groups()
        return self._rank in (None, rank.groups())

    def _take_last(self) -> None:
        """Parse a last line that is whole but for its line end."""
        if self._rest.endswith((b"Done.", b" loss)")):
            self._parse([self._rest])
            self._rest = b""

    def _start_run(self) -> None:
        """Begin a new run, unless nothing has happened yet in the one at hand."""
        if self.runs:
            self.runs[-1].seconds = self._clock.elapsed
        if not self.runs or len(self.runs[-1]) or self.ended:
            run = Run()
            self.runs.append(run)
            self._clock, self._net = _Clock(), 0
            self._iteration = NONE
            self._rate, self._rate_text = nan, b""
            self._columns: dict[bytes, tuple[Table, Values]] = {}
            self._loss = run.loss, run.loss.column((0, "loss"))

    def _parse(self, lines: list[bytes]) -> None:
        """The loop over all lines. For speed it deals with outputs itself once they are known.

        An output is known by all that stands between its time stamp and its value.
        """
        columns, clock, before = self._columns, self._clock, self._before
        for line in lines:
            if line == before:  # of two loggers, both of which were kept
                continue
            before = line
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
                value: float | None = float(right.partition(b" ")[0])
            except ValueError:
                value = parse_number(_text(right))
                if value is None:
                    self._count_unread(line)
                    continue
            if table.last != self._iteration or len(values) == table.rows:
                table.open_row(self._iteration, clock.seconds(line), self._rate)
            values.append(value)
        self._before = before
        self.runs[-1].seconds = clock.elapsed

    def _equation(self, left: bytes, right: bytes) -> tuple[Table, Values] | None:
        """The table and the column of `left = right`, a loss or an output; None for all else."""
        _, found, what = left.partition(b"Iteration ")
        if found:  # `20 (12.3 iter/s, 8.1s/100 iters), loss` or `20, lr`
            digits, _, what = what.partition(b" ")
            try:
                iteration = int(digits.rstrip(b","))
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
        output = pattern.OUTPUT.search(_text(left))
        if output is None:
            return None
        if self._iteration in (NONE, ENDED):
            self._count_unread(left + b" = " + right)
            return None
        which, number, name = output.groups()
        run = self.runs[-1]
        table = run.train if which == "Train" else run.tests.setdefault(self._net, Table())
        key = int(number), name.strip()
        if weight := pattern.LOSS_WEIGHT.match(_text(right)):
            table.weights[key] = float(weight[1])
        known = table, table.column(key)
        if len(self._columns) < MOST_KNOWN:
            self._columns[left[self._clock.width :]] = known
        return known

    def _count_unread(self, line: bytes) -> None:
        """Count a net's output whose value is no number, or that belongs to no iteration."""
        self.unread += 1
        self.first_unread = self.first_unread or _text(line).strip()[:200]
        value = _text(line).rpartition(" = ")[2]
        if pattern.DECIMAL_COMMA.match(value):
            self._decimal_comma = self._decimal_comma or value.strip()[:40]

    def _set_rate(self, text: bytes) -> None:
        """A rate is logged after the row of its iteration, and after the first tests."""
        rate = parse_number(_text(text))
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

    def _reach(self, iteration: int) -> None:
        """Go on to an iteration; an earlier one begins a new run."""
        if iteration < self._iteration:
            self._start_run()
        self._iteration = iteration

    def _event(self, line: bytes) -> None:
        """Follow a line without ` = `: where runs and tests begin and end."""
        message = _message(line)
        if testing := pattern.TESTING.search(message):
            self._reach(int(testing[1]))
            net = int(testing[2] or 0)
            if net != self._net:
                self._net = net
                self._columns.clear()
        elif score := pattern.SCORE.search(message):
            self._score(line, int(score[1]), parse_number(score[2]))
        elif end := pattern.END.search(message):
            self._end(line, pattern.ENDINGS[end[1] or end[2]])
        elif pattern.FATAL.match(_text(line)):
            self._end(line, "failed")
        elif solving := pattern.SOLVING.search(message):
            self._start_run()
            self.runs[-1].net = solving[1].strip()
            self._clock.start(line)
        elif setup := pattern.SETUP.search(message):
            self._start_run()
            if setup["starting"]:
                self._clock.start(line)
        elif "net output #" in message:
            self._count_unread(line)

    def _score(self, line: bytes, number: int, value: float | None) -> None:
        """A test's number as Caffe wrote it in 2013, without a name."""
        if value is None or self._iteration in (NONE, ENDED):
            self._count_unread(line)
            return
        table = self.runs[-1].tests.setdefault(0, Table())
        values = table.column((number, f"score #{number}"))
        if table.last != self._iteration or len(values) == table.rows:
            table.open_row(self._iteration, self._clock.seconds(line), self._rate)
        values.append(value)

    def _end(self, line: bytes, how: str) -> None:
        self._clock.seconds(line)
        self.runs[-1].ended = self.ended or how
        self._iteration = ENDED  # whatever follows is another run
        self._columns.clear()


def read_logs(paths: Sequence[str], say: Callable[[str], object]) -> list[Log]:
    """The logs at `paths`, each read to its end.

    say: is told in a line of a log that has no iterations, which is left out, and of lines that
    could not be read. Raises LogError where no log has any, and for a file that cannot be opened.
    """
    logs = [Log(path) for path in paths]
    for log in logs:
        log.read()
    started = [log for log in logs if any(map(len, log.runs))]
    if not started:
        logs[0].training()  # raises, saying that there is nothing
    for log in logs:
        if log not in started:
            say(f"{log.path}: no iterations found, left out")
        if log.complaint:
            say(log.complaint)
    return started


def _printed(line: bytes) -> bytes:
    """What a container printed, behind its time, of a line of Docker's JSON."""
    try:
        record = json.loads(line)
        return f"{record.get('time', '')} {record['log']}".rstrip("\n").encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return line


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def _message(line: bytes) -> str:
    return _text(line.rpartition(b"] ")[2])


class _Clock:
    """The seconds of a run, read from glog's time stamps.

    Where stamps have no year, December to January begins a new one, and a year is a leap year
    if its 29th of February is seen: no guess from the file's own date is needed.
    width: length of the stamps at the start of this log's lines. elapsed: the seconds
    that were read last. day: month and day of the last stamp, None before it.
    """

    def __init__(self) -> None:
        self.width, self.elapsed = 0, nan
        self.day: tuple[int, int] | None = None
        self._minute: bytes | None = None
        self._base = 0
        self._start: int | None = None
        self._year_start, self._leap, self._month = 0, False, 0

    def start(self, line: bytes) -> None:
        """Count from this line's time on; otherwise from that of the first line read."""
        self._start = None
        self.seconds(line)

    def seconds(self, line: bytes) -> float:
        """The seconds at a line, to the microsecond; nan if it has no (valid) stamp."""
        width = self.width
        try:
            if line[: width - 9] != self._minute:
                stamp = pattern.STAMP.search(_text(line))
                if stamp is None:
                    return self._iso_seconds(line)
                self._base = 60_000_000 * self._minutes(stamp[1])
                line = stamp[0].encode()
                width = len(line)
                self.width, self._minute = width, line[: width - 9]
            now = self._base + int(line[width - 9 : width].replace(b".", b""))
        except ValueError:
            return nan
        return self._since_start(now)

    def _since_start(self, now: int) -> float:
        if self._start is None:
            self._start = now
        self.elapsed = (now - self._start) / 1e6
        return self.elapsed

    def _iso_seconds(self, line: bytes) -> float:
        """The seconds at a line with the date of another logger in front."""
        if epoch := pattern.EPOCH_STAMP.search(_text(line)):
            return self._since_start(round(float(epoch[1]) * 1e6))
        stamp = pattern.ISO_STAMP.search(_text(line))
        if stamp is None:
            return nan
        then = datetime.fromisoformat(stamp[0].replace(",", "."))
        self.day = then.month, then.day
        seconds = 86_400 * then.toordinal() + 3600 * then.hour + 60 * then.minute + then.second
        return self._since_start(1_000_000 * seconds + then.microsecond)

    def is_near(self, day: date) -> bool:
        """Whether the last stamp is of about that day of a year, or there is none."""
        if self.day is None:
            return True
        last = date(2000, *self.day).toordinal() - date(2000, day.month, day.day).toordinal()
        return min(abs(last), 366 - abs(last)) <= 1

    def _minutes(self, text: str) -> int:
        day, _, clock = text.partition(" ")
        month, month_day = int(day[-4:-2]), int(day[-2:])
        date(2000, month, month_day)  # raises where there is no such day
        self.day = month, month_day
        if len(day) == 8:
            days = date(int(day[:4]), month, month_day).toordinal()
        else:
            days = self._day_without_year(month, month_day)
        return (24 * days + int(clock[:2])) * 60 + int(clock[3:])

    def _day_without_year(self, month: int, month_day: int) -> int:
        if self._month - month >= 6:  # less is a clock put back
            self._year_start += 366 if self._leap else 365
            self._leap = False
        self._leap = self._leap or (month, month_day) == (2, 29)
        self._month = month
        year = 2000 if self._leap else 2001
        return self._year_start + (date(year, month, month_day) - date(year, 1, 1)).days
