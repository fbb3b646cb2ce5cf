"""What a whole run of the conformance cases found."""

from dataclasses import dataclass

from harness.families import is_probe


@dataclass
class Row:
    """One comparison: family, the case and its Verdict."""

    family: str
    case: object
    verdict: object
    how: str = ""


class Results:
    """Collects rows; each method returns the line to print, or "" where all agrees."""

    def __init__(self, against):
        self.against = against
        self.rows, self.crossings, self.fillers = [], [], []

    def add(self, case, verdict):
        self.rows.append(Row(case.family, case, verdict))
        return _told(f"{case.family}/{case.name}", verdict.complaints)

    def cross(self, case, how, verdict):
        self.crossings.append(Row(case.family, case, verdict, how))
        return _told(f"{case.family}/{case.name}, {how}", verdict.complaints)

    def fill(self, name, shape, distance, complaints):
        self.fillers.append((name, shape, distance, complaints))
        return _told(f"fillers/{name}", complaints)

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
        """Does everything agree, and was there anything?"""
        return bool(self.rows or self.fillers) and not self._failed()

    def _failed(self):
        rows = [row for row in self.rows + self.crossings if row.verdict.complaints]
        return len(rows) + sum(bool(complaints) for *_, complaints in self.fillers)

    def summary(self):
        total = len(self.rows) + len(self.crossings) + len(self.fillers)
        parts = (
            f"{len(self.probes)} layers forward and backward", f"{len(self.runs)} runs",
            f"{len(self.refusals)} prototxts accepted or refused",
            f"{len(self.crossings)} snapshots resumed by the other",
            f"{len(self.fillers)} fillers",
        )
        return f"{total - self._failed()} of {total} agree: {', '.join(parts)}"


def _told(name, complaints):
    if not complaints:
        return ""
    more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
    return f"{name}: {complaints[0]}{more}"


def worst(rows, what):
    """The largest error of a kind among rows, or None if none has it."""
    return max((r.verdict.errors[what] for r in rows if what in r.verdict.errors), default=None)
