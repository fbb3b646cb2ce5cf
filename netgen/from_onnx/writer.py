"""The Caffe net while it is written: layers, their weights, and the blobs of the ONNX values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netgen import graph as caffe_graph
from netgen.builder import set_parameters
from netgen.from_onnx.graph import Graph, Node, Shape
from netgen.from_onnx.names import Names, legal
from netgen.from_onnx.targets import Target
from netgen.schema import array_to_blob, caffe_pb

#: Layers whose backward reads its top again, so that no layer may write over it.
_READS_TOP = frozenset(
    [
        "ELU",
        "Exp",
        "LRN",
        "LSTM",
        "Log",
        "MVN",
        "Normalize",
        "Power",
        "RNN",
        "Sigmoid",
        "Softmax",
        "Swish",
        "TanH",
        "BNLL",
    ]
)
#: Layers whose top is the memory of their bottom under another shape.
_VIEWS = frozenset({"Flatten", "Reshape"})
#: Layers whose parameters are in another type's message.
_PARAMS = {"Deconvolution": "convolution_param", "LSTM": "recurrent_param"}
_FROZEN = {"lr_mult": 0, "decay_mult": 0}


@dataclass(eq=False)
class Blob:
    """A blob of the net.

    kind: the type of the last layer that wrote it. free: whether nobody reads it beside the next
    layer, which may therefore write over it.
    """

    name: str
    shape: Shape
    kind: str
    free: bool = True


class Writer:
    """Takes layers in their order; a rule's `apply` adds those of its node.

    values: {ONNX value: Blob}. target: what the reader of the net knows. lacking: the (node, layer
    type) for which that was not enough.
    """

    def __init__(self, source: Graph, target: Target) -> None:
        self.target = target
        self.values: dict[str, Blob] = {}
        self.lacking: list[tuple[Node, str]] = []
        self.net = caffe_pb.NetParameter(name=source.name)
        self._names = Names(source)
        self._base = ""
        self._node: Node | None = None
        self._weights: dict[str, list[np.ndarray]] = {}
        for name, shape in source.inputs.items():
            blob = self.layer("Input", [], name=legal(name) or "data", shape={"dim": list(shape)})
            blob.free = False
            self.values[name] = blob

    def begin(self, node: Node) -> None:
        """Name the layers that come next after a node."""
        self._base, self._node = self._names.of(node), node

    def end(self, node: Node, blobs: Sequence[Blob]) -> None:
        """Have the blobs stand for the outputs of a node."""
        for value, blob in zip(node.outputs, blobs, strict=False):
            if value:
                blob.free = blob.free and node.graph.only_reader(value) is not None
                self.values[value] = blob

    def input(self, node: Node, index: int = 0) -> Blob:
        """The blob of a node's input; a constant becomes a Parameter layer."""
        value = node.inputs[index]
        if value not in self.values:
            self.values[value] = self.constant(value, node.graph.constants[value])
        return self.values[value]

    def constant(self, value: str, array: np.ndarray) -> Blob:
        """A blob of constant values, named after an ONNX value."""
        blob = self.layer(
            "Parameter", [], name=legal(value) or "constant", weights=[array], frozen=True,
            shape={"dim": list(array.shape)},
        )  # fmt: skip
        blob.free = False
        return blob

    def layer(
        self,
        kind: str,
        bottoms: Sequence[Blob],
        suffix: str = "",
        *,
        name: str | None = None,
        weights: Sequence[np.ndarray] = (),
        frozen: bool = False,
        in_place: bool = False,
        **params: Any,
    ) -> Blob:
        """Add a layer of one top; returns it.

        suffix: what its name has after that of the node. weights: its blobs, in Caffe's order;
        frozen: whether they do not learn. in_place: whether it may write over its bottom, which
        it does where nobody needs that. params: its fields, as netgen.builder takes them.
        """
        (top,) = self.layers(
            kind, bottoms, [suffix], name=name, weights=weights, frozen=frozen, in_place=in_place,
            **params,
        )  # fmt: skip
        return top

    def layers(
        self,
        kind: str,
        bottoms: Sequence[Blob],
        suffixes: Sequence[str],
        *,
        name: str | None = None,
        weights: Sequence[np.ndarray] = (),
        frozen: bool = False,
        in_place: bool = False,
        **params: Any,
    ) -> list[Blob]:
        """Add a layer of as many tops as suffixes; see `layer`. The first one names the layer."""
        base = self._base if name is None else name
        if self._node is not None and not self.target.has(kind):
            self.lacking.append((self._node, kind))
        layer = self.net.layer.add(type=kind)
        layer.name = self._names.layer(f"{base}{suffixes[0] if len(suffixes) == 1 else ''}")
        layer.bottom.extend(blob.name for blob in bottoms)
        if kind in _PARAMS:
            params = {_PARAMS[kind]: params}
        if frozen:
            params["param"] = [_FROZEN] * len(weights)
        set_parameters(layer, params)
        writes_over = in_place and bottoms[0].free and bottoms[0].kind not in _READS_TOP
        if writes_over:
            layer.top.append(bottoms[0].name)
        elif len(suffixes) == 1:
            layer.top.append(self._names.blob(layer.name))
        else:
            layer.top.extend(self._names.blob(f"{base}{suffix}") for suffix in suffixes)
        shapes = caffe_graph.layer_shapes(layer, [b.shape for b in bottoms], caffe_pb.TEST)
        if weights:
            pairs = zip(weights, shapes.params, strict=True)
            self._weights[layer.name] = [
                np.asarray(array, np.float32).reshape(shape) for array, shape in pairs
            ]
        if writes_over:
            bottoms[0].kind = kind
            return [bottoms[0]]
        made = [Blob(n, s, kind) for n, s in zip(layer.top, shapes.tops, strict=True)]
        if kind in _VIEWS:
            made[0].free, made[0].kind = bottoms[0].free, bottoms[0].kind
        return made

    def silence(self, blobs: Sequence[Blob]) -> None:
        """Have blobs that nobody reads be no outputs of the net."""
        layer = self.net.layer.add(type="Silence")
        layer.name = self._names.layer(f"{self._base}_silence")
        layer.bottom.extend(blob.name for blob in blobs)

    def rename(self, blob: Blob, name: str) -> None:
        """Give a blob the name that the model has for an output."""
        old, blob.name = blob.name, name
        for layer in self.net.layer:
            for names in (layer.bottom, layer.top):
                for i, found in enumerate(names):
                    if found == old:
                        names[i] = name

    def caffemodel(self, net: caffe_pb.NetParameter | None = None) -> caffe_pb.NetParameter:
        """The net with its weights, as a caffemodel holds it."""
        whole = caffe_pb.NetParameter()
        whole.CopyFrom(self.net if net is None else net)
        for layer in whole.layer:
            for array in self._weights.get(layer.name, ()):
                array_to_blob(array, layer.blobs.add())
        return whole
