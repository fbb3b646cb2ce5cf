"""Which kernels of a layer are fast and which are slow."""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Iterable, Sequence

from netgen.growth.errors import PlanError
from netgen.growth.measurement import LayerMeasurement

PARTITIONS = ("tpm", "inverse", "random")
CUTS = ("half", "value")


def partition(
    layer: LayerMeasurement, by: str = "tpm", seed: int = 0, cut: str = "half"
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(fast, slow): the output channels of a measured layer, each in order.

    by: `tpm` ranks the kernels by TPM, the highest are fast; `inverse` the other way round;
    `random` draws a rank from `seed` and the layer's name. cut: how many are fast, `half` of
    them (the odd one too) or as many as lie above the `value` that parts the TPMs best. The
    three rankings give parts of equal sizes, so their children are equal nets. Where the layer has
    groups, each gives as many to the fast part, since a part reads its bottom in the same groups.

    A dead kernel ranks as TPM 0: its way is straight because of decay alone, no gradient moved
    it. So it is slow, and gets something beside it that can take its place; dead kernels do not
    count for where to cut by value. Raises PlanError where a part would be empty.
    """
    if by not in PARTITIONS or cut not in CUTS:
        raise PlanError(f"no such partition and cut: {by!r}, {cut!r}")
    kernels = list(zip(layer.tpm, layer.dead, strict=True))
    order: Sequence[int] = range(len(kernels))
    if by == "random":
        # random() alone gives the same numbers in every version of Python.
        draw = random.Random(zlib.crc32(f"{seed} {layer.name}".encode())).random
        order = sorted(order, key=lambda _: draw())
    else:
        order = sorted(order, key=lambda k: 0 if kernels[k][1] else -kernels[k][0])
        if by == "inverse":
            order = order[::-1]
    size = len(kernels) // layer.group
    if size < 2:
        raise PlanError(
            f"layer {layer.name!r} cannot be split: one output"
            + (" a group" if layer.group > 1 else "")
        )
    count = (size + 1) // 2 if cut == "half" else _count_by_value(layer, kernels, size)
    groups = [[k for k in order if k // size == g] for g in range(layer.group)]
    return (
        tuple(sorted(k for group in groups for k in group[:count])),
        tuple(sorted(k for group in groups for k in group[count:])),
    )


def _count_by_value(
    layer: LayerMeasurement, kernels: Sequence[tuple[float, bool]], size: int
) -> int:
    """How many of each group are fast: as many as lie above the cut, evened out over the groups."""
    alive = [tpm for tpm, dead in kernels if not dead]
    above = best_cut(alive) or len(alive)
    if not 0 < above < len(kernels):
        raise PlanError(f"layer {layer.name!r} cannot be cut by value: its kernels have equal TPM")
    return min(max(round(above / layer.group), 1), size - 1)


def best_cut(values: Iterable[float]) -> int:
    """How many of the values lie above the cut that parts them best; 0 if all are equal.

    The variance between the two parts is the largest (Otsu 1979). One kernel far from the rest
    does not decide it, as it would the largest gap or the middle of the range.
    """
    values = sorted(values, reverse=True)
    total, above, best, count = math.fsum(values), 0.0, 0.0, 0
    for n in range(1, len(values)):
        above += values[n - 1]
        rest = len(values) - n
        between = n * rest * (above / n - (total - above) / rest) ** 2
        if values[n - 1] > values[n] and between > best:
            best, count = between, n
    return count
