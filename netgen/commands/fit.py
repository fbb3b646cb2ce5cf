"""`python -m netgen fit NET DIR`: a bundled net and its solver for pictures of your own.

DIR is what `python -m data_prep images` made. It tells how many classes and pictures there are and
how large they are; the net's last layer, its Data layers, its deploy net and the solver are written
to fit them, with the schedule that the net was published with. The pixels' mean is subtracted,
and where DIR has zeros around its pictures (--pad), nets that were published with crops crop
them at random. Every file begins with the command that writes it.
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from netgen import nets
from netgen.commandline import Parser
from netgen.commands import render
from netgen.describe import describe
from netgen.errors import CaffeError
from netgen.nets.registry import Recipe
from netgen.schema import caffe_pb, read_json, write_bytes

EXAMPLES = """\
examples:
  python -m data_prep images PICTURES -o data/mine
  python -m netgen fit allcnn-c data/mine -o mine --epochs 100
  caffe train -solver mine/solver.prototxt
"""

#: Options of `python -m netgen NET` and of `python -m netgen solver`, handed on as they are.
OF_NET = ("width", "weight-filler", "input-dropout", "dropout")
OF_SOLVER = (
    *("epochs", "max-iter", "base-lr", "lr-policy", "momentum", "weight-decay", "type"),
    *("test-interval", "display", "snapshot", "random-seed"),
)


@dataclass(frozen=True)
class Pictures:
    """What `python -m data_prep images` tells of its folder.

    shape: (C, H, W) of a record, the pad zeros on each side included. train, test: how many.
    """

    classes: int
    shape: tuple[int, int, int]
    pad: int
    train: int
    test: int

    @classmethod
    def of(cls, folder: str) -> Pictures:
        """Read the folder's manifest. Raises CaffeError."""
        path = os.path.join(folder, "manifest.json")
        if not os.path.exists(path):
            raise CaffeError(
                f"{folder}: not a folder of records, it has no manifest.json; this makes one: "
                f"python -m data_prep images PICTURES -o {folder}"
            )
        manifest = read_json(path, CaffeError)
        try:
            if manifest["dataset"] != "images":
                raise CaffeError(
                    f"{folder}: was made by `python -m data_prep {manifest['dataset']}`; its nets "
                    "are written by `python -m netgen NET`"
                )
            train, test = (manifest["databases"][f"{part}_lmdb"] for part in ("train", "test"))
            channels, height, width = train["shape"]
            counts = (
                len(manifest["label_names"]),
                *(channels, height, width),
                *(manifest["options"]["pad"], train["records"], test["records"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CaffeError(f"{path}: damaged, it does not tell of pictures: {error}") from None
        if not all(isinstance(count, int) for count in counts):
            raise CaffeError(f"{path}: damaged, its counts are no whole numbers")
        return cls(counts[0], (channels, height, width), *counts[4:])


def main(argv: list[str]) -> int:
    """Write the three files; returns the exit status."""
    args = _parser().parse_args(argv)
    folder = args.images.rstrip("/") or "/"
    pictures = Pictures.of(folder)
    out = args.output or os.path.basename(os.path.realpath(folder))
    recipe = nets.find(args.name).recipe
    if recipe is None:
        raise CaffeError(f"net '{args.name}' has no recipe of its own")
    batch = args.batch_size or min(recipe.batch_size, pictures.train)
    test_batch = _test_batch(pictures.test)

    net = [args.name, "--images", folder, "--classes", pictures.classes]
    net += [
        "--image-channels",
        pictures.shape[0],
        "--image-size",
        _size(args.name, folder, pictures),
    ]
    net += _given(args, OF_NET)
    train_val = [*net, "--batch-size", batch, "--test-batch-size", test_batch]
    solver = ["solver", args.name, "--net", f"{out}/train_val.prototxt"]
    solver += ["--prefix", f"{out}/{nets.stem(args.name)}", "--batch-size", batch]
    solver += ["--train-size", pictures.train, "--test-size", pictures.test]
    solver += ["--test-batch-size", test_batch, *_given(args, OF_SOLVER)]
    solver += _intervals(args, recipe, pictures, batch, _parsed(solver).max_iter)

    files = {"train_val": train_val, "deploy": [*net, "--deploy"], "solver": solver}
    texts = {
        f"{out}/{name}.prototxt": render.render(list(map(str, words)))
        for name, words in files.items()
    }
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CaffeError(f"{out}: cannot be made: {error.strerror}") from None
    for path, text in texts.items():
        write_bytes(text.encode(), path)
        print(f"wrote {path}", file=sys.stderr)
    _tell(args.name, out, pictures, _parsed(solver), _parsed(files["deploy"]), batch)
    return 0


def _parsed(words: list) -> caffe_pb.NetParameter | caffe_pb.SolverParameter:
    return render.message(render.parse(list(map(str, words))))


def _given(args: argparse.Namespace, names: tuple[str, ...]) -> list[str]:
    values = {name: getattr(args, name.replace("-", "_")) for name in names}
    return [w for name, value in values.items() if value is not None for w in (f"--{name}", value)]


def _size(name: str, folder: str, pictures: Pictures) -> str:
    """What the net sees: without the zeros around it where the net crops, and crops are squares."""
    _, height, width = pictures.shape
    inner = height - 2 * pictures.pad, width - 2 * pictures.pad
    net = nets.build_net(name, nets.NetOptions(images=folder, image_size=inner))
    if not net.layer[0].transform_param.crop_size:
        inner = height, width
    return "x".join(map(str, inner))


def _test_batch(count: int) -> int:
    """The largest batch of at most 100 that divides the test pictures; 100 where that is tiny.

    The last batch of one that does not runs on into the first pictures.
    """
    divisor = next(size for size in range(min(100, count), 0, -1) if count % size == 0)
    return divisor if divisor >= min(20, count) else 100


def _intervals(
    args: argparse.Namespace, recipe: Recipe, pictures: Pictures, batch: int, max_iter: int
) -> list[object]:
    """The recipe's intervals, shorter for a short training: fifty tests, an epoch apart or more."""
    epoch = math.ceil(pictures.train / batch)
    chosen = {
        "test-interval": min(recipe.test_interval, max(epoch, max_iter // 50)),
        "display": min(recipe.display, max(1, max_iter // 100)),
        "snapshot": min(recipe.snapshot, max(1, max_iter // 5)),
    }
    free = {k: v for k, v in chosen.items() if getattr(args, k.replace("-", "_")) is None}
    return [word for name, value in free.items() for word in (f"--{name}", value)]


def _tell(
    name: str,
    out: str,
    pictures: Pictures,
    solver: caffe_pb.SolverParameter,
    deploy: caffe_pb.NetParameter,
    batch: int,
) -> None:
    parameters = describe(deploy, caffe_pb.TEST)["totals"]["parameters"]
    shape = "x".join(map(str, deploy.layer[0].input_param.shape[0].dim[1:]))
    epochs = solver.max_iter * batch / pictures.train
    weights = f"{solver.snapshot_prefix}_iter_{solver.max_iter}.caffemodel"
    train = ["caffe", "train", "-solver", f"{out}/solver.prototxt"]
    classify = ["caffe", "classify", "-model", f"{out}/deploy.prototxt"]
    classify += ["-transform", f"{out}/train_val.prototxt", "-weights", weights, "IMAGE"]
    print(
        f"{out}: {name} for {pictures.classes} classes of {shape}, {parameters:,} parameters; "
        f"{solver.max_iter:,} iterations of {batch} are {epochs:.0f} epochs of {pictures.train:,} "
        "pictures\n"
        f"train:    {shlex.join(train)}\n"
        f"classify: {shlex.join(classify)}"
    )


def _parser() -> Parser:
    parser = Parser.documented("python -m netgen fit", __doc__ or "", EXAMPLES, allow_abbrev=False)
    add = parser.add_argument
    add("name", metavar="NET", help=", ".join(nets.NETS))
    add("images", metavar="DIR", help="a folder that data_prep images made")
    add("-o", "--output", metavar="DIR", help="folder to write to (default: DIR's last name)")
    add("--batch-size", type=int, metavar="N", help="of training (the published one)")
    for names, where in ((OF_NET, "NET"), (OF_SOLVER, "solver NET")):
        for name in names:
            add(f"--{name}", metavar="X", help=f"as of python -m netgen {where}")
    return parser
