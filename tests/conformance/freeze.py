"""Write the frozen sample anew: what C++ Caffes make of every case.

    CAFFE_ROOT=... python tests/conformance/freeze.py [--only FAMILY]

CAFFE_ROOT names a Caffe 1.0; of forks/* it is the fork that make pycaffe builds.

A run whose end changes visibly when its first weights and records change by a millionth is no
fair case: it is told, so that it gets another seed or a lower rate.
"""

from harness import crossing, fillers, frozen
from harness.engines import find_caffe, find_fork
from harness.families import families, is_probe, of_fork
from harness.judge import WEIGHTS, compare
from harness.judges import LIVE_ONLY, filler_samples, kept_log, outcome_of
from harness.stir import Stirred

from netgen.commandline import Parser, run
from netgen.errors import CaffeError

CALM = WEIGHTS / 2  # how far the end may then be away


def unrest(case, outcome, engine):
    """How far stirring what the run starts from moves its last weights, relatively."""
    verdict = compare(outcome_of(case, Stirred(engine, case.seed)), outcome, log=False)
    return verdict.errors.get("weights", 0.0)


def freeze(family, cases, engine):
    """Run and write one family."""
    outcomes = {}
    for case in cases:
        outcome = outcome_of(case, engine)
        outcome = outcomes[case.name] = kept_log(case, outcome)
        if is_probe(case):
            if not outcome.accepted:
                print(f"{family}/{case.name}: refused: {outcome.log[-1:]}")
            outcome.log = []
        elif not case.only_status:
            if not outcome.accepted:
                print(f"{family}/{case.name}: refused: {outcome.log[-1:]}")
            elif (moved := unrest(case, outcome, engine)) > CALM:
                print(f"{family}/{case.name}: restless, {moved:.1g}")
    frozen.write_family(family, outcomes)
    if family == "resume":
        crossing.write_first_files({c.name: crossing.first_files(c, engine) for c in cases})


def engine_for(family):
    """The C++ Caffe that makes the sample of a family: the fork for its own layers."""
    engine = find_fork() if of_fork(family) else find_caffe()
    if engine is None:
        raise CaffeError(f"{family}: no C++ Caffe: set CAFFE_ROOT, and make pycaffe for the fork's")
    return engine


def main():
    """The command; returns its exit status."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="FAMILY")
    only = parser.parse_args().only
    for family, cases in families().items():
        if family not in LIVE_ONLY and only in (None, family):
            freeze(family, cases, engine_for(family))
    if only in (None, "fillers"):
        engine = engine_for("fillers")
        fillers.write_samples(filler_samples(engine))
    return 0


if __name__ == "__main__":
    run(main)
