"""Flags in every spelling that gflags takes, for the programs that have Caffe's own flags."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Sequence

from netgen.commandline import Parser

_WORDS = {"true": True, "t": True, "yes": True, "y": True, "1": True,
          "false": False, "f": False, "no": False, "n": False, "0": False}  # fmt: skip


class FlagParser(Parser):
    """A Parser of flags like -gray, --gray, -nogray, -gray=false, -backend x and --backend=x.

    Flags and words may be mixed, and `--` ends the flags.
    """

    def __init__(self, prog: str, doc: str, usage: str) -> None:
        super().__init__(prog=prog, usage=usage, description=doc, allow_abbrev=False)
        self._switches: set[str] = set()

    def switch(self, name: str, text: str) -> None:
        """Add a flag that is on or off, off at first."""
        self._switches.add(name)
        self.add_argument(f"-{name}", type=_switch, default=False, metavar="true|false", help=text)

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The values of the flags and positional arguments; exits where they are wrong."""
        return self.parse_args(list(_plain(arguments, self._switches)))


def _switch(text: str) -> bool:
    if text.lower() not in _WORDS:
        raise argparse.ArgumentTypeError(f"'{text}' is neither true nor false")
    return _WORDS[text.lower()]


def _plain(arguments: Sequence[str], switches: Collection[str]) -> Iterator[str]:
    """The same arguments, each flag as -name=value in one word, or -name and a word."""
    rest = iter(arguments)
    for word in rest:
        if word == "--":
            yield from (word, *rest)
        elif not word.startswith("-") or word == "-":
            yield word
        else:
            name, equals, value = word.lstrip("-").partition("=")
            if equals:
                yield f"-{name}={value}"
            elif name in switches:
                yield f"-{name}=true"
            elif name.startswith("no") and name[2:] in switches:
                yield f"-{name[2:]}=false"
            elif name in ("h", "help"):
                yield "--help"
            else:
                yield f"-{name}={next(rest, '')}"
