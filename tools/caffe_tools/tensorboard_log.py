"""Write Caffe training logs as TensorBoard's event files: a run for each log.

Scalars are the displayed loss and learning rate, and every output of the train and test nets,
by iteration; TensorBoard's relative time is the seconds of the training. --tpm adds what
`python -m netgen tpm --json` measured, a histogram a layer, and --net a drawing of a net.

With --follow the logs are read on until every run has ended; Ctrl-C ends it earlier. What a
resumed run repeats replaces what was there.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from caffe_tools.plot_loss import existing_logs, has_ended, labelled
from netgen import growth, schema
from netgen.commandline import Parser, run, say
from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner.log import Log, Run, Table, of_net, read_logs

EXAMPLES = """examples:
  python tools/tensorboard_log.py logs/*.log -o board && tensorboard --logdir board
  python tools/tensorboard_log.py logs/baseline.log -o board --follow
  python tools/tensorboard_log.py logs/*.log -o board --tpm tpm.json --net train.prototxt
"""
NEEDED = "TensorBoard's writer is not installed: pip install 'caffe-split[tensorboard]'"


class Point(NamedTuple):
    """A value of a scalar: where it stands, when it was logged, and what it is."""

    iteration: int
    seconds: float
    value: float


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(arguments)
    board = Board(options.output)
    if options.follow:
        logs = [Log(path) for path in options.logs]
    else:
        logs = read_logs(options.logs, lambda line: say(line, file=sys.stderr))
    try:
        while True:
            for log in logs:
                log.read()
            started = [log for log in logs if any(map(len, log.runs))]
            for label, training in labelled(started).items():
                board.write(label, training)
            if not options.follow or all(map(has_ended, logs)):
                break
            time.sleep(options.every)
    except KeyboardInterrupt:
        print()
    for path in options.tpm:
        board.write_tpm(path)
    for path in options.net:
        board.write_net(path)
    board.close()
    say(f"Wrote {board.folder}: tensorboard --logdir {board.folder}")
    return 0


class Board:
    """A folder of event files, with a folder in it for each run."""

    def __init__(self, folder: str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise CaffeError(NEEDED) from None
        self.folder = folder
        self._open = SummaryWriter
        self._writers: dict[str, Any] = {}
        self._written: dict[str, dict[str, list[Point]]] = {}

    def write(self, label: str, training: Run) -> None:
        """Add what the run `label` has gained; where it went back, take back what it had."""
        written = self._written.setdefault(label, {})
        found = scalars(training)
        since = min(
            (first for tag, old in written.items() if (first := _departs(old, found[tag])) >= 0),
            default=-1,
        )
        if since >= 0:
            self._writer(label, purge_step=since)
            for tag, old in written.items():
                written[tag] = [point for point in old if point.iteration < since]
        writer = self._writer(label)
        for tag, points in found.items():
            for point in points[len(written.get(tag, ())) :]:
                writer.add_scalar(tag, point.value, point.iteration, walltime=point.seconds)
            written[tag] = points
        writer.flush()

    def write_tpm(self, path: str) -> None:
        """Add a histogram of the TPM of each layer of a measurement."""
        import numpy as np

        measured = growth.read_tpm(path)
        writer = self._writer(_stem(path))
        for layer in measured.layers:
            if layer.tpm:
                writer.add_histogram(f"tpm/{layer.name}", np.array(layer.tpm), measured.window[1])

    def write_net(self, path: str) -> None:
        """Add the drawing of a net. Raises CaffeError where Graphviz is missing."""
        import numpy as np
        from PIL import Image

        from caffe_tools import draw_net

        picture = draw_net.render(draw_net.to_dot(schema.read_net(path), caffe_pb.TRAIN), "png")
        pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
        self._writer(_stem(path)).add_image("net", pixels, 0, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, label: str, purge_step: int | None = None) -> Any:
        """The writer of a run. purge_step: TensorBoard forgets what was written from there on."""
        if label not in self._writers or purge_step is not None:
            if label in self._writers:
                self._writers[label].close()
            folder = os.path.join(self.folder, label.replace(os.sep, "_"))
            self._writers[label] = self._open(folder, purge_step=purge_step)
        return self._writers[label]


def scalars(training: Run) -> dict[str, list[Point]]:
    """The points of every curve of a training, by TensorBoard's tag."""
    found = {"loss": list(_points(training.loss, training.loss.column((0, "loss"))))}
    rates = training.loss if len(training.loss) else training.train
    found["learning_rate"] = list(_points(rates, rates.rates))
    for label, values in training.train.outputs().items():
        found[f"train/{label}"] = list(_points(training.train, values))
    for net, table in training.tests.items():
        for label, values in table.outputs().items():
            found[f"test/{of_net(net, label)}"] = list(_points(table, values))
    return {tag: points for tag, points in found.items() if points}


def _points(table: Table, values: list) -> Iterator[Point]:
    rows = zip(table.iterations, table.seconds, values, strict=False)
    for iteration, seconds, value in rows:
        if value is not None and value == value:
            yield Point(iteration, seconds if seconds == seconds else float(iteration), value)


def _departs(old: list[Point], new: list[Point]) -> int:
    """The first iteration where `new` is not what was written; -1 if it only goes on."""
    for before, now in zip(old, new, strict=False):
        if before != now:
            return min(before.iteration, now.iteration)
    return old[len(new)].iteration if len(old) > len(new) else -1


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = Parser.documented("tensorboard_log", __doc__, EXAMPLES)
    parser.add_argument("logs", nargs="+", metavar="LOG")
    parser.add_argument("-o", dest="output", metavar="DIR", required=True, help="folder to write")
    parser.add_argument("--follow", action="store_true", help="go on until every run has ended")
    parser.add_argument(
        "--every", type=float, default=5, metavar="S", help="look for news every S seconds (5)"
    )
    parser.add_argument("--tpm", nargs="+", default=[], metavar="FILE", help="TPM measurements")
    parser.add_argument("--net", nargs="+", default=[], metavar="FILE", help="nets to draw")
    options = parser.parse_args(arguments)
    if not 0 < options.every < 3600:
        parser.error("--every is above 0 and under 3600")
    options.logs = existing_logs(parser, options.logs)
    return options


def command() -> None:
    """Run the command as a program of its own."""
    run(main)


if __name__ == "__main__":
    command()
