"""The arms of the study: one table, a row an arm. To add one is to add its row, and to say in
README.md what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Arm:
    """What is trained in one arm. Its parent is the baseline, or what `tpm` made a round before.

    name: the arm's name in folders, stages and on the command line; of draws, `name1`, `name2`, ...
    title: what the report calls it.
    net: `split`, the parent's net, split by a plan of the arm's own; `parent`, the parent's net
    as it is; `child`, the net of `tpm` in the same round; `plain`, the net of the study; `wider`,
    that net of the width at which it has as many parameters as the child.
    start: the first weights. `transfer`, the parent's, carried over to the split; `parent`, the
    parent's as they are; `widened`, the parent's, carried over to the wider net; `fresh`, what
    the net's fillers draw.
    budget: the iterations. `round`, those of every split; `baseline`, those of the baseline;
    `total`, those of the baseline and of all rounds so far together; `cost`, as many as take the
    multiply-adds of the child's in the round.
    rate: `schedule`, the scale's; `end`, fixed at a thousandth of its base rate.
    partition: which kernels are fast, as `netgen plan --partition` has it. choose: which layers
    are split, as many as `tpm` splits: its own, or `netgen plan --choose`.
    pre: what residual_pre starts from, as `netgen transfer --residual-pre` has it. All but
    `sharpened` begin with the parent's function, whatever the study's `init`.
    draws: how many trainings the arm has, each with a random draw of its own; 0: one, undrawn.
    """

    name: str
    title: str
    net: Literal["split", "parent", "child", "plain", "wider"] = "split"
    start: Literal["transfer", "parent", "widened", "fresh"] = "transfer"
    budget: Literal["round", "baseline", "total", "cost"] = "round"
    rate: Literal["schedule", "end"] = "schedule"
    partition: Literal["tpm", "inverse", "random"] = "tpm"
    choose: Literal["entropy", "lowest", "random"] = "entropy"
    pre: Literal["sharpened", "filler", "gradient"] = "sharpened"
    draws: int = 0

    @property
    def members(self) -> tuple[str, ...]:
        """The names of its trainings."""
        return tuple(f"{self.name}{n + 1}" for n in range(self.draws)) or (self.name,)


# fmt: off
_TABLE = (
    Arm("baseline", "parent of round 1", net="plain", start="fresh", budget="baseline"),
    Arm("tpm", "TPM split: the straightest kernels are fast"),
    Arm("inverse", "inverse TPM split: slow as is, fast split", partition="inverse"),
    Arm("random", "random split", partition="random", draws=3),
    Arm("lowest_layers", "split of the layers of lowest entropy", choose="lowest"),
    Arm("random_layers", "split of random layers", choose="random", draws=3),
    Arm("filler_pre", "TPM split, residual_pre from a plain filler", pre="filler"),
    Arm("gradient_pre", "TPM split, residual_pre from one gradient (GradMax)", pre="gradient"),
    Arm("continue", "parent, continued unchanged", net="parent", start="parent", rate="end"),
    Arm("restart", "parent, only the rate restarted", net="parent", start="parent"),
    Arm("restart_cost", "parent, the rate restarted, for the FLOPs of tpm", net="parent", start="parent", budget="cost"),
    Arm("net2wider", "parent, widened to equal parameters (Net2Wider)", net="wider", start="widened"),
    Arm("fresh", "child net, fresh weights", net="child", start="fresh"),
    Arm("scratch", "child net from scratch, full budget", net="child", start="fresh", budget="total"),
    Arm("wider", "plain wider net of equal parameters, full budget", net="wider", start="fresh", budget="total"),
)
# fmt: on
ARMS = {arm.name: arm for arm in _TABLE}
BASELINE, SPLIT, RESTART = ARMS["baseline"], ARMS["tpm"], ARMS["restart"]
CHAIN = (BASELINE, SPLIT)  # always run; their nets are the parents of the next round
_MEMBERS = {name: (arm, n) for arm in _TABLE for n, name in enumerate(arm.members, 1)}
CONTROLS = tuple(name for name, (arm, _) in _MEMBERS.items() if arm not in CHAIN)
#: Those that need a net that can be made of any width, and its parent to be such a net.
WIDENED = tuple(name for name, (arm, _) in _MEMBERS.items() if arm.net == "wider")
NAMES = ("all", "none", *(arm.name for arm in _TABLE if arm.draws), *CONTROLS)


def find(name: str) -> tuple[Arm, int]:
    """The arm and the number of its draw, from 1, or 0 without draws, for a training's name."""
    arm, number = _MEMBERS[name]
    return arm, number if arm.draws else 0


def controls_named(text: str) -> tuple[str, ...]:
    """The controls that `all`, `none` or names with commas stand for.

    An arm's name stands for all its draws, and `tpm`, which is always run, for nothing. Unknown
    names are handed back with the others.
    """
    if text in ("all", "none"):
        return CONTROLS if text == "all" else ()
    found: dict[str, None] = {}
    for name in text.split(","):
        members = ARMS[name].members if name in ARMS else (name,)
        found |= dict.fromkeys(member for member in members if member != SPLIT.name)
    return tuple(found)
