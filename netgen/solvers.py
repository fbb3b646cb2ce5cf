"""The solvers of the bundled nets, each with the schedule that its net was published with."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from fractions import Fraction

from netgen.checks import check_count, check_number
from netgen.errors import CaffeError
from netgen.nets import find, stem
from netgen.nets.registry import Recipe
from netgen.schema import SOLVER_TYPES, caffe_pb, find_solver_type

LR_POLICIES = ("multistep", "inv", "poly", "fixed")


@dataclass(frozen=True)
class SolverOptions:
    """What can be chosen about a solver; None is the value of the net's own Recipe.

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
    test_initialization: bool | None = None


def build_solver(name: str, options: SolverOptions | None = None) -> caffe_pb.SolverParameter:
    """The SolverParameter for a bundled net.

    test_iter covers the test set once; a test batch that does not divide it makes the last
    batch run on into the first images. solver_mode is left out, so that the same file trains
    on the CPU, and on a GPU with `-gpu 0`. Raises CaffeError for a value out of its range, and
    where neither the options nor a Recipe of the net say what shapes the training.
    """
    # A net without a recipe has the defaults of the class, which are its attributes.
    recipe = find(name).recipe or Recipe
    o = _filled(options or SolverOptions(), recipe)
    _require_recipe(name, o)
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
    if not o.test_initialization:
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
    momentum = SOLVER_TYPES[o.type].momentum if o.momentum is None else o.momentum
    if momentum is not None:
        solver.momentum = momentum
    if o.random_seed is not None:
        solver.random_seed = o.random_seed
    return solver


def _filled(options: SolverOptions, recipe: Recipe | type[Recipe]) -> SolverOptions:
    own = {f.name: getattr(recipe, f.name) for f in fields(options) if hasattr(recipe, f.name)}
    return replace(
        options, **{name: value for name, value in own.items() if getattr(options, name) is None}
    )


def _require_recipe(name: str, o: SolverOptions) -> None:
    """Raise CaffeError, naming the flags, where the options say too little of a net without a recipe."""
    missing = [
        flag for flag in ("base_lr", "lr_policy", "weight_decay") if getattr(o, flag) is None
    ]
    if o.max_iter is None:
        length = [
            flag for flag in ("epochs", "batch_size", "train_size") if getattr(o, flag) is None
        ]
        missing = (["max_iter"] if "epochs" in length else length) + missing
    if missing:
        flags = [f"--{flag.replace('_', '-')}" for flag in missing]
        raise CaffeError(f"net '{name}' has no recipe of its own: give {', '.join(flags)}")


def _check(o: SolverOptions) -> None:
    find_solver_type(caffe_pb.SolverParameter(type=o.type, momentum=o.momentum))
    if o.lr_policy not in LR_POLICIES:
        raise CaffeError(
            f"lr policy {o.lr_policy} is not one of those offered here: {', '.join(LR_POLICIES)}"
        )
    for name in ("batch_size", "train_size", "test_size", "test_batch_size", "test_interval"):
        if getattr(o, name) is not None:
            check_count(name.replace("_", " "), getattr(o, name))
    for name in ("display", "snapshot"):
        check_count(name, getattr(o, name), least=0)
    if o.max_iter is not None:
        check_count("max iter", o.max_iter)
    if o.epochs is not None:
        check_number("epochs", o.epochs, above=0)
    check_number("base lr", o.base_lr, above=0)
    check_number("weight decay", o.weight_decay, least=0)
    if o.momentum is not None:
        check_number("momentum", o.momentum, least=0, below=1)
    if o.random_seed is not None:
        check_count("random seed", o.random_seed, least=-1)
