"""The trainings of a study: the baseline, the chain of splits, and each round's controls.

In a round all arms whose budget is the round's train for the same iterations, at the same rates
and on the same images in the same order, as their random_seed is the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from netgen.schema import file_digest, read_json, write_json
from study.arms import BASELINE, CHAIN, SPLIT, Arm, find
from study.settings import Settings

STEPS = 15  # between the snapshots of a window, as in the study
TESTS = 10  # of a short training, at least
LONG = 20_000  # iterations from which tests are as often as in the study
_STUDY = 136_719
_WINDOW_END = 130_000  # the last drop of the rate is at 117,188


@dataclass(frozen=True)
class Training:
    """One training and its files.

    round: 0 for the baseline. above: the folder of its round, or of its seed for the baseline.
    parent: the Training whose net and weights it has in hand; None for the baseline. child: the
    Training of `tpm` in the same round; None for that and the baseline. draw: the number of a
    random draw, from 1, or 0. iterations: of an arm whose budget is a cost, those of the child.
    is_first: whether its seed is the study's first, whose nets are drawn and told in the report.
    begin: the iteration of the parent's training from which it goes on, with the parent's
    momentum; 0: it begins anew.
    """

    seed: int
    round: int
    arm: Arm
    above: str
    iterations: int
    parent: Training | None = None
    child: Training | None = None
    draw: int = 0
    is_first: bool = False
    begin: int = 0

    @property
    def name(self) -> str:
        """The arm's name, with the number of the draw."""
        return f"{self.arm.name}{self.draw or ''}"

    @property
    def label(self) -> str:
        """What tables and figures call it."""
        return label(self.round, self.name)

    @property
    def stage_name(self) -> str:
        """How the names of its stages begin: an identifier."""
        return f"seed{self.seed}_" + (f"round{self.round}_" if self.round else "") + self.name

    @property
    def in_chain(self) -> bool:
        """Whether a round may build on it: the baseline and the splits by TPM."""
        return self.arm in CHAIN

    @property
    def folder(self) -> str:
        return f"{self.above}/{self.name}"

    def file(self, name: str) -> str:
        """The path of a file in its own folder."""
        return f"{self.folder}/{name}"

    @property
    def measured(self) -> str:
        """The TPM measurement of its round."""
        return f"{self.above}/tpm.json"

    @property
    def measured_table(self) -> str:
        """The entropies of its round's measurement, as text."""
        return f"{self.above}/tpm.txt"

    @property
    def _net_owner(self) -> Training:
        return {"parent": self.parent, "child": self.child}.get(self.arm.net) or self

    @property
    def net(self) -> str:
        return self._net_owner.file("net.prototxt")

    @property
    def description(self) -> str:
        """What `netgen describe --json` says of the net."""
        return self._net_owner.file("net.json")

    @property
    def drawing(self) -> str:
        """The net as Graphviz's text."""
        return self._net_owner.file("net.dot")

    @property
    def plan(self) -> str:
        return self.file("plan.json")

    @property
    def plot(self) -> str:
        """The figure of the measurement and the plan."""
        return self.file("tpm.png")

    @property
    def verified(self) -> str:
        """What `verify_split --json` says of the split."""
        return self.file("verify.json")

    @property
    def start(self) -> str | None:
        """The initial weights; None for fresh ones."""
        if self.arm.start == "parent":
            return self.parent.weights
        return None if self.arm.start == "fresh" else self.file("start.caffemodel")

    @property
    def gradient(self) -> str:
        """The gradient that `residual_pre` starts from, in an arm that takes it from one."""
        return self.file("gradient.caffemodel")

    @property
    def state(self) -> str | None:
        """The solver state that goes with `start`; None where the training begins anew."""
        return self.file("start.solverstate") if self.begin else None

    @property
    def parent_weights(self) -> str:
        """The weights that are split: the parent's at `begin`, else at its end."""
        assert self.parent is not None
        return self.parent.weights_at(self.begin) if self.begin else self.parent.weights

    @property
    def solver(self) -> str:
        return self.file("solver.prototxt")

    @property
    def log(self) -> str:
        return self.file("train.log")

    @property
    def record(self) -> str:
        return self.file("train.json")

    @property
    def _left_out(self) -> str:
        return self.file("left_out.json")

    def leave_out(self, why: str) -> None:
        """Note that it cannot be made from what its parent has become."""
        assert self.parent is not None
        os.makedirs(self.folder, exist_ok=True)
        write_json({"parent": file_digest(self.parent.record), "why": why}, self._left_out)

    @property
    def left_out(self) -> bool:
        """Whether it cannot be made: its parent diverged, or what it is made of is left out.

        Or `leave_out` noted it; a note of a parent that was trained anew since does not count.
        """
        if self.parent is None:
            return False
        of_child = self.arm.net in ("child", "wider") or self.arm.choose != "entropy"
        made_of = (self.parent, self.child if of_child or self.arm.budget == "cost" else None)
        if any(one.left_out for one in made_of if one):
            return True
        if not os.path.exists(self.parent.record):
            return False
        if read_json(self.parent.record).get("diverged") is not None:
            return True
        if not os.path.exists(self._left_out):
            return False
        return bool(read_json(self._left_out)["parent"] == file_digest(self.parent.record))

    @property
    def begun(self) -> str:
        """What `study.train_to_end` writes before it begins."""
        return self.file("train.begun.json")

    def weights_at(self, iteration: int) -> str:
        """The weights of a snapshot."""
        return f"{self.prefix}_iter_{iteration}.caffemodel"

    def state_at(self, iteration: int) -> str:
        """The solver state of a snapshot."""
        return f"{self.prefix}_iter_{iteration}.solverstate"

    @property
    def weights(self) -> str:
        """The weights at the end."""
        return self.weights_at(self.iterations)

    @property
    def prefix(self) -> str:
        """How the paths of its snapshots begin."""
        return self.file("snapshot")


def label(number: int, name: str) -> str:
    """What tables and figures call an arm of a round; 0 is the round of the baseline."""
    return f"round {number} {name}" if number else name


def trainings(settings: Settings, out: str) -> Iterator[Training]:
    """All Trainings of a study: for each seed first the chain of splits, then the controls."""
    first, later = settings.iterations
    for seed in range(settings.first_seed, settings.first_seed + settings.seeds):
        folder, is_first = f"{out}/seed{seed}", seed == settings.first_seed
        parent = Training(seed, 0, BASELINE, folder, first, is_first=is_first)
        yield parent
        controls = []
        deep = not settings.deep_seeds or seed < settings.first_seed + settings.deep_seeds
        for number in range(1, settings.rounds + 1 if deep else 2):
            here = f"{folder}/round{number}"
            budgets = {"baseline": first, "round": later, "total": first + number * later}
            budgets |= {"cost": later}
            at = settings.split_at
            if at:  # a child goes on to its parent's end
                budgets = dict.fromkeys(budgets, first)
            child = Training(
                seed,
                number,
                SPLIT,
                here,
                budgets[SPLIT.budget],
                parent,
                is_first=is_first,
                begin=at,
            )
            yield child
            if number <= settings.control_rounds:
                for arm, draw in map(find, settings.arms):
                    if arm.start == "widened" and number > 1:
                        continue  # its parent is split, and not a net of another width
                    budget = budgets[arm.budget]
                    begin = at if arm.start == "transfer" else 0
                    controls.append(
                        Training(seed, number, arm, here, budget, parent, child, draw, begin=begin)
                    )
            parent = child
        yield from controls


def window(settings: Settings, iterations: int) -> tuple[int, list[int]]:
    """The interval and the iterations of the snapshots that a TPM is measured over.

    Where All-CNN's rate drops, they lie around its last drop, as in the study; elsewhere in the
    last third of the training. Where the parent is split within its training, they end there.
    """
    if settings.split_at:
        interval = settings.window_interval
        last = settings.split_at // interval
        return interval, [i * interval for i in range(max(1, last - STEPS), last + 1)]
    dropping = settings.lr_policy == "multistep" and settings.is_allcnn
    interval = max(1, round(iterations / _STUDY * 1000) if dropping else iterations // 45)
    last = (iterations * _WINDOW_END // _STUDY if dropping else iterations) // interval
    return interval, [i * interval for i in range(max(1, last - STEPS), last + 1)]


def testing_interval(iterations: int) -> int:
    """The iterations from test to test: the study's, or for ten tests of a short training.

    It divides the training if it can, so that there is a test at the end; up to thirty tests are
    made for that.
    """
    if iterations >= LONG:
        return 500
    whole = [iterations // n for n in range(TESTS, 3 * TESTS + 1) if iterations % n == 0]
    return whole[0] if whole else 1 if iterations < TESTS else iterations // TESTS
