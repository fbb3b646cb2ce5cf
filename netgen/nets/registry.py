"""The register of bundled nets: each with the recipe that it was published with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from netgen.nets.options import NetOptions
from netgen.schema import caffe_pb

#: (name, options, deploy) -> the net. A builder may as well grow another net as write one down.
Builder = Callable[[str, NetOptions, bool], caffe_pb.NetParameter]


@dataclass(frozen=True)
class Recipe:
    """The training that a net was published with.

    epochs: passes through the train_size training images. batch_size: images per iteration.
    drops: where lr_policy multistep divides the rate by ten, as parts of the training; the
    default is the All-CNN paper's schedule, after 200, 250 and 300 of 350 epochs.
    test_interval, display, snapshot: iterations. test_initialization: False leaves out the
    test before the first iteration.
    """

    epochs: float | Fraction
    batch_size: int
    train_size: int
    base_lr: float
    weight_decay: float
    lr_policy: str
    drops: tuple[Fraction, ...] = (Fraction(4, 7), Fraction(5, 7), Fraction(6, 7))
    test_interval: int = 500
    display: int = 100
    snapshot: int = 1000
    test_initialization: bool = True


@dataclass(frozen=True)
class BundledNet:
    """A net that `python -m netgen NAME` writes; summary is one line about it."""

    name: str
    summary: str
    builder: Builder
    recipe: Recipe | None


#: Every bundled net by its name; the modules of netgen.nets enter theirs as they are imported.
NETS: dict[str, BundledNet] = {}


def net(name: str, summary: str, recipe: Recipe | None = None) -> Callable[[Builder], Builder]:
    """A decorator that enters a builder as the bundled net `name`; it returns the builder itself.

    recipe: the net's published training. Without one, whoever asks for the net's solver has to
    give all that shapes the training. Raises ValueError for a name that is taken.
    """

    def register(builder: Builder) -> Builder:
        if name in NETS:
            raise ValueError(f"there are two nets of the name '{name}'")
        NETS[name] = BundledNet(name, summary, builder, recipe)
        return builder

    return register
