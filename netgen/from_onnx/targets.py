"""Which layer types the toolchain knows that shall read the net."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from netgen.from_onnx.errors import ConversionError


@dataclass(frozen=True)
class Target:
    """A dialect of Caffe.

    types: the layer types that it has beside those of Caffe 1.0; lacks: those of Caffe 1.0 that it
    has not, of the ones that rules write. floor: the fields with which its
    Pooling rounds the size of its output down, if it has any.
    """

    name: str
    types: frozenset[str] = frozenset()
    floor: Mapping[str, object] = field(default_factory=dict)
    lacks: frozenset[str] = frozenset()

    def knows(self, layer_type: str) -> bool:
        """Whether it has a layer type that Caffe 1.0 lacks."""
        return layer_type in self.types

    def has(self, layer_type: str) -> bool:
        """Whether it has a layer type of Caffe 1.0."""
        return layer_type not in self.lacks

    def also(self, types: Iterable[str]) -> Target:
        """The same dialect with more layer types. Raises ConversionError for unknown ones."""
        more = frozenset(types)
        unknown = more - _MORE
        if unknown:
            raise ConversionError(
                f"no rule writes the layer type {', '.join(sorted(unknown))} "
                f"(those that can be added: {', '.join(sorted(_MORE))})"
            )
        return replace(self, types=self.types | more)


#: What rules write where it is known, and say in other layers where it is not.
_MORE = frozenset({"Clip", "Interp", "Permute", "ReLU6", "ShuffleChannel", "Swish", "Upsample"})

#: bvlc: the last state of BVLC's Caffe. ssd: the fork of SSD and the toolchains that descend from
#: it. opencv: what readNetFromCaffe of OpenCV 4 takes. plain: Caffe 1.0 and nothing later.
TARGETS = {
    target.name: target
    for target in (
        Target("bvlc", frozenset({"Clip", "Swish"}), {"round_mode": "FLOOR"}),
        Target("ssd", frozenset({"Permute"})),
        Target("opencv", frozenset({"Interp", "Permute", "ReLU6", "ShuffleChannel", "Swish"}),
               {"ceil_mode": False},
               frozenset({"ArgMax", "Bias", "DummyData", "Embed", "Parameter", "Reduction",
                          "Threshold", "Tile"})),
        Target("plain"),
    )
}  # fmt: skip
