"""What the command line of every tool has in common: one-line errors and whole outputs."""

import argparse
import os
import sys
from contextlib import contextmanager

from netgen.errors import CaffeError


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line and exit status 1."""

    def __init__(self, **options):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message):
        self.exit(1, f"{self.prog}: {message} (--help tells more)\n")


def run(main):
    """Exit with main()'s status; a CaffeError or a missing file is one line and status 1."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader, `head` say, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        message = f"{where}{error.strerror or error}"
    except CaffeError as error:
        message = str(error)
    sys.exit(f"{os.path.basename(sys.argv[0]).removesuffix('.py')}: {message}")


def shape_of(text):
    """The type of an --input-shape: (3, 32, 32) for "3,32,32"."""
    try:
        shape = tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        shape = (0,)
    if min(shape, default=1) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of positive numbers like 3,32,32")
    return shape


@contextmanager
def replacing(path, mode="w", **options):
    """Open a temporary file beside `path` that takes its place when the block ends well."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    try:  # the error is to name `path`
        file = open(temporary, mode, **options)  # noqa: SIM115
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    try:
        with file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
