"""How straight the kernels of one layer travel, from running sums over its snapshots."""

import numpy as np

# A step counts as decay when it points against the kernel itself to within 8 degrees. Float32
# rounding of Caffe's SGD (momentum 0.9, steps of 1,000 iterations) turns pure decay by less than
# 3 degrees as long as rate x weight_decay is above 5e-8; below, decay moves a kernel by under
# 0.05 % in such a step.
DECAY_COSINE = 0.99


class Trajectory:
    """N kernels of D weights each, seen snapshot after snapshot; the snapshots are not kept.

    displacement, path_length: (N,) float64, how far a kernel has got and how far it has gone.
    tpm: (N,) the first by the second, 0 where nothing moved. cosine: (N,) the mean cosine of two
    different steps, nan where fewer than two moved. dead: (N,) bool, kernels that nothing but
    their decay moves: every step points against the kernel (DECAY_COSINE) or is none. A kernel
    of one weight has no direction and is dead only if it never moves.
    """

    def __init__(self, weights):
        """weights: (N, ...) array, the first snapshot."""
        self._first = self._last = _rows(weights)
        count = len(self._first)
        self.path_length = np.zeros(count)
        self._directions = np.zeros_like(self._first)  # sum of the steps' unit vectors
        self._steps = np.zeros(count, int)
        self._decays = np.ones(count, bool)

    def add(self, weights):
        """weights: the next snapshot, of the same shape."""
        weights = _rows(weights)
        step = weights - self._last
        length = np.linalg.norm(step, axis=1)
        moved = length > 0
        against = -np.einsum("kd,kd->k", step, self._last)
        self._decays &= ~moved | (
            against > DECAY_COSINE * length * np.linalg.norm(self._last, axis=1)
        )
        self._directions += step / np.where(moved, length, 1)[:, None]
        self._steps += moved
        self.path_length += length
        self._last = weights

    @property
    def displacement(self):
        return np.linalg.norm(self._last - self._first, axis=1)

    @property
    def tpm(self):
        path = np.where(self.path_length > 0, self.path_length, 1)
        return np.minimum(self.displacement / path, 1)  # rounding may make a line longer than 1

    @property
    def cosine(self):
        # For n unit vectors the sum over all pairs i != j of u_i u_j is |sum u_i|^2 - n.
        n = np.where(self._steps > 1, self._steps, np.nan)
        pairs = np.einsum("kd,kd->k", self._directions, self._directions) - n
        return np.clip(pairs / (n * (n - 1)), -1, 1)

    @property
    def dead(self):
        return self._decays & ((self._first.shape[1] > 1) | (self._steps == 0))


def _rows(weights):
    return np.asarray(weights, np.float64).reshape(len(weights), -1)


def histogram_entropy(counts):
    """The entropy in nats of a histogram given by its counts."""
    shares = np.asarray(counts, float) / np.sum(counts)
    shares = shares[shares > 0]
    return float(abs(np.sum(shares * np.log(shares))))  # abs: no -0.0
