"""How straight the kernels of one layer travel, from running sums over its snapshots."""

import numpy as np
import numpy.typing as npt

# A move from one snapshot to the next counts as decay when it points against the kernel itself to
# within 8 degrees. Float32 rounding of Caffe's SGD (momentum 0.9, snapshots every 1,000
# iterations) turns pure decay by less than 3 degrees as long as rate x weight_decay is above
# 5e-8; below, decay moves a kernel by under 0.05 % from snapshot to snapshot.
DECAY_COSINE = 0.99
MANY = 20_000  # kernels of one bin, from which on the bias of an entropy is below its rounding


class Trajectory:
    """N kernels of D weights each, seen snapshot after snapshot; the snapshots are not kept.

    A move is the way from one snapshot to the next. displacement: (N,) float64, how far each
    kernel is from where it started. path_length: (N,) float64, the sum of the lengths of its
    moves. tpm: (N,) the first divided by the second, 0 where nothing moved. cosine: (N,) the mean
    cosine of two different moves, nan where there were fewer than two. dead: (N,) bool, kernels
    that nothing but their decay moves: every move points against the kernel (DECAY_COSINE), or
    there is none. A kernel of one weight has no direction and is dead only if it never moves.
    """

    def __init__(self, weights: np.ndarray):
        """weights: (N, ...) array, the first snapshot."""
        self._first = self._last = _rows(weights)
        count = len(self._first)
        self.path_length = np.zeros(count)
        self._directions = np.zeros_like(self._first)  # sum of the moves' unit vectors
        self._moves = np.zeros(count, int)
        self._decays = np.ones(count, bool)

    def add(self, weights: np.ndarray) -> None:
        """Move on to the next snapshot's weights, which have the same shape."""
        weights = _rows(weights)
        move = weights - self._last
        length = np.linalg.norm(move, axis=1)
        moved = length > 0
        against = -np.einsum("kd,kd->k", move, self._last)
        self._decays &= ~moved | (
            against > DECAY_COSINE * length * np.linalg.norm(self._last, axis=1)
        )
        self._directions += move / np.where(moved, length, 1)[:, None]
        self._moves += moved
        self.path_length += length
        self._last = weights

    @property
    def displacement(self) -> np.ndarray:
        return np.linalg.norm(self._last - self._first, axis=1)

    @property
    def tpm(self) -> np.ndarray:
        path = np.where(self.path_length > 0, self.path_length, 1)
        return np.minimum(self.displacement / path, 1)  # rounding may make a line longer than 1

    @property
    def cosine(self) -> np.ndarray:
        # For n unit vectors the sum over all pairs i != j of u_i u_j is |sum u_i|^2 - n.
        n = np.where(self._moves > 1, self._moves, np.nan)
        pairs = np.einsum("kd,kd->k", self._directions, self._directions) - n
        return np.clip(pairs / (n * (n - 1)), -1, 1)

    @property
    def dead(self) -> np.ndarray:
        return self._decays & ((self._first.shape[1] > 1) | (self._moves == 0))


def _rows(weights: np.ndarray) -> np.ndarray:
    return np.asarray(weights, np.float64).reshape(len(weights), -1)


def histogram_entropy(counts: npt.ArrayLike) -> float:
    """The entropy in nats of a histogram given by its counts."""
    shares = np.asarray(counts, float) / np.sum(counts)
    shares = shares[shares > 0]
    return float(abs(np.sum(shares * np.log(shares))))  # abs: no -0.0


def expected_entropy(counts: npt.ArrayLike) -> float:
    """An estimate in nats of the entropy of the law that the counts of a histogram were drawn from.

    The entropy of the histogram itself lies below that of its law, by about (bins - 1) / 2N for
    N values: more in a layer of few kernels than in one of many. Grassberger's estimate is nearly
    free of this: ln N - sum_i n_i G(n_i) / N, with G(1) = -gamma - ln 2, G(2) = 2 + G(1),
    G(2m + 1) = G(2m) and G(2m + 2) = G(2m) + 2 / (2m + 1) (Grassberger 2003,
    arXiv:physics/0307138, eq. 28 to 30). It may lie a little below 0, where 0 is returned, as for
    no counts at all. From MANY on, G(n) is ln n to nine digits.
    """
    found = np.asarray(counts, int)
    found = found[found > 0]
    if not found.size:
        return 0.0
    few = np.minimum(found, MANY)
    steps = 2 / (2 * np.arange(few.max() // 2 + 1) - 1)  # that of m = 0 stands for G(0)
    steps[0] = -np.euler_gamma - np.log(2)
    even = np.cumsum(steps)  # G(2m), for m from 1 on; G(1) is its first value
    terms = found * np.where(found < MANY, even[few // 2], np.log(found))
    total = found.sum(dtype=float)
    return float(max(np.log(total) - terms.sum() / total, 0))
