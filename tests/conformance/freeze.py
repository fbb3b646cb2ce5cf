"""Write the frozen sample anew: what the C++ Caffe that CAFFE_ROOT names makes of every case.

    CAFFE_ROOT=... python tests/conformance/freeze.py [--only FAMILY]

A run whose end changes visibly when its first weights and records change by a millionth is no
fair case: it is told, so that it gets another seed or a lower rate.
"""

import sys

from harness import crossing, fillers, frozen
from harness.engines import find_caffe
from harness.families import families, is_probe
from harness.judge import WEIGHTS, compare
from harness.judges import LIVE_ONLY, filler_samples, outcome_of
from harness.stir import Stirred

from netgen.commandline import Parser, run

CALM = WEIGHTS / 2  # how far the end may then be away


def unrest(case, outcome, engine):
    """How far stirring what the run starts from moves its last weights, relatively."""
    verdict = compare(outcome_of(case, Stirred(engine, case.seed)), outcome, log=False)
    return verdict.errors.get("weights", 0.0)


def freeze(family, cases, engine):
    """Run and write one family."""
    outcomes = {}
    for case in cases:
        outcome = outcomes[case.name] = outcome_of(case, engine)
        if is_probe(case):
            outcome.log = []
        elif not case.only_status:
            if not outcome.accepted:
                print(f"{family}/{case.name}: refused: {outcome.log[-1:]}")
            elif (moved := unrest(case, outcome, engine)) > CALM:
                print(f"{family}/{case.name}: restless, {moved:.1g}")
    frozen.write_family(family, outcomes)
    if family == "resume":
        crossing.write_first_files({c.name: crossing.first_files(c, engine) for c in cases})


def main():
    """The command; returns its exit status."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="FAMILY")
    only = parser.parse_args().only
    engine = find_caffe()
    if engine is None:
        print("no C++ Caffe: set CAFFE_ROOT", file=sys.stderr)
        return 1
    for family, cases in families().items():
        if family not in LIVE_ONLY and only in (None, family):
            freeze(family, cases, engine)
    if only in (None, "fillers"):
        fillers.write_samples(filler_samples(engine))
    return 0


if __name__ == "__main__":
    run(main)
