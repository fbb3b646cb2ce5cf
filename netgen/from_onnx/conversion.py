"""A Graph to a Caffe net with its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from netgen.errors import CaffeError
from netgen.from_onnx.errors import ConversionError, Refusal, refused
from netgen.from_onnx.graph import Graph, Node, Shape
from netgen.from_onnx.names import is_made_up, legal
from netgen.from_onnx.passes import rewrite
from netgen.from_onnx.rules import RULES
from netgen.from_onnx.targets import TARGETS, Target
from netgen.from_onnx.writer import Blob, Writer
from netgen.schema import caffe_pb

_FLOATS = ("", "bfloat16", "float16", "float32", "float64")


@dataclass(frozen=True)
class Conversion:
    """What became of a model.

    net: the deploy net; weights: the same with its blobs. inputs, outputs: {the model's name:
    the blob's}. blobs: the same for every value that is still in a blob at the end of a forward,
    in the order in which they are made. shapes: {blob: shape} of all of these. notes: what was
    left out, a line each.
    """

    net: caffe_pb.NetParameter
    weights: caffe_pb.NetParameter
    inputs: dict[str, str]
    outputs: dict[str, str]
    blobs: dict[str, str]
    shapes: dict[str, Shape]
    notes: list[str] = field(default_factory=list)


def convert(
    graph: Graph, target: Target = TARGETS["bvlc"], keep_batch_norm: bool = False
) -> Conversion:
    """The Caffe net of a Graph, which is rewritten on the way.

    keep_batch_norm: whether a BatchNormalization becomes BatchNorm and Scale, and is not taken
    into the convolution before it. Raises ConversionError, which names every node that cannot
    be said in the target's Caffe.
    """
    try:
        rewrite(graph, target, keep_batch_norm)
    except Refusal as error:
        raise ConversionError(str(error)) from None
    refusals = [(node, why) for node in graph if (why := _why_not(node, target))]
    if refusals:
        raise refused([(node.op, node.name, why) for node, why in refusals])
    if not graph.outputs:
        raise ConversionError("the model has no outputs")
    net = Writer(graph, target)
    for node in graph:
        try:
            net.begin(node)
            blobs = RULES[node.op].apply(node, net)
            blobs = [blobs] if isinstance(blobs, Blob) else list(blobs)
            net.end(node, blobs)
            RULES[node.op].ensures(node, blobs)
        except (Refusal, CaffeError) as error:
            raise refused([(node.op, node.name, str(error))]) from None
    outputs = _outputs(graph, net)
    if net.lacking:
        raise refused(
            [
                (node.op, node.name, f"{target.name} has no {kind}")
                for node, kind in dict.fromkeys(net.lacking)
            ]
        )
    last = {blob.name: value for value, blob in net.values.items()}
    made = [value for node in graph for value in node.outputs if value in net.values]
    return Conversion(
        net.net,
        net.caffemodel(),
        {name: net.values[name].name for name in graph.inputs},
        outputs,
        {value: net.values[value].name for value in made if last[net.values[value].name] == value},
        {blob.name: blob.shape for blob in net.values.values()},
        graph.notes,
    )


def _why_not(node: Node, target: Target) -> str | None:
    """Why a node cannot be said in Caffe, or None."""
    rule = RULES.get(node.op)
    if rule is None:
        return "no layer of Caffe does that"
    try:
        for i, value in enumerate(node.outputs):
            if value and node.used(i) and 0 in node.out(i):
                return "its output is empty"
        for i, value in enumerate(node.inputs):
            kind = node.graph.kinds.get(value, "")
            if value and not rule.moves_only and value not in node.graph.constants:
                node.shape(i)
                if kind not in _FLOATS:
                    return f"it computes with {kind}, and Caffe with float32"
        rule.requires(node, target)
    except Refusal as error:
        return str(error)
    return None


def _outputs(graph: Graph, net: Writer) -> dict[str, str]:
    """{output: its blob}, each under the name that the model has for it where that is free.

    A name that an exporter made up, "495", says less than that of the layer.
    """
    found: dict[str, Blob] = {}
    inputs: Sequence[Blob] = [net.values[name] for name in graph.inputs]
    for name, value in graph.outputs.items():
        if value not in net.values:
            net.values[value] = net.constant(value, graph.constants[value])
        blob = net.values[value]
        wanted = legal(name)
        taken = {blob.name for blob in net.values.values()}
        free = wanted and wanted not in taken and not is_made_up(name)
        if free and blob not in inputs and blob not in found.values():
            net.rename(blob, wanted)
        found[name] = blob
    return {name: blob.name for name, blob in found.items()}
