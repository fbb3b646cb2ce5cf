"""Gemm and MatMul with learned weights: InnerProduct."""

from __future__ import annotations

import numpy as np

from netgen.from_onnx.errors import Refusal
from netgen.from_onnx.graph import Node
from netgen.from_onnx.rules.neuron import with_constant
from netgen.from_onnx.rules.rule import Rule, require
from netgen.from_onnx.rules.shapes import axis_field, permuted, require_order, reshaped
from netgen.from_onnx.targets import Target
from netgen.from_onnx.writer import Blob, Writer


def _inner_product(
    net: Writer,
    bottom: Blob,
    weight: np.ndarray,
    bias: np.ndarray | None,
    axis: int,
    suffix: str = "",
) -> Blob:
    """weight: (outputs, inputs)."""
    outputs = weight.shape[0]
    weights = [weight] if bias is None else [weight, np.broadcast_to(bias.ravel(), outputs)]
    return net.layer(
        "InnerProduct",
        [bottom],
        suffix,
        weights=weights,
        num_output=outputs,
        **({"bias_term": False} if bias is None else {}),
        **axis_field(axis),
    )


class Gemm(Rule):
    """alpha A B + beta C; A may come with more axes, which InnerProduct flattens by itself."""

    operators = ("Gemm",)

    def is_bias(self, node: Node) -> bool:
        """Whether the third input is one number for each output."""
        bias = node.weights(2, "third input")
        outputs = node.weights(1, "matrix").shape[0 if node.get("transB") else 1]
        return bias.size in (1, outputs) and bias.shape[-1:] in ((), (bias.size,))

    def requires(self, node: Node, target: Target) -> None:
        if node.get("transA"):
            require_order(node.shape(), (1, 0), target)
        node.weights(1, "matrix")
        if node.has(2):
            self.is_bias(node)

    def apply(self, node: Node, net: Writer) -> Blob:
        weight, bias = node.weights(1, "matrix"), None
        if node.has(2):
            bias = node.weights(2, "third input") * np.float32(node.get("beta", 1))
        weight = weight if node.get("transB") else weight.T
        weight = weight * np.float32(node.get("alpha", 1))
        bottom = net.input(node)
        if node.get("transA"):
            bottom = permuted(net, bottom, (1, 0), "_transposed")
        if bias is None or self.is_bias(node):
            return _inner_product(net, bottom, weight, bias, axis=1)
        top = _inner_product(net, bottom, weight, None, axis=1, suffix="_product")
        return with_constant(net, top, bias, False, node.learned(2))


class MatMul(Rule):
    """A product over the last axis; the passes give it a third input where a bias follows."""

    operators = ("MatMul",)

    def matrix(self, node: Node) -> np.ndarray:
        """(inputs, outputs), a vector being a matrix of one column."""
        matrix = node.weights(1, "matrix")
        while matrix.ndim > 2 and matrix.shape[0] == 1:
            matrix = matrix[0]
        return matrix[:, None] if matrix.ndim == 1 else matrix

    def requires(self, node: Node, target: Target) -> None:
        if node.constant(0) is None and node.constant(1) is None:
            raise Refusal("both matrices are computed by the net, and one of Caffe's is learned")
        matrix = self.matrix(node)
        require(matrix.ndim == 2, f"its matrix has {matrix.ndim} axes, and InnerProduct's has two")

    def apply(self, node: Node, net: Writer) -> Blob:
        bias = node.weights(2, "bias") if node.has(2) else None
        axis = len(node.shape()) - 1
        top = _inner_product(net, net.input(node), self.matrix(node).T, bias, axis)
        return reshaped(net, top, node.out(), "_axes")
