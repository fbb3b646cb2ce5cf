"""What a study is: a scale, and what was chosen about it. study.json in its folder keeps it."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, fields, replace
from typing import Any, get_args, get_type_hints

from netgen.errors import CaffeError
from netgen.schema import read_json
from study.arms import CONTROLS, NAMES, WIDENED, find

FILE = "study.json"
OPEN = {
    "rounds",
    "deep_seeds",
    "control_rounds",
    "arms",
    "seeds",
    "note",
}  # may change while a study runs
_SIZES = ("train_size", "test_size")  # found, never asked for
ALLCNN = "baseline"  # the net of the study, as netgen calls it
#: {bundled net: the words after `python -m data_prep` that make its data}, else cifar10
DATA_SETS = {
    ALLCNN: "cifar10",
    "cifar10_full": "cifar10 --raw",
    "resnet20": "cifar10 --raw --pad 4",
    "lenet": "mnist",
}
SHARE = 50  # a window before `split_at` has 15 intervals of at most so small a part of it
LARGEST = 2**31 - 1  # of Caffe's numbers
_MOST = {"rounds": 100, "seeds": 10_000}  # each round is made of the one before it
MOST_SNAPSHOTS = 500  # until `split_at`, and no more


def goes_on(control: str) -> bool:
    """Whether an arm makes sense where the parent's training goes on after the split."""
    arm, _ = find(control)
    return arm.start == "transfer" or arm.budget == "total"


def _is(value: Any, kind: Any) -> bool:
    """Whether a value from a JSON file is of a field's type; a finite number for a float."""
    parts = get_args(kind)
    if not parts:
        if kind is float:
            return type(value) in (int, float) and math.isfinite(value)
        return type(value) is kind
    if parts[-1] is ...:
        parts = parts[:1] * len(value)
    return len(value) == len(parts) and all(map(_is, value, parts))


@dataclass(frozen=True)
class Settings:
    """What a study was begun with. Raises CaffeError for what makes no sense.

    net: a net of netgen's, or a prototxt file, which has a `solver` of its own. batch_size, base_lr,
    lr_policy, data: 0 or "" where they are to be the net's and its solver's; `study.subject`
    fills them in. dropout: of All-CNN. test_interval: iterations from test to test; 0 for ten
    tests of a short training, and the study's interval in a long one. iterations: those of the
    baseline, and those after a split. layers: the layers to split in
    each round, where the rule is not to choose them. arms: the controls to run in the first
    `control_rounds` rounds. seeds: how many there are, from `first_seed` on. deep_seeds: how many of
    them go beyond round 1; 0 for all. train_size, test_size: the records of
    the data. claim: the points of final accuracy that a split is claimed to gain, at least.
    split_at: the iteration of the baseline's training at which it is split, and its child goes
    on to the baseline's end; 0: at its end, and the child's training begins at its own start.
    """

    scale: str
    width: float
    batch_size: int
    iterations: tuple[int, int]
    base_lr: float
    lr_policy: str
    dropout: bool
    seeds: int
    arms: tuple[str, ...] = CONTROLS
    rounds: int = 1
    control_rounds: int = 1
    factor: float = 1.1
    layers: tuple[tuple[str, ...], ...] = ()
    kind: str = "residual"
    init: str = "study"
    data: str = "data/cifar10"
    train_size: int = 0
    test_size: int = 0
    note: str = ""
    claim: float = 1.0
    net: str = ALLCNN
    solver: str = ""
    first_seed: int = 1
    test_interval: int = 0
    deep_seeds: int = 0
    split_at: int = 0

    def __post_init__(self) -> None:
        for name in ("iterations", "arms"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "layers", tuple(map(tuple, self.layers)))
        for name, kind in get_type_hints(type(self)).items():
            if not _is(getattr(self, name), kind):
                raise CaffeError(f"{name} cannot be {json.dumps(getattr(self, name))}")
        least = ("seeds", "rounds", "first_seed", *(("batch_size",) if self.is_allcnn else ()))
        counts = {name: getattr(self, name) for name in least}
        for name, value in [*counts.items(), *(("iterations", n) for n in self.iterations)]:
            if value < 1:
                raise CaffeError(f"{name} must be at least 1, not {value}")
            if value > _MOST.get(name, LARGEST):
                raise CaffeError(f"{name} must be at most {_MOST.get(name, LARGEST)}")
        for name in ("test_interval", "deep_seeds"):
            if getattr(self, name) < 0:
                raise CaffeError(f"{name} must not be negative, but is {getattr(self, name)}")
        if self.is_file != bool(self.solver):
            raise CaffeError(
                f"a net's file and its --solver go together (net '{self.net}', solver "
                f"'{self.solver}')"
            )
        if not 0 < self.claim < 100:
            raise CaffeError(f"claim must be points above 0 and below 100, not {self.claim:g}")
        if self.control_rounds < 0:
            raise CaffeError(f"control_rounds must not be negative, but is {self.control_rounds}")
        for arm in self.arms:
            if arm not in CONTROLS:
                raise CaffeError(f"unknown arm '{arm}' (known: {', '.join(NAMES)})")
        if self.split_at:
            self._check_split_at()

    def _check_split_at(self) -> None:
        at, end = self.split_at, self.iterations[0]
        if not 0 < at < end:
            raise CaffeError(
                f"split_at must lie within the baseline's {end} iterations, not at {at}"
            )
        if self.rounds != 1:
            raise CaffeError(f"split_at is for one round of splits, not {self.rounds}")
        anew = [arm for arm in self.arms if not goes_on(arm)]
        if anew:
            raise CaffeError(
                f"with split_at the baseline itself is the parent that goes on: it leaves no sense "
                f"to {', '.join(anew)}"
            )
        if at > MOST_SNAPSHOTS * self.window_interval:
            raise CaffeError(
                f"split_at {at} is no multiple of an interval of snapshots from "
                f"{math.ceil(at / MOST_SNAPSHOTS)} to {at // SHARE} iterations"
            )

    @property
    def window_interval(self) -> int:
        """The iterations between snapshots of which the last is at `split_at`."""
        return max(
            n for n in range(1, max(1, self.split_at // SHARE) + 1) if self.split_at % n == 0
        )

    @property
    def after_split(self) -> int:
        """The iterations after a split."""
        return self.iterations[0] - self.split_at if self.split_at else self.iterations[1]

    @property
    def is_file(self) -> bool:
        """Whether the net is a file, and not one of netgen's."""
        return self.net.endswith(".prototxt")

    @property
    def is_allcnn(self) -> bool:
        """Whether the net is the study's own."""
        return self.net == ALLCNN

    @property
    def test_batch_size(self) -> int:
        """The images of a test batch: a hundred, unless there are fewer."""
        return min(100, self.test_size)


# A linear rate learns most in a short run. With few kernels, the entropy of a layer is little
# above the mean, so tiny splits all layers that reach the mean.
# A short run does not regain what the study's own initial weights cost at once either
# (width 1/8, 800 iterations, n = 1: from 38.1 % to 28.5 %; with `preserve` to 38.8 %).
_SHORT = {"base_lr": 0.03, "lr_policy": "poly", "dropout": False, "init": "preserve"}
SCALES = {
    "tiny": Settings(
        "tiny",
        0.125,
        64,
        (300, 150),
        seeds=1,
        factor=1.0,
        arms=("inverse", "random1", "restart", "wider"),
        **_SHORT,
    ),
    "small": Settings("small", 0.125, 32, (2400, 800), seeds=3, **{**_SHORT, "base_lr": 0.02}),
    "full": Settings(
        "full", 1.0, 128, (136_719, 136_719), 0.05, "multistep", True, seeds=3, rounds=2
    ),
}


def words(settings: Settings, out: str) -> list[str]:
    """The words after `python -m study` that begin this study in folder `out`."""
    own, found = SCALES[settings.scale], ["--scale", settings.scale]
    if not settings.is_allcnn:
        given = {"net": settings.net, "solver": settings.solver, "iterations": settings.iterations}
        own = of_another_net(own, given)
        found += ["--net", settings.net] + ["--solver", settings.solver] * settings.is_file
    for field in fields(Settings):
        name, value = field.name, getattr(settings, field.name)
        flag = f"--{name.replace('_', '-')}"
        if value == getattr(own, name) or name in ("scale", *_SIZES, "net", "solver"):
            continue
        if settings.is_file and name in ("batch_size", "data", "width"):
            continue  # as in the file
        if name == "layers":
            for names in value:
                found += [flag, ",".join(names)]
        elif name == "arms":
            found += [flag, ",".join(value) or "none"]
        elif name == "iterations":
            found += [flag, *map(str, value)]
        elif isinstance(value, bool):
            found.append(flag if value else f"--no-{name}")
        else:
            found += [flag, f"{value}"]
    return [*found, "--out", out]


def of_another_net(scale: Settings, given: dict[str, Any]) -> Settings:
    """A scale without what is All-CNN's: net and solver say the rest. Raises CaffeError."""
    if scale.scale == "full" and "iterations" not in given:
        raise CaffeError(f"scale full is All-CNN's: of {given['net']} give --iterations too")
    for name in ("dropout", "width", "batch_size", "data"):
        if name in given and (name == "dropout" or given["net"].endswith(".prototxt")):
            raise CaffeError(f"--{name.replace('_', '-')} is not for {given['net']}")
    net, solver = given["net"], given.get("solver", "")
    return replace(
        scale,
        net=net,
        solver=solver,
        width=1.0,
        batch_size=0,
        base_lr=0.0,
        lr_policy="",
        dropout=False,
        data="",
        rounds=1,
        arms=scale.arms
        if set(scale.arms) >= set(CONTROLS)
        else tuple(arm for arm in scale.arms if arm not in WIDENED),
    )


def read_settings(out: str) -> Settings:
    """The Settings in a study's folder. Raises CaffeError where there are none."""
    path = os.path.join(out, FILE)
    if not os.path.exists(path):
        raise CaffeError(f"{path}: there is no study here")
    try:
        return Settings(**read_json(path))
    except (ValueError, TypeError) as error:
        known = ", ".join(field.name for field in fields(Settings))
        raise CaffeError(f"{path}: not a study's settings ({error}; fields: {known})") from None


def net_words(s: Settings) -> tuple:
    """The words after `python -m netgen` that write a bundled net as the study has it."""
    width = ("--width", s.width) if s.is_allcnn or s.width != 1 else ()
    return (s.net, *width, *option_words(s))


def option_words(s: Settings) -> tuple:
    """Those of `net_words` that are the same at any width."""
    words: tuple = ("--batch-size", s.batch_size) if s.batch_size else ()
    if s.test_size:
        words += ("--test-batch-size", s.test_batch_size)
    if s.data:
        words += ("--data", s.data)
    return words if s.dropout or not s.is_allcnn else (*words, "--input-dropout", 0, "--dropout", 0)
