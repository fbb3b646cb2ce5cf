"""Turn Caffe training logs into tables: LOG.train and LOG.test as CSV, or JSON.

The CSV files are those of Caffe's own parse_log.py: NumIters, Seconds (since the
`Solving` line), LearningRate, then the net's outputs in the log's order. Beyond
Caffe's: an output of several numbers has columns name[0], name[1], ...; outputs of
further test nets are net1/name; a row that was cut off has empty cells; a train row
has the rate of its own iteration. Several runs in one file are joined: a later run
replaces what was logged from its first iteration on, and Seconds leave out the pause.

JSON keeps every run apart: [{log, net, ended, seconds, runs: [{net, ended, seconds,
loss, train, test: {net: rows}}]}]. Rows are objects, `loss` is the displayed loss,
`ended` is done, stopped, failed or null. Numbers that JSON lacks are the strings "NaN",
"Infinity" and "-Infinity".

A log without iterations is said and left out; where none has any, that is an error.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from netgen.commandline import Parser, run, say
from netgen.schema import writing
from runner.log import Log, Table, json_number, of_net, read_logs

EXAMPLES = """examples:
  python tools/parse_log.py logs/baseline.log            logs/baseline.log.train and .test
  python tools/parse_log.py logs/*.log out/              all into out/, made if need be
  python tools/parse_log.py logs/baseline.log --json     to the terminal, or a pipe
"""
#: What every table has before the net's outputs. A column more is a row more.
COLUMNS: dict[str, Callable[[Table], Sequence]] = {
    "NumIters": lambda table: table.iterations,
    "Seconds": lambda table: table.seconds,
    "LearningRate": lambda table: table.rates,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(arguments)
    logs = read_logs(options.logs, lambda line: say(line, file=sys.stderr))
    if options.json and not options.outdir:
        write_json([as_json(log) for log in logs], sys.stdout)
        return 0
    if options.outdir:
        os.makedirs(options.outdir, exist_ok=True)
    for log in logs:
        folder, name = os.path.split(log.path)
        target = os.path.join(options.outdir or folder, name)
        if options.json:
            with writing(f"{target}.json", "w") as file:
                write_json(as_json(log), file)
            written = [f"{target}.json"]
        else:
            written = write_csv(log, target, options.delimiter)
        if options.verbose:
            say(*(f"Wrote {path}" for path in written))
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    usage = "parse_log [-h] [--json] [--delimiter C] [--verbose] LOG... [OUTDIR]"
    parser = Parser.documented("parse_log", __doc__, EXAMPLES, usage=usage)
    parser.add_argument(
        "logs",
        nargs="+",
        metavar="LOG... [OUTDIR]",
        help="logs; OUTDIR is a folder or a new name without a dot (default: beside each log)",
    )
    parser.add_argument("--json", action="store_true", help="to stdout, or OUTDIR/LOG.json")
    parser.add_argument("--delimiter", metavar="C", default=",", help="of the CSV (default: ,)")
    parser.add_argument("--verbose", action="store_true", help="say what was written")
    options = parser.parse_intermixed_args(arguments)
    options.outdir, last = None, options.logs[-1]
    is_new = len(options.logs) > 1 and not os.path.exists(last)
    if os.path.isdir(last) or (is_new and "." not in os.path.basename(last)):
        options.outdir = options.logs.pop()
    if not options.logs:
        parser.error(f"{last} is a folder; which log is to be read?")
    options.logs = list(dict.fromkeys(options.logs))
    names = [os.path.basename(path) for path in options.logs]
    if options.outdir and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        parser.error(f"two logs named {twice} cannot go into one {options.outdir}")
    options.delimiter = options.delimiter.replace("\\t", "\t")
    if len(options.delimiter) != 1:
        parser.error(f"--delimiter must be one character, not {options.delimiter!r}")
    return options


def write_csv(log: Log, target: str, delimiter: str) -> list[str]:
    """Write target.train and target.test, each unless it would be empty; returns their paths."""
    training = log.training()
    left_out = sum(map(len, log.runs)) - len(training)
    if left_out:
        say(
            f"{log.path}: {left_out} rows of earlier runs were repeated by later ones"
            " and are left out (--json has them)",
            file=sys.stderr,
        )
    written = []
    train = training.train if len(training.train) else training.loss
    for suffix, tables in (("train", {0: train}), ("test", training.tests)):
        if any(map(len, tables.values())):
            written.append(f"{target}.{suffix}")
            with writing(written[-1], "w", newline="") as file:
                csv.writer(file, delimiter=delimiter).writerows(side_by_side(tables))
    return written


def side_by_side(tables: Mapping[int, Table]) -> Iterable[Sequence]:
    """The header and the rows of tables by the number of their net, a row for each iteration."""
    header: list[str] = list(COLUMNS)
    joined: dict[float, list] = {}
    for net, table in sorted(tables.items()):
        outputs, width = table.outputs(), len(header)
        header += [of_net(net, label) for label in outputs]
        iterations, *others = (values_of(table) for values_of in COLUMNS.values())
        # Caffe's own tables have iterations with a decimal point.
        rows = zip(map(float, iterations), *others, *outputs.values(), strict=True)
        if len(tables) == 1:
            return itertools.chain([header], rows)
        for row in rows:
            cells = joined.setdefault(row[0], list(row[: len(COLUMNS)]))
            cells += [None] * (width - len(cells))
            cells[width:] = row[len(COLUMNS) :]
    return [header, *(joined[iteration] for iteration in sorted(joined))]


def as_json(log: Log) -> dict[str, Any]:
    """All runs of a log, as the module's docstring has it."""
    training = log.training()
    return {
        "log": log.path,
        "net": training.net,
        "ended": training.ended,
        "seconds": json_number(training.seconds),
        "runs": [
            {
                "net": run.net,
                "ended": run.ended,
                "seconds": json_number(run.seconds),
                "loss": objects(run.loss),
                "train": objects(run.train),
                "test": {str(net): objects(table) for net, table in sorted(run.tests.items())},
            }
            for run in log.runs
            if len(run)
        ],
    }


def objects(table: Table) -> list[dict[str, Any]]:
    """The rows of a table as objects."""
    columns = {name: values_of(table) for name, values_of in COLUMNS.items()} | table.outputs()
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, map(json_number, row), strict=True)) for row in rows]


def write_json(document: Any, file: TextIO) -> None:
    """Write a value as strict JSON, one that has no bare NaN."""
    json.dump(document, file, indent=1, allow_nan=False)
    file.write("\n")


def command() -> None:
    """Run the command as a program of its own."""
    run(main)


if __name__ == "__main__":
    command()
