"""The command: one picture of finished logs, and one that follows logs as they grow."""

import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import matplotlib.image
import pytest
from matplotlib.text import Text

from caffe_tools.figures.view import Picture
from caffe_tools.plot_loss import default_output, labelled
from runner.log import Log

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "plot_loss.py"


@pytest.fixture
def live(tmp_path):
    """live(*arguments): plot_loss without a display; it is ended with the test."""
    processes = []

    def live(*arguments):
        hidden = ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
        environment = {key: value for key, value in os.environ.items() if key not in hidden}
        process = subprocess.Popen(
            [sys.executable, SCRIPT, "--every", "0.1", *arguments],
            cwd=tmp_path, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        processes.append(process)
        return process

    yield live
    for process in processes:
        process.kill()
        process.communicate()


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def test_finished_logs_are_drawn_beside_them_and_it_ends(tool, example, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    example(net="A").done().write(logs / "a.log")
    example(net="B").done().write(logs / "b.log")
    status, out, err = tool("plot_loss", "logs/a.log", "logs/b.log", cwd=tmp_path)
    assert (status, out, err) == (0, "Wrote logs/loss.png\n", "")
    height, width, _ = matplotlib.image.imread(logs / "loss.png").shape
    assert (width, height) == (1200, 900)
    assert sorted(path.name for path in logs.iterdir()) == ["a.log", "b.log", "loss.png"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("$\\frac{", "$\\frac{"),
        ("$x_2$", "$x_2$"),
        ("a\x1b[31m\nb", r"a\x1b[31m\nb"),
        ("a\udcffb", r"a\377b"),  # a byte that is not UTF-8
        ("\u65e5", "\u65e5"),  # which the font has not
    ],
)
def test_names_are_drawn_as_they_are(tool, example, tmp_path, name, shown):
    example(net="$\\q{").done().write(tmp_path / f"{name}.log")
    arguments = ("--no_refresh", f"{name}.log", "-o", f"{name}.svg")
    status, out, err = tool("plot_loss", *arguments, cwd=tmp_path)
    assert (status, out, err) == (0, f"Wrote {shown}.svg\n", "")
    assert f"<!-- $\\q{{ ({shown}) -->" in (tmp_path / f"{name}.svg").read_text()


def test_no_view_reads_mathematics(tmp_path):
    figures = []

    def draw(figure, name):
        figures.append(figure)
        figure.subplots().set_title(name)

    Picture(str(tmp_path / "a.png"), draw, (2, 2)).show("$x_2$")
    (title,) = (t for t in figures[0].findobj(Text) if t.get_text() == "$x_2$")
    assert not title.get_parse_math() and not title.get_usetex()


def test_draws_once_with_no_refresh(tool, example, tmp_path):
    example().write(tmp_path / "runs.log")
    (tmp_path / "other.log").write_text("hello\n")
    arguments = ("--no_refresh", "runs.log", "other.log", "-o", "x.svg", "--avg", "3")
    status, out, err = tool("plot_loss", *arguments, "--x", "seconds", cwd=tmp_path)
    assert (status, out) == (0, "Wrote x.svg\n")
    assert err == "other.log: no iterations found, left out\n"
    assert (tmp_path / "x.svg").read_text().count("<svg") == 1


def test_follows_a_growing_log_and_one_that_is_yet_to_come(live, example, tmp_path):
    first, late, picture = (tmp_path / name for name in ("first.log", "late.log", "loss.png"))
    now = datetime.now().isoformat()
    whole = example(accuracies=("0.1", "0.5", "0.6"), start=now).done().text()
    middle = whole.index("\n", whole.index("Iteration 100")) + 20  # in the middle of a line
    first.write_text(whole[:middle])
    process = live("first.log", "late.log")
    assert process.stdout.readline() == "late.log: waiting for its first iteration\n"
    assert process.stdout.readline() == "loss.png: kept fresh until all runs end (or Ctrl-C)\n"
    drawn = picture.read_bytes()
    append(first, whole[middle:])
    until(lambda: picture.read_bytes() != drawn)
    drawn = picture.read_bytes()
    example().done().write(late)
    assert process.communicate(timeout=30) == ("Wrote loss.png\n", "")
    assert process.returncode == 0
    assert picture.read_bytes() != drawn
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "first.log", "late.log", "loss.png"
    ]  # fmt: skip


def test_ctrl_c_ends_it_cleanly(live, example, tmp_path):
    example(start=datetime.now().isoformat()).write(tmp_path / "a.log")
    process = live("a.log")
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert (tmp_path / "a.png").exists()


def test_a_log_long_silent_has_ended(tool, example, tmp_path):
    path = example().write(tmp_path / "killed.log")
    os.utime(path, (0, time.time() - 7200))
    status, out, _ = tool("plot_loss", path)
    assert (status, out) == (0, f"Wrote {tmp_path}/killed.png\n")


def test_a_copy_of_an_old_log_is_not_running(tool, example, tmp_path):
    then = (datetime.now() - timedelta(days=40)).isoformat()
    path = example(start=then).write(tmp_path / "copied.log")
    status, out, _ = tool("plot_loss", path)
    assert (status, out) == (0, f"Wrote {tmp_path}/copied.png\n")
    log = Log(path)
    log.read()
    assert [run.ended for run in labelled([log]).values()] == ["unfinished"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no_refresh", "absent.log"], "absent.log: No such file or directory"),
        (["--no_refresh", "no.log"], "no.log: no iterations found; is it a Caffe training log?"),
        (["nowhere/a.log"], "nowhere/a.log: no such log, nor a folder where it could appear"),
        (["*.txt"], "*.txt: no such log"),
        (["--no_refresh", "a.log", "-o", "a.log"], "a.log: pictures are "),
        (
            ["--no_refresh", "a.log", "-o", "no/a.png"],
            "no/a.png: cannot be written: No such file or directory; -o",
        ),
        (["--avg", "0", "a.log"], "--avg is at least 1"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tool, example, tmp_path, arguments, message):
    content = example().write(tmp_path / "a.log").read_text()
    (tmp_path / "no.log").write_text("hello\n")
    status, out, err = tool("plot_loss", *arguments, cwd=tmp_path)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("plot_loss: ") and message in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "no.log"]
    assert (tmp_path / "a.log").read_text() == content


def test_names(example, tmp_path):
    def labels(*names):
        logs = []
        for name, net in names:
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            log = Log(example(net=net).write(path))
            log.read()
            logs.append(log)
        return list(labelled(logs))

    assert labels(("ALL_CNN_C.log", "ALL-CNN-C")) == ["ALL_CNN_C"]
    assert labels(("a.log", "LeNet"), ("b.log", "LeNet")) == ["LeNet (a)", "LeNet (b)"]
    assert labels(("x/train.log", ""), ("y/train.log", "")) == ["x/train", "y/train"]


def test_default_output(monkeypatch):
    monkeypatch.chdir("/")
    assert default_output(["logs/a.log"]) == "logs/a.png"
    assert default_output(["logs/a.log", "logs/b.log"]) == "logs/loss.png"
    assert default_output(["runs/1/a.log", "runs/2/a.log"]) == "runs/loss.png"
    assert default_output(["a.log", "b.log"]) == "loss.png"


def test_settings_that_matplotlib_refuses_are_one_line(example, tmp_path):
    example().done().write(tmp_path / "a.log")
    script = Path(__file__).parents[2] / "tools" / "plot_loss.py"
    done = subprocess.run(
        [sys.executable, str(script), "a.log", "--no_refresh", "-o", "a.png"],
        cwd=tmp_path, env={**os.environ, "MPLBACKEND": "bogus"}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("plot_loss: matplotlib's settings (MPLBACKEND, matplotlibrc): ")
    assert not (tmp_path / "a.png").exists()
