"""From a TPM measurement to a plan: which layers to split, with the kernels of each."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from typing import Any

from netgen.growth.errors import PlanError
from netgen.growth.kinds import is_glue
from netgen.growth.measurement import LayerMeasurement, Measurement
from netgen.growth.partition import partition
from netgen.growth.plan import LayerPlan, Plan

FACTOR = 1.1  # from 1.08 to 1.18 it chooses the layers of both rounds of the study


def select(measured: Measurement, factor: float = FACTOR) -> list[LayerMeasurement]:
    """The layers whose corrected entropy reaches their threshold and is not 0, in order.

    factor: what a layer of a middling number of kernels must have of the mean; see
    Measurement.threshold for the others.

    Left out are the glue of earlier splits, classifiers, layers that share their weights, and
    those of one output a group.
    """
    return [
        layer
        for layer in _splittable(measured)
        if layer.corrected_entropy >= measured.threshold(layer, factor)
        and layer.corrected_entropy > 0
    ]


CHOICES = ("lowest", "random")


def others(measured: Measurement, how: str, count: int, seed: int = 0) -> list[str]:
    """The names of `count` layers that can be split, for a control of the choice of layers.

    how: `lowest`, those of the lowest corrected entropy; `random`, drawn from `seed` and the
    layers' names. Left out are the same as in select(). Raises PlanError where there are not so
    many.
    """
    able = _splittable(measured)
    if how not in CHOICES:
        raise PlanError(f"no such choice of layers: {how!r}")
    if not 0 < count <= len(able):
        raise PlanError(f"{count} layers are wanted of {len(able)} that can be split")
    if how == "random":
        draw = {one.name: random.Random(zlib.crc32(f"{seed} {one.name}".encode())) for one in able}
        able.sort(key=lambda layer: draw[layer.name].random())
    else:
        able.sort(key=lambda layer: layer.corrected_entropy)
    return [layer.name for layer in able[:count]]


def make_plan(
    measured: Measurement,
    factor: float = FACTOR,
    layers: Sequence[str] | None = None,
    kind: str = "residual",
    by: str = "tpm",
    seed: int = 0,
    cut: str = "half",
) -> Plan:
    """The Plan for a measurement.

    factor: as select() takes it. layers: names to split in place of select()'s choice, whatever
    they are. kind: the kind of every split. by, seed, cut: as partition() takes them. Raises
    PlanError, also where there is nothing to split.
    """
    mean = measured.mean_corrected_entropy
    rule: dict[str, Any]
    if layers is None:
        chosen = select(measured, factor)
        rule = {"factor": factor}
    else:
        chosen = _named(measured, layers)
        rule = {"layers": list(layers)}
    if not chosen:
        raise PlanError(_nothing(measured, factor))
    plans = []
    for layer in chosen:
        fast, slow = partition(layer, by, seed, cut)
        reason = f"(mean {mean:.4g}), named"
        if layers is None:
            least = measured.threshold(layer, factor)
            reason = f">= {least / mean:.3g} x mean {mean:.4g}" if mean else ">= 0"
        why = (
            f"entropy {layer.entropy:.4g}, corrected {layer.corrected_entropy:.4g} {reason}; "
            f"{_ranges(layer, fast, slow)}"
        )
        plans.append(LayerPlan(layer.name, kind, fast, slow, why))
    meta = {
        "net": measured.net,
        "window": list(measured.window),
        "mean_entropy": measured.mean_entropy,
        "mean_corrected_entropy": mean,
        **rule,
        "partition": by,
        **({"seed": seed} if by == "random" else {}),
        "cut": cut,
    }
    return Plan(tuple(plans), meta)


def _splittable(measured: Measurement) -> list[LayerMeasurement]:
    return [
        layer
        for layer in measured.layers
        if layer.num_output > layer.group
        and not is_glue(layer.name)
        and not layer.classifier
        and not layer.shared
    ]


def _named(measured: Measurement, names: Sequence[str]) -> list[LayerMeasurement]:
    known = {layer.name: layer for layer in measured.layers}
    for name in names:
        if name not in known:
            raise PlanError(f"layer {name!r} was not measured (those are: {', '.join(known)})")
    return [layer for name, layer in known.items() if name in names]


def _nothing(measured: Measurement, factor: float) -> str:
    able = _splittable(measured)
    if not able:
        return "no layer to split: all are glue, classifiers, shared or of one output a group"
    best = max(able, key=lambda layer: layer.corrected_entropy - measured.threshold(layer, factor))
    return (
        f"no layer to split: the nearest is {best.name!r}, whose corrected entropy is "
        f"{best.corrected_entropy:.4g} where {measured.threshold(best, factor):.4g} is wanted "
        f"(mean {measured.mean_corrected_entropy:.4g}, factor {factor:g})"
    )


def _ranges(layer: LayerMeasurement, fast: Sequence[int], slow: Sequence[int]) -> str:
    texts = []
    for name, part in (("fast", fast), ("slow", slow)):
        values = [layer.tpm[channel] for channel in part]
        texts.append(f"{len(part)} {name}, TPM {min(values):.3f} to {max(values):.3f}")
    dead = sum(layer.dead)
    return "; ".join(texts + [f"{dead} dead, ranked as TPM 0"] * (dead > 0))
