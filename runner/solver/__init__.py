"""Caffe's solvers: the training loop, update rules, learning rates and snapshots."""

from runner.solver.solver import Action, Solver
from runner.solver.updates import SOLVER_TYPES

__all__ = ["SOLVER_TYPES", "Action", "Solver"]
