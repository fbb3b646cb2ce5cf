"""While a command is being loaded an interrupt ends it without a word, as it ends a C program.

Whoever is a program imports this module first and calls `begin`. What is then imported takes its
time, and Python would answer Ctrl-C with a traceback from somewhere in it.
netgen.commandline gives the signal back to Python when the command's own work begins. Nothing but
what Python has loaded by then is imported here: that, too, could be interrupted.
"""

from __future__ import annotations

import _signal as signal  # what the module signal, which loads others, is made of


def begin() -> None:
    """Have SIGINT end the process, where nobody has another wish."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        _set(signal.SIG_DFL)


def end() -> None:
    """Have SIGINT raise KeyboardInterrupt again, where it ends the process."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        _set(signal.default_int_handler)


def _set(handler: object) -> None:
    try:  # noqa: SIM105  (contextlib is one of those that are not loaded yet)
        signal.signal(signal.SIGINT, handler)
    except ValueError:  # not in the main thread
        pass


class loading:
    """Have SIGINT end the process inside the with block, for an import that takes long."""

    def __enter__(self) -> None:
        begin()

    def __exit__(self, *error: object) -> None:
        end()
