"""`python -m netgen tpm NET.prototxt SNAPSHOT...`: the table of TPM ratio entropies."""

import argparse
import sys

from netgen import graph, schema
from netgen.commandline import Parser, say
from netgen.errors import CaffeError
from netgen.growth.measurement import table
from netgen.growth.tpm import measure
from netgen.own_layers import add_layers_option


def main(argv: list[str]) -> int:
    """Run the command on argv (a list of strings); returns the exit status."""
    args = _parser().parse_intermixed_args(argv)
    if args.bins < 2:
        raise CaffeError(f"--bins {args.bins}: a histogram takes at least 2")
    if args.window and args.window[0] > args.window[1]:
        raise CaffeError(f"--window {args.window[0]} {args.window[1]}: the end is before the start")
    solver = schema.read_solver(args.solver) if args.solver else None
    net = schema.read_net(args.net)
    try:
        measured = measure(net, args.snapshots, args.window, args.bins, solver)
    except graph.NetError as error:
        raise CaffeError(f"{args.net}: {error}") from None
    if args.json:
        schema.write_bytes(measured.to_json().encode(), args.json)
    for warning in measured.warnings:
        say(f"warning: {warning}", file=sys.stderr)
    say(*table(measured))
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m netgen tpm",
        formatter_class=argparse.HelpFormatter,
        description="Print how much the kernels of each convolution differ in the straightness "
        "of their way (TPM) through a window of training: high entropy, worth "
        "splitting.",
    )
    add = parser.add_argument
    add("net", metavar="NET.prototxt")
    add(
        "snapshots",
        nargs="+",
        metavar="SNAPSHOT",
        help="PREFIX_iter_N.caffemodel or .caffemodel.h5, in any order; equally spaced",
    )
    add(
        "--window",
        nargs=2,
        type=int,
        metavar=("A", "B"),
        help="only the snapshots from iteration A to B, both included",
    )
    add("--bins", type=int, default=10, metavar="N", help="of the histogram over 0..1 (10)")
    add(
        "--solver",
        metavar="SOLVER.prototxt",
        help="says where the rate drops; without it the solver states beside the snapshots do",
    )
    add("--json", metavar="FILE", help="write everything that was measured, for plan and plot")
    add_layers_option(parser)
    return parser
