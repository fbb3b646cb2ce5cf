"""Build a C++ Caffe with pycaffe from its source package, for `caffe -engine pycaffe`.

The build lies outside any clone, in ~/.cache/caffe-split/pycaffe (or PYCAFFE_CACHE), in a folder
for each version, set of edits and options; in a clone build/pycaffe is a link to it. A finished
build is kept, an interrupted one goes on. It takes about 8 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from caffe_tools.pycaffe import sdist as pycaffe_sdist
from caffe_tools.pycaffe import system as pycaffe_system
from caffe_tools.pycaffe.recipe import TARGETS, BuildRecipe, architecture
from netgen.commandline import Parser, run
from netgen.errors import CaffeError
from netgen.schema.files import temporary_name
from runner import External, external_folder, find_external

CLONE = Path(__file__).resolve().parents[3]

EXAMPLES = """examples:
  build_pycaffe
  build_pycaffe --cuda sm_90
"""

CHECK = """
import caffe
assert 'Python' in caffe.layer_type_list()
net = caffe.NetSpec()
net.data = caffe.layers.Input(shape=dict(dim=[2, 3]))
net.relu = caffe.layers.ReLU(net.data)
open('{path}', 'w').write(str(net.to_proto()))
net = caffe.Net('{path}', caffe.TEST)
net.blobs['data'].data[...] = [[-1, 0, 1], [2, -2, 3]]
assert net.forward()['relu'].tolist() == [[0, 0, 1], [2, 0, 3]]
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(arguments)
    cuda = options.cuda and architecture(options.cuda)
    recipe = BuildRecipe(pycaffe_system.look(), cuda)
    folder = external_folder()
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / recipe.name()
    with lock(folder / f".{root.name}.lock"):
        if (root / "ready").exists():
            print(f"{root}: already built")
        else:
            build_caffe(recipe, root, options.jobs)
    link(folder / "current", root)
    if (CLONE / "setup.py").exists():  # not where pip has installed this
        link(CLONE / "build" / "pycaffe", root)
    report()
    return 0


def build_caffe(recipe: BuildRecipe, root: Path, jobs: int) -> None:
    """Build all in the folder `root`, `jobs` compilers at a time.

    The steps that are done are not repeated when it is interrupted and called again.
    """
    log = root / "build.log"
    if not root.exists():
        print(f"fetching {pycaffe_sdist.NAME} {pycaffe_sdist.VERSION}", flush=True)
        pycaffe_sdist.source(root)
    environment = root / "venv"
    python = environment / "bin" / "python"
    if not (environment / "ready").exists():
        print(f"virtual environment with {', '.join(recipe.packages)}", flush=True)
        logged([recipe.machine.python, "-m", "venv", "--clear", environment], log)
        pip = [python, "-m", "pip", "--disable-pip-version-check"]
        logged([*pip, "install", "--quiet", *recipe.packages], log)
        (environment / "ready").touch()
    packages = environment / "lib" / f"python{recipe.machine.version}" / "site-packages"
    entries = recipe.definitions(environment, packages).items()
    print(f"compiling, {jobs} at a time", flush=True)
    logged(["cmake", "-S", root, "-B", root / "build", *(f"-D{k}={v}" for k, v in entries)], log)
    targets = [word for target in TARGETS for word in ("--target", target)]
    logged(["cmake", "--build", root / "build", *targets, "--parallel", jobs], log, bar=True)
    caffe = External(root, root / "build" / "tools" / "caffe", "just built")
    logged(
        [python, "-c", CHECK.format(path=root / "build" / "check.prototxt")],
        log,
        caffe.environment(),
    )
    logged([caffe.tool, "-version"], log, caffe.environment())
    (root / "ready").touch()
    print(f"{root}: built")


def logged(
    command: Sequence[object],
    log: Path,
    environment: Mapping[str, str] | None = None,
    bar: bool = False,
) -> None:
    """Run the command, its output added to the file `log`. Raises CaffeError if it fails.

    bar: show the percentages that make prints.
    """
    command = [str(word) for word in command]
    lines = []
    with (
        open(log, "a", buffering=1, encoding="utf-8") as file,
        percentages() if bar else contextlib.nullcontext() as show,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace",
        ) as child,
    ):  # fmt: skip
        file.write(f"$ {' '.join(command)}\n")
        for line in child.stdout:
            file.write(line)
            lines.append(line)
            if show and (match := re.match(r"\[ *(\d+)%\]", line)):
                show(int(match[1]))
    if child.returncode:
        raise CaffeError(f"{os.path.basename(command[0])} failed: {told(lines)} (see {log})")


def told(lines: Sequence[str]) -> str:
    """The line that tells what went wrong: the first error, else the last line."""
    lines = [line.strip() for line in lines if line.strip()]
    errors = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)]
    return (errors or lines[-1:] or ["it printed nothing"])[0]


@contextlib.contextmanager
def percentages() -> Iterator[Callable[[int], object]]:
    """Show a progress bar; what is given takes the percentage that is done."""
    from tqdm import tqdm

    form = "{percentage:3.0f}%|{bar}| {elapsed}, {remaining} left"
    with tqdm(total=100, bar_format=form, mininterval=1) as bar:
        yield lambda done: bar.update(max(0, done - bar.n))


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Wait until no other process builds the same."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def link(path: Path, target: Path) -> None:
    """Make `path` a symbolic link to target, in place of what it linked to before."""
    path.parent.mkdir(exist_ok=True)
    temporary = temporary_name(str(path))
    os.symlink(target, temporary)
    os.replace(temporary, path)


def report() -> None:
    """Say which Caffe `-engine pycaffe` takes."""
    caffe = find_external()
    print(f"-engine pycaffe runs {caffe.tool} ({caffe.source})")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = Parser.documented("build_pycaffe", __doc__, EXAMPLES)
    parser.add_argument(
        "--cuda", default="", metavar="ARCH", help="for this GPU architecture; needs CUDA 13's nvcc"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), metavar="N", help="compilers at a time"
    )
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error("--jobs is at least 1")
    return options


def command() -> None:
    """Run the command as a program of its own."""
    run(main)
