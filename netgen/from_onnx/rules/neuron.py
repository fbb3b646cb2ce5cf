"""Functions of each value alone: a row of layers for each.

A row is a list of (layer type, its fields), run one after another. What BVLC's Caffe has and
others lack is a Clip or a Swish there, and is made of ReLU, Sigmoid, Power and Eltwise elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from netgen.from_onnx.graph import Node
from netgen.from_onnx.rules.rule import RULES, Rule, require
from netgen.from_onnx.targets import Target
from netgen.from_onnx.writer import Blob, Writer
from netgen.schema import caffe_pb

Row = list[tuple[str, dict[str, Any]]]

#: Layers that are written over their bottom where that is free. Of the others backward would not
#: be the function's any more, or the type refuses it.
_IN_PLACE = ("ReLU", "Dropout")


def power(scale: float = 1, shift: float = 0, exponent: float = 1) -> tuple[str, dict[str, Any]]:
    """(shift + scale x) ^ exponent."""
    fields = {"power": exponent, "scale": scale, "shift": shift}
    defaults = {"power": 1, "scale": 1, "shift": 0}
    return "Power", {name: value for name, value in fields.items() if value != defaults[name]}


def clipped(low: float | None, high: float | None, target: Target) -> Row:
    """Values kept between two numbers, None for no bound; exact but for the last bits."""
    if low is not None and high is not None:
        if (low, high) == (0, 6) and target.knows("ReLU6"):
            return [("ReLU6", {})]
        if target.knows("Clip"):
            return [("Clip", {"min": low, "max": high})]
    row: Row = []
    if low is not None:
        row += [power(shift=-low)] * (low != 0) + [("ReLU", {})] + [power(shift=low)] * (low != 0)
    if high is not None:
        row += [power(scale=-1, shift=high), ("ReLU", {}), power(scale=-1, shift=high)]
    return row


def _hard_sigmoid(node: Node, target: Target) -> Row:
    alpha, beta = node.get("alpha", 0.2), node.get("beta", 0.5)
    return [power(alpha, beta), *clipped(0, 1, target)]


def _clip(node: Node, target: Target) -> Row:
    low, high = (_bound(node, *bound) for bound in (("min", 1), ("max", 2)))
    if low is not None and high is not None:
        low = min(low, high)  # as ONNX has it: all values are the upper bound then
    return clipped(low, high, target)


def _bound(node: Node, name: str, index: int) -> float | None:
    value = node.setting(name, index)
    if value is None or abs(value) >= np.finfo(np.float32).max:
        return None
    return float(value)


def _celu(node: Node, target: Target) -> Row:
    alpha = node.get("alpha", 1.0)
    return [power(1 / alpha), ("ELU", {}), power(alpha)]


def _selu(node: Node, target: Target) -> Row:
    alpha, gamma = node.get("alpha", 1.67326319217681884765625), node.get("gamma", 1.05070102214813)
    return [("ELU", {"alpha": alpha}), power(gamma)]


#: {operator: its row, or a function of (node, target) that makes it}
ROWS: dict[str, Row | Callable[[Node, Target], Row]] = {
    "Abs": [("AbsVal", {})],
    "Celu": _celu,
    "Clip": _clip,
    "Elu": lambda node, target: [("ELU", _but({"alpha": node.get("alpha", 1.0)}, alpha=1))],
    "Exp": [("Exp", {})],
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": lambda node, target: [("ReLU", {"negative_slope": node.get("alpha", 0.01)})],
    "Log": [("Log", {})],
    "Neg": [power(-1)],
    "Reciprocal": [power(exponent=-1)],
    "Relu": [("ReLU", {})],
    "Selu": _selu,
    "Sigmoid": [("Sigmoid", {})],
    "Softplus": [("BNLL", {})],
    "Sqrt": [power(exponent=0.5)],
    "Tanh": [("TanH", {})],
}


def _but(fields: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value != defaults[name]}


def run_row(net: Writer, blob: Blob, row: Row, suffix: str = "") -> Blob:
    """Add the layers of a row; the last one has the name with no more than `suffix`."""
    for i, (kind, fields) in enumerate(row):
        more = "" if i + 1 == len(row) else f"_{kind.lower()}{i + 1}"
        blob = net.layer(kind, [blob], f"{suffix}{more}", in_place=kind in _IN_PLACE, **fields)
    return blob


class Function(Rule):
    operators = tuple(ROWS)

    def row(self, node: Node, target: Target) -> Row:
        row = ROWS[node.op]
        return row(node, target) if callable(row) else row

    def requires(self, node: Node, target: Target) -> None:
        self.row(node, target)

    def apply(self, node: Node, net: Writer) -> Blob:
        return run_row(net, net.input(node), self.row(node, net.target))


#: Functions that are the input times something: {operator: the row of the other factor}.
GATES: dict[str, Callable[[Node, Target], Row]] = {
    "HardSwish": lambda node, target: [power(1 / 6, 0.5), *clipped(0, 1, target)],
    "Mish": lambda node, target: [("BNLL", {}), ("TanH", {})],
    "Swish": lambda node, target: [
        *([power(node.get("alpha", 1.0))] if node.get("alpha", 1.0) != 1 else []),
        ("Sigmoid", {}),
    ],
    "ThresholdedRelu": lambda node, target: [("Threshold", {"threshold": node.get("alpha", 1.0)})],
}


class Gate(Rule):
    """x f(x), which is a layer of its own for Swish where the target has it."""

    operators = tuple(GATES)

    def apply(self, node: Node, net: Writer) -> Blob:
        bottom = net.input(node)
        if node.op == "Swish" and net.target.knows("Swish"):
            return net.layer("Swish", [bottom], **_but({"beta": node.get("alpha", 1.0)}, beta=1))
        bottom.free = False
        gate = run_row(net, bottom, GATES[node.op](node, net.target), "_gate")
        prod = caffe_pb.EltwiseParameter.PROD
        return net.layer("Eltwise", [bottom, gate], operation=prod)


class PRelu(Rule):
    operators = ("PRelu",)

    def requires(self, node: Node, target: Target) -> None:
        slope, channels = node.weights(1, "slope"), node.shape()[1:2]
        require(len(node.shape()) >= 2, "it has no channels")
        shape = (1,) * (len(node.shape()) - slope.ndim) + slope.shape
        require(
            slope.size == 1 or (slope.size == channels[0] and shape[1] == channels[0]),
            "its slopes are not one a channel",
        )

    def apply(self, node: Node, net: Writer) -> Blob:
        slope, shared = node.weights(1, "slope"), {}
        if slope.size == 1 and node.shape()[1] != 1:
            shared = {"channel_shared": True}
        return net.layer("PReLU", [net.input(node)], weights=[slope.ravel()], **shared)


class Dropout(Rule):
    operators = ("Dropout",)

    def requires(self, node: Node, target: Target) -> None:
        require(not node.used(1), "its mask is read")
        require(not node.setting("training_mode", 2), "it drops values while it is tested")
        node.setting("ratio", 1)

    def apply(self, node: Node, net: Writer) -> Blob:
        ratio = node.setting("ratio", 1, 0.5)
        fields = {} if ratio == 0.5 else {"dropout_ratio": ratio}
        return net.layer("Dropout", [net.input(node)], in_place=True, **fields)


assert "Relu" in RULES
