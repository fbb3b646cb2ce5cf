"""What a Solver asks of the workers it trains with, answered by one that trains alone."""

import contextlib

import torch


class Alone:
    """The only worker of a run. rank: its number among `count` workers."""

    rank, count = 0, 1

    @property
    def root(self):
        """Is this the worker that logs, displays, tests and snapshots?"""
        return self.rank == 0

    def seed(self):
        """A seed for a run that names none, the same at every worker."""
        return torch.seed() % 2**31

    def listen(self, request):
        """`request`, which gives the Action a signal asked for, with what else may ask."""
        return request

    def together(self):
        """A context for what may fail at one worker, and then has to fail at all."""
        return contextlib.nullcontext()

    def training(self, solver):
        """The context to train `solver` in."""
        return contextlib.nullcontext()

    def begin(self, solver):
        """Told that an iteration of `solver` begins."""

    def reduce(self, gradients, request):
        """Make `gradients`, a flat tensor, the mean of all workers'; ask what is requested."""

    def agreed(self, request):
        """The Action that is to follow this iteration, the same at every worker."""
        return request()

    def from_root(self, value):
        """The root's `value`, a bool, as soon as it has one."""
        return value
