"""Elementwise layers of one bottom and one top (neuron_layer.cpp and its children)."""

import math

from netgen.graph.errors import require
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import Shape, legacy_dim


@rule(
    "BNLL",
    "Clip",
    "Dropout",
    "ELU",
    "Power",
    "ReLU",
    "Sigmoid",
    "Swish",
    "TanH",
    "Threshold",
)
def elementwise(setup: Setup) -> LayerShapes:
    return LayerShapes(list(setup.bottoms))


@rule("AbsVal")
def absval(setup: Setup) -> LayerShapes:
    setup.refuse_in_place()
    return elementwise(setup)


@rule("Exp")
def exp(setup: Setup) -> LayerShapes:
    _check_base(setup.layer.exp_param.base)
    return elementwise(setup)


@rule("Log")
def log(setup: Setup) -> LayerShapes:
    base = setup.layer.log_param.base
    _check_base(base)
    require(base != 1, "Inf result: 1/log(base) = 1/log(1) = inf")
    return elementwise(setup)


def _check_base(base: float) -> None:
    require(base == -1 or base > 0, f"base must be strictly positive. ({base:g} vs. 0)")
    require(not math.isinf(base), f"Inf result: log(base) = log({base:g}) = inf")


@rule("PReLU")
def prelu(setup: Setup) -> LayerShapes:
    """One slope a channel, or a scalar one if channel_shared."""
    (bottom,) = setup.bottoms
    require(len(bottom) >= 2, f"Number of axes of bottom blob must be >=2. ({len(bottom)} vs. 2)")
    channels = legacy_dim(bottom, 1)
    slope: Shape = () if setup.layer.prelu_param.channel_shared else (channels,)
    return LayerShapes([bottom], [slope])
