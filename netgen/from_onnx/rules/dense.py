"""Gemm and MatMul with learned weights: InnerProduct."""

from __future__ import annotations

import numpy as np

from netgen.from_onnx.graph import Node
from netgen.from_onnx.rules.rule import Rule, require
from netgen.from_onnx.rules.shapes import axis_field
from netgen.from_onnx.targets import Target
from netgen.from_onnx.writer import Blob, Writer


def _inner_product(
    net: Writer, bottom: Blob, weight: np.ndarray, bias: np.ndarray | None, axis: int
) -> Blob:
    """weight: (outputs, inputs)."""
    outputs = weight.shape[0]
    weights = [weight] if bias is None else [weight, np.broadcast_to(bias.ravel(), outputs)]
    return net.layer(
        "InnerProduct",
        [bottom],
        weights=weights,
        num_output=outputs,
        **({"bias_term": False} if bias is None else {}),
        **axis_field(axis),
    )


class Gemm(Rule):
    """alpha A B + beta C; A may come with more axes, which InnerProduct flattens by itself."""

    operators = ("Gemm",)

    def requires(self, node: Node, target: Target) -> None:
        require(not node.get("transA"), "it transposes what the net computes")
        outputs = node.weights(1, "matrix").shape[0 if node.get("transB") else 1]
        if node.has(2):
            bias = node.weights(2, "third input")
            require(
                bias.size in (1, outputs) and bias.shape[-1:] in ((), (bias.size,)),
                "its third input is no bias",
            )

    def apply(self, node: Node, net: Writer) -> Blob:
        weight, bias = node.weights(1, "matrix"), None
        if node.has(2):
            bias = node.weights(2, "third input") * np.float32(node.get("beta", 1))
        weight = weight if node.get("transB") else weight.T
        weight = weight * np.float32(node.get("alpha", 1))
        return _inner_product(net, net.input(node), weight, bias, axis=1)


class MatMul(Rule):
    """A product over the last axis; the passes give it a third input where a bias follows."""

    operators = ("MatMul",)

    def requires(self, node: Node, target: Target) -> None:
        require(
            node.weights(1, "matrix").ndim == 2,
            f"its matrix has {node.weights(1, 'matrix').ndim} axes, and InnerProduct's has two",
        )

    def apply(self, node: Node, net: Writer) -> Blob:
        bias = node.weights(2, "bias") if node.has(2) else None
        axis = len(node.shape()) - 1
        return _inner_product(net, net.input(node), node.weights(1, "matrix").T, bias, axis)
