"""The `caffe` command as a program."""

from netgen import start

start.begin()

import sys  # noqa: E402
from typing import NoReturn  # noqa: E402

from runner.commands import cli  # noqa: E402


def main() -> NoReturn:
    """Run `caffe` with the words of the command line, and exit with its status."""
    sys.exit(cli.main())
