"""All cases, by the file they stand in."""

from harness.casefile import HERE, blocks, read_runs
from harness.probes import read_probes


def families():
    """{family: [Case]}: the probes first, then the training runs; files in their order."""
    found = {
        path.stem: [probe.case() for probe in read_probes(path)]
        for path in sorted(HERE.glob("*.probes"))
    }
    known = blocks()
    found.update({path.stem: read_runs(path, known) for path in sorted(HERE.glob("*.runs"))})
    return found


def is_probe(case):
    """Is the case a single layer's forward and backward?"""
    return case.reads is not None
