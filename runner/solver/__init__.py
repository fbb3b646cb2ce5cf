"""Caffe's solvers: the training loop, update rules, learning rates and snapshots."""

from runner.process.signals import Action
from runner.solver.solver import Solver
from runner.solver.updates import SOLVER_TYPES

__all__ = ["SOLVER_TYPES", "Action", "Solver"]
