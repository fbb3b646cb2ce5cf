"""The statistics of paired differences, on data whose answers are in books."""

import math
from random import Random

import pytest

from study.statistics import (
    by_unit,
    detectable,
    differences,
    holm,
    p_flip,
    paired,
    power,
    t_cdf,
    t_quantile,
    units_needed,
    verdict,
)

# Student 1908, Biometrika 6: hours of sleep gained, of ten patients.
SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
# Darwin's maize, crossed minus self-fertilized, in eighths of an inch; Fisher 1935, section 17 and
# 21: t = 2.148, and of 32,768 ways to give signs 1,726 lie at least as far from 0.
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def test_student_and_fisher_are_found_again():
    sleep = paired(SLEEP)
    assert (sleep.n, sleep.mean, sleep.sd) == (
        10,
        pytest.approx(1.58),
        pytest.approx(1.229995, 1e-6),
    )
    assert (sleep.low, sleep.high) == pytest.approx((0.70011, 2.45989), abs=1e-5)
    assert sleep.p == pytest.approx(0.0028329, rel=1e-4)
    maize = paired(MAIZE)
    t = maize.mean / maize.sd * math.sqrt(15)
    assert t == pytest.approx(2.148, abs=1e-3) and maize.p == pytest.approx(0.0497, abs=1e-4)
    assert maize.p_flip == 1726 / 32768


def test_five_units_by_hand():
    # Mean 3, sd sqrt(5/2), standard error sqrt(1/2): t = 3 sqrt(2) of 4 degrees of freedom, whose
    # two-sided p is 1 - x (3 - x^2) / 2 with x = t / sqrt(t^2 + 4).
    five = paired([1, 2, 3, 4, 5])
    x = 3 * math.sqrt(2) / math.sqrt(18 + 4)
    assert five.p == pytest.approx(1 - x * (3 - x * x) / 2) == pytest.approx(0.0132, abs=5e-5)
    half = 2.776445 / math.sqrt(2)
    assert (five.low, five.high) == (pytest.approx(3 - half), pytest.approx(3 + half))
    assert five.p_flip == 2 / 32


def test_flipping_signs_needs_more_than_five_units():
    assert p_flip([1, 2, 3, 4, 5]) == 2 / 32
    assert p_flip([-1, -2, -3, -4, -5, -6]) == 2 / 64
    assert p_flip([1, -1]) == 1
    assert p_flip([0.1, 0.2, -0.3]) == 1  # the sum is 0 but for rounding
    assert p_flip([0, 0, 0]) == 1
    assert paired([1.0] * 17).p_flip is None


def test_few_units_and_none():
    one = paired([0.7])
    assert (one.n, one.mean) == (1, 0.7)
    assert {one.sd, one.low, one.high, one.p, one.p_flip, one.detectable} == {None}
    for values in ([0.5, 0.5, 0.5], [0.0, 0.0], [100 * (0.58 - 0.55), 3.0]):
        same = paired(values)  # equal, but for rounding: no spread, so no t
        assert (same.mean, same.sd) == (pytest.approx(values[0]), 0)
        assert {same.low, same.high, same.p, same.detectable} == {None}
        assert same.p_flip == (2 ** (1 - same.n) if values[0] else 1)
        assert verdict(same, 1) == "cannot say"
    for wrong in ([], [1.0, math.nan], [math.inf]):
        with pytest.raises(ValueError, match="finite numbers, at least one"):
            paired(wrong)


def test_draws_of_a_seed_are_one_unit():
    random = by_unit([(2, 0.4), (1, 0.1), (1, 0.2), (2, 0.5), (1, 0.3), (2, 0.6)])
    assert random == pytest.approx({1: 0.2, 2: 0.5}) and list(random) == [1, 2]
    found = paired(differences({3: 9.0, 2: 0.7, 1: 0.3}, random))
    assert (found.n, found.mean) == (2, pytest.approx(0.15))  # and not six
    assert differences({1: 2.0, 5: 1.0}, {5: 0.25, 2: 1.0}) == [0.75]


def test_holm_is_the_step_down_of_bonferroni():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1, 1] and holm([0.2]) == [0.2] and holm([]) == []


def test_power_is_that_of_the_tables():
    # G*Power 3.1: means, difference between two dependent, two-sided 5 %.
    assert power(0.5, 34) == pytest.approx(0.8077775, abs=1e-6)
    assert power(1, 10) == pytest.approx(0.8030969, abs=1e-6)
    assert power(0, 5) == pytest.approx(0.05, abs=1e-6)
    assert units_needed(0.5) == 34 and units_needed(0.01) is None
    assert [units_needed(points / 0.41) for points in (1, 0.5, 0.3)] == [4, 8, 17]
    assert power(detectable(5), 5) == pytest.approx(0.8)
    assert paired([1, 2, 3, 4, 5]).detectable == pytest.approx(1.682 * math.sqrt(2.5), rel=1e-3)


def test_power_is_how_often_the_test_finds_it():
    random = Random(1)
    found = [paired([random.gauss(1.5, 1) for _ in range(5)]).p < 0.05 for _ in range(2000)]
    assert sum(found) / 2000 == pytest.approx(power(1.5, 5), abs=0.03)


@pytest.mark.parametrize(
    "df, quantile", [(1, 12.7062), (2, 4.30265), (4, 2.77645), (9, 2.26216), (30, 2.04227)]
)
def test_quantiles_of_t_are_those_of_the_tables(df, quantile):
    assert t_quantile(0.975, df) == pytest.approx(quantile, rel=1e-5)
    assert t_cdf(quantile, df) == pytest.approx(0.975, abs=1e-6)
    assert t_cdf(-1.3, df) + t_cdf(1.3, df) == pytest.approx(1)


def test_verdicts_are_the_rule_laid_down_beforehand():
    wanted = {  # one point or more is claimed
        (1.1, 1.2, 1.3): "for",
        (0.75, 0.8, 0.85): "against",  # above 0, but under the claim
        (0.0, 0.1, -0.1): "against",
        (0.85, 0.95, 1.05): "cannot say",  # above 0, the mean under the claim, the end above
        (-3.0, 4.0, 1.0): "cannot say",
    }
    for values, said in wanted.items():
        assert verdict(paired(values), 1) == said, values
    wide = paired([0.2, 0.9, 1.1])  # above 0 is not sure, nor is under 1
    assert wide.low < 0 < 1 < wide.high and verdict(wide, 1) == "cannot say"
    assert verdict(paired([3.0]), 1) == "cannot say"
