import errno
import os
import re
import sys
import threading
from datetime import datetime
from pathlib import Path

import pytest

from runner.log import glog
from runner.log.glog import LogSink, number

LINE = re.compile(
    r"([IWEF])(\d{4,8}) (\d\d:\d\d:\d\d)\.\d{6} ( *\d+) (\S+:\d+)\] (.*)\n", re.DOTALL
)


@pytest.fixture
def make_log(monkeypatch):
    def make(**environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return LogSink()

    return make


def test_the_form_of_a_line(capsys, make_log):
    before = datetime.now()
    make_log().line("I", "Iteration 0", "solver.cpp:239")
    severity, date, clock, thread, where, message = LINE.fullmatch(capsys.readouterr().err).groups()
    assert (severity, where, message) == ("I", "solver.cpp:239", "Iteration 0")
    assert len(thread) >= 5 and int(thread) == threading.get_native_id()
    written = datetime.strptime(f"{before.year}{date} {clock}", "%Y%m%d %H:%M:%S")
    assert abs((written - before).total_seconds()) < 60


@pytest.mark.parametrize(
    "setting, digits", [("0", 4), ("false", 4), ("", 4), ("1", 8), ("true", 8)]
)
def test_the_year(capsys, make_log, setting, digits):
    make_log(GLOG_log_year_in_prefix=setting).line("I", "x", "a.cpp:1")
    date = LINE.fullmatch(capsys.readouterr().err)[2]
    assert len(date) == digits
    assert digits == 4 or date.startswith("20")


def test_the_four_severities_go_to_stderr(capsys):
    for write, severity in [
        (glog.info, "I"), (glog.warning, "W"), (glog.error, "E"), (glog.fatal, "F"),
    ]:  # fmt: skip
        write("text", "a.cpp:1")
        captured = capsys.readouterr()
        assert captured.err.startswith(severity) and captured.out == ""


@pytest.mark.parametrize(
    "level, shown",
    [("0", "IWEF"), ("2", "EF"), ("3", "F"), ("9", "F"), ("x", "IWEF"), ("", "IWEF")],
)
def test_minimum_level(capsys, make_log, level, shown):
    log = make_log(GLOG_minloglevel=level)
    for severity in "IWEF":
        log.line(severity, "text", "a.cpp:1")
    assert "".join(line[0] for line in capsys.readouterr().err.splitlines()) == shown


def test_numbers_look_as_from_a_cpp_stream():
    values = [0.1, 1e-5, 100, 1e6, 1234567, 0.001, 1 / 3, float("nan"), float("inf"), -float("inf")]
    expected = "0.1 1e-05 100 1e+06 1.23457e+06 0.001 0.333333 nan inf -inf"
    assert [number(value) for value in values] == expected.split()


def test_a_message_of_several_lines_has_one_prefix_and_one_end(capsys, make_log):
    make_log().line("I", "a:\nb\n", "x.cpp:2")
    assert LINE.fullmatch(capsys.readouterr().err)[6] == "a:\nb"


def test_a_file_gets_the_same_lines(tmp_path, capsys, make_log):
    log = make_log()
    path = log.open_file(tmp_path, "net")
    assert re.fullmatch(rf"net\.\d{{8}}-\d{{6}}\.{os.getpid()}\.log", os.path.basename(path))
    log.line("I", "one", "a.cpp:1")
    log.close()
    log.line("I", "two", "a.cpp:1")
    head, body = Path(path).read_text().split("Log line format: [IWEF]mmdd")
    assert head.startswith("Log file created at: ") and "\nRunning on machine: " in head
    first, _ = capsys.readouterr().err.splitlines()
    assert body.splitlines()[1:] == [first] and first.endswith("one")


def test_lines_go_through_a_function(capsys, make_log):
    log, lines = make_log(), []
    log.through(lines.append)
    log.line("I", "above the bar", "a.cpp:1")
    log.through(None)
    log.line("I", "plain", "a.cpp:1")
    assert [line.endswith("above the bar") for line in lines] == [True]
    assert capsys.readouterr().err.endswith("plain\n")


class Gone:
    """A stderr that cannot be written to any more."""

    def __init__(self, code):
        self.code = code

    def write(self, text):
        raise OSError(self.code, os.strerror(self.code))


def test_a_vanished_terminal_does_not_end_a_run(tmp_path, monkeypatch, make_log):
    log = make_log()
    path = log.open_file(tmp_path, "net")
    monkeypatch.setattr(sys, "stderr", Gone(errno.EIO))
    log.line("I", "still here", "a.cpp:1")
    log.close()
    assert "still here" in Path(path).read_text()


def test_a_closed_pipe_is_told(monkeypatch, make_log):
    monkeypatch.setattr(sys, "stderr", Gone(errno.EPIPE))
    with pytest.raises(BrokenPipeError):
        make_log().line("I", "x", "a.cpp:1")
