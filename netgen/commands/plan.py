"""`python -m netgen plan TPM.json`: a plan of the layers to split."""

import argparse
import os
import sys

from netgen import schema
from netgen.commandline import Parser
from netgen.growth.choose import CHOICES, FACTOR, make_plan, others
from netgen.growth.errors import PlanError
from netgen.growth.kinds import KINDS
from netgen.growth.measurement import read_tpm
from netgen.growth.partition import CUTS, PARTITIONS
from netgen.growth.plan import read_plan, to_json


def main(argv: list[str]) -> int:
    """Run the command on argv (a list of strings); returns the exit status."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.seed is not None and "random" not in (args.partition, args.choose):
        parser.error("--seed goes with --partition random and --choose random")
    if (args.choose is None) != (args.like is None):
        parser.error("--choose and --like go together")
    if args.choose and args.layers:
        parser.error("--choose does not go with --layers")
    try:
        measured, layers = read_tpm(args.tpm), args.layers
        if args.choose:
            count = len(read_plan(args.like).layers)
            layers = others(measured, args.choose, count, args.seed or 0)
        plan = make_plan(
            measured,
            args.factor,
            layers,
            args.kind,
            args.partition,
            args.seed or 0,
            args.cut,
        )
    except PlanError as error:
        raise PlanError(f"{args.tpm}: {error}") from None
    if args.choose:
        plan.meta["choose"] = args.choose
    plan.meta["tpm"] = os.path.basename(args.tpm)
    if args.output:
        schema.write_bytes(to_json(plan).encode(), args.output)
    else:
        sys.stdout.write(to_json(plan))
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m netgen plan",
        formatter_class=argparse.HelpFormatter,
        description="Choose layers to split, and their fast and slow kernels, from a measurement "
        "of `tpm --json`. Without --layers: all whose entropy, corrected for how many kernels "
        "they have, is at least --factor times the mean (a layer of few kernels needs more), but "
        "for the classifier and the glue of earlier splits.",
    )
    add = parser.add_argument
    add("tpm", metavar="TPM.json")
    layers = parser.add_mutually_exclusive_group()
    layers.add_argument(
        "--factor",
        type=_factor,
        default=FACTOR,
        metavar="F",
        help=f"times the mean entropy ({FACTOR})",
    )
    layers.add_argument("--layers", type=_names, metavar="A,B", help="these layers")
    add(
        "--choose",
        choices=CHOICES,
        help="controls of the choice of layers: those of the lowest entropy, or drawn",
    )
    add("--like", metavar="PLAN.json", help="choose as many layers as this plan has")
    add("--kind", choices=KINDS, default="residual", help="of split (residual)")
    add(
        "--partition",
        choices=PARTITIONS,
        default=PARTITIONS[0],
        help="tpm: the straightest kernels are fast; inverse: the others; random: drawn",
    )
    add("--seed", type=int, metavar="N", help="of what is random (0)")
    add(
        "--cut",
        choices=CUTS,
        default=CUTS[0],
        help="half: as many fast as slow; value: between the TPMs that differ most",
    )
    add("-o", "--output", metavar="FILE", help="write to FILE, not to stdout")
    return parser


def _factor(text: str) -> float:
    factor = float(text)
    if not 0 <= factor < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a factor of the mean")
    return factor


def _names(text: str) -> list[str]:
    names = text.split(",")
    if not all(names):
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of layers like conv1,conv2")
    return names
