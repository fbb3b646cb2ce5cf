"""The numbers that a study's report compares: groups of equal trainings, paired by seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from study.arms import ARMS, Arm
from study.results import Result
from study.trainings import label


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
        """A field of all Results that have it."""
        return [value for r in self.results if (value := getattr(r, name)) is not None]

    def by_seed(self, name: str) -> dict[int, float]:
        """A field's mean over the draws of each seed."""
        seeds: dict[int, list[float]] = {}
        for result in self.results:
            seeds.setdefault(result.training.seed, []).append(getattr(result, name))
        return {seed: mean(values) for seed, values in seeds.items()}


def groups(results: Iterable[Result]) -> list[Group]:
    """The Groups in the order of rounds, and within a round of the arms."""
    found: dict[tuple[int, str], list[Result]] = {}
    for result in results:
        training = result.training
        found.setdefault((training.round, training.arm.name), []).append(result)
    places = list(ARMS)
    keys = sorted(found, key=lambda key: (key[0], places.index(key[1])))
    return [Group(number, ARMS[name], found[number, name]) for number, name in keys]


def differences(one: Group, other: Group, name: str) -> list[float]:
    """A field of one Group minus that of the other, for each seed that both have."""
    ours, theirs = one.by_seed(name), other.by_seed(name)
    return [ours[seed] - theirs[seed] for seed in ours if seed in theirs]


def mean_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    """The mean and the sample standard deviation; None for one that has too few values."""
    return mean(values) if values else None, stdev(values) if len(values) > 1 else None
