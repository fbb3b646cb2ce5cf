"""Which differences a study is about, and what it concludes: arms in, numbers and a verdict out.

Primary is the split by TPM minus the restart of the rate alone, in the first round that has both;
where the parent is split within its training, minus the parent, which went on.
What was claimed, `Settings.claim` points of final accuracy, is judged by it. Secondary are the
split minus all other controls, and the restart minus the parent, which tells whether the parent
had finished; their p is adjusted together (Holm). An arm of which a training collapsed is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from study.arms import CHAIN, RESTART, SPLIT
from study.results import Group, Result
from study.statistics import Paired, Verdict, differences, holm, paired, verdict

POINTS = 100  # accuracies are fractions, effects are in points


@dataclass(frozen=True)
class Effect:
    """One arm minus another, in points, paired by seed.

    best, final: what the differences of the best and of the final accuracies say. adjusted: the p
    of `final` among the secondary effects; None for the primary one, and of one seed.
    """

    one: Group
    other: Group
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    best: Paired
    final: Paired
    adjusted: float | None = None

    @property
    def label(self) -> str:
        """What tables and figures call it."""
        return f"{self.one.label} - {self.other.arm.name}"


@dataclass(frozen=True)
class Effects:
    """What a finished study found.

    gains: each split minus its parent. primary: None where the study has not both arms. finished:
    the restart minus the parent, one of the secondary ones; None where there is no restart.
    collapsed: trainings that learnt nothing, whose arms are in no effect.
    """

    gains: tuple[Effect, ...]
    primary: Effect | None
    secondary: tuple[Effect, ...]
    finished: Effect | None
    collapsed: tuple[Result, ...]

    def verdict(self, claim: float) -> Verdict:
        """Whether the primary effect is at least `claim` points, so far as its interval tells.

        Where a restart alone gains more than the claim, the parents had not finished, and a gain
        after a split says nothing of the split.
        """
        if self.primary is None or self.unfinished_parents(claim):
            return "cannot say"
        return verdict(self.primary.final, claim)

    def unfinished_parents(self, claim: float) -> bool:
        """Whether restarting the rate alone gains more than the claim."""
        return self.finished is not None and self.finished.final.mean > claim


def effects(groups: Sequence[Group]) -> Effects:
    """The Effects of the groups of a study."""
    collapsed = [result for group in groups for result in group.collapsed()]
    sound = [group for group in groups if not group.collapsed()]
    chain = [group for group in sound if group.arm in CHAIN]
    parents = {group.round + 1: group for group in chain}
    splits = [group for group in chain if group.arm is SPLIT]
    gains = [_effect(split, parents[split.round]) for split in splits if split.round in parents]
    primary: Effect | None = None
    secondary: list[Effect | None] = []
    finished: Effect | None = None
    for group in sound:
        if group.arm in CHAIN:
            continue
        found = [_effect(split, group) for split in splits if split.round == group.round]
        if group.arm is RESTART and primary is None and found and found[0]:
            primary = found[0]
            if group.round in parents:
                finished = _effect(group, parents[group.round])
                secondary.append(finished)
        else:
            secondary += found
    if primary is None:
        primary = next((e for e in gains if e and e.one.results[0].training.begin), None)
    adjusted = _adjusted([effect for effect in secondary if effect])
    if finished:
        finished = next(effect for effect in adjusted if effect.one.arm is RESTART)
    return Effects(
        tuple(effect for effect in gains if effect),
        primary,
        tuple(adjusted),
        finished,
        tuple(collapsed),
    )


def _effect(one: Group, other: Group) -> Effect | None:
    """One group minus another; None where they have no seed in common."""
    found = {}
    for name in ("best", "final"):
        ours, theirs = one.by_seed(name), other.by_seed(name)
        found[name] = [POINTS * value for value in differences(ours, theirs)]
        seeds = tuple(sorted(ours.keys() & theirs.keys()))
    if not seeds:
        return None
    values = tuple(found["final"])
    return Effect(one, other, seeds, values, paired(found["best"]), paired(values))


def _adjusted(secondary: Iterable[Effect]) -> list[Effect]:
    effects = list(secondary)
    tested = [effect for effect in effects if effect.final.p is not None]
    p = iter(holm([effect.final.p for effect in tested if effect.final.p is not None]))
    return [
        replace(effect, adjusted=next(p)) if effect.final.p is not None else effect
        for effect in effects
    ]
