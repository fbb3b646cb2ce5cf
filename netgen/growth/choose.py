"""From a TPM measurement to a plan: which layers to split, with the kernels of each."""

import math

from netgen.growth.partition import partition
from netgen.growth.plan import LayerPlan, Plan, PlanError
from netgen.growth.roles import is_glue

FACTOR = 1.1  # what picks the layers of both rounds of the study lies from 1.08 to 1.18


def mean_entropy(measured):
    """The mean over all layers of a measurement, glue and classifier included."""
    return math.fsum(layer["entropy"] for layer in measured["layers"]) / len(measured["layers"])


def select(measured, factor=FACTOR):
    """The layers (dicts of the measurement, in its order) whose entropy is at least `factor`
    times the mean and not 0, without the glue of earlier splits, classifiers, layers that share
    their weights, and those of one output a group."""
    threshold = factor * mean_entropy(measured)
    return [
        layer
        for layer in _splittable(measured)
        if layer["entropy"] >= threshold and layer["entropy"] > 0
    ]


def make_plan(measured, factor=FACTOR, layers=None, kind="residual", by="tpm", seed=0, cut="half"):
    """The Plan for a measurement (the dict of measure() or read_tpm()).

    factor: of select(). layers: names to split in place of its choice, whatever they are.
    kind: of every split. by, seed, cut: of partition(). Raises PlanError, also where there is
    nothing to split.
    """
    mean = mean_entropy(measured)
    if layers is None:
        chosen = select(measured, factor)
        rule = {"factor": factor, "threshold": factor * mean}
        reason = f">= {factor:g} x mean {mean:.4g}"
    else:
        chosen = _named(measured, layers)
        rule = {"layers": list(layers)}
        reason = f"(mean {mean:.4g}), named"
    if not chosen:
        raise PlanError(_nothing(measured, factor, mean))
    plans = []
    for layer in chosen:
        fast, slow = partition(layer, by, seed, cut)
        why = f"entropy {layer['entropy']:.4g} {reason}; {_ranges(layer, fast, slow)}"
        plans.append(LayerPlan(layer["name"], kind, fast, slow, why))
    meta = {
        "net": measured["net"],
        "window": measured["window"],
        "mean_entropy": mean,
        **rule,
        "partition": by,
        **({"seed": seed} if by == "random" else {}),
        "cut": cut,
    }
    return Plan(tuple(plans), meta)


def _splittable(measured):
    return [
        layer
        for layer in measured["layers"]
        if layer["num_output"] > layer["group"]
        and not is_glue(layer["name"])
        and not layer["classifier"]
        and not layer["shared"]
    ]


def _named(measured, names):
    known = {layer["name"]: layer for layer in measured["layers"]}
    for name in names:
        if name not in known:
            raise PlanError(f"layer {name!r} was not measured (those are: {', '.join(known)})")
    return [layer for name, layer in known.items() if name in names]


def _nothing(measured, factor, mean):
    able = _splittable(measured)
    if not able:
        return "no layer to split: all are glue, classifiers, shared or of one output a group"
    best = max(able, key=lambda layer: layer["entropy"])
    return (
        f"no layer to split: entropy {factor:g} x mean {mean:.4g} = {factor * mean:.4g} is "
        f"wanted, the highest is {best['entropy']:.4g} ({best['name']!r})"
    )


def _ranges(layer, fast, slow):
    texts = []
    for name, part in (("fast", fast), ("slow", slow)):
        values = [layer["tpm"][channel] for channel in part]
        texts.append(f"{len(part)} {name}, TPM {min(values):.3f} to {max(values):.3f}")
    dead = sum(layer["dead"])
    return "; ".join(texts + [f"{dead} dead, ranked as TPM 0"] * (dead > 0))
