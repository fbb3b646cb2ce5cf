"""The rules, a family of operators a file; importing this registers them all."""

from netgen.from_onnx.rules import (  # noqa: F401
    arithmetic,
    convolution,
    dense,
    joining,
    neuron,
    normalization,
    pooling,
    recurrent,
    reducing,
    resizing,
    shaping,
)
from netgen.from_onnx.rules.rule import RULES, Rule

__all__ = ["RULES", "Rule"]
