"""All cases, by the file they stand in."""

from harness.casefile import HERE, blocks, read_runs
from harness.probes import read_probes

#: the folder of the cases that only the fork can judge, and the start of their families' names
FORKS = "forks/"


def families():
    """{family: [Case]}: the probes first, then the training runs; a fork's come last.

    A family is called after its file, as it stands below cases/.
    """
    files = {
        str(path.relative_to(HERE).with_suffix("")): path
        for pattern in ("*.probes", "*.runs", "forks/*.probes", "forks/*.runs")
        for path in sorted(HERE.glob(pattern))
    }
    known = blocks()
    return {
        family: [probe.case() for probe in read_probes(path, family)]
        if path.suffix == ".probes"
        else read_runs(path, family, known)
        for family, path in files.items()
    }


def is_probe(case):
    """Is the case a single layer's forward and backward?"""
    return case.reads is not None


def of_fork(family):
    """Are the layers of this family a fork's, so that no Caffe 1.0 can judge it?"""
    return family.startswith(FORKS)
