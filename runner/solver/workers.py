"""What a Solver asks of the workers it trains with, and the answers of one that trains alone.

runner.parallel has those of a run of several processes.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from runner.process.signals import Action

Request = Callable[[], Action]


class Workers(ABC):
    """This process as one of the workers of a run: number `rank` of `count`."""

    rank: int
    count: int

    @property
    def root(self) -> bool:
        """Is this the worker that logs, displays, tests and snapshots?"""
        return self.rank == 0

    @abstractmethod
    def seed(self) -> int:
        """A seed for a run that names none, the same at every worker."""

    @abstractmethod
    def listen(self, request: Request) -> Request:
        """`request`, which gives the Action a signal asked for, with what else may ask."""

    @abstractmethod
    def together(self) -> AbstractContextManager:
        """A context for what may fail at one worker, and then has to fail at all."""

    @abstractmethod
    def training(self, solver: Any) -> AbstractContextManager:
        """The context to train `solver` in."""

    @abstractmethod
    def begin(self, solver: Any) -> None:
        """Take notice that an iteration of `solver` begins."""

    @abstractmethod
    def reduce(self, gradients: torch.Tensor, request: Request) -> None:
        """Make `gradients`, a flat tensor, the mean of all workers'; ask what is requested."""

    @abstractmethod
    def agreed(self, request: Request) -> Action:
        """The Action that is to follow this iteration, the same at every worker."""

    @abstractmethod
    def from_root(self, value: bool) -> bool:
        """The root's `value`, as soon as it has one."""


class Alone(Workers):
    """The only worker of a run."""

    rank, count = 0, 1

    def seed(self) -> int:
        return torch.seed() % 2**31

    def listen(self, request: Request) -> Request:
        return request

    def together(self) -> AbstractContextManager:
        return contextlib.nullcontext()

    def training(self, solver: Any) -> AbstractContextManager:
        return contextlib.nullcontext()

    def begin(self, solver: Any) -> None:
        pass

    def reduce(self, gradients: torch.Tensor, request: Request) -> None:
        pass

    def agreed(self, request: Request) -> Action:
        return request()

    def from_root(self, value: bool) -> bool:
        return value
