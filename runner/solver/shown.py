"""A solver whose nets' blobs somebody may look at between steps, as pycaffe's scripts do.

It trains with the engine's own passes, which leave no blobs behind, and yet what a script reads
after a step is what Caffe has there. Of the last pass the blobs' values are kept, which costs
next to nothing. Their diffs are computed when somebody asks: that pass is then run once more,
layer by layer, from the weights, random numbers and batches it had. As long as diffs are asked
for after each step, the gradients of each last pass are kept as well. All passes of a net with
Python layers or callbacks are run layer by layer, and any whose loss weights somebody has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from runner.net.debug_info import debug_info
from runner.net.layerwise import Layerwise
from runner.solver.solver import Solver


class ShownPass:
    """Passes of a net over its blobs, fast where that makes no difference.

    run: the net layer by layer. trains: forward and backward, or forward alone. wanted: how
    many passes from now on the blobs will be looked at; the passes before that one leave
    nothing. None: after any pass.
    """

    def __init__(self, run: Layerwise, trains: bool) -> None:
        self.run, self.net, self.trains = run, run.net, trains
        self.wanted: int | None = None
        self._random: torch.Tensor | None = None
        self._kept_blobs: dict[str, torch.Tensor] = {}
        self._weights = torch.empty_like(self.net.parameters.data) if trains else None
        self._asked = False  # for diffs, since the last pass
        sources = {name for node in self.net.nodes if not node.bottoms for name in node.tops}
        changed = {name for node in self.net.nodes if node.bottoms for name in node.tops}
        #: a pass that cannot be repeated: what it starts from is gone, or it acts outside the net
        self._once = bool(sources & changed) or not all(
            node.layer.replayable for node in self.net.nodes
        )
        #: are the gradients that autograd makes what Caffe has in the diffs?
        self._tells_diffs = not self.net.objective.remembers and run.diffs_are_gradients()
        if trains:
            run.watch_diffs(self._ask)

    def __call__(self, *fetched: list[torch.Tensor]) -> Any:
        """One pass; returns (objective, {output: tensor}) as net.forward does."""
        if self.wanted is not None:
            self.wanted -= 1
        looked_at = self.wanted is None or self.wanted <= 0
        self.run.begin()
        if self._by_layer(looked_at):
            self.run.due = None
            result = self._layers(fetched)
        elif looked_at:
            result = self._kept(*fetched, diffs=self._diffs_wanted())
        else:
            self.run.due = None
            result = (
                self.net.forward_backward(*fetched) if self.trains else self.net.forward(*fetched)
            )
        if looked_at:
            self._asked = False
        return result

    def debug(self) -> Any:
        """A pass whose every blob and gradient debug_info logs; its layers fetch for themselves."""
        with debug_info(self.net):
            return self._kept()

    def look(self) -> Any:
        """A forward pass after which the blobs are looked at."""
        with torch.no_grad():
            return self._kept(trains=False)

    def _by_layer(self, looked_at: bool) -> bool:
        if self.run.has_callbacks() or self.run.has_python:
            return True
        if not self.trains:
            return False
        if self.run.weights_changed():
            return True
        if not looked_at:
            return False
        return self._once or (self._diffs_wanted() and not self._tells_diffs)

    def _diffs_wanted(self) -> bool:
        return self.trains and (self._asked or self.run.diffs_watched())

    def _layers(self, fetched: tuple) -> Any:
        last = len(self.net.nodes) - 1
        self.run.forward_range(0, last, fetched)
        loss = self.run.objective(0, last)
        if self.trains:
            self.run.backward_range(last, 0)
        loss = torch.as_tensor(loss, dtype=torch.float32, device=self.net.context.device)
        return loss, {name: self.net.blobs[name].tensor() for name in self.net.outputs}

    def _kept(
        self, *fetched: list[torch.Tensor], trains: bool | None = None, diffs: bool = False
    ) -> Any:
        trains = self.trains if trains is None else trains
        if trains:
            self._random = self.net.context.random.get_state()
            self._weights.copy_(self.net.parameters.data)
        kept: dict[str, torch.Tensor] = {}
        gradients: dict[str, torch.Tensor] | None = {} if diffs else None
        function = self.net.forward_backward if trains else self.net.forward
        result = function(*fetched, kept=kept, diffs=gradients)
        self.run.take(kept)
        self.run.due = self._repeat if trains and gradients is None else None
        if gradients is not None:
            self.run.take_diffs(gradients)
        self._kept_blobs = kept
        return result

    def _ask(self) -> None:
        """Somebody reads or writes a diff."""
        self._asked = True
        if self.run.due is not None:
            due, self.run.due = self.run.due, None
            due()

    def _repeat(self) -> None:
        """Run the last pass again layer by layer, for the diffs it leaves in the blobs."""
        parameters, random = self.net.parameters, self.net.context.random
        weights, gradients = parameters.data.clone(), parameters.grad.clone()
        state = random.get_state()
        random.set_state(self._random)
        self.run.goes_backward = True
        try:
            with torch.no_grad():
                parameters.data.copy_(self._weights)
            self.run.repeat(self._kept_blobs)
        finally:
            random.set_state(state)
            with torch.no_grad():
                parameters.data.copy_(weights)
                parameters.grad.copy_(gradients)


class ShownSolver(Solver):
    """A Solver that leaves in its nets' blobs what Caffe leaves there.

    After a step a parameter's diff holds the update that was subtracted. callbacks: pairs of
    functions without arguments, called when an iteration starts and when its gradients are
    there. Otherwise as Solver.
    """

    resumes_exactly = False  # as Caffe's

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.callbacks: list[tuple[Callable[[], Any], Callable[[], Any]]] = []
        super().__init__(*arguments, **keywords)
        self.updater.leaves_step = True

    def make_passes(self, recorded: bool) -> None:
        self.runs = [Layerwise(net) for net in (self.net, *self.test_nets)]
        self.train_pass, *self.test_passes = [
            ShownPass(run, trains=number == 0) for number, run in enumerate(self.runs)
        ]

    def step(self, iterations: int) -> None:
        """Run so many iterations; the blobs show the last pass of the last one."""
        self.stopped = False
        self.train_pass.wanted = None if self.callbacks else iterations * self.param.iter_size
        try:
            super().step(iterations)
        finally:
            self.train_pass.wanted = None

    def apply_update(self) -> None:
        self.runs[0].begin()
        super().apply_update()

    def snapshot(self) -> None:
        self.runs[0].begin()
        super().snapshot()

    def restore(self, path: str) -> None:
        self.runs[0].begin()
        super().restore(path)

    def _clear_gradients(self) -> None:
        self.runs[0].clear_parameter_diffs()

    def _accumulate(self, debug: bool) -> Any:
        for on_start, _ in self.callbacks:
            on_start()
        return super()._accumulate(debug)

    def _gradients_ready(self) -> None:
        super()._gradients_ready()
        for _, on_gradients_ready in self.callbacks:
            on_gradients_ready()

    def _final_forward(self) -> Any:
        return self.train_pass.look()
