"""Functions of Caffe's that exporters take apart: each found, and one node again.

A search takes the graph, and changes it where it finds its function:

    find_lrn      local response normalisation, across channels or within them
    find_swish    x sigmoid(x)
    find_gelu     x (1 + erf(x / sqrt(2))) / 2
    find_moves    a Reshape, Transpose and Reshape that only reorder channels or pixels
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from netgen.from_onnx.graph import Graph, Node
from netgen.from_onnx.rules.shaping import Reshape


def find_lrn(graph: Graph) -> None:
    """x / (k + alpha mean(x^2))^beta, or its product with the power of -beta.

    The mean is over channels, an AveragePool in 3-D, or within the channel, one in 2-D, for
    which Caffe's k is always 1.
    """
    inner = (*("Pow", "Add", "Mul"), "AveragePool")
    over_channels = (*inner[:3], "Reshape", "AveragePool", "Reshape")
    for node in graph:
        for i in (0, 1) if node.op == "Mul" else (1,) if node.op == "Div" else ():
            chain = _upwards(node.inputs[i], over_channels, graph)
            across = chain is not None
            chain = chain or _upwards(node.inputs[i], inner, graph)
            if chain is None:
                continue
            power, add, mul, *rest = chain
            pool, x = next(n for n in rest if n.op == "AveragePool"), node.inputs[1 - i]
            square = graph.maker(rest[-1].inputs[0])
            size = _lrn_size(pool, node.shape(1 - i))
            if square is None or not _is_square(square, x) or size is None:
                continue
            beta, bias, alpha = (float(_other(n)) for n in (power, add, mul))
            beta = -beta if node.op == "Mul" else beta
            if across or bias == 1:
                node.op, node.inputs = "LRN", [x]
                node.attributes = {"size": size, "alpha": alpha, "beta": beta, "bias": bias,
                                   "within": not across}  # fmt: skip
                break
    graph.drop_unused()


def _lrn_size(pool: Node, shape: Sequence[int]) -> int | None:
    """The size of the neighbourhood whose mean an AveragePool takes, or None."""
    kernel = pool.get("kernel_shape")
    size, pads = kernel[0], list(pool.get("pads") or ())
    across = len(pool.shape()) == 5
    if len(shape) != 4 or pool.out() != pool.shape() or size % 2 == 0:
        return None
    if pool.shape() != ((shape[0], 1, *shape[1:]) if across else tuple(shape)):
        return None
    half = (size - 1) // 2
    wanted = [half, 0, 0] * 2 if across else [half] * 4
    whole = list(kernel) == ([size, 1, 1] if across else [size, size])
    return size if whole and pads == wanted and pool.get("count_include_pad", 0) else None


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


def find_gelu(graph: Graph) -> None:
    for node in graph:
        inner = graph.maker(node.inputs[0]) if node.op == "Erf" else None
        if inner is None or inner.op not in ("Mul", "Div") or _other(inner).size != 1:
            continue
        factor = float(_other(inner)) ** (1 if inner.op == "Mul" else -1)
        x = next(name for name in inner.inputs if name not in graph.constants)
        add = graph.only_reader(node.outputs[0])
        product = graph.only_reader(add.outputs[0]) if add is not None else None
        if abs(factor - 0.5**0.5) > 1e-6 or product is None or product.op != "Mul":
            continue
        if add.op != "Add" or _number(add) != 1 or graph.only_reader(inner.outputs[0]) is not node:
            continue
        (other,) = (name for name in product.inputs if name != add.outputs[0])
        half = graph.maker(other)
        if other == x:
            last = graph.only_reader(product.outputs[0])
            if last is None or last.op != "Mul" or _number(last) != 0.5:
                continue
        elif half is not None and half.op == "Mul" and _number(half) == 0.5 and x in half.inputs:
            last = product
        else:
            continue
        last.op, last.inputs, last.attributes = "Gelu", [x], {}
    graph.drop_unused()


def _number(node: Node) -> float | None:
    """The one number that is an input, or None."""
    other = _other(node)
    return float(other) if other.size == 1 else None


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
