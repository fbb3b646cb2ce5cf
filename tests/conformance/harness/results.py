"""What a whole run of the conformance cases found."""

from collections import Counter
from dataclasses import dataclass

from harness import older
from harness.families import is_probe


@dataclass
class Row:
    """One comparison: the case (or Filler), its Verdict, and of a crossing how it crossed."""

    case: object
    verdict: object
    how: str = ""


class Results:
    """Collects rows; each method returns the line to print, or "" where all agrees.

    quirks: {family/case: reason} where the judge is expected to differ.
    """

    def __init__(self, against, quirks):
        self.against, self.quirks = against, quirks
        self.rows, self.crossings, self.fillers = [], [], []

    def add(self, case, verdict):
        return self._note(self.rows, case, verdict)

    def cross(self, case, how, verdict):
        return self._note(self.crossings, case, verdict, how)

    def fill(self, filler, verdict):
        return self._note(self.fillers, filler, verdict)

    def _note(self, rows, case, verdict, how=""):
        name = f"{case.family}/{case.name}"
        if name in self.quirks:
            verdict = older.excuse(verdict, self.quirks[name])
        rows.append(Row(case, verdict, how))
        complaints = verdict.complaints
        if not complaints:
            return ""
        more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
        return f"{name}{', ' * bool(how)}{how}: {complaints[0]}{more}"

    @property
    def all(self):
        return self.rows + self.crossings + self.fillers

    @property
    def probes(self):
        return [row for row in self.rows if is_probe(row.case)]

    @property
    def refusals(self):
        return [row for row in self.rows if row.case.only_status]

    @property
    def runs(self):
        return [row for row in self.rows if not (is_probe(row.case) or row.case.only_status)]

    @property
    def agree(self):
        """Does everything agree, but for known quirks?"""
        return not any(row.verdict.complaints for row in self.all)

    def summary(self):
        agree = sum(agrees(row.verdict) for row in self.all)
        parts = [
            f"{len(rows)} {what}"
            for rows, what in (
                (self.probes, "layers forward and backward"),
                (self.runs, "runs"),
                (self.refusals, "prototxts accepted or refused"),
                (self.crossings, "snapshots resumed by the other"),
                (self.fillers, "fillers"),
            )
            if rows
        ]
        known = sum(self.quirks_seen().values())
        more = f", {known} more differ as is known of this fork" if known else ""
        return f"{agree} of {len(self.all)} agree{more}: {', '.join(parts)}"

    def quirks_seen(self):
        """{reason: how many comparisons show it}."""
        return Counter(row.verdict.quirk for row in self.all if row.verdict.quirk)


def agrees(verdict):
    """Is nothing otherwise, not even as is known?"""
    return not verdict.complaints and not verdict.quirk


def worst(rows, what):
    """The largest error of a kind among rows, or None if none has it."""
    return max((r.verdict.errors[what] for r in rows if what in r.verdict.errors), default=None)
