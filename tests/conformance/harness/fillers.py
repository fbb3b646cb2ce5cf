"""Fillers draw the same distribution: moments, bounds and the whole distribution function.

Every filler of cases/fillers.txt fills the blob of a Scale layer, which may have any shape, in
one net that is snapshotted before its first iteration. Random numbers differ from engine to
engine, distributions must not: two samples of n are told apart by the largest distance of
their distribution functions (Kolmogorov and Smirnov), which exceeds 2.2 sqrt(2/n) once in
some 8,000 pairs, and by mean and standard deviation, within 5 of their own deviations.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.case import Case
from harness.judge import Verdict
from harness.notation import net_text
from harness.records import shape_of

HERE = Path(__file__).parent.parent
LEVELS = np.linspace(0, 1, 513)
EXACT = ("constant", "bilinear")
SOLVER = """net: "net.prototxt"
base_lr: 0
lr_policy: "fixed"
max_iter: 0
snapshot_prefix: "snap"
random_seed: 7
solver_mode: CPU
"""


@dataclass
class Sample:
    """What is kept of a filled blob: its size, moments, the sums of its rows, its quantiles."""

    count: int
    mean: float
    deviation: float
    rows: tuple  # smallest and largest sum over one output's weights
    quantiles: np.ndarray

    @classmethod
    def of(cls, blob):
        values = np.float64(blob).reshape(len(blob), -1)
        sums = values.sum(1)
        return cls(
            values.size,
            values.mean(),
            values.std(),
            (sums.min(), sums.max()),
            np.quantile(values, LEVELS, method="inverted_cdf"),
        )


class Filler(NamedTuple):
    """One line of cases/fillers.txt; text: of the FillerParameter."""

    name: str
    shape: tuple
    text: str
    family: str = "fillers"


def entries():
    """The Fillers of cases/fillers.txt."""
    found = []
    for line in (HERE / "cases/fillers.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            head, _, filler = line.partition("|")
            name, _, shape = head.partition(":")
            found.append(Filler(name.strip(), shape_of(shape.strip()), filler.strip()))
    return found


def case(entries):
    """The Case that fills the blob of each of `entries`."""
    lines = []
    for i, filler in enumerate(entries):
        dims = " ".join(f"dim: {d}" for d in filler.shape)
        lines += [
            f"in{i} DummyData > in{i} | {{shape {{ {dims} }}}}",
            f"f{i} Scale in{i} > out{i} | {{axis: 0 num_axes: -1 filler {{ {filler.text} }}}}",
        ]
    return Case(
        "fillers",
        "fillers",
        texts={"net.prototxt": net_text("fillers", lines), "solver.prototxt": SOLVER},
        start="",
        calls=[["train", "-solver", "solver.prototxt"]],
    )


def samples(entries, outcome):
    """{filler name: Sample} of the outcome of `case(entries)`."""
    return {filler.name: Sample.of(outcome.blobs[f"f{i}/0"]) for i, filler in enumerate(entries)}


def distance(ours, theirs):
    """Largest distance of two distribution functions, from their quantiles."""
    places = np.union1d(ours.quantiles, theirs.quantiles)
    below = [
        np.searchsorted(sample.quantiles, places, side) / len(LEVELS)
        for sample in (ours, theirs)
        for side in ("left", "right")
    ]
    left, right = np.abs(below[0] - below[2]), np.abs(below[1] - below[3])
    return float(max(left.max(), right.max()))


def compare_samples(name, ours, theirs):
    """The Verdict, its error "distance", on two Samples of one filler; None: it was refused."""
    if ours is None or theirs is None:
        same = ours is theirs
        verb = "refused" if ours is None else "accepted"
        return Verdict([] if same else [f"{verb}, unlike Caffe"])
    far = distance(ours, theirs)
    verdict = Verdict(errors={"distance": far})
    complaints = verdict.complaints
    if name.startswith(EXACT):
        if not np.allclose(ours.quantiles, theirs.quantiles, rtol=1e-6, atol=0):
            complaints.append("values differ")
        return verdict
    if far > 2.2 * np.sqrt(2 / ours.count) + 1 / len(LEVELS):
        complaints.append(f"distributions are {far:.3f} apart")
    spread = theirs.deviation or 1.0
    if abs(ours.mean - theirs.mean) > 5 * spread * np.sqrt(2 / ours.count):
        complaints.append(f"mean {ours.mean:.4g}, expected {theirs.mean:.4g}")
    # Fourth moments are at most nine times the squared variance, for sparse Gaussians thirty.
    if abs(ours.deviation - theirs.deviation) > 5 * spread * np.sqrt(8 / ours.count):
        complaints.append(f"deviation {ours.deviation:.4g}, expected {theirs.deviation:.4g}")
    if name.startswith(("uniform", "xavier")):  # both ends are reached, and none is passed
        ends = zip(_ends(ours), _ends(theirs), ("smallest", "largest"), strict=True)
        for mine, other, end in ends:
            if abs(mine - other) > 20 / ours.count * np.ptp(_ends(theirs)):
                complaints.append(f"{end} value {mine:.5g}, expected {other:.5g}")
    if name.startswith("positive_unitball") and not np.allclose(ours.rows, 1, atol=1e-5):
        complaints.append(f"rows sum to {ours.rows}, expected 1")
    return verdict


def _ends(sample):
    return sample.quantiles[0], sample.quantiles[-1]


def write_samples(found):
    """Write frozen/fillers.npz."""
    np.savez_compressed(
        HERE / "frozen/fillers.npz",
        **{
            name: np.concatenate([[s.count, s.mean, s.deviation, *s.rows], s.quantiles]).astype(
                np.float32
            )
            for name, s in found.items()
        },
    )


def read_samples():
    """{filler name: Sample} of frozen/fillers.npz."""
    with np.load(HERE / "frozen/fillers.npz") as kept:
        return {
            name: Sample(int(v[0]), float(v[1]), float(v[2]), (v[3], v[4]), np.float64(v[5:]))
            for name, v in kept.items()
        }
