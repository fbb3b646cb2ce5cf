"""What paired differences carry: intervals, p, power, and a verdict on a claim made beforehand.

Nothing here knows of nets: numbers go in, one difference a unit. A unit is a seed; several draws
of one seed are first made into one value by `by_unit`, as they share all but the draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import atan as arctan
from math import cos, erf, exp, inf, isfinite, lgamma, log, pi, sin, sqrt
from statistics import mean, stdev
from typing import Literal

LEVEL = 0.95  # of the confidence intervals; 1 - LEVEL is the size of the tests
POWER = 0.8  # with which a difference counts as one that n units can show
MOST_FLIPS = 16  # units, up to which all signs are tried
_EQUAL = 1e-9  # an sd of so small a part of the values is rounding


@dataclass(frozen=True)
class Paired:
    """What n paired differences say of their mean.

    mean, sd: of the differences; sd is the sample standard deviation. low, high: the interval of
    Student's t at LEVEL. p: two-sided, of the paired t test of mean 0. p_flip: of the exact test
    that flips signs, which takes no law but symmetry; None for more than MOST_FLIPS units.
    detectable: the true difference that a t test of n units would find with a chance of POWER,
    were the sd this one. Of one unit all but the mean are None; of differences that are all equal,
    which tell nothing of their spread, low, high, p and detectable.
    """

    n: int
    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_flip: float | None = None
    detectable: float | None = None


def by_unit(values: Iterable[tuple[int, float]]) -> dict[int, float]:
    """{unit: the mean of its values}, from (unit, value) pairs in any order."""
    units: dict[int, list[float]] = {}
    for unit, value in values:
        units.setdefault(unit, []).append(value)
    return {unit: mean(several) for unit, several in sorted(units.items())}


def mean_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    """The mean and the sample standard deviation; None for one that has too few values."""
    return mean(values) if values else None, stdev(values) if len(values) > 1 else None


def differences(one: Mapping[int, float], other: Mapping[int, float]) -> list[float]:
    """One minus the other for each unit that both have, in the order of the units."""
    return [one[unit] - other[unit] for unit in sorted(one.keys() & other.keys())]


def paired(values: Sequence[float]) -> Paired:
    """What these differences say. Raises ValueError for none, and for one that is not finite."""
    if not values or not all(map(isfinite, values)):
        raise ValueError(f"differences must be finite numbers, at least one: {list(values)}")
    n, middle = len(values), mean(values)
    if n == 1:
        return Paired(1, middle)
    flips = p_flip(values) if n <= MOST_FLIPS else None
    sd = stdev(values)
    if sd <= _EQUAL * max(map(abs, values)):
        return Paired(n, middle, 0.0, p_flip=flips)
    error, df = sd / sqrt(n), n - 1
    half = t_quantile(0.5 + LEVEL / 2, df) * error
    p = 2 * t_cdf(-abs(middle) / error, df)
    return Paired(n, middle, sd, middle - half, middle + half, p, flips, detectable(n) * sd)


def p_flip(values: Sequence[float]) -> float:
    """The exact two-sided p of mean 0 by flipping signs (Fisher 1935, The Design of Experiments).

    Of all 2^n ways to give the differences signs, the share whose sum is at least as far from 0.
    It is at least 2^(1 - n): with five units never under 0.0625.
    """
    found = abs(sum(values))
    far = found - 1e-12 * sum(map(abs, values))  # rounding must not part equal sums
    sums = (
        abs(sum(sign * value for sign, value in zip(signs, values, strict=True)))
        for signs in product((1, -1), repeat=len(values))
    )
    return sum(one >= far for one in sums) / 2 ** len(values)


def holm(p: Sequence[float]) -> list[float]:
    """The p of several tests, adjusted so that all hold together (Holm 1979), in their order."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted, highest = [0.0] * len(p), 0.0
    for place, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - place) * p[i]))
        adjusted[i] = highest
    return adjusted


Verdict = Literal["for", "against", "cannot say"]


def verdict(found: Paired, claim: float) -> Verdict:
    """What an interval says of the claim that the true difference is at least `claim`, above 0.

    `for`: the interval lies above 0 and the mean is at least the claim. `against`: the interval
    lies under the claim. Where there is no interval, nothing can be said.
    """
    if found.low is None or found.high is None:
        return "cannot say"
    if found.low > 0 and found.mean >= claim:
        return "for"
    return "against" if found.high < claim else "cannot say"


# --- power ---


def power(effect: float, n: int) -> float:
    """The chance that a two-sided paired t test of n units finds a difference of `effect` sds.

    The test has the size 1 - LEVEL, and its statistic the noncentral t law of n - 1 degrees of
    freedom and noncentrality effect x sqrt(n).
    """
    df, shift = n - 1, effect * sqrt(n)
    edge = t_quantile(0.5 + LEVEL / 2, df)

    def beyond(s: float) -> float:  # for an observed sd of s times the true one
        return _normal(shift - edge * s) + _normal(-shift - edge * s)

    return _over_sds(beyond, df)


@cache
def detectable(n: int) -> float:
    """The difference, in sds of a difference, that n units show with a chance of POWER."""
    return _root(lambda effect: power(effect, n) - POWER, 0.0, 100.0)


def units_needed(effect: float, most: int = 1000) -> int | None:
    """The fewest units that show a difference of `effect` sds with a chance of POWER.

    None where that takes more than `most`.
    """
    low, high = 1, most
    if power(effect, most) < POWER:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, middle) >= POWER else (middle, high)
    return high


def _over_sds(function: Callable[[float], float], df: int) -> float:
    """The mean of function(s) over the law of an observed sd s, the true one being 1.

    s^2 df is chi-square of df degrees of freedom. Simpson's rule over the logarithm of s.
    """
    constant = log(2) + df / 2 * log(df / 2) - lgamma(df / 2)
    ends, steps = 16.0, 600
    total = 0.0
    for i in range(steps + 1):
        u = -ends + (ends + 3) * i / steps  # log s: an sd of one degree of freedom may be tiny
        density = exp(constant + df * u - df / 2 * exp(2 * u))
        weight = 1 if i in (0, steps) else 4 if i % 2 else 2
        total += weight * density * function(exp(u))
    return total * (ends + 3) / steps / 3


# --- Student's t ---


def t_cdf(t: float, df: int) -> float:
    """The chance that Student's t of a whole number of degrees of freedom is at most t.

    Abramowitz and Stegun 1964, 26.7.3 and 26.7.4.
    """
    theta = arctan(t / sqrt(df))
    odd = df % 2 == 1
    term, series = sin(theta) * (cos(theta) if odd else 1), 0.0
    for k in range(2 if odd else 1, df + 1, 2):
        series += term
        term *= cos(theta) ** 2 * k / (k + 1)
    between = 2 / pi * (theta + series) if odd else series
    return 0.5 + between / 2


def t_quantile(chance: float, df: int) -> float:
    """The t that Student's t is under with this chance, of 0.5 to 1."""
    return _root(lambda t: t_cdf(t, df) - chance, 0.0, 1e6)


def _normal(z: float) -> float:
    return 0.5 * (1 + erf(z / sqrt(2)))


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function is 0, between low and high, by halving."""
    previous = inf
    while high - low < previous:  # until halving moves nothing more
        previous = high - low
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return (low + high) / 2
