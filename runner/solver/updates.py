"""The six update rules, as plain formulas on flat vectors (CAFFE's src/caffe/solvers).

g: the gradients, already clipped, divided by iter_size and with the weight decay added, not
needed any more; h: the history vectors, updated in place; rate: the local rate, a float, or a
0-d tensor where steps are recorded. Each rule returns the step, which is to be taken off the
parameters. The learning rate is inside the momentum, unlike torch.optim.
"""

import torch

from netgen.errors import CaffeError
from runner.process.recording import Replayed


def add_scaled(target, source, rate):
    """target += rate * source; a rate on the device takes a pass more, and the source with it."""
    if isinstance(rate, torch.Tensor):
        return target.add_(source.mul_(rate))
    return target.add_(source, alpha=rate)


def sgd(param, g, h, rate):
    (h,) = h
    return add_scaled(h.mul_(param.momentum), g, rate)


def nesterov(param, g, h, rate):
    (h,) = h
    step = h * -param.momentum
    add_scaled(h.mul_(param.momentum), g, rate)
    return step.add_(h, alpha=1 + param.momentum)


def adagrad(param, g, h, rate):
    (h,) = h
    h.addcmul_(g, g)
    return (g / (h.sqrt() + param.delta)).mul_(rate)


def rmsprop(param, g, h, rate):
    (h,) = h
    h.mul_(param.rms_decay).addcmul_(g, g, value=1 - param.rms_decay)
    return (g / (h.sqrt() + param.delta)).mul_(rate)


def adadelta(param, g, h, rate):
    squares, updates = h
    momentum, delta = param.momentum, param.delta
    squares.mul_(momentum).addcmul_(g, g, value=1 - momentum)
    update = g * ((updates + delta) / (squares + delta)).sqrt()
    updates.mul_(momentum).addcmul_(update, update, value=1 - momentum)
    return update.mul_(rate)


def adam(param, g, h, rate):
    means, squares = h
    beta1, beta2 = param.momentum, param.momentum2
    means.mul_(beta1).add_(g, alpha=1 - beta1)
    squares.mul_(beta2).addcmul_(g, g, value=1 - beta2)
    return (means / (squares.sqrt() + param.delta)).mul_(rate)


def corrected(param, rate, iteration):
    """The rate that the rule takes: Adam's is corrected for its means' start at zero."""
    if param.type != "Adam":
        return rate
    t = iteration + 1
    return rate * (1 - param.momentum2**t) ** 0.5 / (1 - param.momentum**t)


#: Caffe's type -> (rule, how many history vectors)
SOLVER_TYPES = {
    "AdaDelta": (adadelta, 2),
    "AdaGrad": (adagrad, 1),
    "Adam": (adam, 2),
    "Nesterov": (nesterov, 1),
    "RMSProp": (rmsprop, 1),
    "SGD": (sgd, 1),
}


def check_solver(param):
    """Refuse, in Caffe's words, a SolverParameter whose type or its settings are impossible."""
    if param.type not in SOLVER_TYPES:
        raise CaffeError(
            f"Unknown solver type: {param.type} (known types: {', '.join(SOLVER_TYPES)})"
        )
    if param.type in ("AdaGrad", "RMSProp") and param.momentum != 0:
        raise CaffeError(
            f"Momentum cannot be used with {param.type}. (momentum: {param.momentum:g})"
        )
    if param.type == "RMSProp" and not 0 <= param.rms_decay < 1:
        raise CaffeError(f"rms_decay should lie between 0 and 1. (rms_decay: {param.rms_decay:g})")
    if param.type == "Adam" and not (0 <= param.momentum < 1 and 0 <= param.momentum2 < 1):
        raise CaffeError(
            "momentum and momentum2 of Adam should lie between 0 and 1. "
            f"(momentum: {param.momentum:g}, momentum2: {param.momentum2:g})"
        )
    if param.regularization_type not in ("L1", "L2") and param.weight_decay:
        raise CaffeError(f"Unknown regularization type: {param.regularization_type}")


class Updater:
    """Turns gradients into an update of the flat parameter buffer.

    history: one or two flat vectors beside the parameters, momentum or running squares.
    record: see Replayed.
    """

    def __init__(self, param, parameters, record=None):
        check_solver(param)
        self.param = param
        self.parameters = parameters
        self.rule, count = SOLVER_TYPES[param.type]
        self.history = [torch.zeros_like(parameters.data) for _ in range(count)]
        self.groups = parameters.groups()
        self.rate = 0.0 if record is None else torch.zeros((), device=parameters.data.device)
        self._apply = Replayed(self._step, "the update", record)

    def clip(self):
        """Scale the gradients down to clip_gradients; returns their L2 norm, or None if off.

        The norm is a tensor: whoever wants to print it decides when to wait for it.
        """
        limit = self.param.clip_gradients
        if limit < 0:
            return None
        norm = torch.linalg.vector_norm(self.parameters.grad)
        self.parameters.grad.mul_(torch.where(norm > limit, limit / norm, 1.0))
        return norm

    def apply(self, rate, iteration):
        """One update at learning rate `rate`; the gradients are used up.

        With snapshot_diff they hold the step afterwards, which is what Caffe's snapshot has.
        """
        rate = corrected(self.param, rate, iteration)
        if isinstance(self.rate, torch.Tensor):
            self.rate.fill_(rate)
        else:
            self.rate = rate
        self._apply()

    @torch.no_grad()
    def _step(self):
        if self.param.iter_size != 1:
            self.parameters.grad.mul_(1 / self.param.iter_size)
        for part, lr_mult, decay_mult in self.groups:
            w, g = self.parameters.data[part], self.parameters.grad[part]
            decay = self.param.weight_decay * decay_mult
            if decay:
                towards = w.sign() if self.param.regularization_type == "L1" else w
                g.add_(towards, alpha=decay)
            history = [h[part] for h in self.history]
            step = self.rule(self.param, g, history, self.rate * lr_mult)
            w.sub_(step)
            if self.param.snapshot_diff:
                g.copy_(step)
