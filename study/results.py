"""What a study has found: the trainings that are complete, in groups of equal arms."""

import json
import os
from dataclasses import dataclass
from statistics import mean, stdev

from netgen.errors import CaffeError
from runner.log import Log, Run
from study.settings import ARMS
from study.trainings import Training


@dataclass(frozen=True)
class Result:
    """One complete training. Accuracies are fractions; before and after: of the split, or None.

    before: the parent's last test. after: the test of the initial weights. seconds: of training
    and testing, pauses left out. runs: the record's.
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
    runs: list


@dataclass(frozen=True)
class Group:
    """The Results of one arm of one round; the draws of a random split are one arm, `random`."""

    round: int
    arm: str
    results: list

    def values(self, name):
        return [value for r in self.results if (value := getattr(r, name)) is not None]

    def by_seed(self, name):
        """{seed: mean over its draws}"""
        seeds = {}
        for result in self.results:
            seeds.setdefault(result.training.seed, []).append(getattr(result, name))
        return {seed: mean(values) for seed, values in seeds.items()}


def collect(trainings):
    """The Results of those Trainings that are complete, in order. Raises CaffeError, LogError."""
    found = {}
    for training in trainings:
        if os.path.exists(training.record):
            found[training.folder] = _result(training, found)
    return list(found.values())


def _result(training, found):
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


def read_json(path):
    """A file's value. Raises CaffeError."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        raise CaffeError(f"{path}: not there, so there is nothing to report of it") from None
    except ValueError as error:
        raise CaffeError(f"{path}: {error}") from None


def groups(results):
    """The Groups in the order of rounds, and in a round of the arms."""
    found = {}
    for result in results:
        found.setdefault((result.training.round, _pooled(result.training.arm)), []).append(result)
    places = {_pooled(arm): place for place, arm in enumerate(("baseline", *ARMS))}
    return [
        Group(*key, found[key]) for key in sorted(found, key=lambda key: (key[0], places[key[1]]))
    ]


def _pooled(arm):
    return "random" if arm.startswith("random") else arm


def differences(one, other, name):
    """[one - other], a value for each seed that both Groups have."""
    ours, theirs = one.by_seed(name), other.by_seed(name)
    return [ours[seed] - theirs[seed] for seed in ours if seed in theirs]


def mean_sd(values):
    """(mean, sample standard deviation); None for what there is no value of, or too few."""
    return mean(values) if values else None, stdev(values) if len(values) > 1 else None
