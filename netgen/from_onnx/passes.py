"""What is rewritten before the rules are asked, so that the net reads as a person writes it.

A pass takes the graph and changes it where its requirements hold:

    drop_identities    Identity, Cast, pairs of QuantizeLinear and DequantizeLinear
    drop_zero_biases   zeros that an exporter gave a convolution or product without bias
    merge_reshapes     of two changes of shape in a row the last one stays, if it changes any
    take_in_pads       a Pad into the convolution or pooling that reads it
    fold_batch_norm    a BatchNormalization into the convolution before it, unless it is kept
    take_in_bias       an Add of constants into the convolution or product before it
    drop_flatten       a Flatten before a Gemm: InnerProduct flattens by itself
    join_slices        Slices that cut a value into parts, each wanted once: a Split

Those that find a function of Caffe's in the operators that an exporter took it apart into are in
patterns.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from netgen.from_onnx.errors import Refusal
from netgen.from_onnx.graph import Graph, Node
from netgen.from_onnx.patterns import find_gelu, find_lrn, find_moves, find_swish
from netgen.from_onnx.rules.joining import Slice
from netgen.from_onnx.rules.normalization import affine
from netgen.from_onnx.rules.shaping import Reshape, Transpose, zero_pads
from netgen.from_onnx.targets import Target

_FLOATS = ("bfloat16", "float16", "float32", "float64")


def drop_identities(graph: Graph) -> None:
    for node in graph:
        value = node.inputs[0] if node.inputs else ""
        if node.op == "Cast":
            kinds = [graph.kinds.get(name, "") for name in (value, node.outputs[0])]
            if kinds[1] not in _FLOATS and kinds[0] != kinds[1]:
                continue  # rounds
        elif node.op == "DequantizeLinear":
            quantize = graph.maker(value)
            if quantize is None or quantize.op != "QuantizeLinear":
                continue
            graph.notes.append(f"left out the quantisation '{quantize.name}': Caffe has none")
            value = quantize.inputs[0]
        elif node.op != "Identity":
            continue
        if value in graph.constants:
            graph.constants[node.outputs[0]] = graph.constants[value]
            graph.remove(node)
            continue
        graph.remove(node)
        graph.replace(node.outputs[0], value)
    graph.drop_unused()


def drop_zero_biases(graph: Graph) -> None:
    for node in graph:
        bias = node.constant(2) if node.op in ("Conv", "ConvTranspose", "Gemm") else None
        if bias is not None and not np.any(bias) and not node.learned(2):
            del node.inputs[2:]


def merge_reshapes(graph: Graph) -> None:
    for node in graph:
        known = node.inputs[0] in graph.shapes
        if node.op == "Transpose" and known and Transpose().only_ones_move(node):
            node.op, node.attributes = "Reshape", {}
        if node.op not in Reshape.operators:
            continue
        before = graph.maker(node.inputs[0])
        alone = graph.only_reader(node.inputs[0]) is node
        if before is not None and before.op in Reshape.operators and alone:
            node.inputs = [before.inputs[0]]
            node.op = "Reshape"
            graph.remove(before)
        shapes = [graph.shapes.get(value) for value in (node.inputs[0], node.outputs[0])]
        if None is not shapes[0] == shapes[1] and node.outputs[0] not in graph.outputs.values():
            graph.replace(node.outputs[0], node.inputs[0])
            graph.remove(node)


def take_in_pads(graph: Graph) -> None:
    for pad in graph:
        reader = graph.only_reader(pad.outputs[0]) if pad.op == "Pad" else None
        if reader is None or reader.inputs[0] != pad.outputs[0]:
            continue
        if reader.op not in ("Conv", "MaxPool", "AveragePool"):
            continue
        if reader.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
            continue
        ndim = len(pad.shape()) - 2
        own = [int(p) for p in reader.get("pads") or [0] * (2 * ndim)]
        if reader.op == "AveragePool" and any(own) and not reader.get("count_include_pad", 0):
            continue
        try:
            before, behind = _pads_for(reader, pad)
        except Refusal:
            continue
        if any((*before[:2], *behind[:2])):
            continue
        reader.attributes.pop("auto_pad", None)
        reader.attributes["pads"] = [
            a + b for a, b in zip(own, (*before[2:], *behind[2:]), strict=True)
        ]
        if reader.op == "AveragePool":
            reader.attributes["count_include_pad"] = 1
        reader.inputs[0] = pad.inputs[0]
        graph.remove(pad)


def _pads_for(reader: Node, pad: Node) -> tuple[list[int], list[int]]:
    """What a Pad adds, where its values are those that the reader pads with. Raises Refusal."""
    if reader.op != "MaxPool":
        return zero_pads(pad)
    maker = pad.graph.maker(pad.inputs[0])
    value = pad.setting("value" if pad.graph.opset < 11 else "constant_value", 2, 0.0)
    if value <= np.finfo(np.float32).min:
        return zero_pads(pad, value)
    if value == 0 and maker is not None and maker.op in ("Relu", "Sigmoid"):
        return zero_pads(pad)  # no value is below 0
    raise Refusal("it pads with a maximum")


def fold_batch_norm(graph: Graph) -> None:
    for node in graph:
        before = graph.maker(node.inputs[0]) if node.op == "BatchNormalization" else None
        if before is None or before.op not in ("Conv", "ConvTranspose", "Gemm"):
            continue
        if graph.only_reader(before.outputs[0]) is not node:
            continue
        try:
            factor, shift = affine(node)
            _scale_outputs(before, factor, shift)
        except Refusal:
            continue
        before.outputs[0] = node.outputs[0]
        graph.remove(node)


def _scale_outputs(node: Node, factor: np.ndarray, shift: np.ndarray) -> None:
    """Have a convolution or Gemm give factor y + shift for each output y. Raises Refusal."""
    weight = np.float64(node.weights(1, "weight"))
    if node.op == "Gemm":
        weight = weight * node.get("alpha", 1.0)
        weight = weight * (factor[:, None] if node.get("transB") else factor)
    elif node.op == "Conv":
        weight = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    else:  # (inputs, outputs of a group, ...)
        groups = node.get("group", 1)
        by_group = factor.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
        parts = weight.reshape(groups, -1, *weight.shape[1:])
        weight = (parts * by_group).reshape(weight.shape)
    bias = np.zeros(len(factor))
    if node.has(2):
        bias = np.float64(node.weights(2, "bias")) * node.get("beta", 1.0)
    graph = node.graph
    node.inputs[1] = graph.fresh(node.inputs[1], weight.astype(np.float32))
    bias = np.broadcast_to(bias, factor.shape) * factor + shift
    node.inputs[2:] = [graph.fresh(f"{node.inputs[1]}.bias", bias.astype(np.float32))]
    node.attributes.pop("alpha", None), node.attributes.pop("beta", None)


def keep_batch_norm(graph: Graph) -> None:
    for node in graph:
        if node.op == "BatchNormalization":
            node.attributes["keep"] = True


def take_in_bias(graph: Graph) -> None:
    for node in graph:
        if node.op != "Add" or len(node.inputs) != 2:
            continue
        for i in (0, 1):
            before, bias = graph.maker(node.inputs[i]), node.constant(1 - i)
            if before is None or bias is None or before.has(2) or not before.has(1):
                continue
            if before.constant(1) is None or graph.only_reader(before.outputs[0]) is not node:
                continue
            outputs = _of_bias(before)
            if outputs is None or bias.size != outputs or node.out() != before.out():
                continue
            from_end = len(before.out()) - 2 if before.op.startswith("Conv") else 0
            shape = (1,) * (len(before.out()) - bias.ndim) + bias.shape
            if shape[len(shape) - 1 - from_end] != outputs:
                continue
            before.inputs[2:] = [node.inputs[1 - i]]
            if bias.ndim > 1:
                before.inputs[2] = graph.fresh(f"{node.inputs[1 - i]}_flat", bias.ravel())
            before.outputs[0] = node.outputs[0]
            graph.remove(node)
            break


def _of_bias(node: Node) -> int | None:
    """The size of a bias that the node may have, or None."""
    if node.op not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return None
    return node.out()[1 if node.op.startswith("Conv") else -1]


def drop_flatten(graph: Graph) -> None:
    for node in graph:
        if node.op not in Reshape.operators:
            continue
        reader = graph.only_reader(node.outputs[0])
        if (
            reader is None
            or reader.op not in ("Gemm", "MatMul")
            or reader.inputs[0] not in (node.outputs[0])
        ):
            continue
        have, flat = node.shape(), node.out()
        if (
            len(flat) == 2
            and len(have) > 2
            and have[0] == flat[0]
            and reader.constant(1) is not None
        ):
            reader.inputs[0] = node.inputs[0]
            if reader.op == "MatMul":
                reader.op = "Gemm"
            graph.remove(node)


def join_slices(graph: Graph) -> None:
    by_axis: dict[tuple[str, int], list[tuple[int, int, Node]]] = {}
    for node in graph:
        try:
            (found,) = Slice().ranges(node) if node.op == "Slice" else ()
        except (Refusal, ValueError):  # it cuts on several axes, or on none
            continue
        axis, places = found
        if places.step == 1 and len(places):
            by_axis.setdefault((node.inputs[0], axis), []).append((places[0], places[-1] + 1, node))
    for (value, axis), parts in by_axis.items():
        parts.sort(key=lambda part: part[:2])
        edges = [0, *(end for _, end, _ in parts)]
        if edges[-1] != graph.shapes[value][axis] or edges[:-1] != [start for start, _, _ in parts]:
            continue
        first = min((node for _, _, node in parts), key=graph.nodes.index)
        outputs = [node.outputs[0] for _, _, node in parts]
        graph.remove(*(node for _, _, node in parts if node is not first))
        first.op, first.inputs, first.outputs = "Split", [value], outputs
        first.attributes = {"axis": axis}


def rewrite(graph: Graph, target: Target, keep: bool) -> None:
    """Run all passes. keep: whether BatchNormalizations stay."""
    passes: list[Callable[[Graph], None]] = [
        drop_identities,
        drop_zero_biases,
        merge_reshapes,
        take_in_pads,
        take_in_bias,
        keep_batch_norm if keep else fold_batch_norm,
        drop_flatten,
        join_slices,
        find_lrn,
        find_swish,
        find_gelu,
        find_moves,
    ]
    for change in passes:
        change(graph)
