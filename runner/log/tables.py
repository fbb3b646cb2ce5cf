"""What a Caffe log tells, as tables: runs, the training they make up, series to look at."""

import re
from bisect import bisect_left
from math import inf, isfinite, nan
from typing import NamedTuple

ACCURACY = re.compile(r"acc|top.?\d|prec|recall|\bm?ap\b|eval|iou|dice|f1|auc", re.IGNORECASE)
NO_ACCURACY = re.compile(r"loss|err|cost|entropy", re.IGNORECASE)


class Table:
    """Rows of iteration, seconds since the start, learning rate, and outputs.

    columns: {(number of the output, its name): values}; weights: the loss weight of
    those columns that are losses. The lists of a row being read may still be short;
    outputs() fills them with None, the mark of a value that a row does not have.
    """

    def __init__(self):
        self.iterations, self.seconds, self.rates = [], [], []
        self.columns, self.weights = {}, {}
        self.rows, self.last = 0, None  # the number of rows, the last one's iteration

    def __len__(self):
        return self.rows

    def column(self, key):
        """The list of a column's values, made if it is new: its first value is for the last row."""
        if key not in self.columns:
            self.columns[key] = [None] * (self.rows - 1)
        return self.columns[key]

    def open_row(self, iteration, seconds, rate):
        """Begin a row, to be completed by appending to the columns."""
        for values in self.columns.values():
            if len(values) < self.rows:
                values.append(None)
        self.iterations.append(iteration)
        self.seconds.append(seconds)
        self.rates.append(rate)
        self.rows += 1
        self.last = iteration

    def labels(self):
        """{key of a column: label}; an output of several numbers has `name[0]`, `name[1]`, ..."""
        names, seen, labels = [name for _, name in self.columns], {}, {}
        for key in self.columns:
            name = key[1]
            index = seen[name] = seen.get(name, -1) + 1
            labels[key] = name if names.count(name) == 1 else f"{name}[{index}]"
        return labels

    def outputs(self):
        """{label: values}, in the order of the log, every list as long as the table."""
        labels = self.labels()
        return {
            labels[key]: values + [None] * (self.rows - len(values))
            for key, values in self.columns.items()
        }

    def extend(self, other, before, offset):
        """Add other's rows of iterations under `before`, their seconds moved by `offset`."""
        count = bisect_left(other.iterations, before)
        self.iterations += other.iterations[:count]
        self.seconds += [second + offset for second in other.seconds[:count]]
        self.rates += other.rates[:count]
        for key, values in other.columns.items():
            self.columns.setdefault(key, [None] * self.rows).extend(values[:count])
        self.rows += count
        self.weights.update(other.weights)
        for values in self.columns.values():
            values += [None] * (self.rows - len(values))

    def loss(self):
        """The weighted sum of the losses, a value a row; None if there are none."""
        losses = [
            [None if value is None else weight * value for value in self.columns[key]]
            for key, weight in self.weights.items()
        ]
        if not losses:  # not marked as such in the log, so by name
            losses = [self.columns[key] for key in self.columns if "loss" in key[1].lower()][:1]
        rows = zip(*losses, strict=False)  # the last row may not be complete yet
        return [None if None in row else sum(row) for row in rows] if losses else None


class Series(NamedTuple):
    """One curve: values[i] (a float, or None) at iterations[i] and seconds[i]."""

    label: str
    iterations: list
    seconds: list
    values: list

    def best(self):
        """Index of the first highest value, None if there is no number at all."""
        scores = [-inf if value is None or value != value else value for value in self.values]
        best = max(range(len(scores)), key=scores.__getitem__, default=None)
        return None if best is None or scores[best] == -inf else best

    def final(self):
        """The last value, None if there is none at all."""
        return next((value for value in reversed(self.values) if value is not None), None)


class Run:
    """One run of a solver, or the training that several runs make up.

    loss: the displayed loss (all losses weighted, averaged over average_loss), column
    `loss`; train: the train net's outputs; tests: {number of a test net: its outputs}.
    ended: None while it may go on, else `done`, `stopped` or `failed`.
    """

    def __init__(self):
        self.net, self.ended, self.seconds = "", None, nan
        self.loss, self.train, self.tests = Table(), Table(), {}

    def __len__(self):
        return sum(map(len, self.tables()))

    def tables(self):
        return [self.loss, self.train, *self.tests.values()]

    @property
    def first_iteration(self):
        return min((table.iterations[0] for table in self.tables() if len(table)), default=inf)

    @property
    def last_iteration(self):
        return max((table.iterations[-1] for table in self.tables() if len(table)), default=0)

    def train_loss(self):
        """The displayed loss as a Series, None before the first."""
        if len(self.loss):
            return _series("train loss", self.loss, self.loss.column((0, "loss")))
        values = self.train.loss()
        return _series("train loss", self.train, values) if values else None

    def test_losses(self):
        """One Series a test net that has a loss: the weighted sum of its losses."""
        return [
            _series(of_net(net, "test loss"), table, values)
            for net, table in sorted(self.tests.items())
            if (values := table.loss())
        ]

    def accuracies(self):
        """One Series for each test output that is an accuracy, by its name.

        Where no name says so, every output counts that is one number in 0..1 and no loss.
        """
        scores = []
        for net, table in sorted(self.tests.items()):
            names = [name for _, name in table.columns]
            scores += [
                _series(of_net(net, key[1]), table, values)
                for key, values in table.columns.items()
                if key not in table.weights
                and names.count(key[1]) == 1
                and not NO_ACCURACY.search(key[1])
            ]
        named = [series for series in scores if ACCURACY.search(series.label)]
        return named or [
            series
            for series in scores
            if all(value is None or 0 <= value <= 1 for value in series.values)
        ]


def join(runs):
    """The training that the runs of one file make up, as a Run.

    Each run replaces what earlier ones logged from its first iteration on, so an
    interrupted run and its continuation are one training, and of a training started
    over the last attempt remains. Seconds count on where the kept rows end: pauses and
    abandoned work are left out.
    """
    training, cuts, cut = Run(), [], inf
    for run in reversed(runs):
        cuts.append(cut)
        cut = min(cut, run.first_iteration)
    for run, before in zip(runs, reversed(cuts), strict=True):
        offset = max((table.seconds[-1] for table in training.tables() if len(table)), default=0.0)
        training.loss.extend(run.loss, before, offset)
        training.train.extend(run.train, before, offset)
        for net, table in run.tests.items():
            training.tests.setdefault(net, Table()).extend(table, before, offset)
        training.net = run.net or training.net
        training.ended, training.seconds = run.ended, offset + run.seconds
    return training


def _series(label, table, values):
    count = min(len(table), len(values))
    return Series(label, table.iterations[:count], table.seconds[:count], values[:count])


def of_net(net, label):
    """The label of an output of test net `net`: the first net's goes without a number."""
    return label if net == 0 else f"net{net}/{label}"


def json_number(value):
    """The value as JSON can hold it: "NaN", "Infinity", "-Infinity" as in protobuf's JSON."""
    if not isinstance(value, float) or isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
