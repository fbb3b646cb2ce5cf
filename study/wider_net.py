"""Write a bundled net of the width at which it has about as many parameters as another net.

What follows `--` goes to `python -m netgen`: the net's name and options, without --width.
"""

from __future__ import annotations

import argparse
import sys

from netgen import schema
from netgen.commandline import Parser, run, say
from netgen.commands.render import render
from netgen.describe import describe
from netgen.schema import caffe_pb

EXAMPLE = """example:
  python -m study.wider_net child.prototxt -o wider.prototxt -- baseline --batch-size 64
"""
GRID = 192  # widths are multiples of 1 over the channels of All-CNN's widest layers
WIDEST = 99


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(arguments)
    wanted = parameters(schema.read_net(options.like))
    width, text = closest(wanted, options.words)
    count = parameters(schema.parse_text(text, caffe_pb.NetParameter))
    schema.write_bytes(text.encode(), options.output)
    say(f"Wrote {options.output}: width {width:.6g}, {count:,} parameters for {wanted:,}")
    return 0


def closest(wanted: int, words: list[str]) -> tuple[float, str]:
    """The width and the prototxt of the net whose parameters are nearest to `wanted`.

    words: the net's name and its options. Raises CaffeError.
    """

    def at(channels: int) -> tuple[int, float, str]:
        text = render([*words, "--width", f"{channels / GRID:.6g}"])
        return parameters(schema.parse_text(text, caffe_pb.NetParameter)), channels / GRID, text

    low, high = 1, WIDEST * GRID
    while high - low > 1:  # parameters grow with the width
        middle = (low + high) // 2
        if at(middle)[0] < wanted:
            low = middle
        else:
            high = middle
    _, width, text = min((at(low), at(high)), key=lambda net: abs(net[0] - wanted))
    return width, text


def parameters(net: caffe_pb.NetParameter) -> int:
    """How many weights and biases a net has."""
    return describe(net, caffe_pb.TEST)["totals"]["parameters"]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = Parser.documented("wider_net", __doc__, EXAMPLE)
    parser.add_argument("like", metavar="NET.prototxt", help="whose parameters are counted")
    parser.add_argument("-o", dest="output", required=True, metavar="FILE")
    words = list(sys.argv[1:] if arguments is None else arguments)
    cut = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:cut])
    options.words = words[cut + 1 :]
    if not options.words:
        parser.error("which net is to be widened comes after `--`")
    return options


if __name__ == "__main__":
    run(main)
