"""What a study has found: the results of those trainings that are complete."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from netgen.errors import CaffeError
from netgen.schema import read_json
from runner.log import Log, Run
from study.trainings import Training


@dataclass(frozen=True)
class Result:
    """One complete training. Accuracies are fractions; None where the net was not made by a split.

    best, final: of its tests. before: the parent's last test. after: the test of the initial
    weights. seconds: of training and testing, pauses left out. multiply_adds: of one image
    forward. runs: what the record tells of each run of caffe.
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
    runs: list[dict[str, Any]]


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
    scores = run.accuracies()
    if not scores or scores[0].best() is None:
        raise CaffeError(f"{training.log}: no test accuracy in it")
    series = scores[0]
    start = dict(zip(series.iterations, series.values, strict=True)).get(0)
    parent = found.get(training.parent.folder) if training.start and training.parent else None
    totals = read_json(training.description)["totals"]
    return Result(
        training,
        run,
        series.values[series.best()],
        series.final(),
        parent.final if parent else None,
        start if training.start else None,
        run.seconds,
        totals["parameters"],
        totals["multiply_adds_per_image"],
        read_json(training.record)["runs"],
    )
