"""The command line of data_prep. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from data_prep.errors import DataError
from netgen.commandline import Parser, exit_status, print_error, say, sides_of

if TYPE_CHECKING:
    from data_prep.dataset import Dataset
    from data_prep.pipeline import Options

EPILOG = """\
exit status: 0 done, or was done already; 1 bad input, one line says which;
3 cifar10 or mnist found no data and could not download it (a Makefile may fall back to synthetic).

examples:
  python -m data_prep cifar10 --source ~/Downloads/cifar-10-python.tar.gz --out data/cifar10
  python -m data_prep cifar10 --raw           # data/cifar10_raw, of cifar10_full
  python -m data_prep cifar10 --raw --pad 4   # data/cifar10_raw_pad4, of resnet20
  python -m data_prep mnist                   # data/mnist, of lenet
  python -m data_prep images PICTURES -o data/mine --size 32   # a folder of pictures a class
  python -m data_prep synthetic --limit 5000 --out data/synthetic
  python -m data_prep verify data/cifar10
  python -m data_prep apply data/cifar10/preprocessing.npz cat.png dog.png -o two.npy
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status, 3 where there are no data (see EPILOG)."""
    return exit_status(lambda: _main(argv), _tell)


def _main(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        with _StopSignals():
            return arguments.run(arguments)
    except _Stopped as stopped:
        _tell("interrupted; nothing half-finished is left")
        return 128 + stopped.number


def _tell(line: str) -> None:
    print_error("data_prep", line)


def _cifar10(arguments: Namespace) -> int:
    from data_prep.cifar10 import read_cifar10
    from data_prep.source import find_or_download

    return _build(
        arguments,
        "cifar10",
        _options(arguments),
        lambda: read_cifar10(arguments.source or find_or_download()),
    )


def _synthetic(arguments: Namespace) -> int:
    from data_prep.synthetic import make_synthetic

    return _build(
        arguments, "synthetic", _options(arguments), lambda: make_synthetic(arguments.limit)
    )


def _mnist(arguments: Namespace) -> int:
    from data_prep.mnist import find_or_download, read_mnist
    from data_prep.pipeline import Options

    return _build(
        arguments,
        "mnist",
        Options(0, None, None, arguments.seed, arguments.limit),
        lambda: read_mnist(arguments.source or find_or_download()),
    )


def _images(arguments: Namespace) -> int:
    from data_prep.images import PARTS, ImageOptions, build_images

    start = time.monotonic()
    height, width = arguments.size
    if arguments.encoded and arguments.pad:
        raise DataError("--pad puts zeros around pixels: not with --encoded")
    options = ImageOptions(
        height,
        width,
        arguments.gray,
        arguments.pad,
        arguments.encoded,
        arguments.test_fraction,
        arguments.seed,
    )
    out = arguments.out or f"data/{os.path.basename(os.path.realpath(arguments.folder))}"
    manifest, fresh = build_images(
        arguments.folder,
        options,
        out,
        test=arguments.test_folder,
        skip_broken=arguments.skip_broken,
        force=arguments.force,
    )
    broken, others = manifest["source"]["broken"], manifest["source"]["others"]
    if fresh:
        for line in broken:
            _tell(f"left out: {line}")
        if others:
            _tell(f"left out, being no pictures by their names: {others:,} files")
    train, test = (manifest["databases"][name] for name in PARTS.values())
    what = (
        f"{train['records']:,} training and {test['records']:,} test records of "
        f"{'x'.join(map(str, train['shape']))} in {len(manifest['label_names'])} classes"
    )
    if fresh:
        print(f"{out}: {what}, in {time.monotonic() - start:.0f} s")
        net = shlex.join(["python", "-m", "netgen", "fit", "cifar10_full", os.fspath(out)])
        print(f"a net for it (python -m netgen --help lists others): {net}")
    else:
        print(f"{out}: finished already, {what}; --force builds it again")
    return 0


def _options(arguments: Namespace) -> Options:
    from data_prep.pipeline import Options

    whitening = arguments.no_zca, arguments.scale, arguments.zca_bias
    if arguments.raw and any(whitening):
        raise DataError("--raw keeps the pixels as they are: no --no-zca, --scale or --zca-bias")
    scale = None if arguments.raw else arguments.scale or Options.scale
    bias = None if arguments.raw or arguments.no_zca else arguments.zca_bias or Options.zca_bias
    pad = arguments.pad
    if pad is None:
        pad = 0 if arguments.raw else Options.pad
    return Options(pad, scale, bias, arguments.seed, arguments.limit)


def _folder(name: str, options: Options) -> str:
    """data/cifar10, data/cifar10_raw, data/cifar10_raw_pad4: one for each net's records."""
    if options.scale is not None or name == "mnist":
        return f"data/{name}"
    return f"data/{name}_raw" + (f"_pad{options.pad}" if options.pad else "")


def _build(arguments: Namespace, name: str, options: Options, load: Callable[[], Dataset]) -> int:
    from data_prep.pipeline import build_dataset

    start = time.monotonic()
    out = arguments.out or _folder(name, options)
    manifest, fresh = build_dataset(name, load, options, out, arguments.force)
    train, test = manifest["databases"].values()
    what = (
        f"{train['records']:,} training and {test['records']:,} test records of "
        f"{'x'.join(map(str, train['shape']))} from {manifest['source']['form']} "
        f"{manifest['source'].get('name', 'images')}"
    )
    if fresh:
        say(f"{out}: {what}, in {time.monotonic() - start:.0f} s")
        if note := manifest["source"].get("note"):
            say(f"{out}: {note}")
    else:
        say(f"{out}: finished already, {what}; --force builds it again")
    return 0


def _verify(arguments: Namespace) -> int:
    from data_prep.check import verify
    from data_prep.manifest import read_manifest

    problems = verify(arguments.folder)
    for line in problems:
        _tell(line)
    if not problems:
        manifest = read_manifest(arguments.folder)
        records = sum(facts["records"] for facts in manifest["databases"].values())
        say(
            f"{arguments.folder}: {manifest['dataset']}, {len(manifest['files'])} files and "
            f"{records:,} records as written"
        )
    return 1 if problems else 0


def _apply(arguments: Namespace) -> int:
    from data_prep.apply import apply_to_files

    shape = apply_to_files(arguments.npz, arguments.images, arguments.output)
    say(f"{arguments.output}: {'x'.join(map(str, shape))} float32")
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m data_prep",
        epilog=EPILOG,
        description="CIFAR-10, whitened or raw, MNIST and pictures of your own to LMDBs for Caffe.",
    )
    commands = parser.add_subparsers(metavar="command", required=True)

    cifar10 = commands.add_parser("cifar10", help="prepare CIFAR-10")
    cifar10.add_argument(
        "--source",
        metavar="DIR_OR_ARCHIVE",
        help="official Python or binary distribution, packed or unpacked "
        "(default: in data/, else downloaded)",
    )
    cifar10.set_defaults(run=_cifar10)
    synthetic = commands.add_parser(
        "synthetic", help="the same from drawn images, without any source"
    )
    synthetic.set_defaults(run=_synthetic)
    for command in (cifar10, synthetic):
        _add_pixels(command.add_argument)
        _add_records(command.add_argument, 0)

    mnist = commands.add_parser("mnist", help="MNIST's pixels as Caffe's examples have them")
    mnist.add_argument(
        "--source",
        metavar="DIR",
        help="the four idx files, gzipped or not (default: data/mnist-idx, "
        "downloaded where they are not there)",
    )
    mnist.set_defaults(run=_mnist)
    _add_records(mnist.add_argument, None)

    images = commands.add_parser(
        "images",
        help="pictures of your own, a folder for each class",
        description="A folder with a folder of pictures for each class, or with train and test (or\n"
        "val) folders like that, to all that a training needs: shuffled LMDBs, mean,\n"
        "class names. Pixels are those of Caffe's convert_imageset.",
    )
    images.add_argument("folder", metavar="FOLDER")
    images.set_defaults(run=_images)
    _add_images(images)

    verify = commands.add_parser("verify", help="check a finished folder")
    verify.add_argument("folder")
    verify.set_defaults(run=_verify)

    apply = commands.add_parser("apply", help="GCN and ZCA of new images")
    apply.add_argument("npz", metavar="preprocessing.npz")
    apply.add_argument("images", nargs="+", metavar="IMAGE", help="32x32 image or .npy array")
    apply.add_argument(
        "-o",
        "--output",
        default="whitened.npy",
        metavar="OUT.npy",
        help="(N, 3, 32, 32) float32 (default %(default)s)",
    )
    apply.set_defaults(run=_apply)
    return parser


def _add_images(images: Parser) -> None:
    add = images.add_argument
    add("-o", "--out", metavar="DIR", help="folder to make (default: in data/, by FOLDER's name)")
    add(
        "--size",
        type=sides_of,
        default=(32, 32),
        metavar="S",
        help="pixels that every picture is resized to: S, or HEIGHTxWIDTH (default 32)",
    )
    add("--gray", action="store_true", help="one channel (default: three)")
    add("--pad", type=_pad, default=0, metavar="P", help="zeros around, for random crops (0)")
    add("--encoded", action="store_true", help="records are JPEGs: smaller, slower to read")
    test = images.add_mutually_exclusive_group()
    test.add_argument(
        "--test-fraction",
        type=_fraction,
        default=0.2,
        metavar="R",
        help="part of each class that is for testing (default 0.2)",
    )
    test.add_argument("--test-folder", metavar="DIR", help="another folder like FOLDER, to test")
    add("--skip-broken", action="store_true", help="leave broken pictures out, naming them")
    _add_seed(add, 0)
    add("--force", action="store_true", help="replace a finished folder")


def _add_pixels(add: Callable[..., Any]) -> None:
    add(
        "--raw",
        action="store_true",
        help="pixels of one byte, as they are: no GCN, no ZCA, and no zeros without --pad",
    )
    add(
        "--pad",
        type=_pad,
        metavar="P",
        help="zeros around each image, for random crops (default 5, with --raw 0)",
    )
    add("--scale", type=_positive, metavar="S", help="GCN's scale (default 55)")
    add("--zca-bias", type=_positive, metavar="E", help="added to the eigenvalues (default 0.1)")
    add("--no-zca", action="store_true", help="GCN alone")


def _add_records(add: Callable[..., Any], seed: int | None) -> None:
    add("--limit", type=_count, metavar="N", help="only the first N images of each part")
    _add_seed(add, seed)
    add("-o", "--out", metavar="DIR", help="folder to make (default: in data/, by name and form)")
    add("--force", action="store_true", help="replace a finished folder")


def _add_seed(add: Callable[..., Any], seed: int | None) -> None:
    add(
        "--seed",
        type=_seed,
        default=seed,
        metavar="K",
        help="of the shuffle of the training records; none: order of the files "
        f"(default {'none' if seed is None else seed})",
    )


def _number(
    kind: Callable[[str], Any], text: str, holds: Callable[[Any], bool], wanted: str
) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not holds(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value


def _count(text: str) -> int:
    return _number(int, text, lambda n: n > 0, "a positive number of images")


def _pad(text: str) -> int:
    return _number(int, text, lambda n: 0 <= n <= 32, "a number of pixels from 0 to 32")


def _positive(text: str) -> float:
    return _number(float, text, lambda x: 0 < x < float("inf"), "a positive number")


def _fraction(text: str) -> float:
    return _number(float, text, lambda x: 0 < x < 1, "a number between 0 and 1")


def _seed(text: str) -> int | None:
    if text == "none":
        return None
    return _number(int, text, lambda n: 0 <= n < 2**32, "a number from 0 to 4294967295, or none")


class _Stopped(KeyboardInterrupt):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _StopSignals:
    """While it is open, the first SIGINT, SIGTERM or SIGHUP raises _Stopped.

    Later ones are ignored, so that cleaning up is not cut short; so is one that the
    caller had ignored already, as nohup does.
    """

    def __enter__(self) -> None:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.getsignal(number) for number in numbers}
        self._before = {
            number: handler for number, handler in before.items() if handler is not signal.SIG_IGN
        }
        for number in self._before:
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        for each in self._before:
            signal.signal(each, signal.SIG_IGN)
        raise _Stopped(number)

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
