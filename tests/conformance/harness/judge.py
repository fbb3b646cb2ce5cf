"""When do two outcomes agree?"""

import re
from dataclasses import dataclass, field

import numpy as np

from harness.engines import CRASHED
from harness.outcome import last_words

#: largest difference of an array relative to its largest value
FORWARD, BACKWARD, WEIGHTS, HISTORY = 1e-5, 1e-4, 1e-4, 1e-3
#: printed numbers: relative, and measured against at least this
PRINTED, PRINTED_FLOOR = 1e-4, 1e-2
TINY = 1e-6  # an array all below this is measured against it
#: how much further than it moves by itself an array may be off (see judges.judged)
MARGIN = 2

NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf)(?![\w.])")


@dataclass
class Verdict:
    """complaints: sentences, empty when all agrees. errors: {what: its largest error}.

    arrays: {array: its error}. quirk: why the other engine, an older one, is expected to differ,
    and does. share: how much of the tolerances is allowed.
    """

    complaints: list = field(default_factory=list)
    errors: dict = field(default_factory=dict)
    arrays: dict = field(default_factory=dict)
    quirk: str = ""
    share: float = 1.0

    def note(self, what, error, tolerance, where):
        """Remember the error of one array or line; complain where it is too large."""
        if not error <= self.errors.get(what, -1):
            self.errors[what] = error
        if not error <= tolerance * self.share:
            self.complaints.append(f"{where} off by {error:.2g}")


def relative(got, want):
    """max |got - want| / max |want|; inf where one is finite and the other is not."""
    if not want.size:
        return 0.0
    got, want = np.float64(got), np.float64(want)
    if not np.array_equal(np.isfinite(got), np.isfinite(want)):
        return float("inf")
    finite = np.isfinite(want)
    if not finite.any():
        return 0.0
    largest = max(np.abs(want[finite]).max(), TINY)
    return float(np.abs(got[finite] - want[finite]).max() / largest)


def _tolerance(key):
    if key.startswith("forward/"):
        return "forward", FORWARD
    if key.startswith("output/"):
        return "output", FORWARD
    if key.startswith("history/"):
        return "history", HISTORY
    return ("backward", BACKWARD) if key.endswith(".diff") else ("weights", WEIGHTS)


def compare(got, want, log=True, differs="", share=1.0, moved=None):
    """The Verdict on outcome `got` where `want` is right.

    log: are the lines compared? differs: why one is refused and the other is not, on purpose.
    share: of the tolerances, what is allowed. moved: {array: how far it moves by itself}, which
    is allowed MARGIN times where that is more than the tolerance.
    """
    verdict = Verdict(share=share)
    if got.status == CRASHED:
        verdict.complaints.append(f"crashed: {got.log[-1:]}")
        return verdict
    if differs:
        if got.accepted == want.accepted:
            verdict.complaints.append(f"no longer differs from Caffe ({differs})")
        return verdict
    if got.accepted != want.accepted:
        told = (got if want.accepted else want).log
        verb = "refused" if want.accepted else "accepted"
        verdict.complaints.append(f"{verb}, unlike Caffe: {last_words(told)}")
        return verdict
    if not want.accepted:
        return verdict
    for key in sorted(got.blobs.keys() ^ want.blobs.keys()):
        verdict.complaints.append(f"{key} {'missing' if key in want.blobs else 'not expected'}")
    for key in sorted(got.blobs.keys() & want.blobs.keys()):
        ours, theirs = got.blobs[key], want.blobs[key]
        if ours.shape != theirs.shape:
            verdict.complaints.append(f"{key} has shape {ours.shape}, expected {theirs.shape}")
        else:
            what, tolerance = _tolerance(key)
            verdict.arrays[key] = relative(ours, theirs)
            allowed = max(tolerance, MARGIN * (moved or {}).get(key, 0))
            verdict.note(what, verdict.arrays[key], allowed, key)
    if log:
        compare_logs(got.log, want.log, verdict)
    return verdict


def compare_logs(got, want, verdict):
    """Line for line: equal words, numbers within the tolerance."""
    for ours, theirs in zip(got, want, strict=False):
        if ours == theirs:
            continue
        if NUMBER.sub("#", ours) != NUMBER.sub("#", theirs):
            verdict.complaints.append(f"log line {ours!r}, expected {theirs!r}")
            return
        a, b = (np.array(NUMBER.findall(line), float) for line in (ours, theirs))
        both = np.isnan(a) & np.isnan(b) | (a == b)
        error = np.where(both, 0, np.abs(a - b) / np.maximum(np.abs(b), PRINTED_FLOOR))
        verdict.note("printed", float(error.max()), PRINTED, f"log line {ours!r} ({theirs!r})")
    if len(got) != len(want):
        longer = got if len(got) > len(want) else want
        line = longer[min(len(got), len(want))]
        verb = "more than" if longer is got else "lacks"
        verdict.complaints.append(f"log {verb} expected: {line!r}")
