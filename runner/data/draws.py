"""Random numbers that depend on nothing but a seed and the number of a record."""

from __future__ import annotations

import numpy as np

#: Transform draws with the second word of the key at 0, orders with 1.
_STREAM = 2


class Draws:
    """The random numbers of record `number`, one after the other; seed: 0 <= seed < 2**64.

    They are made of the generator's raw words, which NumPy promises never to change.
    """

    def __init__(self, seed: int, number: int) -> None:
        key, counter = np.array([seed, _STREAM], np.uint64), np.zeros(4, np.uint64)
        counter[1] = number
        self._words = np.random.Philox(key=key, counter=counter)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number from `low` up to `high`."""
        return low + (high - low) * ((self._words.random_raw() >> 11) * 2.0**-53)

    def uniforms(self, count: int) -> np.ndarray:
        """So many numbers from 0 up to 1, float64."""
        return (self._words.random_raw(count) >> np.uint64(11)) * 2.0**-53

    def below(self, count: int) -> int:
        """One of 0 .. count - 1."""
        return int(self._words.random_raw() % count)
