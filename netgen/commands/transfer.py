"""`python -m netgen transfer NET.prototxt WEIGHTS.caffemodel --plan PLAN`: the child's weights."""

import argparse
import sys

from netgen import graph, schema
from netgen.commandline import Parser
from netgen.errors import CaffeError
from netgen.growth.errors import SplitError, TransferError
from netgen.growth.history import grow_history
from netgen.growth.plan import read_plan
from netgen.growth.split import split_net
from netgen.growth.start import INITS, NOISE, PRES, Init
from netgen.growth.transfer import arrays, transfer_weights
from netgen.own_layers import add_layers_option


def main(argv: list[str]) -> int:
    """Run the command on argv (a list of strings); returns the exit status."""
    args = _parser().parse_args(argv)
    _check(args)
    net, weights = schema.read_net(args.net), schema.read_caffemodel(args.weights)
    plan = read_plan(args.plan)
    gradient = arrays(schema.read_caffemodel(args.gradient)) if args.gradient else None
    init = Init(args.init, args.noise, args.seed, args.residual_pre, gradient)
    try:
        split = split_net(net, plan, graph.record_shape)
        child = transfer_weights(split, weights, init)
    except (SplitError, graph.NetError) as error:
        raise CaffeError(f"{args.net}: {error}") from None
    except (TransferError, schema.SchemaError) as error:
        raise CaffeError(f"{args.weights}: {error}") from None
    if args.history:
        state = schema.read_solverstate(args.history)
        try:
            state = grow_history(split, weights, child, state, args.output)
        except (TransferError, schema.SchemaError) as error:
            raise CaffeError(f"{args.history}: {error}") from None
    if args.output is None:
        sys.stdout.buffer.write(schema.to_wire(child))
        return 0
    schema.write_binary(child, args.output)
    if args.history:
        schema.write_binary(state, args.history_out)
    return 0


def _check(args: argparse.Namespace) -> None:
    if (args.residual_pre == "gradient") != (args.gradient is not None):
        raise CaffeError("--residual-pre gradient and --gradient go together")
    if (args.history is None) != (args.history_out is None):
        raise CaffeError("--history and --history-out go together")
    if args.history is not None and args.output is None:
        raise CaffeError("--history needs -o: the solver state names the child's weights")
    if args.output is None and sys.stdout.isatty():
        raise CaffeError(
            "weights are binary and would garble the terminal: give -o FILE, or > FILE"
        )


def _parser() -> Parser:
    parser = Parser(
        prog="python -m netgen transfer",
        allow_abbrev=False,
        description="Write the weights of the child net that `split` makes of NET and the plan.\n"
        "  study     starts near the parent: the residual takes part at once\n"
        "  preserve  computes what the parent did: the residual starts at 0",
        epilog="examples:\n"
        "  python -m netgen transfer prototxt/baseline.prototxt "
        "snapshots/baseline_iter_1000.caffemodel \\\n"
        "      --plan round1.plan.json -o child.caffemodel\n"
        "  ... --history snapshots/baseline_iter_1000.solverstate "
        "--history-out child.solverstate\n",
    )
    add = parser.add_argument
    add("net", metavar="NET.prototxt", help="the parent's")
    add("weights", metavar="WEIGHTS.caffemodel", help="the parent's")
    add("--plan", required=True, metavar="PLAN.json", help="as `python -m netgen plan` writes it")
    add("--init", choices=INITS, default="study", help="study by default")
    add(
        "--noise",
        type=float,
        metavar="S",
        help=f"standard deviation of the noise on new 1x1 weights ({NOISE}; none with preserve)",
    )
    add("--seed", type=int, default=0, metavar="N", help="of what is drawn (0)")
    add(
        "--residual-pre",
        choices=PRES,
        default=PRES[0],
        help="what residual_pre starts from: the slow kernels, sharpened; an msra filler; the "
        "directions in which the loss falls fastest",
    )
    add(
        "--gradient",
        metavar="FILE.caffemodel",
        help="the gradient of the parent's weights, for --residual-pre gradient; "
        "`python -m study.gradient` writes one",
    )
    add("-o", "--output", metavar="FILE", help="write to FILE, not to stdout")
    add(
        "--history",
        metavar="STATE.solverstate",
        help="the parent's solver state: also write "
        "the child's, so that its training goes on with the parent's momentum",
    )
    add("--history-out", metavar="FILE", help="where to write that")
    add_layers_option(parser)
    return parser
