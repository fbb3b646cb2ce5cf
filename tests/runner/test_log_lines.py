"""What is written is found again, line by line, in the words of every Caffe."""

import subprocess
import sys
from math import isnan, nan

import pytest

from runner.log import Output, lines, read_line, timeless

HEAD = "I1122 10:00:00.123456 12345 solver.cpp:239] "


@pytest.mark.parametrize("year", [False, True])
def test_a_prefix_is_taken_apart_again(year):
    text = lines.prefix("W", 1.7e9 + 0.25, 7, "net.cpp:42", year) + "a message: 1] 2"
    line = read_line(text + "\n")
    assert (line.severity, line.source, line.message) == ("W", "net.cpp:42", "a message: 1] 2")
    assert line.clock % 60 == 20.25
    assert read_line("50%|███  | 5/10\r" + text) == line


def test_without_a_prefix_all_is_message():
    severity, clock, source, message = read_line("Traceback (most recent call last):\n")
    assert (severity, source, message) == ("", "", "Traceback (most recent call last):")
    assert isnan(clock)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (lines.display(40, 12.5, 1.6, 20, 2.25), {"iteration": 40, "loss": 2.25}),
        ("Iteration 40 (497.307 iter/s, 0.197s/98 iter), loss = 2", {"iteration": 40, "loss": 2.0}),
        ("Iteration 40 (22.093 s), loss = 1.#INF", {"iteration": 40, "loss": float("inf")}),
        (lines.final_loss(40, 0.5), {"iteration": 40, "loss": 0.5}),
        (lines.learning_rate(40, 0.01), {"iteration": 40}),
        (lines.testing(40, 1), {"iteration": 40}),
        (lines.snapshotting("binary proto", "a/s_iter_40.solverstate", True), {"iteration": 40}),
        (lines.snapshotting("binary proto", "a/s_iter_40.caffemodel"), {}),
        (
            lines.output("Test", 1, "accuracy", 0.9028),
            {"output": Output("Test", 1, "accuracy", 0.9028)},
        ),
        (
            lines.output("Train", 0, "loss/a b", 0.5, 0.3),
            {"output": Output("Train", 0, "loss/a b", 0.5)},
        ),
        (lines.gpu(0, "A 100: big"), {"gpu": "A 100: big"}),
        (lines.STARTING, {}),
        (lines.solving("LeNet"), {}),
        (lines.DONE, {}),
        ("MultiStep Status: Iteration 100, step = 1", {}),
        ("Iteration: 7 forward-backward time: 3 ms.", {}),
    ],
)
def test_every_kind_of_line_tells_its_own(message, told):
    line = read_line(HEAD + message)
    found = {name: getattr(line, name) for name in ("iteration", "loss", "output", "gpu")}
    assert {name: value for name, value in found.items() if value is not None} == told


def test_numbers_come_back_as_they_were_printed():
    for value in (0.0, 1e-05, -7.25e-38, 123456.0, float("inf"), 3.0):
        assert lines.parse_number(lines.number(value)) == value
    assert isnan(lines.parse_number(lines.number(nan)))
    assert lines.parse_number("none") is None


def test_timeless_is_the_same_at_any_time_and_speed():
    one = lines.prefix("I", 1.7e9, 1, "solver.cpp:239") + lines.display(2, 9.5, 0.1, 1, 2.5)
    two = lines.prefix("I", 1.8e9, 77, "solver.cpp:239", True) + lines.display(2, 80, 3, 1, 2.5)
    assert timeless(one) == timeless(two) == "solver.cpp:239] Iteration 2, loss = 2.5"
    assert timeless("caffe.cpp:404] Average Forward pass: 3.25 ms.") == (
        "caffe.cpp:404] Average Forward pass: # ms."
    )


def test_the_gist_of_a_log_is_what_tells_how_it_goes(example):
    log = example(accuracies=("0.1",)).done()
    log.lines[:0] = ["layer {", HEAD + "Creating Layer conv1"]
    fatal = HEAD.replace("I", "F", 1) + "out of memory"
    done = subprocess.run(
        [sys.executable, "-m", "runner.log"],
        input=log.text() + fatal + "\n",
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    shown = [read_line(text).message.strip() for text in done.stdout.splitlines()]
    assert [message.split(" = ")[0].split(" (")[0] for message in shown] == [
        lines.STARTING,
        "Iteration 0, Testing net",
        "Test net output #0: accuracy",
        "Test net output #1: loss",
        "Iteration 0",
        "Train net output #0: loss",
        "Iteration 0, lr",
        lines.DONE,
        lines.DONE,
        "out of memory",
    ]


def test_neither_reading_nor_writing_needs_torch():
    code = "import sys, runner.log, runner.log.glog; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
