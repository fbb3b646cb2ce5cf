"""Caffe's solvers: the training loop, update rules, learning rates and snapshots."""

from netgen.schema import SOLVER_TYPES
from runner.process.signals import Action
from runner.solver.solver import Solver

__all__ = ["SOLVER_TYPES", "Action", "Solver"]
