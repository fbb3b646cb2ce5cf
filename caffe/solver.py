"""The solvers: caffe.get_solver, caffe.SGDSolver and the other types by name."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from caffe._engine import (
    ShownSolver,
    fatal,
    learning_rate_of,
    make_solver,
    raising_interrupts,
    read_solver,
)
from caffe.pycaffe import Fixed, Net, NetVec, _text


class SolverParameter:
    """What a solver shows of its SolverParameter; base_lr can be set, and counts at once."""

    def __init__(self, param: Any) -> None:
        self._param = param

    @property
    def max_iter(self) -> int:
        return self._param.max_iter

    @property
    def display(self) -> int:
        return self._param.display

    @property
    def layer_wise_reduce(self) -> bool:
        return self._param.layer_wise_reduce

    @property
    def base_lr(self) -> float:
        return self._param.base_lr

    @base_lr.setter
    def base_lr(self, rate: float) -> None:
        self._param.base_lr = rate


class Solver(Fixed):
    """Trains a net as a solver prototxt says.

    net: the net that is trained; test_nets: those that are tested, whose weights are their own
    until they are tested or share the trained net's. Raises RuntimeError for what Caffe refuses.
    """

    type = ""
    fixed = frozenset(("net", "param", "test_nets"))

    def __init__(self, solver_file: str) -> None:
        param = read_solver(_text(solver_file, "solver_file"))
        if self.type:
            param.type = self.type
        self._take(make_solver(param))

    def _take(self, solver: ShownSolver) -> None:
        self._solver = solver
        self.net, *tests = [Net._of(run) for run in solver.runs]
        self.test_nets = NetVec(tests)
        self.param = SolverParameter(solver.param)

    @property
    def iter(self) -> int:
        """How many iterations have been done."""
        return self._solver.iter

    def step(self, iterations: int) -> None:
        """Run so many iterations, with the tests, displays and snapshots that are due.

        Afterwards blobs hold the data and diffs of the last batch, and the parameters' diffs
        what was subtracted from them. Ctrl-C ends it after an iteration.
        """
        try:
            count = operator.index(iterations)
        except TypeError:
            raise TypeError(f"step takes a whole number, not {iterations!r}") from None
        with fatal(), raising_interrupts(self._solver):
            self._solver.step(count)

    def solve(self, state_file: str | None = None) -> None:
        """Train to max_iter, then snapshot, display and test as the solver says.

        state_file: a .solverstate to go on from.
        """
        if state_file is not None:
            self.restore(state_file)
        with fatal(), raising_interrupts(self._solver):
            self._solver.solve()

    def restore(self, state_file: str) -> None:
        """Go on from a .solverstate or .solverstate.h5."""
        with fatal():
            self._solver.restore(_text(state_file, "state_file"))

    def snapshot(self) -> None:
        """Write a snapshot now."""
        with fatal():
            self._solver.snapshot()

    def apply_update(self) -> None:
        """Update the parameters from what lies in their diffs; this counts as an iteration."""
        with fatal():
            self._solver.apply_update()

    def add_callback(
        self, on_start: Callable[[], Any], on_gradients_ready: Callable[[], Any]
    ) -> None:
        """Have these called in each iteration: at its start, and before its update."""
        self._solver.callbacks.append((on_start, on_gradients_ready))

    def share_weights(self, net: Net) -> None:
        """Have `net` use the weights of the net that is trained."""
        net.share_with(self.net)


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum, whatever type the file names."""

    type = "SGD"

    @property
    def lr(self) -> float:
        """The rate of the next update."""
        with fatal():
            return learning_rate_of(self._solver)


class NesterovSolver(SGDSolver):
    """Nesterov's accelerated gradient."""

    type = "Nesterov"


class AdaGradSolver(SGDSolver):
    """AdaGrad."""

    type = "AdaGrad"


class RMSPropSolver(SGDSolver):
    """RMSProp."""

    type = "RMSProp"


class AdaDeltaSolver(SGDSolver):
    """AdaDelta."""

    type = "AdaDelta"


class AdamSolver(SGDSolver):
    """Adam."""

    type = "Adam"


_TYPES = {
    kind.type: kind
    for kind in (
        SGDSolver,
        NesterovSolver,
        AdaGradSolver,
        RMSPropSolver,
        AdaDeltaSolver,
        AdamSolver,
    )
}


def get_solver(solver_file: str) -> Solver:
    """The solver of a prototxt file, of the class that its type names."""
    param = read_solver(_text(solver_file, "solver_file"))
    made = make_solver(param)
    # A type that Caffe lacks, registered in netgen.schema.solver_types, is an SGDSolver here.
    kind = _TYPES.get(param.type, SGDSolver)
    solver = kind.__new__(kind)
    solver._take(made)
    return solver
