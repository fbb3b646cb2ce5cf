"""Arguments of `python -m netgen NET` and `solver NET` to prototxt text."""

import argparse
import shlex

from netgen import nets, solvers
from netgen.commandline import Parser, sides_of
from netgen.errors import CaffeError
from netgen.schema import SOLVER_TYPES, caffe_pb, to_text


def render(argv: list[str]) -> str:
    """The prototxt that `python -m netgen ARGV...` writes for a net or a solver.

    Raises CaffeError; SystemExit where the parser refuses the arguments.
    """
    return text(parse(argv))


def text(args: argparse.Namespace) -> str:
    """The prototxt that parsed arguments ask for, its command as first line."""
    return f"# {_command_line(args, _chosen(args))}\n{to_text(message(args))}"


def message(args: argparse.Namespace) -> caffe_pb.NetParameter | caffe_pb.SolverParameter:
    """The net or the solver that parsed arguments ask for."""
    chosen = _chosen(args)
    if args.command == "solver":
        return solvers.build_solver(args.name, solvers.SolverOptions(**chosen))
    return nets.build_net(args.name, nets.NetOptions(**chosen), args.deploy)


def _chosen(args: argparse.Namespace) -> dict[str, object]:
    """{option: value} of what was given."""
    return {
        key: value
        for key, value in vars(args).items()
        if key not in ("name", "command", "deploy", "output") and value is not None
    }


def _command_line(args: argparse.Namespace, chosen: dict[str, object]) -> str:
    words = ["python", "-m", "netgen", *([args.command] if args.command else []), args.name]
    if getattr(args, "deploy", False):
        words.append("--deploy")
    for key, value in chosen.items():
        if key == "image_size":
            value = "x".join(map(str, value if value[0] != value[1] else value[:1]))
        words += [f"--{key.replace('_', '-')}", f"{value}"]
    return " ".join(shlex.join(words).splitlines())


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments of `NET ...` or `solver NET ...`; as `render` for what it raises."""
    if any("\udc80" <= char <= "\udcff" for char in "".join(argv)):  # bytes that were not UTF-8
        raise CaffeError("arguments must be UTF-8 text")
    parser = _net_parser()
    if argv[:1] == ["solver"]:
        parser, argv = _solver_parser(), argv[1:]
    args, unknown = parser.parse_known_args(argv)
    nets.find(args.name)  # before complaining about what follows a mistyped command
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return args


def _parser(command: str | None, name_help: str, **texts: str) -> Parser:
    parser = Parser(allow_abbrev=False, **texts)
    parser.set_defaults(command=command)
    parser.add_argument("name", metavar="NET", help=name_help)
    parser.add_argument("-o", "--output", metavar="FILE", help="write to FILE, not to stdout")
    return parser


def _net_parser() -> Parser:
    known = "\n".join(f"  {net.name:12} {net.summary}" for net in nets.NETS.values())
    parser = _parser(
        None,
        "one of the nets below",
        prog="python -m netgen",
        usage="%(prog)s NET [options]\n"
        "       %(prog)s solver NET [options]\n"
        "       %(prog)s describe NET.prototxt [--json]\n"
        "       %(prog)s from-onnx MODEL.onnx -o NET.prototxt --weights NET.caffemodel [options]\n"
        "       %(prog)s generate [--check]\n"
        "       %(prog)s fit NET DIR [options]\n"
        "       %(prog)s tpm NET.prototxt SNAPSHOT... [options]\n"
        "       %(prog)s plan TPM.json [options]\n"
        "       %(prog)s split NET.prototxt --plan PLAN.json [options]\n"
        "       %(prog)s transfer NET.prototxt WEIGHTS.caffemodel --plan PLAN.json [options]",
        description="Write a bundled net as prototxt: train and test net in one file.\n"
        "solver writes its solver, describe prints a table of any net,\n"
        "from-onnx writes the net of an ONNX model,\n"
        "generate rewrites prototxt/ and solvers/ (--check: only compares),\n"
        "fit writes net, deploy net and solver for a folder of your own pictures,\n"
        "tpm measures how straight the kernels of a training travel,\n"
        "plan chooses layers to split and their fast and slow kernels,\n"
        "split writes the net grown by a plan, transfer its weights.",
        epilog=f"nets:\n{known}\n\n"
        "examples:\n"
        "  python -m netgen baseline --width 0.25 -o narrow.prototxt\n"
        "  python -m netgen solver baseline --net narrow.prototxt --epochs 20\n"
        "  python -m netgen describe narrow.prototxt\n",
    )
    add = parser.add_argument
    add("--deploy", action="store_true", help="the net for use: an Input layer, Softmax at the end")
    add("--width", type=float, metavar="W", help="factor on all channels but the classes (1)")
    add("--batch-size", type=int, metavar="N", help="the published training's; 1 with --deploy")
    add("--test-batch-size", type=int, metavar="N", help="100; should divide the test set")
    add("--data", metavar="DIR", help="folder of the LMDBs (data/...)")
    add("--images", metavar="DIR", help="folder that data_prep images made, in place of --data")
    add("--classes", type=int, metavar="N", help="outputs of the last layer (10)")
    add("--image-size", type=sides_of, metavar="S", help="of what the net sees: 64, or 48x64")
    add("--image-channels", type=int, metavar="N", help="of the deploy net's input: 1 or 3")
    add(
        "--weight-filler",
        metavar="|".join(nets.WEIGHT_FILLERS),
        help="of nets without a gaussian of their own",
    )
    add("--input-dropout", type=float, metavar="R", help="All-CNN: ratio on the image (0.2)")
    add("--dropout", type=float, metavar="R", help="All-CNN: ratio inside the net (0.5)")
    return parser


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be true or false, not '{text}'")
    return text.lower() == "true"


def _solver_parser() -> Parser:
    parser = _parser(
        "solver",
        ", ".join(nets.NETS),
        prog="python -m netgen solver",
        description="Write the solver of a bundled net, with the schedule it was published with.\n"
        "Drops of the rate keep their place in any length of training. In brackets\n"
        "what All-CNN has.",
    )
    add = parser.add_argument
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=float, metavar="N", help="(350)")
    length.add_argument("--max-iter", type=int, metavar="N", help="iterations, in place of epochs")
    add("--batch-size", type=int, metavar="N", help="the net's in training")
    add("--train-size", type=int, metavar="N", help="training images, for epochs (50000)")
    add("--test-size", type=int, metavar="N", help="test images (10000)")
    add("--test-batch-size", type=int, metavar="N", help="the net's in testing (100)")
    add("--base-lr", type=float, metavar="LR", help="(0.05; the paper: 0.25, 0.1, 0.05 or 0.01)")
    without = " and ".join(name for name, kind in SOLVER_TYPES.items() if kind.momentum is None)
    add("--momentum", type=float, metavar="M", help=f"0.9; none for {without}")
    add("--weight-decay", type=float, metavar="L", help="(0.001)")
    add("--type", metavar="T", help=f"{', '.join(SOLVER_TYPES)}")
    add("--lr-policy", metavar="P", help="multistep, inv (LeNet's), poly (linear to 0), fixed")
    add("--test-interval", type=int, metavar="N", help="iterations from test to test (500)")
    add("--display", type=int, metavar="N", help="iterations from line to line (100)")
    add("--snapshot", type=int, metavar="N", help="iterations from snapshot to snapshot (1000)")
    add("--net", metavar="PATH", help="the net's prototxt (prototxt/NET.prototxt)")
    add("--prefix", metavar="PATH", help="of snapshots (snapshots/NET)")
    add("--random-seed", type=int, metavar="N", help="none: from the clock")
    add(
        "--test-initialization",
        type=_truth,
        metavar="true|false",
        help="a test before the first iteration (true)",
    )
    return parser
