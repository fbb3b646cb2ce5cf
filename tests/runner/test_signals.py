import contextlib
import signal

import pytest

from netgen.errors import CaffeError
from runner.process.signals import SignalHandler, effect
from runner.solver import Action


@pytest.fixture
def listen():
    with contextlib.ExitStack() as stack:
        yield lambda *effects: stack.enter_context(contextlib.closing(SignalHandler(*effects)))


def requests(handler):
    """Requests up to the first NONE, as the solver asks them in a test pass."""
    return list(iter(handler.request, Action.NONE))


def test_a_signal_is_told_once_and_hangups_come_first(listen):
    handler = listen(Action.STOP, Action.SNAPSHOT)
    assert requests(handler) == []
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGINT):
        signal.raise_signal(number)
    assert requests(handler) == [Action.SNAPSHOT, Action.STOP]
    assert requests(handler) == []


def test_a_signal_without_effect_hides_no_other(listen):
    handler = listen(Action.STOP, Action.NONE)
    signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGINT)
    assert requests(handler) == [Action.STOP]


def test_the_names_of_effects():
    assert [effect(name) for name in ("stop", "snapshot", "none")] == [
        Action.STOP, Action.SNAPSHOT, Action.NONE,
    ]  # fmt: skip
    with pytest.raises(CaffeError, match='^Invalid signal effect "Stop" was specified$'):
        effect("Stop")
