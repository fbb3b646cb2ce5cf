"""What the fork that make pycaffe builds does otherwise than Caffe 1.0: cases/older.txt."""

from harness.casefile import HERE
from harness.judge import Verdict


def quirks():
    """{reason: [family/case]} of cases/older.txt."""
    found, cases = {}, []
    for line in (HERE / "older.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            cases.append(line.strip())
        elif line and not line.startswith("#"):
            cases = found[line] = []
    return found


def reasons():
    """{family/case: reason}."""
    return {case: reason for reason, cases in quirks().items() for case in cases}


def excuse(verdict, reason):
    """The Verdict on a case that shows a quirk, from the one on a case that should agree."""
    if not verdict.complaints:
        return Verdict([f"no longer differs from the older fork: {reason}"])
    if any(complaint.startswith("crashed") for complaint in verdict.complaints):
        return verdict
    return Verdict(quirk=reason)
