"""`python -m netgen describe NET.prototxt`: shapes, parameters and multiply-adds of a net."""

import argparse
import json
import sys

from netgen import graph, schema
from netgen.commandline import Parser, say, shape_of
from netgen.describe import DEFINITIONS, describe, table
from netgen.errors import CaffeError
from netgen.own_layers import add_layers_option
from netgen.schema import caffe_pb

_HINT = "give it with --input-shape C,H,W or --blob-shape BLOB=N,C,H,W"


def main(argv: list[str] | None = None) -> int:
    """Run the command on argv (a list of strings); returns the exit status."""
    args = _parser().parse_args(argv)
    notes: list[str] = []
    try:
        described = describe(
            schema.read_net(args.net, notes),
            phase=caffe_pb.Phase.Value(args.phase),
            level=args.level,
            stages=args.stage,
            input_shape=args.input_shape,
            blob_shapes=dict(args.blob_shape),
        )
    except graph.UnknownShapeError as error:
        raise CaffeError(f"{args.net}: {error}; {_HINT}") from None
    except graph.NetError as error:
        raise CaffeError(f"{args.net}: {error}") from None
    if args.json:
        print(json.dumps(described, indent=2))
    else:
        for note in [n for n in notes if n.startswith("skipped")] + described["notes"]:
            say(f"note: {note}", file=sys.stderr)
        say(*table(described))
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m netgen describe",
        formatter_class=argparse.HelpFormatter,
        description="Print each layer's top shapes, parameters and multiply-adds, and the totals.",
        epilog=DEFINITIONS,
    )
    parser.add_argument("net", metavar="NET.prototxt", help="text prototxt, old formats included")
    parser.add_argument("--phase", choices=("TRAIN", "TEST"), default="TRAIN")
    parser.add_argument("--level", type=_level, default=0, help="the net state's level (default 0)")
    parser.add_argument(
        "--stage", action="append", default=[], help="a stage of the net state; repeatable"
    )
    parser.add_argument(
        "--input-shape",
        type=shape_of,
        metavar="C,H,W",
        help="shape of one record of the data layers; without it the source is looked at, "
        "and if it is not there, crop_size and 3 channels are assumed",
    )
    parser.add_argument(
        "--blob-shape",
        type=_blob_shape,
        action="append",
        default=[],
        metavar="BLOB=N,C,H,W",
        help="shape of a blob known only when the net runs (Python layers, an Input without "
        "shape); repeatable",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    add_layers_option(parser)
    return parser


def _level(text: str) -> int:
    level = int(text)
    if not -(2**31) <= level < 2**31:
        raise argparse.ArgumentTypeError(f"{level} is not a 32-bit integer")
    return level


def _blob_shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, equals, shape = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form BLOB=N,C,H,W")
    return name, shape_of(shape)
