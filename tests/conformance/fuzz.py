"""Random nets and solvers in the embedded engine and in a C++ Caffe, until they disagree.

    CAFFE_ROOT=... python tests/conformance/fuzz.py --minutes 60 [--finds FILE] [--seed N]
    python tests/conformance/fuzz.py --forks ...

A disagreement is shrunk to the smallest case that shows it, and appended to FILE as text that
can stand in cases/finds.runs; then the search goes on, without nets that hold all layer types
of a find. Rounding is no find: a case counts only if each engine itself comes to the same end
when its first weights and records change by a millionth. With --forks single layers of SSD are
drawn, the fork that make pycaffe builds is the other engine, and a find is a line of a .probes
file. Exit status 0 if nothing was found.
"""

import re
import sys
import time
import warnings
import zlib
from collections import Counter

import torch
from harness.case import TRAIN
from harness.casefile import blocks, read_text
from harness.engines import find_caffe, find_fork
from harness.families import FORKS
from harness.judge import compare
from harness.judges import Live, outcome_of
from harness.probes import Probe
from harness.random_boxes import probes
from harness.random_nets import cases
from harness.stir import Stirred
from hypothesis import HealthCheck, Phase, given, seed, settings

from netgen.commandline import Parser, run
from netgen.errors import CaffeError

ROUND = 300  # cases before the next seed
CALM = 0.3  # how much of the tolerances rounding may use up
#: once a number is too large for a float, the order of sums decides what becomes of it
BEYOND = re.compile(r"= -?(nan|inf)\b")


class Fuzzer:
    """Counts what was tried and remembers what was found."""

    drawn = staticmethod(cases)

    def __init__(self, judge, finds):
        self.judge, self.finds = judge, finds
        self.blocks = blocks()
        self.tally = Counter()
        self.known = []  # layer types of the finds
        self.failing = None
        self.end = 0.0

    def complaints(self, text):
        """What is wrong with the case of `text`; nothing where it is chaotic or known."""
        (case,) = read_text(f"[fuzz]\n{text}", "fuzz", self.blocks)
        kinds = self.kinds(text)
        if any(known <= kinds for known in self.known):
            self.tally["known"] += 1
            return []
        self.tally["tried"] += 1
        self.tally.update(f"type {kind}" for kind in kinds)
        try:
            want = outcome_of(case, self.judge.caffe)
        except CaffeError:  # refused when its first weights were made: is it by Caffe as well?
            case.start, case.only_status, case.calls = "", True, [TRAIN]
            want = outcome_of(case, self.judge.caffe)
        got = outcome_of(case, self.judge.ours)
        if not want.accepted:
            self.tally["refused"] += 1
        if any(BEYOND.search(line) for line in want.log):
            self.tally["overflow"] += 1
            return []
        found = compare(got, want).complaints
        if found and want.accepted and got.accepted and self._restless(case, want, got):
            self.tally["chaotic"] += 1
            return []
        return found

    @staticmethod
    def kinds(text):
        """The layer types that are drawn in a case."""
        return {line.split()[1] for line in text.splitlines() if line.startswith("l")}

    def _restless(self, case, want, got):
        """Does either engine itself, from a start stirred a little, end up visibly elsewhere?"""
        return any(
            compare(outcome_of(case, Stirred(engine, number)), end, share=CALM).complaints
            for number in range(3)
            for engine, end in ((self.judge.ours, got), (self.judge.caffe, want))
        )

    def check(self, text):
        """Raise AssertionError if the case is a find."""
        if time.time() > self.end and self.failing is None:
            return
        if found := self.complaints(text):
            self.failing = text, found
            raise AssertionError(found[0])

    def summary(self):
        """The tally in words."""
        counts = (
            f"{self.tally[key]} {key}"
            for key in ("tried", "refused", "chaotic", "overflow", "known", "found")
        )
        return ", ".join(counts)

    def round(self, number):
        """One seed's worth of cases."""
        phases = (Phase.generate, Phase.shrink)
        quiet = list(HealthCheck)

        @seed(number)
        @settings(
            max_examples=ROUND,
            deadline=None,
            database=None,
            phases=phases,
            suppress_health_check=quiet,
            report_multiple_bugs=False,
            print_blob=False,
        )
        @given(self.drawn())
        def search(text):
            self.check(text)

        self.failing = None
        try:
            search()
        except AssertionError:
            self._keep(number)

    def _keep(self, number):
        text, found = self.failing
        self.known.append(self.kinds(text))
        self.tally["found"] += 1
        told = "\n".join(f"# {complaint[:300]}" for complaint in found[:3])
        entry = f"{told}\n{self.entry(number, text)}\n"
        print(entry, flush=True)
        with open(self.finds, "a", encoding="utf-8") as file:
            file.write(entry)

    @staticmethod
    def entry(number, text):
        """The case as it stands in a file of cases."""
        name = f"find_{number}"
        same = zlib.crc32(b"fuzz") - zlib.crc32(name.encode())  # the same random numbers
        return f"[{name}]\n{text}\nseed {same}\n"


class ForkFuzzer(Fuzzer):
    """The same of single layers that only forks have."""

    drawn = staticmethod(probes)

    def complaints(self, text):
        """As Fuzzer's; the judge itself lets off what is rounding."""
        kinds = self.kinds(text)
        if kinds in self.known:
            self.tally["known"] += 1
            return []
        self.tally["tried"] += 1
        self.tally.update(f"type {kind}" for kind in kinds)
        return self.judge.judge(Probe(text, f"{FORKS}fuzz").case()).complaints

    @staticmethod
    def kinds(text):
        return {text.split()[0]}

    @staticmethod
    def entry(number, text):
        return f"{text}\n"


def main():
    """The command; returns its exit status."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--finds", default="finds.runs", metavar="FILE")
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--forks", action="store_true", help="layers that only forks have")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    caffe = find_fork() if options.forks else find_caffe()
    if caffe is None:
        missing = "build one with make pycaffe" if options.forks else "set CAFFE_ROOT"
        print(f"no C++ Caffe: {missing}", file=sys.stderr)
        return 2
    fuzzer = (ForkFuzzer if options.forks else Fuzzer)(Live(caffe), options.finds)
    fuzzer.end = time.time() + 60 * options.minutes
    number = options.seed
    while time.time() < fuzzer.end:
        fuzzer.round(number)
        number += 1
        print(f"seed {number}: {fuzzer.summary()}", flush=True)
    types = {key[5:]: count for key, count in fuzzer.tally.items() if key.startswith("type ")}
    print("layers: " + ", ".join(f"{kind} {types[kind]}" for kind in sorted(types)))
    return 1 if fuzzer.known else 0


if __name__ == "__main__":
    run(main)
