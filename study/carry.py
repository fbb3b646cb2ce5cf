"""Pack a begun study for another machine: what it takes to go on, and the logs; or unpack it.

Kept are all texts, and of weights only what is read later: the newest snapshot of a training that
has not ended, the window that TPM is yet to be measured over, and the weights that an arm is yet to
begin with. Snapshots of a window are stored as what differs from the one before. Reports are made
anew. Unpacked, the study goes on with the same command, in the same folder below the current one.
"""

from __future__ import annotations

import lzma
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path

from netgen.commandline import Parser, run, say
from netgen.errors import CaffeError
from netgen.schema import write_bytes, writing
from study.settings import read_settings
from study.trainings import Training, trainings, window

EXAMPLE = """example:
  python -m study.carry pack results/full full.xz        # here
  python -m study.carry unpack full.xz                   # there, and then
  python -m study --out results/full --gpu 0 --minutes 9
"""
WEIGHTS = re.compile(r"\.(caffemodel|solverstate(\.resume)?)$")
SNAPSHOT = re.compile(r"_iter_(\d+)\.(caffemodel|solverstate(\.resume)?)$")
MADE_ANEW = re.compile(r"(^|/)(report\.(md|html)|figures/.*|.*\.svg)$")
DIFFERS_FROM = "study.differs_from"  # the header of a file that is stored as a difference
# Floats of four bytes: what a byte is like depends on its place among the four.
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "lp": 2, "pb": 2}]


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = Parser.documented("carry", __doc__, EXAMPLE)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("pack", help="write FILE.xz")
    one.add_argument("study", metavar="DIR", help="folder of python -m study")
    for each in (one, commands.add_parser("unpack", help="below the current folder")):
        each.add_argument("file", metavar="FILE.xz")
    options = parser.parse_args(arguments)
    if options.command == "unpack":
        say(f"{unpack(options.file)} files of {options.file} are here")
        return 0
    paths = needed(options.study.rstrip("/"))
    pack(paths, options.file)
    size = os.path.getsize(options.file)
    say(f"Wrote {options.file}: {len(paths)} files, {size / 2**20:.1f} MiB")
    return 0


def needed(out: str) -> list[str]:
    """The files of the study in folder `out` that go with it, each window in its order.

    Raises CaffeError where there is no study, and for a folder that is not below the current one.
    """
    if os.path.isabs(out) or ".." in Path(out).parts:
        raise CaffeError(f"{out}: must be below the current folder, so that it is also there")
    settings = read_settings(out)
    planned = [one for one in trainings(settings, out) if not one.left_out]
    found = sorted(map(str, Path(out).rglob("*")))
    texts = [p for p in found if os.path.isfile(p) and not WEIGHTS.search(p)]
    weights: dict[str, None] = {}
    for training in planned:
        measured_over = map(training.weights_at, window(settings, training.iterations)[1])
        children = [one for one in planned if one.parent is training]
        for path in _read_later(training, children, list(measured_over)):
            if os.path.exists(path):
                weights[path] = None
    return [*(p for p in texts if not MADE_ANEW.search(p)), *weights]


def _read_later(
    training: Training, children: Sequence[Training], measured_over: Sequence[str]
) -> Iterator[str]:
    if not os.path.exists(training.record):
        newest = _newest(training)
        yield from newest or filter(None, (training.start, training.state, training.gradient))
    for child in children:
        if child.in_chain and not os.path.exists(child.measured_table):
            yield from measured_over
        if child.arm.start != "fresh" and not _begun(child):
            yield child.parent_weights
            yield training.state_at(child.begin)


def _begun(training: Training) -> bool:
    """Whether it is complete, or has the weights that it begins with in a file of its own."""
    if os.path.exists(training.record):
        return True
    made = [training.start] + ([training.verified] if training.in_chain else [])
    return training.arm.start != "parent" and all(path and os.path.exists(path) for path in made)


def _newest(training: Training) -> list[str]:
    """The files of the newest snapshot that has a solver state."""
    found: dict[int, list[str]] = {}
    for path in map(str, Path(training.folder).glob("*_iter_*")):
        name = SNAPSHOT.search(path)
        if name:
            found.setdefault(int(name[1]), []).append(path)
    whole = [n for n, paths in found.items() if training.state_at(n) in paths]
    return sorted(found[max(whole)]) if whole else []


def pack(paths: Iterable[str], target: str) -> None:
    """Write files to `target`; those that follow a snapshot of their prefix as differences."""
    before: tuple[str, bytes] = ("", b"")
    with (
        writing(target) as file,
        lzma.open(file, "wb", filters=FILTERS) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in paths:
            data, info = Path(path).read_bytes(), tar.gettarinfo(path)
            name, previous = before
            if path.endswith(".caffemodel"):
                if len(previous) == len(data) and os.path.dirname(name) == os.path.dirname(path):
                    info.pax_headers = {DIFFERS_FROM: name}
                    tar.addfile(info, BytesIO(_difference(data, previous)))
                else:
                    tar.addfile(info, BytesIO(data))
                before = (path, data)
            else:
                tar.addfile(info, BytesIO(data))


def unpack(source: str) -> int:
    """Make the files of `source` below the current folder, with their times; returns how many.

    Raises CaffeError for a file that `pack` did not write.
    """
    made = set()
    try:
        with lzma.open(source) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            for member in tar:
                path, file = Path(member.name), tar.extractfile(member)
                if file is None or path.is_absolute() or ".." in path.parts:
                    raise CaffeError(f"{source}: {member.name} is no file below a folder")
                data, base = file.read(), member.pax_headers.get(DIFFERS_FROM)
                if base in made:
                    data = _difference(data, Path(base).read_bytes())
                path.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(data, path)
                os.utime(path, (member.mtime, member.mtime))
                made.add(member.name)
    except (lzma.LZMAError, tarfile.TarError, EOFError) as error:
        raise CaffeError(f"{source}: not a packed study ({error})") from None
    return len(made)


def _difference(one: bytes, other: bytes) -> bytes:
    """The bits in which they differ; with `other` it gives `one` back."""
    size = len(one)
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(size, "big")


if __name__ == "__main__":
    run(main)
