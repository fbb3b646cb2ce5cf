"""What is rewritten before the rules are asked, so that the net reads as a person writes it.

A pass takes the graph and changes it where its requirements hold:

    drop_identities    Identity, Cast, pairs of QuantizeLinear and DequantizeLinear
    drop_zero_biases   zeros that an exporter gave a convolution or product without bias
    merge_reshapes     of two changes of shape in a row the last one stays
    take_in_pads       a Pad into the convolution or pooling that reads it
    fold_batch_norm    a BatchNormalization into the convolution before it, unless it is kept
    take_in_bias       an Add of constants into the convolution or product before it
    drop_flatten       a Flatten before a Gemm: InnerProduct flattens by itself
    join_slices        Slices that cut a value into parts, each wanted once: a Split
    find_lrn           torch's local response normalisation, whose mean is a pooling in 3-D
    find_swish         x sigmoid(x)
    find_moves         a Reshape, Transpose and Reshape that only reorder channels or pixels
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from netgen.from_onnx.errors import Refusal
from netgen.from_onnx.graph import Graph, Node
from netgen.from_onnx.rules.joining import Slice
from netgen.from_onnx.rules.normalization import affine
from netgen.from_onnx.rules.shaping import Reshape, zero_pads
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
        before = graph.maker(node.inputs[0]) if node.op in Reshape.operators else None
        if before is None or before.op not in Reshape.operators:
            continue
        if graph.only_reader(before.outputs[0]) is node:
            node.inputs[0] = before.inputs[0]
            node.op = "Reshape"
            graph.remove(before)


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


def find_lrn(graph: Graph) -> None:
    """x / (k + alpha mean(x^2))^beta, the mean over channels by an AveragePool (n, 1, 1)."""
    operators = ("Pow", "Add", "Mul", "Reshape", "AveragePool", "Reshape")
    for node in graph:
        chain = _upwards(node.inputs[1], operators, graph) if node.op == "Div" else None
        if chain is None:
            continue
        power, add, mul, _, pool, first = chain
        square, x = graph.maker(first.inputs[0]), node.inputs[0]
        if square is None or not _is_square(square, x):
            continue
        size, one, two = pool.get("kernel_shape") if len(pool.shape()) == 5 else (0, 0, 0)
        both = [size // 2, 0, 0, (size - 1) // 2, 0, 0]
        whole = pool.get("pads") == both and pool.get("count_include_pad", 0)
        if (one, two) != (1, 1) or not whole or pool.out() != pool.shape():
            continue
        shape = node.shape()
        if len(shape) != 4 or pool.shape() != (shape[0], 1, *shape[1:]) or size % 2 == 0:
            continue
        beta, bias, alpha = (float(_other(n)) for n in (power, add, mul))
        node.op, node.inputs = "LRN", [x]
        node.attributes = {"size": size, "alpha": alpha, "beta": beta, "bias": bias}
    graph.drop_unused()


def _upwards(value: str, operators: Sequence[str], graph: Graph) -> list[Node] | None:
    """The nodes from a value upwards, if they have these operators and no other readers."""
    found = []
    for operator in operators:
        node = graph.maker(value)
        if node is None or (node.op if node.op not in Reshape.operators else "Reshape") != operator:
            return None
        if len(graph.readers(value)) != 1 or value in graph.outputs.values():
            return None
        if operator in ("Pow", "Add", "Mul") and np.size(_other(node)) != 1:
            return None
        found.append(node)
        value = next(name for name in node.inputs if name not in graph.constants)
    return found


def _other(node: Node) -> np.ndarray:
    """The constant among the two inputs; an empty array where there is none."""
    for i in (1, 0):
        value = node.constant(i) if i < len(node.inputs) else None
        if value is not None:
            return value.reshape(()) if value.size == 1 else value
    return np.empty(0)


def _is_square(node: Node, x: str) -> bool:
    if node.op == "Pow":
        return node.inputs[0] == x and _other(node).size == 1 and float(_other(node)) == 2
    return node.op == "Mul" and node.inputs == [x, x]


def find_swish(graph: Graph) -> None:
    for node in graph:
        if node.op != "Mul":
            continue
        for x, gate in (node.inputs, node.inputs[::-1]):
            maker = graph.maker(gate)
            if maker is None or maker.op not in ("Sigmoid", "HardSigmoid"):
                continue
            if maker.inputs[0] == x and graph.only_reader(gate) is node:
                if maker.op == "HardSigmoid":
                    alpha, beta = maker.get("alpha", 0.2), maker.get("beta", 0.5)
                    if abs(alpha - 1 / 6) > 1e-6 or beta != 0.5:
                        continue
                node.op = "HardSwish" if maker.op == "HardSigmoid" else "Swish"
                node.inputs = [x]
                graph.remove(maker)
                break


def find_moves(graph: Graph) -> None:
    for node in graph:
        first = graph.maker(node.inputs[0]) if node.op == "Transpose" else None
        last = graph.only_reader(node.outputs[0]) if node.op == "Transpose" else None
        if first is None or last is None or not {first.op, last.op} <= set(Reshape.operators):
            continue
        if graph.only_reader(first.outputs[0]) is not node:
            continue
        shape, out = first.shape(), last.out()
        if len(shape) != 4 or len(out) != 4 or shape[0] != out[0]:
            continue
        _, channels, height, width = shape
        places = np.arange(prod(shape)).reshape(first.out()).transpose(node.get("perm"))
        moved = places.reshape(out)[0]
        if out == shape:
            order = moved[:, 0, 0] // (height * width)
            expected = order[:, None, None] * height * width + moved[:1] - moved[0, 0, 0]
            if np.array_equal(moved, expected):
                last.op, last.inputs = "ChannelOrder", [first.inputs[0]]
                last.attributes = {"order": order.tolist()}
                graph.remove(first, node)
        elif out[2] % height == 0 and out[3] == width * (out[2] // height):
            block = out[2] // height
            order = moved[:, :block, :block] // (height * width)
            last.op, last.inputs = "PixelOrder", [first.inputs[0]]
            last.attributes = {"order": order}
            if np.array_equal(moved, pixel_order(order, height, width)):
                graph.remove(first, node)
            else:
                last.op, last.inputs, last.attributes = "Reshape", [node.outputs[0]], {}


def pixel_order(order: np.ndarray, height: int, width: int) -> np.ndarray:
    """Where the values of each place come from once channels have become blocks of pixels.

    order: (C, block, block), the channel of each pixel of a block. Returns (C, H block, W block)
    indices into (channels, H, W).
    """
    block = order.shape[1]
    rows, columns = np.arange(height * block), np.arange(width * block)
    channel = order[:, rows % block][:, :, columns % block]
    return (channel * height + (rows // block)[:, None]) * width + columns // block


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
        find_moves,
    ]
    for change in passes:
        change(graph)
