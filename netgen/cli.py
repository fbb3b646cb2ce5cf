"""`python -m netgen`: nets, solvers, growth and tables on the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from netgen.commandline import exit_status, print_error
from netgen.commands.render import parse, text
from netgen.schema import write_bytes

#: command -> the module whose main(argv) it is, loaded when it is asked for
COMMANDS = {
    "describe": "netgen.commands.describe",
    "fit": "netgen.commands.fit",
    "from-onnx": "netgen.commands.from_onnx",
    "generate": "netgen.commands.generate",
    "plan": "netgen.commands.plan",
    "split": "netgen.commands.split",
    "tpm": "netgen.commands.tpm",
    "transfer": "netgen.commands.transfer",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. An error is one line on stderr."""
    words = sys.argv[1:] if argv is None else list(argv)
    return exit_status(lambda: _run(words), lambda line: print_error("netgen", line))


def _run(argv: list[str]) -> int:
    if argv and argv[0] in COMMANDS:
        return import_module(COMMANDS[argv[0]]).main(argv[1:])
    args = parse(argv)
    written = text(args)
    if args.output is None:
        sys.stdout.write(written)
    else:
        write_bytes(written.encode(), args.output)
    return 0
