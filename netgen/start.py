"""While a command is being loaded an interrupt ends it without a word, as it ends a C program.

Importing this module says that a command begins: whoever is a program imports it first. What is
then imported takes its time, and Python would answer Ctrl-C with a traceback from somewhere in
it. netgen.commandline gives the signal back to Python when the command's own work begins.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


def begin() -> None:
    """Have SIGINT end the process, where nobody has another wish."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def end() -> None:
    """Have SIGINT raise KeyboardInterrupt again, where it ends the process."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Have SIGINT end the process inside the with block, for an import that takes long."""
    begin()
    try:
        yield
    finally:
        end()
