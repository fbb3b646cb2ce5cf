"""Ranges of options, with one-line errors."""

import math

from netgen.errors import CaffeError

INT32_MAX = 2**31 - 1


def check_count(name, value, least=1):
    """Raise CaffeError unless value is a whole number from `least` to the largest int32."""
    if not (isinstance(value, int) and least <= value <= INT32_MAX):
        raise CaffeError(f"{name} must be a whole number of at least {least}, not {value}")


def check_number(name, value, above=None, least=None, below=math.inf):
    """Raise CaffeError unless value is finite, > above (or >= least), and < below."""
    fits = value > above if above is not None else value >= least
    if not (fits and value < below):
        lower = f"above {above}" if above is not None else f"at least {least}"
        upper = f" and below {below}" if below < math.inf else ""
        raise CaffeError(f"{name} must be {lower}{upper}, not {value}")
