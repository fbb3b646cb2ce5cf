"""Log lines in glog's form, as every Caffe log parser expects them.

    I1122 10:00:00.123456 12345 solver.cpp:239] Iteration 0 (...), loss = 2.3

Lines go to stderr and, with a log directory, to a file as well. The source file and
line number are Caffe 1.0's own, since log parsers and habits refer to them.
GLOG_log_year_in_prefix=1 writes the year, as glog 0.5 and later do by default.
"""

import contextlib
import os
import socket
import sys
import threading
import time
from datetime import datetime

SEVERITIES = {"I": "INFO", "W": "WARNING", "E": "ERROR", "F": "FATAL"}


def number(value):
    """A number as a C++ stream prints it by default: six significant digits."""
    return f"{float(value):.6g}"


class Log:
    """Where the lines go. The process's is `glog.log`; a thread may `use` one of its own.

    title: written before each message on the screen, where several logs meet.
    """

    def __init__(self, title=""):
        self.title = title
        self._file = None
        self._write_screen = None
        self.year = os.environ.get("GLOG_log_year_in_prefix", "0") not in ("0", "false", "")
        level = os.environ.get("GLOG_minloglevel", "0")
        self.minimum = "IWEF"[min(int(level), 3) if level.isdigit() else 0 :]

    def open_file(self, directory, name):
        """Also write to `<directory>/<name>.<date>-<time>.<pid>.log`; returns the path."""
        self.close()
        now = datetime.now()
        path = os.path.join(directory, f"{name}.{now:%Y%m%d-%H%M%S}.{os.getpid()}.log")
        self._file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115
        self._file.write(
            f"Log file created at: {now:%Y/%m/%d %H:%M:%S}\n"
            f"Running on machine: {socket.gethostname()}\n"
            "Log line format: [IWEF]mmdd hh:mm:ss.uuuuuu threadid file:line] msg\n"
        )
        return path

    def close(self, discard=False):
        """Write to the screen only, again; discard: and remove the file."""
        if self._file is not None:
            self._file.close()
            if discard:
                os.remove(self._file.name)
        self._file = None

    def through(self, write):
        """Send screen lines through `write(line)`, e.g. above a progress bar; None resets.

        So are those of other logs that have no way of their own.
        """
        self._write_screen = write

    def line(self, severity, message, where):
        """Write one message; a message of several lines is written as it is, as glog does."""
        if severity not in self.minimum:
            return
        now = time.time()
        date = time.strftime("%Y%m%d" if self.year else "%m%d", time.localtime(now))
        clock = time.strftime("%H:%M:%S", time.localtime(now))
        micros = int(now % 1 * 1e6)
        head = f"{severity}{date} {clock}.{micros:06d} {threading.get_native_id():5d} {where}] "
        message = message.removesuffix("\n")  # glog ends a line that ends already no second time
        if self._file is not None:
            self._file.write(f"{head}{message}\n")
        text = head + self.title + message
        try:
            write = self._write_screen or log._write_screen
            if write is not None:
                write(text)
            elif sys.stderr is not None:
                sys.stderr.write(text + "\n")
                sys.stderr.flush()
        except BrokenPipeError:  # whoever read the log has gone: a C program is killed by it
            raise
        except OSError:  # the terminal has gone (SIGHUP): the run goes on, as Caffe's does,
            # and what it could not write is no failure at its end (Python's status 120)
            sys.stderr = None


def log_directory(asked, fallback=""):
    """Where log files go: to -log_dir's folder `asked`, which is made, else to `fallback`.

    As with glog, GLOG_log_dir stands in for the flag and GLOG_logtostderr=1 turns files off. ""
    stands for nowhere, which is also so where there is no folder `fallback`.
    """
    if os.environ.get("GLOG_logtostderr", "0").lower() in ("1", "true"):
        return ""
    directory = asked or os.environ.get("GLOG_log_dir", "")
    if directory:
        os.makedirs(directory, exist_ok=True)
    return directory or (fallback if os.path.isdir(fallback) else "")


log = Log()
_of_thread = threading.local()


@contextlib.contextmanager
def use(own):
    """Have this thread's lines go to the Log `own` inside the with block."""
    _of_thread.log = own
    try:
        yield own
    finally:
        del _of_thread.log


def _line(severity, message, where):
    getattr(_of_thread, "log", log).line(severity, message, where)


def info(message, where):
    """An INFO line; `where` is Caffe's `file:line`."""
    _line("I", message, where)


def warning(message, where):
    """A WARNING line."""
    _line("W", message, where)


def error(message, where):
    """An ERROR line."""
    _line("E", message, where)


def fatal(message, where):
    """A FATAL line. The caller ends the process: nothing is aborted here."""
    _line("F", message, where)
