"""What a Caffe log tells, as tables: runs, the training they make up, series to look at."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import inf, isfinite, nan
from typing import NamedTuple

ACCURACY = re.compile(r"acc|top.?\d|prec|recall|\bm?ap\b|eval|iou|dice|f1|auc", re.IGNORECASE)
NO_ACCURACY = re.compile(r"loss|err|cost|entropy", re.IGNORECASE)
#: The second score of Caffe's accuracy layer of 2013, which had no names, was the loss.
LOSS = re.compile(r"loss|^score #1$", re.IGNORECASE)


Key = tuple[int, str]  # the number of a net's output, and its name
Values = list[float | None]  # None: the row does not have this value


class Table:
    """Rows of iteration, seconds since the start, learning rate, and outputs.

    rows: how many there are. last: the iteration of the last one, None before it. columns: the
    values of each output. weights: the loss weights of those outputs that are losses. While a
    row is being read, columns may be short; outputs() fills them with None.
    """

    def __init__(self) -> None:
        self.iterations: list[int] = []
        self.seconds: list[float] = []
        self.rates: list[float] = []
        self.columns: dict[Key, Values] = {}
        self.weights: dict[Key, float] = {}
        self.rows = 0
        self.last: int | None = None

    def __len__(self) -> int:
        return self.rows

    def column(self, key: Key) -> Values:
        """The values of a column, which is made if need be; its next value is the last row's."""
        if key not in self.columns:
            self.columns[key] = [None] * (self.rows - 1)
        return self.columns[key]

    def open_row(self, iteration: int, seconds: float, rate: float) -> None:
        """Begin a row, which is completed by appending to the columns."""
        for values in self.columns.values():
            if len(values) < self.rows:
                values.append(None)
        self.iterations.append(iteration)
        self.seconds.append(seconds)
        self.rates.append(rate)
        self.rows += 1
        self.last = iteration

    def labels(self) -> dict[Key, str]:
        """The label of each column; an output of several numbers has `name[0]`, `name[1]`, ..."""
        names = [name for _, name in self.columns]
        seen: dict[str, int] = {}
        labels = {}
        for key in self.columns:
            name = key[1]
            index = seen[name] = seen.get(name, -1) + 1
            labels[key] = name if names.count(name) == 1 else f"{name}[{index}]"
        return labels

    def outputs(self) -> dict[str, Values]:
        """The values by label, in the order of the log, every list as long as the table."""
        labels = self.labels()
        return {
            labels[key]: values + [None] * (self.rows - len(values))
            for key, values in self.columns.items()
        }

    def extend(self, other: Table, before: float, offset: float) -> None:
        """Add the rows of another table up to iteration `before`, seconds moved by `offset`."""
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

    def loss(self) -> Values | None:
        """The weighted sum of the losses, a value for each row; None if there are no losses."""
        losses = [
            [None if value is None else weight * value for value in self.columns[key]]
            for key, weight in self.weights.items()
        ]
        if not losses:  # The log marks none as a loss, so the name decides.
            named = [key for key in self.columns if LOSS.search(own_name(key[1]))]
            losses = [self.columns[key] for key in named[:1]]
        rows = zip(*losses, strict=False)  # the last row may not be complete yet
        return [None if None in row else sum(row) for row in rows] if losses else None


class Series(NamedTuple):
    """One curve: values[i] (a float, or None) at iterations[i] and seconds[i].

    diverged: the indices of values that belong to a loss that is not finite. A net of nan tells
    nothing, yet its accuracy may be 1.
    """

    label: str
    iterations: Sequence[int]
    seconds: Sequence[float]
    values: Sequence[float | None]
    diverged: frozenset[int] = frozenset()

    def best(self) -> int | None:
        """The index of the first highest value that did not diverge; None if there is none."""
        scores = [
            -inf if value is None or value != value or index in self.diverged else value
            for index, value in enumerate(self.values)
        ]
        best = max(range(len(scores)), key=scores.__getitem__, default=None)
        return None if best is None or scores[best] == -inf else best

    def final(self) -> float | None:
        """The last value; None if there is none at all."""
        return next((value for value in reversed(self.values) if value is not None), None)


class Run:
    """One run of a solver, or the training that several runs make up.

    net: the net's name. loss: the displayed loss (the weighted sum of all losses, averaged over
    average_loss), column `loss`. train: the train net's outputs. tests: the outputs of each test
    net, by its number. ended: None while it may go on, else `done`, `stopped` or `failed`.
    """

    def __init__(self) -> None:
        self.net = ""
        self.ended: str | None = None
        self.seconds = nan
        self.loss, self.train = Table(), Table()
        self.tests: dict[int, Table] = {}

    def __len__(self) -> int:
        return sum(map(len, self.tables()))

    def tables(self) -> list[Table]:
        """All tables: the displayed loss, the train net's, and those of the test nets."""
        return [self.loss, self.train, *self.tests.values()]

    @property
    def first_iteration(self) -> float:
        """The lowest iteration with a row; infinite if there is none."""
        return min((table.iterations[0] for table in self.tables() if len(table)), default=inf)

    @property
    def last_iteration(self) -> int:
        """The highest iteration with a row; 0 if there is none."""
        return max((table.iterations[-1] for table in self.tables() if len(table)), default=0)

    def train_loss(self) -> Series | None:
        """The displayed loss; None before the first one."""
        if len(self.loss):
            return _series("train loss", self.loss, self.loss.column((0, "loss")))
        values = self.train.loss()
        return _series("train loss", self.train, values) if values else None

    def test_losses(self) -> list[Series]:
        """For each test net with a loss, the weighted sum of its losses."""
        return [
            _series(of_net(net, "test loss"), table, values)
            for net, table in sorted(self.tests.items())
            if (values := table.loss())
        ]

    def accuracies(self) -> list[Series]:
        """A Series for each test output whose name says that it is an accuracy.

        Of a name like `loss3/top-1` the last part decides. Where no name says so, every output
        counts that is one number in 0..1 and no loss.
        """
        scores = []
        for net, table in sorted(self.tests.items()):
            names = [name for _, name in table.columns]
            diverged = self._diverged(table)
            scores += [
                (own_name(key[1]), _series(of_net(net, key[1]), table, values, diverged))
                for key, values in table.columns.items()
                if key not in table.weights
                and names.count(key[1]) == 1
                and not NO_ACCURACY.search(own_name(key[1]))
            ]
        named = [series for name, series in scores if ACCURACY.search(name)]
        return named or [
            series
            for name, series in scores
            if not LOSS.search(name)
            and all(value is None or 0 <= value <= 1 for value in series.values)
        ]

    def _diverged(self, table: Table) -> frozenset[int]:
        """The rows of a test whose loss is not finite: its own, else the one displayed last."""
        losses = table.loss()
        if losses is None:
            shown = self.train_loss()
            if shown is None:
                return frozenset()
            before = [bisect_right(shown.iterations, at) - 1 for at in table.iterations]
            losses = [shown.values[index] if index >= 0 else None for index in before]
        return frozenset(
            index for index, loss in enumerate(losses) if loss is not None and not isfinite(loss)
        )


def join(runs: Sequence[Run]) -> Run:
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


def _series(
    label: str, table: Table, values: Values, diverged: frozenset[int] = frozenset()
) -> Series:
    count = min(len(table), len(values))
    return Series(label, table.iterations[:count], table.seconds[:count], values[:count], diverged)


def own_name(name: str) -> str:
    """The last part of an output's name, without the branch of the net that it stands in."""
    return name.rpartition("/")[2] or name


def of_net(net: int, label: str) -> str:
    """The label of an output of test net `net`; that of the first net has no number."""
    return label if net == 0 else f"net{net}/{label}"


def json_number(value: object) -> object:
    """The value as JSON can hold it: "NaN", "Infinity", "-Infinity" as in protobuf's JSON."""
    if not isinstance(value, float) or isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
