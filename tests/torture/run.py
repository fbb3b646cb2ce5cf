"""Attack the project: kills, power cuts, faults, mixed snapshots, bombs, long runs, damaged inputs.

    python tests/torture/run.py [--only kills,cuts] [--kills N] [--cuts N] [--faults N]
                                [--mixed N] [--bombs N] [--level N] [--mutants N]
                                [--seed S] [--minutes M] [--page FILE] [--with FOLDER ...]

A part is numbered trials, which a seed repeats: --only PART --seed S --trial N is one of them
again. What was done is kept in build/torture, so that the same command goes on where it stopped;
--fresh begins again. Exit status 0 only if nothing was complained of.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.append(str(Path(__file__).resolve().parents[1] / "shared"))

from attack import commands
from attack.bombs import Bombs
from attack.cuts import Cuts
from attack.faults import Faults
from attack.kills import Kills
from attack.level import Level
from attack.mixed import Mixed
from attack.mutants import Mutants
from attack.report import Report
from attack.trial import Part, Place, Refused, draws

from netgen.commandline import Parser, run

PARTS: tuple[type[Part], ...] = (Kills, Cuts, Faults, Mixed, Bombs, Level, Mutants)


def attack(part: Part, place: Place, report: Report, options: argparse.Namespace) -> None:
    """The trials of a part that are not in the report, until its count or the time is reached."""
    wanted = getattr(options, part.name)
    wanted = part.count if wanted is None else wanted
    while time.monotonic() < options.end:
        number = report.trials(part, options.seed)
        if options.trial is not None:
            number = options.trial
        elif (report.attacks(part, options.seed) if part.counts_attacks else number) >= wanted:
            return
        start = time.monotonic()
        trial = part.trial(place, number, draws(options.seed, part.name, number))
        if options.trial is None:
            report.add(part, options.seed, trial, time.monotonic() - start)
        for complaint in trial.complaints:
            print(f"{part.name} {number}, seed {options.seed}: {complaint}", flush=True)
            options.complaints += 1
        if options.trial is not None:
            return


def main(words: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = Parser.documented("torture", __doc__ or "")
    parts = [part() for part in PARTS]
    names = [part.name for part in parts]
    parser.add_argument("--only", default=",".join(names), metavar="PART,...")
    for part in parts:
        what = "attacks that hit" if part.counts_attacks else "trials"
        parser.add_argument(f"--{part.name}", type=int, metavar="N", help=f"{what} ({part.count})")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=15.0, help="stop after so long (15)")
    parser.add_argument("--trial", type=int, metavar="N", help="only this trial, not kept")
    parser.add_argument("--fresh", action="store_true", help="forget what was done")
    parser.add_argument("--page", metavar="FILE", help="write the page of all that was done")
    parser.add_argument("--folder", default=str(commands.ROOT / "build" / "torture"))
    parser.add_argument(
        "--with",
        nargs="+",
        default=[],
        dest="others",
        metavar="FOLDER",
        help="folders of attacks made elsewhere, for the page",
    )
    options = parser.parse_args(words)
    if unknown := set(options.only.split(",")) - set(names):
        parser.error(f"no part called {', '.join(sorted(unknown))}: {', '.join(names)}")
    options.end, options.complaints = time.monotonic() + 60 * options.minutes, 0
    folder = Path(options.folder)
    if options.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    report = Report(folder)
    for other in map(Path, options.others):
        report.include(Report(other))
    place = Place(folder)
    try:
        for part in parts:
            if part.name not in options.only.split(","):
                continue
            try:
                part.ready()
                attack(part, place, report, options)
            except Refused as refused:
                report.skip(part, str(refused))
                print(f"{part.name}: not tried: {refused}")
            print(report.summary(part), flush=True)
    finally:
        place.close()
    if options.page:
        report.write_page(Path(options.page), parts)
    return 1 if options.complaints else 0


if __name__ == "__main__":
    run(main, "torture")
