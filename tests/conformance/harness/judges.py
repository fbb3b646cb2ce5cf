"""What the embedded engine is held to: a C++ Caffe that runs now, or the frozen sample."""

import re
import tempfile
from functools import partial

from harness import crossing, fillers, frozen, older
from harness.engines import Embedded
from harness.families import of_fork
from harness.judge import Verdict, compare
from harness.outcome import Outcome
from harness.stir import ROUNDING, Stirred

#: how often a run is stirred to see how far its arrays move by themselves
STIRS = 4
#: families that are only compared live: the frozen sample has their kind often enough
LIVE_ONLY = ("sweep",)


def outcome_of(case, engine):
    """The Outcome of a case in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        case.write(folder)
        return case.run([engine], folder)


def judged(case, engine, right, compare, form=lambda outcome: outcome):
    """The Verdict on what an engine makes of a case, where `right` is right.

    compare(got, want, moved=...): as judge.compare. form: gives an outcome the form of `right`.

    Some arrays are differences of much larger numbers that cancel, as is the gradient of a bias
    in front of a layer that subtracts the mean: all that is left is how this processor rounds.
    So where something is off, the engine runs again on starts that differ by a rounding, and no
    array is held to be more exact than it then is.
    """
    got = outcome_of(case, engine)
    verdict = compare(got, right)
    if not verdict.complaints or not got.accepted:
        return verdict
    moved = {}
    for seed in range(STIRS):
        stirred = outcome_of(case, Stirred(engine, seed, ROUNDING))
        for key, error in compare(stirred, form(got)).arrays.items():
            moved[key] = max(moved.get(key, 0.0), error)
    return compare(got, right, moved=moved)


def filler_samples(engine):
    """{filler: Sample} that `engine` draws; those it refuses are missing."""
    entries = fillers.entries()
    outcome = outcome_of(fillers.case(entries), engine)
    if outcome.accepted:
        return fillers.samples(entries, outcome)
    found = {}
    for entry in entries:
        outcome = outcome_of(fillers.case([entry]), engine)
        if outcome.accepted:
            found.update(fillers.samples([entry], outcome))
    return found


#: what of a log is compared with the fork's, whose other lines are not Caffe 1.0's
RESULTS = re.compile(r"(?:Test|Train) net output #.*|Iteration \d+, .*loss = .*|Test loss: .*")


def _results(outcome):
    """The outcome with nothing of its log but the numbers of RESULTS."""
    found = [match[0] for match in map(RESULTS.search, outcome.log) if match]
    log = found if outcome.accepted else outcome.log
    return Outcome(outcome.status, outcome.blobs, log)


def kept_log(case, outcome):
    """The outcome with what of its log counts in this case."""
    return _results(outcome) if of_fork(case.family) else outcome


def compare_with_fork(got, want, compare=compare, **known):
    """As `compare`, of cases that only the fork can judge."""
    return compare(_results(got), want, **known)


def excused(case, verdict):
    """The Verdict on a case of which it is known that the fork's numbers are otherwise."""
    return older.excuse(verdict, case.quirk) if case.quirk else verdict


class Live:
    """A C++ Caffe, run beside the embedded engine on the same files.

    The log of the older fork has other lines, and is not compared; of the cases of a fork's own
    layers what it prints of results is.
    """

    def __init__(self, caffe):
        self.caffe, self.ours = caffe, Embedded()
        fork = ", the older fork that make pycaffe builds" if caffe.older else ""
        self.name = f"C++ Caffe {caffe.version()}{fork}"
        self.quirks = older.reasons() if caffe.older else {}

    def has(self, case):
        return True

    def judge(self, case):
        right = outcome_of(case, self.caffe)
        if of_fork(case.family):
            how = partial(compare_with_fork, differs=case.differs)
            return excused(case, judged(case, self.ours, _results(right), how))
        how = partial(compare, log=not self.caffe.older, differs=case.differs)
        return judged(case, self.ours, right, how)

    def samples(self):
        return filler_samples(self.caffe)

    def crossings(self, case):
        return crossing.verdicts(case, self.ours, self.caffe, log=not self.caffe.older)


class Frozen:
    """What stock Caffe, or of its own layers the fork, once made of the same files."""

    quirks = {}

    def __init__(self, fork=False):
        whose = "the fork that make pycaffe builds" if fork else "BVLC Caffe 1.0"
        self.name = f"the frozen sample of {whose}"
        self.ours = Embedded()
        self.kept, self.files = {}, crossing.read_first_files()

    def _kept(self, family):
        if family not in self.kept:
            self.kept[family] = frozen.read_family(family)
        return self.kept[family]

    def has(self, case):
        return case.family not in LIVE_ONLY

    def names(self, family):
        """The names of the family's cases in the sample."""
        return set(self._kept(family))

    def accepted(self, case):
        """Did the other engine run the case, rather than refuse it?"""
        return self._kept(case.family)[case.name][0].accepted

    def judge(self, case):
        kept = self._kept(case.family).get(case.name)
        if kept is None:
            return Verdict(["not in the frozen sample: run freeze.py"])
        how = partial(frozen.compare_frozen, differs=case.differs)
        if of_fork(case.family):
            how = partial(compare_with_fork, compare=frozen.compare_frozen, differs=case.differs)
        return excused(case, judged(case, self.ours, kept, how, frozen.thin))

    def samples(self):
        return fillers.read_samples()

    def crossings(self, case):
        """The snapshot that Caffe wrote, resumed by the embedded engine; the log is not kept."""
        want, shapes = self._kept(case.family)[case.name]
        got = crossing.resumed(case, self.files[case.name], self.ours)
        want = frozen.Outcome(want.status, want.blobs, [])
        return {"written by Caffe": frozen.compare_frozen(got, (want, shapes))}
