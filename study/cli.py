"""Run the case study: baseline, TPM, plan, split, transfer, training, and all controls.

Every stage is a list of commands that read and write files; one whose files are there and newer
than what they are made of is skipped, so the same call goes on where a stopped study was, also on
another machine to which the folder was carried. Without --scale a study that was begun goes on.
Several stages at a time: --jobs N, which is Snakemake with the same stages. See README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from netgen.commandline import Parser, run
from netgen.errors import CaffeError
from study.arms import ARMS, CONTROLS, SPLIT, controls_named
from study.begin import settle
from study.plan import stages
from study.settings import SCALES, Settings
from study.stage import STOPPED, Stage, Stopped, environment, run_stage, stale
from study.trainings import trainings

DRAWN = [f"{arm.name} is its {arm.draws} draws" for arm in ARMS.values() if arm.draws]
EXAMPLES = f"""arms: {SPLIT.name} always; {"; ".join([", ".join(CONTROLS), *DRAWN])}

examples:
  python -m study --scale tiny --out results/tiny
  python -m study --scale full --arms none --seeds 1 --gpu 0 --minutes 25
  python -m study --out results/full --arms all --gpu 0
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options, given = parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = settle(options.out, given)
    all_stages = stages(settings, options.out)
    if options.list:
        for stage in stale(all_stages):
            print(f"# {stage.name}", *stage.typed(options.flags), sep="\n")
        return 0
    deadline = options.minutes and time.monotonic() + 60 * options.minutes
    if options.jobs:
        status = snakemake(options)
        if status in (0, STOPPED):
            return status
        all_stages = stages(settings, options.out)  # what failed is tried once more, and explained
    waiting = stale(all_stages)
    try:
        while waiting:
            stage, *waiting = waiting
            place = len(all_stages) - len(waiting)
            print(f"[{place}/{len(all_stages)}] {stage.name}", flush=True)
            try:
                run_stage(stage, options.flags, deadline)
            except CaffeError as error:
                leave_out(stage, error, settings, options.out)
            all_stages = stages(settings, options.out)  # without what is left out by now
            names = [one.name for one in waiting]
            waiting = [one for one in all_stages if one.name in names]
    except (Stopped, KeyboardInterrupt) as stop:
        print(f"stopped in {stage.name}; the same command goes on", file=sys.stderr)
        if isinstance(stop, Stopped):
            report_so_far(options.out)
        return STOPPED
    print(f"{options.out}/report.html tells of all {len(all_stages)} stages")
    return 0


def leave_out(stage: Stage, error: CaffeError, settings: Settings, out: str) -> None:
    """Leave out the training whose stage has failed, if it cannot be made of its parent.

    That is so where the parent learnt nothing: weights that are no numbers have no TPM, and of a
    net of dead kernels no layer is worth splitting. Such a stage fails again at once; one that does
    not was hindered by something else, and is done. Raises `error` for all else.
    """
    from study.results import collect  # only now, as only failures need it

    planned = list(trainings(settings, out))
    training = next((one for one in planned if one.folder == stage.of), None)
    parent = training and training.parent
    known = {result.training.folder: result for result in collect(planned)}
    learnt_nothing = parent and parent.folder in known and known[parent.folder].collapsed
    if not training or not learnt_nothing or stage.trains:
        raise error
    with contextlib.suppress(CaffeError):
        run_stage(stage)
        return
    training.leave_out(f"{error}")
    print(f"{error}\n{training.folder} is left out: its parent learnt nothing", file=sys.stderr)


def report_so_far(out: str) -> None:
    """Write the report of an unfinished study, if there is something to tell."""
    from study.report import main as report  # only now, as matplotlib takes its time to load

    with contextlib.suppress(CaffeError):  # no training is complete, or a page lacks a package
        report([out])


def snakemake(options: argparse.Namespace) -> int:
    """Let Snakemake run the stages; returns its exit status."""
    if find_spec("snakemake") is None:
        raise CaffeError("--jobs needs the package snakemake: pip install snakemake")
    until = options.minutes and time.time() + 60 * options.minutes
    words = [
        "-s",
        str(Path(__file__).with_name("Snakefile")),
        "-j",
        str(options.jobs),
        "--rerun-triggers",
        "mtime",
        "--rerun-incomplete",
        "--keep-going",
        "--config",
        f"study={options.out}",
        f"flags={shlex.join(options.flags)}",
        *([f"until={until:.0f}"] if until else []),
    ]
    try:
        status = subprocess.run(
            [sys.executable, "-m", "snakemake", *words], env=environment()
        ).returncode
    except KeyboardInterrupt:
        return STOPPED
    if status and until and time.time() >= until - 1:
        report_so_far(options.out)
        print("stopped as the time is up; the same command goes on", file=sys.stderr)
        return STOPPED
    return status


def parse(arguments: list[str] | None) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The options of the command, and those of them that choose the study."""
    parser = Parser.documented("study", __doc__, EXAMPLES)
    choose, do = parser.add_argument_group("the study"), parser.add_argument_group("this call")
    add = choose.add_argument
    add(
        "--scale",
        choices=list(SCALES),
        help="tiny: two minutes; small: about twenty, on two cores; full: the study, on a GPU",
    )
    add("--net", metavar="NET", help="a net of `python -m netgen`, or a prototxt with --solver")
    add("--solver", metavar="FILE", help="of a net that is a prototxt")
    add("--rounds", type=int, metavar="R", help="of splits (full: 2, else 1)")
    add("--arms", type=controls_named, metavar="all|none|A,B", help="controls (tiny: four of them)")
    add("--deep-seeds", type=int, metavar="N", help="seeds that go beyond round 1 (all)")
    add("--control-rounds", type=int, metavar="N", help="first rounds that have controls (1)")
    add("--seeds", type=int, metavar="S", help="how many (tiny: 1, else 3)")
    add("--first-seed", type=int, metavar="N", help="the first of them (1)")
    add("--data", metavar="DIR", help="folder of the LMDBs (data/cifar10)")
    add("--note", metavar="TEXT", help="a line for the report")
    add("--width", type=float, metavar="W", help="of the net; 1 is All-CNN-C's")
    add("--batch-size", type=int, metavar="N")
    add("--iterations", type=int, nargs=2, metavar="N", help="of the baseline, and after a split")
    add(
        "--split-at",
        type=int,
        metavar="I",
        help="split the baseline at iteration I of its training, which goes on (at its end)",
    )
    add("--base-lr", type=float, metavar="LR")
    add("--lr-policy", metavar="P", help="multistep, inv, poly or fixed (full: multistep)")
    add("--dropout", action=argparse.BooleanOptionalAction, help="All-CNN's (full: with it)")
    add("--test-interval", type=int, metavar="N", help="iterations (ten tests; full: 500)")
    add("--claim", type=float, metavar="POINTS", help="that a split is claimed to gain (1)")
    add(
        "--layers",
        type=lambda text: text.split(","),
        action="append",
        metavar="A,B",
        help="to split, not chosen by entropy; once a round",
    )
    add("--factor", type=float, metavar="F", help="of plan (1.1; tiny: 1)")
    add("--kind", choices=("residual", "extension", "skip", "average"), help="of split (residual)")
    add("--init", choices=("study", "preserve"), help="of the child's weights (study)")
    add = do.add_argument
    add("--out", metavar="DIR", help="folder of the study (results/SCALE)")
    add("--gpu", metavar="ID", help="train on this GPU")
    add("--caffe", default="", metavar="FLAGS", help="further flags of `caffe train`")
    add("--minutes", type=float, metavar="M", help="stop after so long, with snapshot and report")
    add("--jobs", type=int, metavar="N", help="so many stages at a time, by Snakemake")
    add("--list", action="store_true", help="print the commands that are left, run nothing")
    options = parser.parse_args(arguments)
    if not options.out and not options.scale:
        parser.error("--scale begins a study, --out names one that goes on")
    options.out = (options.out or f"results/{options.scale}").rstrip("/")
    options.flags = shlex.split(options.caffe) + (["-gpu", options.gpu] if options.gpu else [])
    own = {action.dest for action in choose._group_actions}
    given = {
        name: value for name, value in vars(options).items() if name in own and value is not None
    }
    for name in ("iterations", "layers"):
        if name in given:
            given[name] = tuple(tuple(v) if isinstance(v, list) else v for v in given[name])
    return options, given


def command() -> None:
    """Run the command as a program of its own."""
    run(main, "study")
