"""When a stage runs, and what is left when it does not end well."""

import os
import sys
import time
from dataclasses import replace

import pytest

from netgen.errors import CaffeError
from study.stage import Command, Stage, Stopped, run_stage, stale

PRINT = Command(("python", "-c", "print('made')"), stdout="made.txt")


def python(code, stdout=None):
    return Command(("python", "-c", code), stdout=stdout)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name, age):
    """A file that is `age` seconds old."""
    with open(name, "w"):
        pass
    os.utime(name, times=(0, time.time() - age))


def chain():
    return [
        Stage("one", (Command(("python",), ("b",)),), ("a",)),
        Stage("two", (Command(("python",), ("c",)), Command(("python",), (), "d")), ("b",)),
        Stage("other", (Command(("python",), ("e",)),), ()),
    ]


def names(stages):
    return [stage.name for stage in stages]


def test_stale_are_missing_older_and_what_follows_from_them():
    assert names(stale(chain())) == ["one", "two", "other"]
    for name, age in zip("abcde", (50, 40, 30, 30, 90), strict=True):
        write(name, age)
    assert stale(chain()) == []
    os.remove("d")
    assert names(stale(chain())) == ["two"]
    write("d", 45)
    assert names(stale(chain())) == ["two"]  # one of its outputs is older than its input
    write("d", 30)
    write("a", 10)
    assert names(stale(chain())) == ["one", "two"]
    os.remove("a")  # what nobody makes any more is no reason to run
    assert stale(chain()) == []


def test_output_to_a_file_is_there_whole_or_not_at_all(here):
    run_stage(Stage("s", (replace(PRINT, stdout="new/made.txt"), PRINT), ()))
    assert (here / "made.txt").read_text() == (here / "new/made.txt").read_text() == "made\n"
    half = python("import sys; print('half', flush=True); sys.exit(3)", "half.txt")
    with pytest.raises(
        CaffeError,
        match=r"^stage s: exit status 3 of `python -c 'import sys; .*' "
        r"> half.txt`$",
    ):
        run_stage(Stage("s", (half, PRINT), ()))
    assert sorted(path.name for path in here.iterdir()) == ["made.txt", "new"]


def test_a_training_that_stopped_is_no_failure():
    with pytest.raises(Stopped):
        run_stage(Stage("s", (python("import sys; sys.exit(75)"),), ()))


def test_flags_go_to_trainings_alone(here):
    show = Command(("python", "-c", "import sys; print(sys.argv[1:])", "x"), stdout="argv.txt")
    flags = ["-gpu", "0"]
    run_stage(Stage("s", (PRINT, show), (), trains=True), flags)
    assert (here / "argv.txt").read_text() == "['x', '--', '-gpu', '0']\n"
    run_stage(Stage("s", (PRINT, show), ()), flags)
    assert (here / "argv.txt").read_text() == "['x']\n"


def test_deadline_interrupts_a_training(here):
    wait = python(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(print('caught')))\n"
        "time.sleep(30)",
        None,
    )
    clock = time.monotonic()
    with pytest.raises(Stopped):
        run_stage(Stage("s", (wait,), (), trains=True), (), clock + 1)
    assert 1 <= time.monotonic() - clock < 15
    with pytest.raises(Stopped):
        run_stage(Stage("s", (PRINT,), ()), (), clock)
    assert not (here / "made.txt").exists()


def test_shell_is_one_line_that_does_the_same(here):
    stage = Stage("s", (PRINT, python("print({1: '$HOME'})", "b c.txt")), ())
    line = stage.shell(["-gpu", "0"], sys.executable)
    assert "\n" not in line
    assert os.system(line) == 0
    assert (here / "made.txt").read_text() == "made\n"
    assert (here / "b c.txt").read_text() == "{1: '$HOME'}\n"
