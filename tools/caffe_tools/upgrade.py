"""What Caffe's three programs that upgrade old files have in common.

A program reads a net or solver of any of Caffe's formats, logs what is upgraded in Caffe's lines, and
writes it in the current format.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf.message import Message

from netgen import own_layers, schema
from netgen.commandline import Parser, run
from runner.log import glog, upgrades


class Program(NamedTuple):
    """A program: its name, what it reads and writes, and how that is brought up to date.

    what: what Caffe's log calls the file. wrote_in: the line that says it is written.
    """

    name: str
    doc: str
    what: str
    message: type[Message]
    read: Callable[..., Any]
    upgrade: Callable[[Any], list[str]]
    write: Callable[[Any, str], None]
    wrote_in: int

    def main(self, arguments: list[str] | None = None) -> int:
        """Run the command; returns the exit status, 1 where something could not be upgraded."""
        parser = Parser.documented(self.name, self.doc)
        kind = "solver" if "solver" in self.name else "net"
        parser.add_argument("old", metavar=f"{kind}_proto_file_in")
        parser.add_argument("new", metavar=f"{kind}_proto_file_out")
        options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
        own_layers.load_environment()
        message = self.read(options.old, self.message)
        try:
            notes = self.upgrade(message)
        except schema.SchemaError as error:
            raise schema.SchemaError(f"{options.old}: {error}") from None
        problems = upgrades.tell(notes, options.old)
        if not notes:
            glog.error(f"File already in latest proto format: {options.old}", f"{self.name}.cpp:43")
        elif problems:
            glog.error(
                "Encountered error(s) while upgrading prototxt; see details above.",
                f"{self.name}.cpp:39",
            )
        self.write(message, options.new)
        glog.info(
            f"Wrote upgraded {self.what} proto to {options.new}", f"{self.name}.cpp:{self.wrote_in}"
        )
        return 1 if problems else 0

    def command(self) -> None:
        """Run the command as a program of its own."""
        run(self.main, self.name)
