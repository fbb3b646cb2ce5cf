"""Write a bundled net of the width at which it has about as many parameters as another net.

What follows `--` goes to `python -m netgen`: the net's name and options, without --width.
"""

import sys

from netgen import schema
from netgen.commandline import Parser, run
from netgen.commands.render import render
from netgen.describe import describe
from netgen.schema import caffe_pb

EXAMPLE = """example:
  python -m study.wider_net child.prototxt -o wider.prototxt -- baseline --batch-size 64
"""
STEP = 192  # channels of the widest layers of All-CNN: the finest step of its width
WIDEST = 99


def main(arguments=None):
    options = parse(arguments)
    wanted = parameters(schema.read_net(options.like))
    width, text = closest(wanted, options.words)
    count = parameters(schema.parse_text(text, caffe_pb.NetParameter))
    schema.write_bytes(text.encode(), options.output)
    print(f"Wrote {options.output}: width {width:.6g}, {count:,} parameters for {wanted:,}")
    return 0


def closest(wanted, words):
    """(width, prototxt) of the net whose parameters are nearest to `wanted`. CaffeError."""

    def at(step):
        text = render([*words, "--width", f"{step / STEP:.6g}"])
        return parameters(schema.parse_text(text, caffe_pb.NetParameter)), step / STEP, text

    low, high = 1, WIDEST * STEP
    while high - low > 1:  # parameters grow with the width
        middle = (low + high) // 2
        if at(middle)[0] < wanted:
            low = middle
        else:
            high = middle
    _, width, text = min((at(low), at(high)), key=lambda net: abs(net[0] - wanted))
    return width, text


def parameters(net):
    return describe(net, caffe_pb.TEST)["totals"]["parameters"]


def parse(arguments):
    description, _, details = __doc__.partition("\n\n")
    parser = Parser(prog="wider_net", description=description, epilog=f"{details}\n{EXAMPLE}")
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
