"""The base of every error that a user can cause, and the one line that is shown of an error."""

from __future__ import annotations

import re


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


BYTE = 0x10FF00  # the private character that stands for the byte 0 where text is not UTF-8
_ESCAPED = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
    "\U0010ff80-\U0010ffff]"
)


def printable(text: str) -> str:
    r"""Text that a terminal, a log or a figure shows as it is: \x1b for an escape character.

    Names come from files of others. Line feeds, which forge lines of a log, are \n in it, and
    \304 stands where the byte 0xC4 is not UTF-8, as protobuf shows it, and \u202e where what
    follows would be shown from right to left.
    """
    return text if text.isprintable() else _ESCAPED.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    char, number = found[0], ord(found[0])
    if number >= BYTE:
        return f"\\{number - BYTE:03o}"
    if "\udc80" <= char <= "\udcff":  # a byte of a file's name
        return f"\\{number & 0xFF:03o}"
    code = f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
    return {"\n": "\\n", "\r": "\\r"}.get(char, code)


def line_of(error: BaseException) -> str | None:
    """The line that a person is shown of an error; None for one that only a programmer can mend.

    Besides CaffeError those are what the machine refuses: files, memory, a GPU's memory, and what
    a GPU, which cannot say more, finds out of range.
    """
    if isinstance(error, CaffeError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"out of memory: {error}" if str(error) else "out of memory"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    if isinstance(error, UnicodeEncodeError):  # of a word of the command line, say
        return f"'{printable(error.object)}' is not {error.encoding.upper()}"
    text = str(error)
    if isinstance(error, ValueError) and "null byte" in text:
        return "a file's name holds a null byte"
    if isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate" in text):
        return text.splitlines()[0]
    if isinstance(error, RuntimeError) and "device-side assert" in text:
        return (
            "the GPU found an index outside its range, such as a label that no class has; on the "
            "CPU the same command names the layer (leave out -gpu, or solver_mode: CPU)"
        )
    return None
