"""Measure everything and write RESULTS.md: `make bench`, or `python -m bench`.

    python -m bench                       # 10 to 15 minutes on two idle cores
    python -m bench --quick               # 3 minutes: narrow nets, few rounds, nothing written
    python -m bench --only training --nets lenet   # a part, to the screen

Nothing else should run meanwhile; the load before and after stands in the results.
"""

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench import worker
from bench.processes import ROOT
from bench.report import report
from bench.subjects import SUBJECTS, write_records
from caffe_tools.machine import machine
from netgen.commandline import Parser, run
from netgen.schema import write_bytes, write_json

PAGE = ROOT / "bench" / "RESULTS.md"


@dataclass(frozen=True)
class Extent:
    """How much is measured. width: of the All-CNN nets. steps: of a whole process."""

    rounds: int = 5
    width: float = 1.0
    compiled: bool = True
    steps: int = 2
    whole: int = 3
    images: int = 10_000
    batches: tuple = (1, 8, 32, 128, 256)
    widths: tuple = (0.125, 0.25, 0.5, 1.0)
    depths: tuple = (1, 3, 5, 9)
    records: tuple = (1_000, 10_000, 50_000)


QUICK = Extent(
    rounds=2,
    width=0.25,
    compiled=False,
    steps=2,
    whole=1,
    images=1000,
    batches=(8, 64),
    widths=(0.125, 0.25),
    depths=(1, 3),
    records=(1_000, 5_000),
)


class Sections:
    """Each method is a section; it is measured in other processes."""

    def __init__(self, extent, nets, folder):
        self.extent, self.nets, self.folder = extent, nets, folder
        self.log = folder / "log"

    def ceilings(self):
        return self._call("ceilings", rounds=self.extent.rounds)

    def training(self):
        return [
            self._call(
                "training",
                SUBJECTS[net],
                net=net,
                rounds=self.extent.rounds,
                width=self._width(net),
                compiled=self.extent.compiled,
            )
            for net in self.nets
        ]

    def whole(self):
        extent = self.extent
        return self._call(
            "whole",
            "whitened",
            net="allcnn-c",
            steps=extent.steps,
            rounds=extent.whole,
            width=extent.width,
        )

    def commands(self):
        return self._call("commands", "digits", rounds=max(2, self.extent.rounds - 2))

    def preparation(self):
        return self._call("preparation", images=self.extent.images)

    def snapshots(self):
        return self._call("snapshots", "whitened", rounds=self.extent.rounds)

    def together(self):
        return [
            self._call("together", SUBJECTS[net], net=net, rounds=self.extent.rounds, width=width)
            for net, width in (("lenet", 1.0), ("allcnn-c", 0.25))
        ]

    def workers(self):
        return [
            self._call(
                "workers",
                SUBJECTS[net],
                net=net,
                steps=steps,
                rounds=max(2, self.extent.rounds - 2),
                width=width,
            )
            for net, steps, width in (("lenet", 200, 1.0), ("allcnn-c", 20, 0.25))
        ]

    def scaling(self):
        extent = self.extent
        axes = {
            "batch": (extent.batches, "whitened"),
            "width": (extent.widths, "whitened"),
            "depth": (extent.depths, "padded"),
            "records": (extent.records, "digits"),
        }
        return {
            axis: self._call(
                "scaling", kind, axis=axis, values=values, rounds=max(2, extent.rounds - 2)
            )
            for axis, (values, kind) in axes.items()
        }

    def _width(self, net):
        return self.extent.width if SUBJECTS[net] == "whitened" else 1.0

    def _call(self, section, kind=None, **arguments):
        if kind is not None:
            arguments["folder"] = str(write_records(self.folder, kind))
        start = time.perf_counter()
        result = worker.call(section, self.log, **arguments)
        what = arguments.get("net") or arguments.get("axis") or ""
        print(f"{section} {what}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
        return result


SECTIONS = (
    "ceilings",
    "training",
    "whole",
    "commands",
    "preparation",
    "snapshots",
    "together",
    "workers",
    "scaling",
)


def main():
    parser = Parser(
        prog="python -m bench",
        description=__doc__,
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=SECTIONS, nargs="+", default=SECTIONS)
    parser.add_argument(
        "--nets", choices=SUBJECTS, nargs="+", default=list(SUBJECTS), help="of the training steps"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help=f"{PAGE.relative_to(ROOT)}; - for the screen, as with --quick and --only",
    )
    parser.add_argument("--json", metavar="FILE", help="every single number, too")
    args = parser.parse_args()
    partial = args.quick or set(args.only) != set(SECTIONS) or set(args.nets) != set(SUBJECTS)
    output = args.output or ("-" if partial else PAGE)

    start, before = time.time(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        sections = Sections(QUICK if args.quick else Extent(), args.nets, Path(folder))
        results = {name: getattr(sections, name)() for name in SECTIONS if name in args.only}
    results["about"] = {
        "machine": machine(),
        "quick": args.quick,
        "load": before,
        "minutes": (time.time() - start) / 60,
        "date": time.strftime("%Y-%m-%d", time.gmtime(start)),
    }
    if args.json:
        write_json(results, args.json)
    text = report(results)
    if output == "-":
        print(text)
    else:
        write_bytes(text.encode(), output)
        print(f"wrote {output}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
