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
"""

import csv
import itertools
import json
import os
import sys

from netgen.commandline import Parser, run
from netgen.schema import writing
from runner.log import Log, json_number, of_net

EXAMPLES = """examples:
  python tools/parse_log.py logs/baseline.log            logs/baseline.log.train and .test
  python tools/parse_log.py logs/*.log out/              all into out/, made if need be
  python tools/parse_log.py logs/baseline.log --json     to the terminal, or a pipe
"""
ALWAYS = ["NumIters", "Seconds", "LearningRate"]


def main(arguments=None):
    options = parse_arguments(arguments)
    logs = [Log(path) for path in options.logs]
    for log in logs:
        log.read()
        log.training()  # raises if there is nothing in it, before anything is written
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
            print("\n".join(f"Wrote {path}" for path in written))
    return 0


def parse_arguments(arguments):
    description, _, details = __doc__.partition("\n\n")
    parser = Parser(
        prog="parse_log",
        usage="parse_log [-h] [--json] [--delimiter C] [--verbose] LOG... [OUTDIR]",
        description=description,
        epilog=f"{details}\n{EXAMPLES}",
    )
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


def write_csv(log, target, delimiter):
    """Write target.train and target.test, unless they would be empty; returns their paths."""
    training = log.training()
    left_out = sum(map(len, log.runs)) - len(training)
    if left_out:
        print(
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


def side_by_side(tables):
    """Header and rows of the tables {net: Table}, a row an iteration."""
    header, joined = list(ALWAYS), {}
    for net, table in sorted(tables.items()):
        outputs, width = table.outputs(), len(header)
        header += [of_net(net, label) for label in outputs]
        about = [map(float, table.iterations), table.seconds, table.rates]
        rows = zip(*about, *outputs.values(), strict=True)
        if len(tables) == 1:
            return itertools.chain([header], rows)
        for row in rows:
            cells = joined.setdefault(row[0], list(row[: len(ALWAYS)]))
            cells += [None] * (width - len(cells))
            cells[width:] = row[len(ALWAYS) :]
    return [header, *(joined[iteration] for iteration in sorted(joined))]


def as_json(log):
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


def objects(table):
    outputs = table.outputs()
    names = [*ALWAYS, *outputs]
    rows = zip(table.iterations, table.seconds, table.rates, *outputs.values(), strict=True)
    return [dict(zip(names, map(json_number, row), strict=True)) for row in rows]


def write_json(document, file):
    json.dump(document, file, indent=1, allow_nan=False)
    file.write("\n")


def command():
    """The console command."""
    run(main)


if __name__ == "__main__":
    command()
