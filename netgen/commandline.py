"""What all command lines have in common: one parser and one way to fail."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable
from typing import IO, Any, NoReturn

from netgen import start
from netgen.errors import CaffeError, line_of, printable

# As a shell reports a program that a signal ended: 128 and the signal's number.
INTERRUPTED = 130  # SIGINT
READER_GONE = 141  # SIGPIPE


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line on stderr and exit status 1.

    Description and epilog are printed as they are written, unless `formatter_class` is given.
    """

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options)

    @classmethod
    def documented(cls, prog: str, doc: str, examples: str = "", **options: Any) -> Parser:
        """The Parser of a module: its docstring begins the help, and ends it before examples.

        The first paragraph of `doc` is the description, the others are the epilog.
        """
        description, _, details = doc.partition("\n\n")
        epilog = "\n".join(filter(None, (details, examples)))
        return cls(prog=prog, description=description, epilog=epilog, **options)

    def error(self, message: str) -> NoReturn:
        """Print the message with the program's name before it, and exit with status 1."""
        print_error(self.prog, f"{message} (--help tells more)")
        sys.exit(1)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print what --help and --version print; argparse's own takes no notice of a full disk."""
        if message and (file or sys.stderr) is not None:
            (file or sys.stderr).write(message)


def shape_of(text: str) -> tuple[int, ...]:
    """The type of an --input-shape: (3, 32, 32) for "3,32,32"."""
    try:
        shape = tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        shape = (0,)
    if min(shape, default=1) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of positive numbers like 3,32,32")
    return shape


def sides_of(text: str) -> tuple[int, int]:
    """The type of an image's size: (32, 32) for "32", (48, 64) for "48x64", height by width."""
    height, by, width = text.partition("x")
    sides = (height, width) if by else (height, height)
    if not all(side.isascii() and side.isdigit() and 0 < int(side) <= 1 << 14 for side in sides):
        raise argparse.ArgumentTypeError(f"'{text}' is not a size in pixels, 32 or 48x64")
    return int(sides[0]), int(sides[1])


def print_error(program: str, message: object) -> None:
    """Print `program: message` on stderr, as one line whatever the message holds."""
    line = printable(" ".join(str(message).splitlines()))
    if sys.stderr is not None:
        with contextlib.suppress(OSError):  # closed, or on a full disk
            print(f"{program}: {line}", file=sys.stderr, flush=True)


def say(*lines: str, file: IO[str] | None = None) -> None:
    """Print lines for a person, on stdout or to `file`; names in them are as `printable` has them."""
    print(*map(printable, lines), sep="\n", file=file, flush=True)


def exit_status(main: Callable[[], int | None], tell: Callable[[str], object]) -> int:
    """The exit status of a command whose work is `main`; of an error, its one line goes to `tell`.

    main returns its status, None for 0. An interrupt and a reader that went away (`head` has
    seen enough) end the command without a word. What is nobody's input keeps its traceback.
    """
    _hold_descriptors()
    try:
        _name_stdout()
        start.end()
        try:
            status = main()
        except SystemExit:  # of the parser: --help, --version
            _flush()
            raise
        _flush()
        return status or 0
    except KeyboardInterrupt:
        start.begin()  # whoever interrupts again does not wait for the end
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return READER_GONE
    except Exception as error:
        line = line_of(error)
        if line is None:
            raise
        tell(line)
        try:
            _flush()
        except OSError:  # what was printed cannot be written: the disk is full, say
            _drop_output()
        return error.status if isinstance(error, CaffeError) else 1


def _hold_descriptors() -> None:
    """Have something at 0, 1 and 2 where they were closed: no other file may come to lie there.

    It would receive what C libraries write to stderr.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


class _Stdout(io.FileIO):
    """Descriptor 1, whose errors name it as those of a file name the file."""

    def write(self, data: Any) -> Any:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = "stdout"
            raise


def _name_stdout() -> None:
    """Have what cannot be printed be an error of "stdout", and not of nobody knows what.

    A name that the encoding of a locale does not have is printed with escapes.
    """
    out = sys.stdout
    if type(out) is not io.TextIOWrapper or out.fileno() != 1:
        return  # a caller's own
    below = getattr(out.buffer, "raw", out.buffer)  # of -u there is no buffer
    if isinstance(below, _Stdout):
        return
    out.flush()
    raw = _Stdout(1, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        raw if below is out.buffer else io.BufferedWriter(raw),
        encoding=out.encoding,
        errors="backslashreplace" if out.errors == "strict" else out.errors,
        line_buffering=out.line_buffering,
        write_through=out.write_through,
    )


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _drop_output() -> None:
    """Let go of what stdout still holds; Python would flush it at its end, and complain."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(main: Callable[[], int | None], program: str | None = None) -> NoReturn:
    """Exit with the status of the command `main`, its errors printed under the program's name.

    program: by default the name of the script, or of the package that was run with `-m`.
    """
    sys.exit(exit_status(main, lambda line: print_error(program or _program(), line)))


def _program() -> str:
    folder, name = os.path.split(sys.argv[0])
    return os.path.basename(folder) if name == "__main__.py" else name.removesuffix(".py")
