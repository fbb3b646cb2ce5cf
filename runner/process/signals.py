"""SIGINT and SIGHUP as Caffe handles them, and SIGTERM: a flag, polled by the solver."""

from __future__ import annotations

import enum
import signal
from collections.abc import Callable

from netgen.errors import CaffeError


class Action(enum.Enum):
    """What a signal asks for, polled once an iteration and once a test batch."""

    NONE = 0
    STOP = 1
    SNAPSHOT = 2


EFFECTS = {"stop": Action.STOP, "snapshot": Action.SNAPSHOT, "none": Action.NONE}


def effect(name: str) -> Action:
    """The Action of -sigint_effect and its like. Raises CaffeError."""
    if name not in EFFECTS:
        raise CaffeError(f'Invalid signal effect "{name}" was specified')
    return EFFECTS[name]


class SignalHandler:
    """Catches SIGINT, SIGHUP and SIGTERM until `close`.

    `request()` gives, once, what they asked for. Anybody else who has to know of a signal takes a `listener()` of their own.
    """

    def __init__(self, sigint: Action, sighup: Action, sigterm: Action = Action.STOP) -> None:
        # They are looked at in this order.
        self._effects = {"SIGHUP": sighup, "SIGINT": sigint, "SIGTERM": sigterm}
        self._listeners: list[set[str]] = []
        self.request = self.listener()
        self._before = {
            name: signal.signal(getattr(signal, name), self._handle)
            for name in self._effects
            if hasattr(signal, name)
        }

    def close(self) -> None:
        """Put back the handlers that were there before."""
        for name, handler in self._before.items():
            signal.signal(getattr(signal, name), handler)

    def listener(self) -> Callable[[], Action]:
        """A function giving the Action of a signal that came since its last call, or NONE."""
        got: set[str] = set()
        self._listeners.append(got)

        def request():
            for name, action in self._effects.items():
                if name in got:
                    got.discard(name)
                    if action is not Action.NONE:
                        return action
            return Action.NONE

        return request

    def _handle(self, number, frame):
        for got in self._listeners:
            got.add(signal.Signals(number).name)
