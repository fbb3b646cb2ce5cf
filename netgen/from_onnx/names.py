"""Names of layers and blobs: those of the model, made legal and unique, or new ones that speak.

In the order in which they are asked: the weights' names ("layer1.0.conv1.weight"), the module
that the exporter says a node comes from, the node's own name, and where none of them was given
by a person, what the operator is called in Caffe nets, with a number.
"""

from __future__ import annotations

import re
from collections import Counter

from netgen.from_onnx.graph import Graph, Node

_WORDS = {
    "Add": "sum",
    "AveragePool": "pool",
    "BatchNormalization": "bn",
    "Gemm": "fc",
    "GlobalAveragePool": "pool",
    "GlobalMaxPool": "pool",
    "InstanceNormalization": "norm",
    "LRN": "norm",
    "MatMul": "fc",
    "MaxPool": "pool",
    "Softmax": "prob",
    "Conv": "conv",
    "ConvTranspose": "upconv",
}
#: What the last word of a weight's name is called; the rest is the layer's.
_BLOBS = re.compile(
    r"^(.+?)[./_](weight|bias|kernel|gamma|beta|scale|running_mean|running_var|mean|var|alpha|w|b)"
    r"(_l0|_ih_l0|_hh_l0)?_*$",
    re.IGNORECASE,
)
#: Names that exporters count out: of nodes, and of constants.
_COUNTED = re.compile(r"^([A-Za-z]+_?\d+|node_.*|[A-Z][A-Za-z]*(_\d+)*)?$")
_MADE_UP = re.compile(r"^(onnx::.*|val_\d+|\d+|_.*|.*Constant(_\d+)?_output_\d+)?$")


def legal(name: str) -> str:
    """The name with letters, digits and single underscores alone."""
    return re.sub(r"_+", "_", re.sub(r"\W", "_", name, flags=re.ASCII)).strip("_")


def is_made_up(constant: str) -> bool:
    """Whether an exporter made the name of a constant up, so that it says nothing."""
    return bool(_MADE_UP.match(constant))


class Names:
    """Gives every node a name, and every blob and layer one of its own."""

    def __init__(self, graph: Graph) -> None:
        scopes = Counter(node.scope for node in graph)
        inner = {
            scope[:i] for scope in scopes for i, char in enumerate(scope) if char == "."
        }  # modules that hold modules
        self._single = {scope for scope, n in scopes.items() if n == 1} - inner
        self._counts: Counter[str] = Counter()
        self._layers: set[str] = set()
        self._blobs: set[str] = set()

    def of(self, node: Node) -> str:
        """The name of what a node becomes."""
        word = _WORDS.get(node.op, node.op.rsplit(".")[-1].lower())
        name = _of_weights(node) or self._of_scope(node, word) or _of_node(node)
        if not name:
            self._counts[word] += 1
            name = f"{word}{self._counts[word]}"
        return f"{word}{name}" if name[0].isdigit() else name

    def layer(self, name: str) -> str:
        """`name`, or with a number where another layer has it."""
        return _unique(name, self._layers)

    def blob(self, name: str) -> str:
        """`name`, or with a number where another blob has it."""
        return _unique(name, self._blobs)

    def _of_scope(self, node: Node, word: str) -> str:
        if not node.scope:
            return ""
        name = legal(node.scope)
        if node.scope in self._single or name.rsplit("_")[-1].startswith(word):
            return name  # of a module that is called twice, twice
        return f"{name}_{word}"


def _of_weights(node: Node) -> str:
    for name in node.inputs[1:]:
        found = _BLOBS.match(name) if name in node.graph.constants else None
        if found and not is_made_up(name):
            return legal(found[1])
    return ""


def _of_node(node: Node) -> str:
    return "" if _COUNTED.match(node.name.split("/")[-1]) else legal(node.name)


def _unique(name: str, taken: set[str]) -> str:
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found
