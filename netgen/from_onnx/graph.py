"""The graph of an ONNX model while it is converted: nodes, constants, shapes.

It is what the passes rewrite and the rules read: every value that does not depend on the inputs
is a NumPy array in `constants`, and every other value has its whole shape in `shapes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netgen.from_onnx.errors import Refusal

Shape = tuple[int, ...]


@dataclass(eq=False)
class Node:
    """A node: an operator with its inputs, outputs and attributes.

    inputs, outputs: names of values; "" stands for an optional one that is not there. scope: the
    module of the model's source that the node belongs to, "layer1.0.relu", or "" where the
    exporter did not say.
    """

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    graph: Graph
    scope: str = ""

    def has(self, index: int) -> bool:
        """Whether the optional input is there."""
        return index < len(self.inputs) and bool(self.inputs[index])

    def get(self, attribute: str, default: Any = None) -> Any:
        """An attribute, or its default."""
        return self.attributes.get(attribute, default)

    def constant(self, index: int) -> np.ndarray | None:
        """The value of an input that does not depend on the net's inputs, or None."""
        return self.graph.constants.get(self.inputs[index]) if self.has(index) else None

    def setting(self, name: str, index: int, default: Any = None) -> Any:
        """What older operators have as an attribute, and newer ones as an input.

        Returns a number, a list of numbers, or the default. Raises Refusal where it depends on
        the net's inputs.
        """
        if name in self.attributes:
            return self.attributes[name]
        if not self.has(index):
            return default
        value = self.constant(index)
        if value is None:
            raise Refusal(f"its {name} depends on the net's input")
        return value.tolist()

    def shape(self, index: int = 0) -> Shape:
        """The shape of an input. Raises Refusal where it is not known."""
        return self.graph.shape(self.inputs[index])

    def out(self, index: int = 0) -> Shape:
        """The shape of an output. Raises Refusal where it is not known."""
        return self.graph.shape(self.outputs[index])

    def weights(self, index: int, what: str) -> np.ndarray:
        """A constant input as float32. Raises Refusal where it is none."""
        value = self.constant(index)
        if value is None:
            raise Refusal(f"its {what} is computed by the net, and Caffe's is learned")
        return np.asarray(value, np.float32)

    def axis(self, default: int, ndim: int | None = None) -> int:
        """The attribute `axis`, counted from 0."""
        axis = int(self.get("axis", default))
        return axis if axis >= 0 else axis + (len(self.shape()) if ndim is None else ndim)

    def learned(self, index: int) -> bool:
        """Whether an input is a parameter of the model, and not a constant of its code."""
        return self.inputs[index] in self.graph.parameters

    def used(self, index: int) -> bool:
        """Whether anybody reads an output."""
        if index >= len(self.outputs) or not self.outputs[index]:
            return False
        name = self.outputs[index]
        return name in self.graph.outputs.values() or bool(self.graph.readers(name))


@dataclass(eq=False)
class Graph:
    """Nodes in an order in which they can run.

    inputs: {name: shape}. outputs: {the model's name of an output: the value that it is now}.
    opset: the version of the operators. constants: {value: array}; parameters: those of them
    that have a name of the model's own. kinds: {value: its number format} as NumPy calls it.
    notes: what was left out on the way, a line each.
    """

    name: str
    opset: int
    nodes: list[Node] = field(default_factory=list)
    inputs: dict[str, Shape] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    parameters: set[str] = field(default_factory=set)
    shapes: dict[str, Shape] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def batch(self) -> int | None:
        """The first axis of all inputs that have one, if they agree."""
        firsts = {shape[0] for shape in self.inputs.values() if shape}
        return firsts.pop() if len(firsts) == 1 else None

    def shape(self, value: str) -> Shape:
        """The shape of a value. Raises Refusal where it is not known."""
        if value in self.constants:
            return self.constants[value].shape
        if value not in self.shapes:
            raise Refusal(f"the shape of '{value}' depends on the net's input")
        return self.shapes[value]

    def readers(self, value: str) -> list[Node]:
        """The nodes that read a value, in their order; one that reads it twice is there once."""
        return [node for node in self.nodes if value in node.inputs]

    def maker(self, value: str) -> Node | None:
        """The node that makes a value, None for inputs and constants."""
        return next((node for node in self.nodes if value in node.outputs), None)

    def only_reader(self, value: str) -> Node | None:
        """The one node that reads a value which nobody else needs, or None."""
        readers = self.readers(value)
        alone = len(readers) == 1 and value not in self.outputs.values()
        return readers[0] if alone and readers[0].inputs.count(value) == 1 else None

    def replace(self, value: str, by: str) -> None:
        """Have everybody who reads a value read another one."""
        for node in self.nodes:
            node.inputs = [by if name == value else name for name in node.inputs]
        for name, old in self.outputs.items():
            if old == value:
                self.outputs[name] = by

    def remove(self, *nodes: Node) -> None:
        """Take nodes out."""
        self.nodes = [node for node in self.nodes if node not in nodes]

    def drop_unused(self) -> None:
        """Take out the nodes that no output needs."""
        needed = set(self.outputs.values())
        kept = []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                needed.update(node.inputs)
                kept.append(node)
        self.nodes = kept[::-1]

    def fresh(self, like: str, value: np.ndarray) -> str:
        """The name of a new constant."""
        name = like
        while name in self.constants or name in self.shapes:
            name += "_"
        self.constants[name] = value
        return name

    def __iter__(self) -> Iterator[Node]:
        return iter(list(self.nodes))


def is_order_of(axes: Sequence[int], ndim: int) -> bool:
    """Whether axes are 0 .. ndim - 1 in their order: a permutation that moves nothing."""
    return list(axes) == list(range(ndim))
