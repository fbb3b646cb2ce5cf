"""Learning rate policies (sgd_solver.cpp, GetLearningRate)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner.log import glog


def _check(condition, text, param):
    if not condition:
        raise CaffeError(f"Check failed: {text} (lr_policy: {param.lr_policy})")


def learning_rate(
    param: caffe_pb.SolverParameter, iteration: int, current_step: int
) -> tuple[float, int]:
    """(rate, current_step) at `iteration`, the number of updates done so far.

    The rate is a float32's value; where the formula overflows or has no real result it is inf
    or nan, as in C.

    param: SolverParameter. current_step: how many drops multistep has made; it makes at most
    one an iteration, and says so in the log. Those of plateau are Plateau's. Raises CaffeError
    for an unknown policy or for the values Caffe refuses.
    """
    with np.errstate(all="ignore"):
        rate, current_step = _rate(param, iteration, current_step)
        return float(np.float32(rate)), current_step


def _rate(param, iteration, current_step):
    base, policy = param.base_lr, param.lr_policy
    gamma, power = np.float64(param.gamma), np.float64(param.power)
    if policy in ("step", "exp", "inv", "multistep", "sigmoid", "plateau"):
        _check(gamma >= 0, f"param_.gamma() >= 0 ({gamma:g} vs. 0)", param)
    if policy in ("step", "sigmoid"):
        _check(param.stepsize > 0, f"param_.stepsize() > 0 ({param.stepsize} vs. 0)", param)
    if policy == "fixed":
        return base, current_step
    if policy == "step":
        current_step = iteration // param.stepsize
        return base * gamma**current_step, current_step
    if policy == "exp":
        return base * gamma**iteration, current_step
    if policy == "inv":
        return base * (1 + gamma * iteration) ** -power, current_step
    if policy == "multistep":
        steps = param.stepvalue
        if current_step < len(steps) and iteration >= steps[current_step]:
            current_step += 1
            glog.info(
                f"MultiStep Status: Iteration {iteration}, step = {current_step}",
                "sgd_solver.cpp:50",
            )
        return base * gamma**current_step, current_step
    if policy == "poly":
        return base * (1 - np.float64(iteration) / param.max_iter) ** power, current_step
    if policy == "sigmoid":
        return base / (1 + np.exp(-gamma * (iteration - param.stepsize))), current_step
    if policy == "plateau":
        return base * gamma**current_step, current_step
    raise CaffeError(f"Unknown learning rate policy: {policy}")


@dataclass
class Plateau:
    """What the policy plateau remembers (SSD's sgd_solver.cpp).

    minimum_loss: the smallest displayed loss so far; iter_last_event: the iteration at which it,
    or the rate, became smaller.
    """

    minimum_loss: float = float(np.finfo(np.float32).max)
    iter_last_event: int = 0

    def step(
        self, param: caffe_pb.SolverParameter, iteration: int, current_step: int, loss: float
    ) -> int:
        """The current_step at `iteration`, one more where plateau_winsize of it have passed.

        loss: the displayed loss there. Logs in Caffe's words.
        """
        loss = float(np.float32(loss))
        if loss < self.minimum_loss:
            self.minimum_loss, self.iter_last_event = loss, iteration
        sizes = param.plateau_winsize
        if current_step < len(sizes) and iteration >= self.iter_last_event + sizes[current_step]:
            current_step += 1
            self.iter_last_event = iteration
            glog.info(
                f"Plateau Status: Iteration {iteration}, step = {current_step}",
                "sgd_solver.cpp:75",
            )
        shown = param.display and iteration % param.display == 0
        if shown and self.iter_last_event > iteration - param.display:
            least = glog.number(self.minimum_loss)
            glog.info(
                f"Plateau Status: Iteration {iteration}, current minimum_loss = {least}",
                "sgd_solver.cpp:82",
            )
        return current_step
