"""Train a solver to its end, whatever has happened before.

The first call begins the training, a later one goes on from its newest solver state, also on
another machine to which the files were carried, and one that is complete is left as it is. What
the training is made of (solver, net, weights) is known by content: if that has changed, the
files of the old training are removed and a new one begins. Ctrl-C, SIGINT and SIGTERM stop with
a snapshot and exit status 75. A training whose displayed loss is no finite number has diverged: it
is ended there, and is complete. Flags after `--` go to `caffe train`.

RECORD.json is written when the training is complete, RECORD.begun.json while it runs: inputs by
SHA-256, each run's command, iterations, seconds, machine and versions, and where it `diverged`.
"""

from __future__ import annotations

import argparse
import glob
import os
import re
import sys
import time
from collections.abc import Sequence

from netgen import schema
from netgen.commandline import Parser, run, say
from netgen.errors import CaffeError
from runner.log import Log
from study.stage import STOPPED
from study.training_run import TrainingRun

EXAMPLE = """example:
  python -m study.train_to_end solver.prototxt --log train.log --keep 8000-9500 \\
      -o train.json -- -gpu 0
"""
STATE = re.compile(r"_iter_(\d+)\.(caffemodel|solverstate(\.resume)?)$")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(arguments)
    training = ResumableTraining(options)
    if training.is_complete():
        os.utime(options.record)
        say(f"{options.record}: complete")
        return 0
    if options.until is not None and time.time() > options.until:
        return STOPPED
    training.begin()
    status = training.run(options.flags, options.until)
    training.prune(options.keep, options.keep_state)
    return status


class ResumableTraining:
    """A training by its files: what is complete, what there is to go on from. Raises CaffeError."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.begun_path = options.record.removesuffix(".json") + ".begun.json"
        param = schema.read_solver(options.solver)
        if not param.HasField("net") or not param.HasField("snapshot_prefix"):
            raise CaffeError(f"{options.solver}: needs the fields net and snapshot_prefix")
        if param.snapshot_format != param.BINARYPROTO:
            raise CaffeError(f"{options.solver}: snapshot_format must be BINARYPROTO")
        self.prefix, self.iterations = param.snapshot_prefix, param.max_iter
        paths = {"solver": options.solver, "net": param.net, "weights": options.weights}
        paths["state"] = options.state
        state = options.state if options.state and os.path.exists(options.state) else None
        self.start = schema.read_solverstate(state).iter if state else 0
        known = _read(self.begun_path) or {"inputs": {}}  # what was read may be gone since
        self.inputs = {
            name: schema.file_digest(path)
            if os.path.exists(path) or name not in known["inputs"]
            else known["inputs"][name]
            for name, path in paths.items()
            if path
        }
        self.begun = None

    def is_complete(self) -> bool:
        """Whether it was trained to its end, from the same solver, net and weights."""
        record = _read(self.options.record)
        return record is not None and record.get("inputs") == self.inputs

    def begin(self) -> None:
        """Find what there is to go on from, and remove what is left of another training."""
        self.begun, left = _read(self.begun_path), self._snapshots()
        if self.begun is None and left:
            raise CaffeError(
                f"{left[0][1]} is there, but not {self.begun_path}, which tells of "
                "what it is: move one of them"
            )
        if self.begun is None or self.begun["inputs"] != self.inputs:
            for path in [path for _, path in left] + [self.options.log, self.options.record]:
                if os.path.exists(path):
                    os.remove(path)
            self.begun = {"inputs": self.inputs, "runs": []}
            self._write(self.begun_path)

    def run(self, flags: Sequence[str], until: float | None = None) -> int:
        """Run caffe once, with more of its flags; returns the exit status.

        until: the value of time.time() at which it stops with a snapshot.
        """
        state = max(self._states(), default=None)
        words = ["train", "-solver", self.options.solver]
        if state or self.options.state:
            words += ["-snapshot", state[1] if state else self.options.state]
        elif self.options.weights:
            words += ["-weights", self.options.weights]
        begin = state[0] if state else self.start
        one = TrainingRun([*words, *flags], self.options.log, begin, self.iterations, until)
        status = one.run()
        self.begun["runs"].append(one.account())
        self._write(self.begun_path)
        log = Log(self.options.log)
        log.read()
        if one.diverged is not None:
            say(f"{self.options.solver}: the loss is no number at iteration {one.diverged}: ended")
            self.begun["diverged"] = one.diverged
        if one.diverged is not None or (status == 0 and log.ended == "done"):
            self._write(self.options.record)
            return 0
        if status == 0 or one.interrupted:
            say(
                f"{self.options.solver}: stopped at iteration {one.reached}; the same command "
                "goes on",
                file=sys.stderr,
            )
            return STOPPED
        raise CaffeError(f"{self.options.log}: {one.last_line or f'exit status {status}'}")

    def prune(self, keep: tuple[float, float], state: int | None = None) -> None:
        """Remove all snapshots but the last one and the weights from iteration to iteration.

        state: the iteration whose solver state stays as well.
        """
        last = max(self._states(), default=(0, ""))[0]
        for iteration, path in self._snapshots():
            wanted = keep[0] <= iteration <= keep[1] and path.endswith(".caffemodel")
            wanted |= iteration == state and path.endswith(".solverstate")
            if iteration != last and not wanted:
                os.remove(path)

    def _states(self) -> list[tuple[int, str]]:
        """The iterations and paths of the solver states."""
        return [(i, path) for i, path in self._snapshots() if path.endswith(".solverstate")]

    def _snapshots(self) -> list[tuple[int, str]]:
        """The iterations and paths of all files of all snapshots."""
        found = []
        for path in sorted(glob.glob(glob.escape(self.prefix) + "_iter_*")):
            name = STATE.match(path, len(self.prefix))
            if name:
                found.append((int(name[1]), path))
        return found

    def _write(self, path: str) -> None:
        schema.write_json(self.begun, path)


def _read(path: str) -> dict | None:
    return schema.read_json(path) if os.path.exists(path) else None


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = Parser.documented("train_to_end", __doc__, EXAMPLE)
    add = parser.add_argument
    add("solver", metavar="SOLVER.prototxt")
    add("--weights", metavar="FILE.caffemodel", help="to begin with")
    add(
        "--state",
        metavar="FILE.solverstate",
        help="to go on from, with the weights that it names (--weights tells them, too)",
    )
    add("--log", required=True, metavar="FILE", help="grows with every run")
    add(
        "--keep",
        type=_range,
        default=(0, float("inf")),
        metavar="all|last|A-B",
        help="snapshots to keep besides the last one (all)",
    )
    add("--until", type=float, metavar="T", help="stop with a snapshot at this time (date +%%s)")
    add("--keep-state", type=int, metavar="N", help="the solver state of iteration N as well")
    add("-o", dest="record", required=True, metavar="RECORD.json")
    words = list(sys.argv[1:] if arguments is None else arguments)
    flags = []
    if "--" in words:
        flags, words = words[words.index("--") + 1 :], words[: words.index("--")]
    options = parser.parse_args(words)
    options.flags = flags
    return options


def _range(text: str) -> tuple[float, float]:
    if text in ("all", "last"):
        return (0, float("inf")) if text == "all" else (1, 0)
    first, _, last = text.partition("-")
    return int(first), int(last)


if __name__ == "__main__":
    run(main)
