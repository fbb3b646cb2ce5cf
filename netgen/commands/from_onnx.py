"""`python -m netgen from-onnx MODEL.onnx -o net.prototxt --weights net.caffemodel`."""

from __future__ import annotations

import argparse
import math
import os
import shlex
import sys
from typing import Any

from netgen import from_onnx, schema
from netgen.commandline import Parser, shape_of
from netgen.from_onnx import Conversion, ConversionError
from netgen.from_onnx.targets import Target


def main(argv: list[str]) -> int:
    """Run the command on argv (a list of strings); returns the exit status."""
    args = _parser().parse_args(argv)
    target = _target(args)
    graph = from_onnx.read_model(args.model, dict(args.input_shape), args.batch)
    graph.name = args.name or os.path.splitext(os.path.basename(args.model))[0]
    try:
        keep = (args.batch_norm or ("fold" if args.train is None else "keep")) == "keep"
        with from_onnx.only_valid(args.model):
            found = from_onnx.convert(graph, target, keep)
    except ConversionError as error:
        raise ConversionError(f"{args.model}: {error}") from None
    for note in found.notes:
        print(f"netgen: {args.model}: {note}", file=sys.stderr)
    _check(args, found)
    if args.classes is not None:
        from netgen.from_onnx.training import with_classes

        if args.train is None:
            raise ConversionError("--classes is for a net that is trained on: give --train DIR too")
        found = with_classes(found, args.classes)
    messages = {args.output: found.net, **_training(args, found)}
    words = ["python", "-m", "netgen", "from-onnx", *argv]
    title = f"# {' '.join(shlex.join(words).splitlines())}\n"
    if args.weights is not None:
        schema.write_binary(found.weights, args.weights)
    for path, message in messages.items():
        text = schema.encode(title + schema.to_text(message))
        if path is None:
            sys.stdout.buffer.write(text)
        else:
            schema.write_bytes(text, path)
    return 0


def _training(args: argparse.Namespace, found: Conversion) -> dict[str, Any]:
    """{path: the net or the solver} of --train. Raises ConversionError."""
    if args.train is None:
        return {}
    if args.output is None:
        raise ConversionError("--train writes two more files beside the net: name it with -o")
    from netgen.from_onnx import training

    stem = os.path.splitext(args.output)[0]
    net = f"{stem}_train_val.prototxt"
    options = training.Training(
        args.train.rstrip("/") or "/", args.batch_size, args.epochs, args.base_lr,
        args.mean_value, args.scale, args.mirror,
    )  # fmt: skip
    return {
        net: training.train_net(found, options),
        f"{stem}_solver.prototxt": training.solver(options, net, stem),
    }


def _target(args: argparse.Namespace) -> Target:
    target = from_onnx.TARGETS["plain" if args.plain else args.target]
    return target.also(args.also.split(",")) if args.also else target


def _check(args: argparse.Namespace, found: Conversion) -> None:
    """Compare the net with the model, unless that is not wanted. Raises ConversionError."""
    from netgen.from_onnx import check

    if args.check is False or (args.check is None and not check.has_onnxruntime()):
        if args.check is None:
            print("netgen: not compared with the model: onnxruntime is not installed "
                  "(pip install 'caffe-split[export]')", file=sys.stderr)  # fmt: skip
        return
    differences = check.check(args.model, found, args.blobs)
    far = next((d for d in differences if not d.within(args.tolerance)), None)
    for d in differences if far is None or args.blobs else ():
        print(f"netgen: {d.blob}: {d.relative:.1e} from onnxruntime's {d.value}", file=sys.stderr)
    if far is not None:
        more = "" if args.blobs else " (--blobs tells the first blob that departs)"
        raise ConversionError(
            f"{args.model}: blob '{far.blob}' is {far.relative:.1e} from onnxruntime's "
            f"'{far.value}', more than {args.tolerance:g}; nothing was written{more}"
        )


def _input_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """("data", (1, 3, 224, 224)) of "data=1,3,224,224"."""
    name, equals, shape = text.rpartition("=")
    if not equals or not shape:
        raise argparse.ArgumentTypeError(f"'{text}' is not an input and its shape, NAME=N,C,H,W")
    return name, shape_of(shape)


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no positive number")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is no positive number")
    return value


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of numbers") from None


def _parser() -> Parser:
    parser = Parser(
        prog="python -m netgen from-onnx",
        formatter_class=argparse.HelpFormatter,
        allow_abbrev=False,
        description="Write the Caffe net of an ONNX model, and its weights. A model that cannot "
        "be said in Caffe is refused with every node that stands in the way. Where onnxruntime "
        "is installed both are run on random inputs, and compared, before anything is written.",
        epilog="example: python -m netgen from-onnx resnet18.onnx -o resnet18.prototxt "
        "--weights resnet18.caffemodel",
    )
    add = parser.add_argument
    add("model", metavar="MODEL.onnx")
    add("-o", "--output", metavar="FILE", help="write the net to FILE, not to stdout")
    add("--weights", metavar="FILE", help="write the weights to FILE, a caffemodel")
    add("--name", help="the net's name (that of the model's file)")
    add("--target", choices=list(from_onnx.TARGETS), default="bvlc",
        help="who shall read the net: BVLC's last Caffe (the default), SSD's, OpenCV 4, or "
        "plain Caffe 1.0 without anything later")  # fmt: skip
    add("--plain", action="store_true", help="the same as --target plain")
    add("--also", metavar="TYPE,...", help="layer types that the reader knows beside the target's")
    add("--batch", type=_count, default=1, metavar="N", help="the batch where the model has it "
        "open (1)")  # fmt: skip
    add("--input-shape", type=_input_shape, action="append", default=[], metavar="NAME=N,C,H,W",
        help="the shape of an input; may be given several times")  # fmt: skip
    add("--batch-norm", choices=("fold", "keep"),
        help="fold: into the convolution before it (the default); keep: as BatchNorm and Scale "
        "(the default with --train)")  # fmt: skip
    add("--check", action=argparse.BooleanOptionalAction, default=None,
        help="compare the net with onnxruntime (the default where that is installed)")  # fmt: skip
    add("--blobs", action="store_true", help="compare every blob, and name the first that departs")
    add("--tolerance", type=float, default=1e-4, help="the largest difference, relative to the "
        "largest value (1e-4)")  # fmt: skip
    train = parser.add_argument_group(
        "training", "With --train NET_train_val.prototxt and NET_solver.prototxt are written too."
    )
    add = train.add_argument
    add("--train", metavar="DIR", help="train on DIR's *train_lmdb, test on its *test_lmdb")
    add("--classes", type=_count, metavar="N", help="have N classes instead of the model's: the "
        "last layer with weights is named anew and learned from the start")  # fmt: skip
    add("--batch-size", type=_count, default=64, metavar="N", help="of training (64)")
    add("--epochs", type=_positive, default=1, metavar="N", help="how long to go on (1)")
    add("--base-lr", type=_positive, default=0.001, metavar="R", help="the first rate (0.001)")
    add("--mean-value", type=_numbers, default=[], metavar="V,...",
        help="what is subtracted from the records, one number or one a channel")  # fmt: skip
    add("--scale", type=_positive, default=1, metavar="S", help="what they are then multiplied by")
    add("--mirror", action="store_true", help="mirror images of the training at random")
    return parser
