"""Caffe's solver types, one function each: whoever adds one here has added it everywhere.

The functions are the update rules of Caffe's src/caffe/solvers as plain formulas on flat vectors
(the methods are torch's, which the runner imports and this file does not). g: the gradients,
already clipped, divided by iter_size and with the weight decay added, not needed any more; h: the
history vectors, updated in place; rate: the local rate, a float, or a 0-d tensor where steps are
recorded. Each returns the step, which is to be taken off the parameters. The learning rate is
inside the momentum, unlike torch.optim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from netgen.schema.files import SchemaError

if TYPE_CHECKING:
    from netgen.schema.caffe_pb import SolverParameter

Vector: TypeAlias = Any  # a torch.Tensor
History: TypeAlias = Any  # one Vector, or two
Rate: TypeAlias = Any  # a float, or a torch.Tensor
#: (param, g, h, rate) -> the step
Update: TypeAlias = "Callable[[SolverParameter, Vector, History, Rate], Vector]"
Refusal: TypeAlias = "Callable[[SolverParameter], str | None]"
Corrected: TypeAlias = "Callable[[SolverParameter, float, int], float]"


@dataclass(frozen=True)
class SolverType:
    """A solver type as Caffe's files name it, and all that there is to know of it.

    update: the rule. history: how many vectors it keeps, each as long as the parameters.
    momentum: what is usual; None where there is none. refusal(param): why Caffe refuses the
    SolverParameter, None where it takes it. corrected(param, rate, iteration): the rate that the
    rule takes in place of the learning rate.
    """

    name: str
    update: Update
    history: int
    momentum: float | None
    refusal: Refusal
    corrected: Corrected


#: {name: SolverType}, SGD first
SOLVER_TYPES: dict[str, SolverType] = {}


def solver_type(
    name: str,
    history: int = 1,
    momentum: float | None = None,
    refusal: Refusal = lambda param: None,
    corrected: Corrected = lambda param, rate, iteration: rate,
) -> Callable[[Update], Update]:
    """Register an update rule as the SolverType `name`; its old enum value is the name in capitals."""

    def register(update: Update) -> Update:
        SOLVER_TYPES[name] = SolverType(name, update, history, momentum, refusal, corrected)
        return update

    return register


def find_solver_type(param: SolverParameter) -> SolverType:
    """The SolverType of a SolverParameter. Raises SchemaError, in Caffe's words, for an unknown
    one and for settings that are impossible with it.
    """
    found = SOLVER_TYPES.get(param.type)
    if found is None:
        known = ", ".join(sorted(SOLVER_TYPES))
        raise SchemaError(f"Unknown solver type: {param.type} (known types: {known})")
    refusal = found.refusal(param)
    if refusal is not None:
        raise SchemaError(refusal)
    return found


def _add_scaled(target: Vector, source: Vector, rate: Rate) -> Vector:
    """target += rate * source; a rate on the device takes a pass more, and the source with it."""
    if isinstance(rate, (float, int)):
        return target.add_(source, alpha=rate)
    return target.add_(source.mul_(rate))


def _momentum_refused(param: SolverParameter) -> str | None:
    if param.momentum != 0:
        return f"Momentum cannot be used with {param.type}. (momentum: {param.momentum:g})"
    return None


@solver_type("SGD", momentum=0.9)
def sgd(param: SolverParameter, g: Vector, h: History, rate: Rate) -> Vector:
    (h,) = h
    return _add_scaled(h.mul_(param.momentum), g, rate)


@solver_type("Nesterov", momentum=0.9)
def nesterov(param: SolverParameter, g: Vector, h: History, rate: Rate) -> Vector:
    (h,) = h
    update = h * -param.momentum
    _add_scaled(h.mul_(param.momentum), g, rate)
    return update.add_(h, alpha=1 + param.momentum)


@solver_type("AdaGrad", refusal=_momentum_refused)
def adagrad(param: SolverParameter, g: Vector, h: History, rate: Rate) -> Vector:
    (h,) = h
    h.addcmul_(g, g)
    return (g / (h.sqrt() + param.delta)).mul_(rate)


def _rmsprop_refusal(param: SolverParameter) -> str | None:
    refusal = _momentum_refused(param)
    if refusal is None and not 0 <= param.rms_decay < 1:
        refusal = f"rms_decay should lie between 0 and 1. (rms_decay: {param.rms_decay:g})"
    return refusal


@solver_type("RMSProp", refusal=_rmsprop_refusal)
def rmsprop(param: SolverParameter, g: Vector, h: History, rate: Rate) -> Vector:
    (h,) = h
    h.mul_(param.rms_decay).addcmul_(g, g, value=1 - param.rms_decay)
    return (g / (h.sqrt() + param.delta)).mul_(rate)


@solver_type("AdaDelta", history=2, momentum=0.9)
def adadelta(param: SolverParameter, g: Vector, h: History, rate: Rate) -> Vector:
    squares, updates = h
    momentum, delta = param.momentum, param.delta
    squares.mul_(momentum).addcmul_(g, g, value=1 - momentum)
    update = g * ((updates + delta) / (squares + delta)).sqrt()
    updates.mul_(momentum).addcmul_(update, update, value=1 - momentum)
    return update.mul_(rate)


def _adam_refusal(param: SolverParameter) -> str | None:
    if not (0 <= param.momentum < 1 and 0 <= param.momentum2 < 1):
        return (
            "momentum and momentum2 of Adam should lie between 0 and 1. "
            f"(momentum: {param.momentum:g}, momentum2: {param.momentum2:g})"
        )
    return None


def _adam_rate(param: SolverParameter, rate: float, iteration: int) -> float:
    """Adam's rate, corrected for the start of its means at zero."""
    t = iteration + 1
    return rate * (1 - param.momentum2**t) ** 0.5 / (1 - param.momentum**t)


@solver_type("Adam", history=2, momentum=0.9, refusal=_adam_refusal, corrected=_adam_rate)
def adam(param: SolverParameter, g: Vector, h: History, rate: Rate) -> Vector:
    means, squares = h
    beta1, beta2 = param.momentum, param.momentum2
    means.mul_(beta1).add_(g, alpha=1 - beta1)
    squares.mul_(beta2).addcmul_(g, g, value=1 - beta2)
    return (means / (squares.sqrt() + param.delta)).mul_(rate)
