"""The embedded engine against the frozen sample: what stock BVLC Caffe 1.0 made of each case.

Of the layers that only forks have, what the fork that `make pycaffe` builds made of them.
"""

import pytest
import torch
from harness import fillers
from harness.families import families, of_fork
from harness.judges import LIVE_ONLY, Frozen, filler_samples

FAMILIES = {name: cases for name, cases in families().items() if name not in LIVE_ONLY}
CASES = [
    pytest.param(case, id=f"{family}/{case.name}")
    for family, cases in FAMILIES.items()
    for case in cases
]


@pytest.fixture(scope="module")
def judge():
    return Frozen()


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_caffe(case, judge):
    assert judge.judge(case).complaints == []


@pytest.mark.parametrize("case", FAMILIES["resume"], ids=lambda case: case.name)
def test_resumes_what_caffe_wrote(case, judge):
    for verdict in judge.crossings(case).values():
        assert verdict.complaints == []


def test_fillers_draw_caffes_distributions(judge):
    ours, theirs = filler_samples(judge.ours), judge.samples()
    assert ours.keys() == theirs.keys()
    for name, sample in ours.items():
        assert fillers.compare_samples(name, sample, theirs[name]).complaints == [], name


def test_the_fork_ran_what_it_judges(judge):
    """A case that both refuse would agree without a number."""
    for family in filter(of_fork, FAMILIES):
        for case in FAMILIES[family]:
            assert judge.accepted(case) or case.quirk or case.only_status, f"{family}/{case.name}"


def test_the_sample_has_these_cases_and_no_others(judge):
    for family, cases in FAMILIES.items():
        assert judge.names(family) == {case.name for case in cases}
