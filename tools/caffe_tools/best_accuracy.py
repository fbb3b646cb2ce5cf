"""Best and final test accuracy of Caffe training logs, a line for each accuracy.

A net with several accuracies, or several test nets (net1/accuracy), has several lines.
The best is the highest value, at the first iteration that reached it; `after` is the time
that the training took until then, `time` that of the training so far, both from Caffe's
`Solving` line on, pauses left out. A test whose loss is not finite never is the best.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from netgen.commandline import Parser, run, say
from runner.log import Log, json_number

EXAMPLES = """examples:
  python tools/best_accuracy.py logs/*.log
  python tools/best_accuracy.py logs/baseline.log --json
"""
COLUMNS = ("log", "net", "output", "best", "iteration", "after", "final", "time", "state")
DURATIONS = ("after", "time")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = Parser.documented("best_accuracy", __doc__, EXAMPLES)
    parser.add_argument("logs", nargs="+", metavar="LOG")
    parser.add_argument("--json", action="store_true", help="a list of objects; time in seconds")
    options = parser.parse_args(arguments)
    results = [result for path in options.logs for result in accuracies(path)]
    if options.json:
        results = [{name: json_number(value) for name, value in row.items()} for row in results]
        json.dump(results, sys.stdout, indent=1, allow_nan=False)
        print()
    else:
        print_table([COLUMNS, *map(as_text, results)])
    return 0


def accuracies(path: str) -> list[dict[str, Any]]:
    """A dict of COLUMNS for each accuracy in the log; if there is none, one without values."""
    log = Log(path)
    log.read()
    training = log.training()
    if log.complaint:
        say(log.complaint, file=sys.stderr)
    about = dict.fromkeys(COLUMNS) | {
        "log": path,
        "net": training.net,
        "time": training.seconds,
        "state": log.ended or "unfinished",
    }
    found = []
    for series in training.accuracies():
        best = series.best()
        about_series = about | {"output": series.label, "final": series.final()}
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
    return ["-" if value is None else str(value) for value in (result | shown).values()]


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
    numbers = {COLUMNS.index(name) for name in ("best", "iteration", "after", "final", "time")}
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
