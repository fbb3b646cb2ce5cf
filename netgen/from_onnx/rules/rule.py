"""What a rule is: how one ONNX operator is said in Caffe.

    requires(node, target)   refuses what Caffe cannot say; looks at the graph alone
    apply(node, net)         adds the layers; returns the blobs of the node's outputs
    ensures(node, blobs)     the blobs have the shapes that ONNX gives the outputs

All `requires` are asked before anything is applied, so that a model is refused with everything
that stands in the way, and not with the first thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from netgen.from_onnx.errors import Refusal
from netgen.from_onnx.graph import Node
from netgen.from_onnx.targets import Target
from netgen.from_onnx.writer import Blob, Writer

#: {operator: its rule}
RULES: dict[str, Rule] = {}


class Rule:
    """The rule of some operators. Defining a subclass enters it in RULES.

    operators: as ONNX spells them. moves_only: whether it copies values without computing, so
    that integers pass through it as well as floats do.
    """

    operators: ClassVar[tuple[str, ...]] = ()
    moves_only: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        for name in cls.operators:
            RULES[name] = cls()

    def requires(self, node: Node, target: Target) -> None:
        """Raise Refusal, with why, where the target's Caffe cannot say what the node does."""

    def apply(self, node: Node, net: Writer) -> Blob | Sequence[Blob]:
        """Add the layers of a node; returns the blob of each output, or the one."""
        raise NotImplementedError

    def ensures(self, node: Node, blobs: Sequence[Blob]) -> None:
        """Raise Refusal where the layers do not give what ONNX says the node gives."""
        for i, (value, blob) in enumerate(zip(node.outputs, blobs, strict=False)):
            if node.used(i) and blob.shape != node.graph.shape(value):
                raise Refusal(
                    f"its layers give {blob.shape} where ONNX has {node.graph.shape(value)}"
                )


def require(condition: object, why: str) -> None:
    """Raise Refusal(why) unless the condition holds."""
    if not condition:
        raise Refusal(why)
