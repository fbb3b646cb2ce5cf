"""A plan: which layers to split, and which of their kernels are fast and slow.

The file is JSON: {"layers": [{"layer", "kind", "fast", "slow", "why"}, ...], "meta": {...}}.
The child net and its weights are both made from it, so they cannot disagree.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from netgen.growth.errors import PlanError
from netgen.growth.kinds import KINDS
from netgen.schema import json_text, read_json


@dataclass(frozen=True)
class LayerPlan:
    """How one layer is split.

    layer: its name in the parent net. kind: a name in KINDS. fast, slow: output channels in the
    parent's numbering, together each of range(num_output) once, neither of them empty.
    why: a line for people. Raises PlanError.
    """

    layer: str
    kind: str
    fast: tuple[int, ...]
    slow: tuple[int, ...]
    why: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.layer, str) or not self.layer:
            raise PlanError("field 'layer' must be the name of a layer")
        try:
            self._check()
        except PlanError as error:
            raise PlanError(f"layer {self.layer!r}: {error}") from None

    def _check(self) -> None:
        if self.kind not in tuple(KINDS):  # it may be of any type
            raise PlanError(f"field 'kind' is {self.kind!r}, not {', '.join(KINDS)}")
        if not isinstance(self.why, str):
            raise PlanError("field 'why' must be text")
        for name in ("fast", "slow"):
            channels = getattr(self, name)
            if not isinstance(channels, (list, tuple)) or not channels:
                raise PlanError(f"field '{name}' must be a list of output channels, not empty")
            for channel in channels:
                if type(channel) is not int or channel < 0:
                    raise PlanError(f"field '{name}' holds {channel!r}, not an output channel")
            if len(set(channels)) < len(channels):
                twice = next(c for c in channels if channels.count(c) > 1)
                raise PlanError(f"field '{name}' holds channel {twice} twice")
            object.__setattr__(self, name, tuple(channels))
        both = sorted({*self.fast} & {*self.slow})
        if both:
            raise PlanError(f"channel {both[0]} is in 'fast' and in 'slow'")
        missing = sorted({*range(self.num_output)} - {*self.fast, *self.slow})
        if missing:
            last = max(*self.fast, *self.slow)
            raise PlanError(
                f"channel {missing[0]} is neither in 'fast' nor in 'slow', "
                f"which name {self.num_output} channels up to {last}"
            )

    @property
    def num_output(self) -> int:
        """The outputs of the layer."""
        return len(self.fast) + len(self.slow)


@dataclass(frozen=True)
class Plan:
    """The layers to split, one after the other.

    layers: the LayerPlans, no layer twice. meta: where they came from, plain JSON values.
    """

    layers: tuple[LayerPlan, ...]
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        names = [layer.layer for layer in self.layers]
        for name in names:
            if names.count(name) > 1:
                raise PlanError(f"layer {name!r} is planned twice")


def read_plan(path: str | os.PathLike[str]) -> Plan:
    """The Plan in a JSON file. Raises PlanError with one line that names the file."""
    value = read_json(path, PlanError)
    try:
        return _plan(value)
    except PlanError as error:
        raise PlanError(f"{os.fspath(path)}: {error}") from None


def to_json(plan: Plan) -> str:
    """The text of a plan's file, ending in a newline."""
    return json_text({"layers": [asdict(layer) for layer in plan.layers], "meta": plan.meta}) + "\n"


def _plan(value: Any) -> Plan:
    if not isinstance(value, dict):
        raise PlanError("a plan is an object with the fields 'layers' and 'meta'")
    _known(value, ("layers", "meta"))
    layers, meta = value.get("layers"), value.get("meta", {})
    if not isinstance(layers, list):
        raise PlanError("field 'layers' must be a list")
    if not isinstance(meta, dict):
        raise PlanError("field 'meta' must be an object")
    return Plan(tuple(_layer(i, layer) for i, layer in enumerate(layers)), meta)


def _layer(index: int, value: Any) -> LayerPlan:
    name = value.get("layer") if isinstance(value, dict) else None
    if not isinstance(name, str) or not name:
        raise PlanError(f"layers[{index}] must be an object whose field 'layer' names a layer")
    try:
        _known(value, LayerPlan.__dataclass_fields__)
        missing = [field for field in ("kind", "fast", "slow") if field not in value]
        if missing:
            raise PlanError(f"field '{missing[0]}' is missing")
    except PlanError as error:
        raise PlanError(f"layer {name!r}: {error}") from None
    return LayerPlan(**value)


def _known(value: dict[str, Any], fields: Iterable[str]) -> None:
    for name in value:
        if name not in fields:
            raise PlanError(f"unknown field {name!r} (known: {', '.join(fields)})")
