"""Ranges of options, with one-line errors."""

from __future__ import annotations

import math

from netgen.errors import CaffeError

INT32_MAX = 2**31 - 1


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raise CaffeError unless value is a whole number from `least` to the largest int32."""
    if not (isinstance(value, int) and least <= value <= INT32_MAX):
        raise CaffeError(f"{name} must be a whole number of at least {least}, not {value}")


def check_number(
    name: str,
    value: float,
    above: float | None = None,
    least: float | None = None,
    below: float = math.inf,
) -> None:
    """Raise CaffeError unless value is finite, > above (or >= least), and < below."""
    fits = value > above if above is not None else value >= least
    if not (fits and value < below):
        lower = f"above {above}" if above is not None else f"at least {least}"
        upper = f" and below {below}" if below < math.inf else ""
        raise CaffeError(f"{name} must be {lower}{upper}, not {value}")
