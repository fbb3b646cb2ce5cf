"""Shuffled orders that can be made again from their number."""

import numpy as np

#: Transform draws crops and mirrors with the second word of the key at 0.
_STREAM = 1


def shuffled(count: int, seed: int, *numbers: int) -> np.ndarray:
    """A random order of range(count), (count,) int64, the same for the same seed and numbers.

    seed: 0 <= seed < 2**64; numbers: up to three ints >= 0, such as the epoch. The order is made
    of the generator's raw words, which NumPy promises never to change.
    """
    counter = np.zeros(4, np.uint64)
    counter[1 : 1 + len(numbers)] = numbers
    key = np.array([seed, _STREAM], np.uint64)
    return np.argsort(np.random.Philox(key=key, counter=counter).random_raw(count), kind="stable")
