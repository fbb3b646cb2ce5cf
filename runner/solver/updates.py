"""The update of the parameters by a solver type's rule (netgen.schema.solver_types)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from netgen.errors import CaffeError
from netgen.schema import caffe_pb, find_solver_type
from runner.net.parameters import Parameters
from runner.process.recording import Replayed


def check_solver(param: caffe_pb.SolverParameter) -> None:
    """Refuse, in Caffe's words, a SolverParameter whose type or its settings are impossible."""
    find_solver_type(param)
    if param.regularization_type not in ("L1", "L2") and param.weight_decay:
        raise CaffeError(f"Unknown regularization type: {param.regularization_type}")


class Updater:
    """Turns gradients into an update of the flat parameter buffer.

    history: one or two flat vectors beside the parameters, momentum or running squares.
    record: see Replayed.
    """

    def __init__(
        self,
        param: caffe_pb.SolverParameter,
        parameters: Parameters,
        record: Callable[..., Any] | None = None,
    ) -> None:
        check_solver(param)
        self.param = param
        self.parameters = parameters
        self.type = find_solver_type(param)
        self.history = [torch.zeros_like(parameters.data) for _ in range(self.type.history)]
        self.groups = parameters.groups()
        self.leaves_step = param.snapshot_diff
        self.rate = 0.0 if record is None else torch.zeros((), device=parameters.data.device)
        self._apply = Replayed(self._step, "the update", record)

    def clip(self) -> torch.Tensor | None:
        """Scale the gradients down to clip_gradients; returns their L2 norm, or None if off.

        The norm is a tensor: whoever wants to print it decides when to wait for it.
        """
        limit = self.param.clip_gradients
        if limit < 0:
            return None
        norm = torch.linalg.vector_norm(self.parameters.grad)
        self.parameters.grad.mul_(torch.where(norm > limit, limit / norm, 1.0))
        return norm

    def apply(self, rate: float, iteration: int) -> None:
        """One update at learning rate `rate`; the gradients are used up.

        With `leaves_step` (of snapshot_diff) they hold the step afterwards, as in Caffe.
        """
        rate = self.type.corrected(self.param, rate, iteration)
        if isinstance(self.rate, torch.Tensor):
            self.rate.fill_(rate)
        else:
            self.rate = rate
        self._apply()

    @torch.no_grad()
    def _step(self) -> None:
        if self.param.iter_size != 1:
            self.parameters.grad.mul_(1 / self.param.iter_size)
        for part, lr_mult, decay_mult in self.groups:
            w, g = self.parameters.data[part], self.parameters.grad[part]
            decay = self.param.weight_decay * decay_mult
            if decay:
                towards = w.sign() if self.param.regularization_type == "L1" else w
                g.add_(towards, alpha=decay)
            history = [h[part] for h in self.history]
            step = self.type.update(self.param, g, history, self.rate * lr_mult)
            w.sub_(step)
            if self.leaves_step:
                g.copy_(step)
