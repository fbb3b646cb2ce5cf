"""Where log lines go, in glog's form (see lines.py), as every Caffe log parser expects them.

Lines go to stderr and, with a log directory, to a file as well. The source file and
line number are Caffe 1.0's own, since log parsers and habits refer to them.
GLOG_log_year_in_prefix=1 writes the year, as glog 0.5 and later do by default.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TextIO

from netgen.errors import printable
from runner.log.lines import number as number  # what makes messages asks here for both
from runner.log.lines import prefix


class LogSink:
    """Where the lines go. The process's is `glog.log`; a thread may `use` one of its own.

    title: written before each message on the screen, where several logs meet. minimum: the
    severities that are written.
    """

    def __init__(self, title: str = "") -> None:
        self.title = title
        self._file: TextIO | None = None
        self._write_screen: Callable[[str], object] | None = None
        self.year = os.environ.get("GLOG_log_year_in_prefix", "0") not in ("0", "false", "")
        level = os.environ.get("GLOG_minloglevel", "0")
        self.minimum = "IWEF"[min(int(level), 3) if level.isdigit() else 0 :]

    def open_file(self, directory: str, name: str) -> str:
        """Also write to `<directory>/<name>.<date>-<time>.<pid>.log`; returns the path."""
        self.close()
        now = datetime.now()
        path = os.path.join(directory, f"{name}.{now:%Y%m%d-%H%M%S}.{os.getpid()}.log")
        self._file = open(path, "a", encoding="utf-8", buffering=1, opener=_no_link)  # noqa: SIM115
        self._file.write(
            f"Log file created at: {now:%Y/%m/%d %H:%M:%S}\n"
            f"Running on machine: {socket.gethostname()}\n"
            "Log line format: [IWEF]mmdd hh:mm:ss.uuuuuu threadid file:line] msg\n"
        )
        return path

    def close(self, discard: bool = False) -> None:
        """Write to the screen alone from now on; discard: remove the file as well."""
        if self._file is not None:
            self._file.close()
            if discard:
                os.remove(self._file.name)
        self._file = None

    def through(self, write: Callable[[str], object] | None) -> None:
        """Send screen lines through `write(line)`, e.g. above a progress bar; None resets.

        What `glog.log` is sent through also takes the lines of sinks without a way of their own.
        """
        self._write_screen = write

    def line(self, severity: str, message: str, where: str) -> None:
        """Write one message; a message of several lines is written as it is, as glog does."""
        if severity not in self.minimum:
            return
        head = prefix(severity, time.time(), threading.get_native_id(), where, self.year)
        message = message.removesuffix("\n")  # like glog, which does not end such a line twice
        if not message.isprintable():
            message = _printable(message)
        lost = None
        if self._file is not None:
            try:
                self._file.write(f"{head}{message}\n")
            except OSError as error:  # the disk is full, say: as glog's, the run goes on
                lost, file, self._file = error, self._file, None
                with contextlib.suppress(OSError):
                    file.close()
        text = head + self.title + message
        try:
            write = self._write_screen or log._write_screen
            if write is not None:
                write(text)
            elif sys.stderr is not None:
                sys.stderr.write(text + "\n")
                sys.stderr.flush()
        except BrokenPipeError:  # The log's reader has gone, which ends a C program too.
            raise
        except OSError:
            # The terminal has gone (SIGHUP). The run goes on, as Caffe's does, and what it
            # could not write must not become a failure at its end (Python's status 120).
            sys.stderr = None
        if lost is not None:
            self.line("W", f"{file.name}: {lost.strerror}: the log ends there", where)


def _printable(message: str) -> str:
    """A message that forges no line: only what follows a line that ends in ":" is several."""
    first, feed, rest = message.partition("\n")
    if feed and first.rstrip().endswith(":"):
        return "\n".join(map(printable, message.split("\n")))
    return printable(message)


def _no_link(path: str, flags: int) -> int:
    """For open(): the file is no link that somebody has put where a log was expected."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def log_directory(asked: str, fallback: str = "") -> str:
    """The folder for log files, "" for none.

    It is -log_dir's folder `asked`, which is made if need be, or else the folder `fallback` if
    that is there. As with glog, GLOG_log_dir stands in for the flag, and GLOG_logtostderr=1
    turns files off.
    """
    if os.environ.get("GLOG_logtostderr", "0").lower() in ("1", "true"):
        return ""
    directory = asked or os.environ.get("GLOG_log_dir", "")
    if directory:
        os.makedirs(directory, exist_ok=True)
    return directory or (fallback if os.path.isdir(fallback) else "")


log = LogSink()
_of_thread = threading.local()


@contextlib.contextmanager
def use(own: LogSink) -> Iterator[LogSink]:
    """Have this thread's lines go to the sink `own` inside the with block."""
    before = getattr(_of_thread, "log", None)
    _of_thread.log = own
    try:
        yield own
    finally:
        _of_thread.log = before


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Write nothing of what this thread logs inside the with block, on the screen or to a file."""
    silent = LogSink()
    silent.minimum = ""
    with use(silent):
        yield


def _line(severity: str, message: str, where: str) -> None:
    own = getattr(_of_thread, "log", None)
    (log if own is None else own).line(severity, message, where)


def info(message: str, where: str) -> None:
    """Write an INFO line; `where` is Caffe's `file:line`."""
    _line("I", message, where)


def warning(message: str, where: str) -> None:
    """Write a WARNING line."""
    _line("W", message, where)


def error(message: str, where: str) -> None:
    """Write an ERROR line."""
    _line("E", message, where)


def fatal(message: str, where: str) -> None:
    """Write a FATAL line. Nothing is aborted: the caller ends the process."""
    _line("F", message, where)
