"""Hold the embedded engine against a C++ Caffe, or against the frozen sample of one.

    python tests/conformance/run.py [--only PATTERN] [--against frozen|caffe] [--page FILE]

CAFFE_ROOT names the C++ Caffe; without one the frozen sample serves. PATTERN is a shell pattern
of family/case. Exit status 0 only if everything agrees.
"""

import fnmatch
import sys

import torch
from harness import fillers
from harness.engines import find_caffe
from harness.families import families
from harness.judge import Verdict
from harness.judges import Frozen, Live, filler_samples
from harness.page import write_page
from harness.results import Results

from netgen.commandline import Parser, run
from netgen.errors import CaffeError


def choose(against):
    """The judge: Live where a C++ Caffe is to be had and not declined, else Frozen."""
    caffe = None if against == "frozen" else find_caffe()
    if caffe is None and against == "caffe":
        raise CaffeError("no C++ Caffe: set CAFFE_ROOT, or build one with make pycaffe")
    return Live(caffe) if caffe else Frozen()


def judge_all(judge, pattern, tell):
    """Every case that `pattern` names, before `judge`; returns the Results."""
    results = Results(judge.name, judge.quirks)
    for family, cases in families().items():
        chosen = [c for c in cases if fnmatch.fnmatch(f"{family}/{c.name}", pattern)]
        for case in filter(judge.has, chosen):
            try:
                verdict = judge.judge(case)
            except CaffeError as error:
                verdict = Verdict([f"no first weights: {error}"])
            tell(results.add(case, verdict))
            if family == "resume":
                for how, verdict in judge.crossings(case).items():
                    tell(results.cross(case, how, verdict))
    if fnmatch.fnmatch("fillers", pattern):
        ours, theirs = filler_samples(judge.ours), judge.samples()
        for filler in fillers.entries():
            name = filler.name
            found = fillers.compare_samples(name, ours.get(name), theirs.get(name))
            tell(results.fill(filler, found))
    return results


def main(words=None):
    """The command; returns its exit status."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="*", metavar="PATTERN", help="e.g. 'solver/*'")
    parser.add_argument("--against", choices=("frozen", "caffe"), help="instead of what is there")
    parser.add_argument("--page", metavar="FILE", help="write the results page")
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    try:
        judge = choose(options.against)
    except CaffeError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"against {judge.name}", flush=True)
    results = judge_all(judge, options.only, lambda line: line and print(line, flush=True))
    for quirk, count in results.quirks_seen().items():
        print(f"known of this fork, seen {count} times: {quirk}")
    print(results.summary())
    if options.page:
        write_page(options.page, results)
    return 0 if results.agree else 1


if __name__ == "__main__":
    run(main)
