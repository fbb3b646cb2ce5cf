"""Hold the embedded engine against a C++ Caffe, or against the frozen sample of one.

    python tests/conformance/run.py [--only PATTERN] [--against frozen|caffe] [--page FILE]

CAFFE_ROOT names the C++ Caffe; without one the frozen sample serves. The families forks/* are
judged by the fork that `make pycaffe` builds, or by its frozen sample. PATTERN is a shell pattern
of family/case. Exit status 0 only if everything agrees.
"""

import fnmatch
import sys

import torch
from harness import fillers
from harness.engines import find_caffe, find_fork
from harness.families import families, of_fork
from harness.judge import Verdict
from harness.judges import Frozen, Live, filler_samples
from harness.page import write_page
from harness.results import Results

from netgen.commandline import Parser, run
from netgen.errors import CaffeError


def choose(against):
    """The judge of Caffe's layers and that of a fork's own.

    Live where a C++ Caffe is to be had and not declined, else Frozen.
    """
    caffe, fork = (None, None) if against == "frozen" else (find_caffe(), find_fork())
    if caffe is None and against == "caffe":
        raise CaffeError("no C++ Caffe: set CAFFE_ROOT, or build one with make pycaffe")
    return Live(caffe) if caffe else Frozen(), Live(fork) if fork else Frozen(fork=True)


def judge_forks(judge, pattern, tell):
    """Every case of a fork's own layers that `pattern` names, before `judge`: the Results."""
    results = Results(judge.name, {})
    for family, cases in families().items():
        if of_fork(family):
            _judge_family(family, cases, judge, pattern, results, tell)
    return results


def _judge_family(family, cases, judge, pattern, results, tell):
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


def judge_all(judge, pattern, tell):
    """Every case of Caffe's layers that `pattern` names, before `judge`; returns the Results."""
    results = Results(judge.name, judge.quirks)
    for family, cases in families().items():
        if not of_fork(family):
            _judge_family(family, cases, judge, pattern, results, tell)
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
        judge, forks_judge = choose(options.against)
    except CaffeError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"against {judge.name}; a fork's own layers against {forks_judge.name}", flush=True)

    def tell(line):
        if line:
            print(line, flush=True)

    found = judge_all(judge, options.only, tell), judge_forks(forks_judge, options.only, tell)
    for results in filter(lambda each: each.all, found):
        for quirk, count in results.quirks_seen().items():
            print(f"known of this fork, seen {count} times: {quirk}")
        print(f"{results.against}: {results.summary()}")
    if options.page:
        write_page(options.page, *found)
    return 0 if any(each.all for each in found) and all(each.agree for each in found) else 1


if __name__ == "__main__":
    run(main)
