"""The base of every error that a user can cause, and the one line that is shown of an error."""

from __future__ import annotations


class CaffeError(ValueError):
    """An expected failure: str(error) is the one line that a person is shown.

    Commands print that line and exit with `status`; anything else that is raised is a fault of
    the project and keeps its traceback (see line_of).
    """

    status = 1


class FatalError(CaffeError, RuntimeError):
    """What ends the process in Caffe, for people who call the engine from Python.

    They expect a RuntimeError, which is what pycaffe raises where it raises at all.
    """


def printable(text: str) -> str:
    r"""Text that a terminal or a log shows as it is: \x1b where an escape character stands.

    Names come from files of others. Line feeds, which forge lines of a log, are \n in it.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char == "\t" or not (char < " " or "\x7f" <= char < "\xa0") else _escaped(char)
        for char in text
    )


def _escaped(char: str) -> str:
    return {"\n": "\\n", "\r": "\\r"}.get(char, f"\\x{ord(char):02x}")


def line_of(error: BaseException) -> str | None:
    """The line that a person is shown of an error; None for one that only a programmer can mend.

    Besides CaffeError those are what the machine refuses: files, memory, a GPU's memory.
    """
    if isinstance(error, CaffeError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"out of memory: {error}" if str(error) else "out of memory"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    text = str(error)
    if isinstance(error, ValueError) and "null byte" in text:
        return "a file's name holds a null byte"
    if isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate" in text):
        return text.splitlines()[0]
    return None
