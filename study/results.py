"""What a study has found: the results of those trainings that are complete."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

from netgen.errors import CaffeError
from netgen.schema import read_json
from runner.log import Log, Run, Series
from study.arms import ARMS, Arm
from study.statistics import by_unit
from study.trainings import Training, label

LITTLE = 1.2  # times chance: what a net reaches that has learnt nothing, and a little more
_PASSES = 3  # a backward pass costs about two forward ones


@dataclass(frozen=True)
class Result:
    """One complete training. Accuracies are fractions; None where the net was not made by a split.

    best, final: of its tests; nan where none is a number. before: the parent's last test, or that
    where it was split. after: the test of the initial weights. seconds: of training and testing, pauses left out.
    multiply_adds: of one image forward. flops: of the training, its tests left out: two for a
    multiply-add, and three times the forward pass. chance: the accuracy of guessing among the
    net's classes; None where the net does not tell how many there are. runs: what the record
    tells of each run of caffe. parent: the Result of the training whose weights it began with.
    diverged: the iteration at which its loss was no number, and it was ended; else None.
    """

    training: Training
    log: Run
    best: float
    final: float
    before: float | None
    after: float | None
    seconds: float
    parameters: int
    multiply_adds: float
    flops: float
    chance: float | None
    runs: list[dict[str, Any]]
    parent: Result | None = None
    diverged: int | None = None

    @property
    def collapsed(self) -> bool:
        """Whether it ended about where guessing would, or with no number at all."""
        return not isfinite(self.final) or self.final < LITTLE * (self.chance or 0)

    def in_all(self, name: str) -> float:
        """`flops` or `seconds` of it and of what its parents were trained before it began."""
        own: float = getattr(self, name)
        if self.parent is None:
            return own
        begin = self.training.begin
        part = begin / self.parent.log.last_iteration if begin else 1
        return own + part * self.parent.in_all(name)

    @property
    def history(self) -> list[Result]:
        """The trainings that led to it, the first one first, and itself."""
        return [*(self.parent.history if self.parent else ()), self]


def collect(trainings: Iterable[Training]) -> list[Result]:
    """The Results of those Trainings that are complete, in order. Raises CaffeError, LogError."""
    found: dict[str, Result] = {}
    for training in trainings:
        if os.path.exists(training.record):
            found[training.folder] = _result(training, found)
    return list(found.values())


def _result(training: Training, found: dict[str, Result]) -> Result:
    log = Log(training.log)
    log.read()
    run = log.training()
    record = read_json(training.record)
    scores, diverged = run.accuracies(), record.get("diverged")
    if not scores and diverged is None:
        raise CaffeError(f"{training.log}: no test accuracy in it")
    series = scores[0] if scores else Series("", (), (), ())
    best, final = series.best(), series.final()
    learnt = diverged is None and len(series.values) - 1 not in series.diverged
    begin = training.begin
    start = _at(series, begin)
    parent = found.get(training.parent.folder) if training.start and training.parent else None
    before = parent.final if parent else None
    if parent and begin:
        before = _at(parent.log.accuracies()[0], begin)
    described = read_json(training.description)
    totals = described["totals"]
    forward = totals["multiply_adds_per_image"] * described.get("batch_size", 1)
    return Result(
        training,
        run,
        nan if best is None else series.values[best],
        final if learnt and final is not None else nan,
        before,
        start if training.start else None,
        run.seconds,
        totals["parameters"],
        totals["multiply_adds_per_image"],
        2.0 * _PASSES * forward * (run.last_iteration - begin),
        _chance(described),
        record["runs"],
        parent,
        diverged,
    )


def _at(series: Any, iteration: int) -> float | None:
    """The test accuracy at an iteration; None where there was no test."""
    return dict(zip(series.iterations, series.values, strict=True)).get(iteration)


def _chance(described: dict[str, Any]) -> float | None:
    """One over the classes of the net that `netgen describe --json` described."""
    layers = described.get("layers", [])
    shapes = {
        top: shape
        for layer in layers
        for top, shape in zip(layer["tops"], layer["top_shapes"], strict=True)
    }
    for layer in layers:
        if layer["type"] in ("SoftmaxWithLoss", "Accuracy"):
            shape = shapes.get(layer["bottoms"][0], [])
            if len(shape) > 1 and shape[1] > 1:
                return 1 / shape[1]
    return None


@dataclass(frozen=True)
class Group:
    """The Results of one arm in one round: of all seeds, and of all its random draws."""

    round: int
    arm: Arm
    results: list[Result]

    @property
    def label(self) -> str:
        """What tables and figures call it."""
        return label(self.round, self.arm.name)

    def values(self, name: str) -> list[float]:
        """A field of all Results whose field is a finite number."""
        values = [getattr(result, name) for result in self.results]
        return [value for value in values if value is not None and isfinite(value)]

    def by_seed(self, name: str) -> dict[int, float]:
        """A field's mean over the draws of each seed."""
        return by_unit((r.training.seed, getattr(r, name)) for r in self.results)

    def collapsed(self) -> list[Result]:
        """Those of its Results that collapsed."""
        return [result for result in self.results if result.collapsed]


def groups(results: Iterable[Result]) -> list[Group]:
    """The Groups in the order of rounds, and within a round of the arms."""
    found: dict[tuple[int, str], list[Result]] = {}
    for result in results:
        training = result.training
        found.setdefault((training.round, training.arm.name), []).append(result)
    places = list(ARMS)
    keys = sorted(found, key=lambda key: (key[0], places.index(key[1])))
    return [Group(number, ARMS[name], found[number, name]) for number, name in keys]
