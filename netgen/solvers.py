"""The solvers of the bundled nets, each with the schedule that its net was published with."""

import math
from dataclasses import dataclass, fields, replace
from fractions import Fraction

from netgen.checks import check_count, check_number
from netgen.errors import CaffeError
from netgen.nets import check_name, stem
from netgen.schema import caffe_pb

# Type: its usual momentum. Caffe refuses a momentum for AdaGrad and RMSProp.
_MOMENTUM = {
    "SGD": 0.9,
    "Nesterov": 0.9,
    "AdaGrad": None,
    "RMSProp": None,
    "AdaDelta": 0.9,
    "Adam": 0.9,
}
SOLVER_TYPES = tuple(_MOMENTUM)
LR_POLICIES = ("multistep", "inv", "poly", "fixed")


@dataclass(frozen=True)
class Recipe:
    """A net's published training; the defaults are those of the All-CNN paper.

    SGD with momentum 0.9 and weight decay 0.001 for 350 epochs, the rate times 0.1 after 200,
    250 and 300 (arXiv 1412.6806, section 3). The paper picks the rate from 0.25, 0.1, 0.05 and
    0.01, for each net; here it is 0.05, which the known Caffe version of the net uses too.

    epochs: through train_size images. drops: of lr_policy multistep, as parts of the training.
    """

    epochs: float | Fraction = 350
    drops: tuple[Fraction, ...] = tuple(Fraction(epoch, 350) for epoch in (200, 250, 300))
    batch_size: int = 128
    train_size: int = 50_000
    base_lr: float = 0.05
    weight_decay: float = 0.001
    lr_policy: str = "multistep"
    test_interval: int = 500
    display: int = 100
    snapshot: int = 1000
    test_initialization: bool = True


# The nets not here have the recipe of All-CNN.
RECIPES = {
    # BVLC examples/mnist/lenet_solver.prototxt: 10,000 iterations
    "lenet": Recipe(
        epochs=Fraction(10_000 * 64, 60_000),
        batch_size=64,
        train_size=60_000,
        base_lr=0.01,
        weight_decay=0.0005,
        lr_policy="inv",
        snapshot=5000,
    ),
    # BVLC examples/cifar10/cifar10_full_solver.prototxt and, after 60,000 and 65,000 iterations,
    # the same with _lr1 and _lr2
    "cifar10_full": Recipe(
        epochs=Fraction(70_000 * 100, 50_000),
        drops=(Fraction(60, 70), Fraction(65, 70)),
        batch_size=100,
        base_lr=0.001,
        weight_decay=0.004,
        test_interval=1000,
        display=200,
        snapshot=5000,
    ),
    # arXiv 1512.03385, section 4.2: 64,000 iterations. No test before the first one: BatchNorm
    # has no statistics yet, so that 19 divisions by sqrt(eps) overflow.
    "resnet20": Recipe(
        epochs=Fraction(64_000 * 128, 50_000),
        drops=(Fraction(32, 64), Fraction(48, 64)),
        base_lr=0.1,
        weight_decay=0.0001,
        test_initialization=False,
    ),
}


@dataclass(frozen=True)
class SolverOptions:
    """What can be chosen about a solver; None is the net's own value, see RECIPES.

    max_iter wins over epochs; either way the drops of the rate stay at the same fractions of
    the training. lr_policy: "multistep", drops to a tenth; "inv", LeNet's slow decline; "poly",
    a straight line to 0, which suits short runs; "fixed". net and prefix are paths, by default
    made from the net's name.
    """

    epochs: float | None = None
    max_iter: int | None = None
    batch_size: int | None = None
    train_size: int | None = None
    test_size: int = 10_000
    test_batch_size: int = 100
    base_lr: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    type: str = "SGD"
    lr_policy: str | None = None
    test_interval: int | None = None
    display: int | None = None
    snapshot: int | None = None
    net: str | None = None
    prefix: str | None = None
    random_seed: int | None = None


def build(name, options=None):
    """The SolverParameter for a bundled net. Raises CaffeError.

    test_iter covers the test set once; a test batch that does not divide it makes the last
    batch run on into the first images. solver_mode is left out, so that the same file trains
    on the CPU, and on a GPU with `-gpu 0`.
    """
    check_name(name)
    recipe = RECIPES.get(name, Recipe())
    o = _filled(options or SolverOptions(), recipe)
    _check(o)
    iterations = o.max_iter or Fraction(o.epochs) * o.train_size / o.batch_size
    check_count("max_iter", math.ceil(iterations))
    solver = caffe_pb.SolverParameter(
        net=o.net or f"prototxt/{stem(name)}.prototxt",
        test_iter=[math.ceil(o.test_size / o.test_batch_size)],
        test_interval=o.test_interval,
        base_lr=o.base_lr,
        lr_policy=o.lr_policy,
        max_iter=math.ceil(iterations),
        weight_decay=o.weight_decay,
        display=o.display,
        snapshot=o.snapshot,
        snapshot_prefix=o.prefix or f"snapshots/{stem(name)}",
        type=o.type,
    )
    if not recipe.test_initialization:
        solver.test_initialization = False
    if o.lr_policy == "multistep":
        solver.gamma = 0.1
        solver.stepvalue.extend(
            math.floor(iterations * drop + Fraction(1, 2)) for drop in recipe.drops
        )
    elif o.lr_policy == "inv":  # examples/mnist
        solver.gamma, solver.power = 0.0001, 0.75
    elif o.lr_policy == "poly":
        solver.power = 1
    momentum = _MOMENTUM[o.type] if o.momentum is None else o.momentum
    if momentum is not None:
        solver.momentum = momentum
    if o.random_seed is not None:
        solver.random_seed = o.random_seed
    return solver


def _filled(options, recipe):
    own = {f.name: getattr(recipe, f.name) for f in fields(options) if hasattr(recipe, f.name)}
    return replace(
        options, **{name: value for name, value in own.items() if getattr(options, name) is None}
    )


def _check(o):
    if o.type not in _MOMENTUM:
        raise CaffeError(f"Unknown solver type: {o.type} (known types: {', '.join(_MOMENTUM)})")
    if o.lr_policy not in LR_POLICIES:
        raise CaffeError(
            f"lr policy {o.lr_policy} is not one of those offered here: {', '.join(LR_POLICIES)}"
        )
    if _MOMENTUM[o.type] is None and o.momentum:
        raise CaffeError(f"Momentum cannot be used with {o.type}.")
    for name in ("batch_size", "train_size", "test_size", "test_batch_size", "test_interval"):
        check_count(name.replace("_", " "), getattr(o, name))
    for name in ("display", "snapshot"):
        check_count(name, getattr(o, name), least=0)
    if o.max_iter is not None:
        check_count("max iter", o.max_iter)
    check_number("epochs", o.epochs, above=0)
    check_number("base lr", o.base_lr, above=0)
    check_number("weight decay", o.weight_decay, least=0)
    if o.momentum is not None:
        check_number("momentum", o.momentum, least=0, below=1)
    if o.random_seed is not None:
        check_count("random seed", o.random_seed, least=-1)
