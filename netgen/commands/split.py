"""`python -m netgen split NET.prototxt --plan PLAN`: the child net of a plan."""

import argparse
import shlex
import sys

from netgen import graph, schema
from netgen.commandline import Parser
from netgen.errors import CaffeError
from netgen.growth.errors import SplitError
from netgen.growth.plan import read_plan
from netgen.growth.split import split_net
from netgen.own_layers import add_layers_option


def main(argv: list[str]) -> int:
    """Run the command on argv (a list of strings); returns the exit status."""
    args = _parser().parse_args(argv)
    net, plan = schema.read_net(args.net), read_plan(args.plan)
    try:
        child = split_net(net, plan, graph.record_shape).child
    except (SplitError, graph.NetError) as error:
        raise CaffeError(f"{args.net}: {error}") from None
    if args.name is not None:
        child.name = args.name
    named = ["--name", args.name] if args.name is not None else []
    words = ["python", "-m", "netgen", "split", args.net, "--plan", args.plan, *named]
    text = f"# {' '.join(shlex.join(words).splitlines())}\n{schema.to_text(child)}"
    if args.output is None:
        sys.stdout.buffer.write(schema.encode(text))
    else:
        schema.write_bytes(schema.encode(text), args.output)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m netgen split",
        formatter_class=argparse.HelpFormatter,
        allow_abbrev=False,
        description="Write the net in which every layer of a plan is split: a fast part, kept as "
        "it is, and a slow part with something beside it. The rest of the net stays.",
        epilog="example: python -m netgen split prototxt/baseline.prototxt "
        "--plan round1.plan.json > child.prototxt",
    )
    add = parser.add_argument
    add("net", metavar="NET.prototxt", help="train and test net in one file, or a deploy net")
    add("--plan", required=True, metavar="PLAN.json", help="as `python -m netgen plan` writes it")
    add("--name", metavar="NAME", help="the child net's name (the parent's)")
    add("-o", "--output", metavar="FILE", help="write to FILE, not to stdout")
    add_layers_option(parser)
    return parser
