"""Plot Caffe training logs: train loss, test loss and test accuracy in one figure.

The figure follows the logs until every run has ended (`Optimization Done.`, or an hour
without a new line, or a copy of an old log); Ctrl-C ends it earlier, --no_refresh draws it once. On a display it
is a window. Without one, or with -o, it is a picture file that is kept fresh, by default
LOG.png beside the log, or loss.png in the folder that several logs have in common.

Thin lines are the train loss as displayed, dashed ones the test loss, stars the best
accuracies. Runs of one file that continue each other are one curve (see parse_log).
"""

from __future__ import annotations

import argparse
import glob
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from netgen.commandline import Parser, run, say
from netgen.errors import printable
from runner.log import Log, Run

if TYPE_CHECKING:
    from caffe_tools.figures.view import View

EXAMPLES = """examples:
  python tools/plot_loss.py logs/*.log
  python tools/plot_loss.py logs/baseline.log logs/msplit1.log --avg 10 --x seconds
  python tools/plot_loss.py logs/*.log --no_refresh -o loss.pdf
  python tools/plot_loss.py logs/baseline.log logs/msplit1.log --chain
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(arguments)
    from caffe_tools.figures.loss import draw
    from caffe_tools.figures.view import open_view  # only now, as matplotlib takes its time to load

    view = open_view(
        options.output or default_output(options.logs),
        windowed=not options.output,
        draw=partial(draw, average=options.avg, x=options.x, chain=options.chain),
        size=figure_size(len(options.logs)),
    )
    try:
        follow([Log(path) for path in options.logs], view, options.every if options.live else None)
    except KeyboardInterrupt:
        print()
    return 0


def follow(logs: Sequence[Log], view: View, every: float | None) -> None:
    """Show the logs, again each time they have grown, until they end or the view is closed.

    every: seconds between looks; None to look once.
    """
    waiting, pause, started = set(), every, []
    while True:
        news = not started
        for log in logs:
            if every is None or os.path.exists(log.path):
                news |= log.read()
        started = [log for log in logs if any(map(len, log.runs))]
        if news and started:
            clock = time.monotonic()
            view.show(labelled(started))
            drawing = time.monotonic() - clock
            pause = every and max(every, 4 * drawing)
        if every is None or all(map(has_ended, logs)):
            break
        for log in logs:
            if log not in started and log not in waiting:
                waiting.add(log)
                say(f"{log.path}: waiting for its first iteration")
        if not view.wait(pause):
            return
    if not started:
        logs[0].training()  # raises, saying that there is nothing
    for log in logs:
        if log not in started:
            say(f"{log.path}: no iterations found, left out", file=sys.stderr)
        if log.complaint:
            say(log.complaint, file=sys.stderr)
    view.finish()


def figure_size(logs: int) -> tuple[float, float]:
    """The figure's width and height in inches; many logs need room for their legend."""
    return (10, 7.5) if logs < 4 else (14, max(7.5, 1 + 0.2 * logs))


def has_ended(log: Log) -> bool:
    """Whether the log is there and will not grow; one that is yet to come has not ended."""
    return os.path.exists(log.path) and not log.may_grow()


def labelled(logs: Sequence[Log]) -> dict[str, Run]:
    """The trainings by label: the net's name, and the file's where that tells more."""
    trainings = [log.training() for log in logs]
    for log, training in zip(logs, trainings, strict=True):
        if not log.may_grow():
            training.ended = training.ended or "unfinished"
    files = [os.path.splitext(os.path.abspath(log.path))[0] for log in logs]
    names = [os.path.basename(file) for file in files]
    if len(set(names)) < len(names):  # then with as much of the folders as differs
        shared = os.path.commonpath(map(os.path.dirname, files))
        names = [os.path.relpath(file, shared).replace(os.sep, "/") for file in files]
    labels = [
        name
        if plain(name) == plain(training.net) or not training.net
        else f"{training.net} ({name})"
        for name, training in zip(names, trainings, strict=True)
    ]
    return dict(zip(map(printable, labels), trainings, strict=True))


def plain(name: str) -> str:
    """The letters and digits of a name, in lower case."""
    return "".join(filter(str.isalnum, name)).lower()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = Parser.documented("plot_loss", __doc__, EXAMPLES)
    parser.add_argument("logs", nargs="+", metavar="LOG")
    parser.add_argument(
        "--avg", type=int, default=1, metavar="N", help="mean of N displayed train losses"
    )
    parser.add_argument("--no_refresh", dest="live", action="store_false", help="draw once and end")
    parser.add_argument("-o", dest="output", metavar="FILE", help="picture: .png, .pdf, .svg, ...")
    parser.add_argument("--x", choices=("iters", "seconds"), default="iters")
    parser.add_argument(
        "--chain",
        action="store_true",
        help="each log goes on where the one before it ended: a parent, then its children",
    )
    parser.add_argument(
        "--every", type=float, default=5, metavar="S", help="look for news every S seconds (5)"
    )
    options = parser.parse_args(arguments)
    if options.avg < 1 or not 0 < options.every < 3600:
        parser.error("--avg is at least 1, --every above 0 and under 3600")
    options.logs = existing_logs(parser, options.logs)
    return options


def existing_logs(parser: Parser, paths: Sequence[str]) -> list[str]:
    """The logs that are there or may appear, each once; patterns that the shell left are read."""
    found = []
    for path in paths:
        matches = [path] if os.path.exists(path) else sorted(glob.glob(path))
        if not matches and (
            glob.has_magic(path) or not os.path.isdir(os.path.dirname(path) or ".")
        ):
            parser.error(f"{path}: no such log, nor a folder where it could appear")
        found += matches or [path]
    return list(dict.fromkeys(found))


def default_output(paths: Sequence[str]) -> str:
    """The picture's path: beside one log, or in the folder that several have in common."""
    if len(paths) == 1:
        return os.path.splitext(paths[0])[0] + ".png"
    folders = [os.path.dirname(os.path.abspath(path)) for path in paths]
    return os.path.relpath(os.path.join(os.path.commonpath(folders), "loss.png"))


def command() -> None:
    """Run the command as a program of its own."""
    run(main)


if __name__ == "__main__":
    command()
