"""Best and final test accuracy of Caffe training logs, a line for each accuracy.

A net with several accuracies, or several test nets (net1/accuracy), has several lines.
The best is the highest value, at the first iteration that reached it; `after` is the time
that the training took until then, `time` that of the training so far, both from Caffe's
`Solving` line on, pauses left out. A test whose loss is not finite never is the best.

--tests has a line for each test in their place, with the seconds from the `Solving` line to its
result, as in parse_log's tables (Caffe's extract_seconds.py counts to the test's beginning);
--json has both.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from netgen.commandline import Parser, run, say
from runner.log import Log, json_number, read_logs

EXAMPLES = """examples:
  python tools/best_accuracy.py logs/*.log
  python tools/best_accuracy.py logs/baseline.log --tests
  python tools/best_accuracy.py logs/baseline.log --json
"""
COLUMNS = ("log", "net", "output", "best", "iteration", "after", "final", "time", "state")
TEST_COLUMNS = ("log", "net", "output", "iteration", "seconds", "value")
NUMBERS = ("best", "iteration", "after", "final", "time", "seconds", "value")
DURATIONS = ("after", "time")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = Parser.documented("best_accuracy", __doc__, EXAMPLES)
    parser.add_argument("logs", nargs="+", metavar="LOG")
    parser.add_argument("--json", action="store_true", help="a list of objects; time in seconds")
    parser.add_argument("--tests", action="store_true", help="a line for each test")
    options = parser.parse_args(arguments)
    logs = read_logs(options.logs, lambda line: say(line, file=sys.stderr))
    results = [result for log in logs for result in accuracies(log)]
    if options.json:
        json.dump(list(map(as_json, results)), sys.stdout, indent=1, allow_nan=False)
        print()
    elif options.tests:
        print_table([TEST_COLUMNS, *(row for result in results for row in tests_as_text(result))])
    else:
        print_table([COLUMNS, *map(as_text, results)])
    return 0


def accuracies(log: Log) -> list[dict[str, Any]]:
    """A dict of COLUMNS for each accuracy in the log; if there is none, one without values.

    `tests` in it is a list of {iteration, seconds, value} of all tests that told a value.
    """
    training = log.training()
    about = dict.fromkeys(COLUMNS) | {
        "log": log.path,
        "net": training.net,
        "time": training.seconds,
        "state": log.ended or "unfinished",
        "tests": [],
    }
    found = []
    for series in training.accuracies():
        best = series.best()
        about_series = about | {"output": series.label, "final": series.final()}
        about_series["tests"] = [
            {"iteration": iteration, "seconds": seconds, "value": value}
            for iteration, seconds, value in zip(
                series.iterations, series.seconds, series.values, strict=True
            )
            if value is not None
        ]
        if best is not None:
            about_series["best"] = series.values[best]
            about_series["iteration"] = series.iterations[best]
            about_series["after"] = series.seconds[best]
        if len(series.values) - 1 in series.diverged:
            about_series["state"] = f"{about['state']}, loss not finite"
        found.append(about_series)
    return found or [about]


def as_text(result: Mapping[str, Any]) -> list[str]:
    """The cells of a result in the table, in the order of COLUMNS."""
    shown: dict[str, Any] = {name: duration(result[name]) for name in DURATIONS}
    shown["net"] = result["net"] or "-"
    told = result | shown
    return ["-" if told[name] is None else str(told[name]) for name in COLUMNS]


def tests_as_text(result: Mapping[str, Any]) -> list[list[str]]:
    """The cells of each test of a result, in the order of TEST_COLUMNS."""
    about = [result["log"], result["net"] or "-", result["output"]]
    return [
        [*about, str(test["iteration"]), f"{test['seconds']:.6f}", str(test["value"])]
        for test in result["tests"]
    ]


def as_json(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result as JSON can hold it."""
    tests = [{name: json_number(value) for name, value in test.items()} for test in result["tests"]]
    return {name: json_number(value) for name, value in result.items()} | {"tests": tests}


def duration(seconds: float | None) -> str | None:
    """A time as `2 h 32 min`, `1 min 05 s` or `12 s`; None for None and nan."""
    if seconds is None or seconds != seconds:
        return None
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of cells in columns as wide as they need, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numbers = {place for place, name in enumerate(rows[0]) if name in NUMBERS}
    for row in rows:
        cells = (
            cell.rjust(width) if index in numbers else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        say("  ".join(cells).rstrip())


def command() -> None:
    """Run the command as a program of its own."""
    run(main)


if __name__ == "__main__":
    command()
