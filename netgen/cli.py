"""`python -m netgen`: nets, solvers, growth and tables on the command line."""

import os
import sys
from importlib import import_module

from netgen.commands.render import parse, text
from netgen.errors import CaffeError
from netgen.schema import write_bytes

#: command -> the module whose main(argv) it is, loaded when it is asked for
COMMANDS = {
    "describe": "netgen.commands.describe",
    "generate": "netgen.commands.generate",
    "plan": "netgen.commands.plan",
    "split": "netgen.commands.split",
    "tpm": "netgen.commands.tpm",
    "transfer": "netgen.commands.transfer",
}


def main(argv=None):
    """Run the command line; returns the exit status. An error is one line on stderr."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        status = _run(argv)
        sys.stdout.flush()
        return status
    except CaffeError as error:
        print(f"netgen: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Python would flush stdout again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(argv):
    if argv and argv[0] in COMMANDS:
        return import_module(COMMANDS[argv[0]]).main(argv[1:])
    args = parse(argv)
    written = text(args)
    if args.output is None:
        sys.stdout.write(written)
    else:
        write_bytes(written.encode(), args.output)
    return 0
