"""Functions of each value alone: a row of layers for each.

A row is a list of (layer type, its fields), run one after another. What BVLC's Caffe has and
others lack is a Clip or a Swish there, and is made of ReLU, Sigmoid, Power and Eltwise elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from netgen.from_onnx.graph import Node
from netgen.from_onnx.rules.rule import Rule, require
from netgen.from_onnx.rules.shapes import axis_field
from netgen.from_onnx.targets import Target
from netgen.from_onnx.writer import Blob, Writer
from netgen.schema import caffe_pb

_PROD = caffe_pb.EltwiseParameter.PROD

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


def with_constant(
    net: Writer,
    blob: Blob,
    value: np.ndarray,
    product: bool,
    learned: bool = False,
    suffix: str = "",
) -> Blob:
    """blob + value or blob * value. The value's shape broadcasts to the blob's."""
    value = value.astype(np.float32)
    if value.size == 1:
        number = float(value.reshape(()))
        kind, fields = power(number) if product else power(shift=number)
        return net.layer(kind, [blob], suffix, **fields)
    value = value.reshape((1,) * (len(blob.shape) - value.ndim) + value.shape)
    wide = [axis for axis, size in enumerate(value.shape) if size > 1]
    first, last = wide[0], wide[-1]
    spanned = blob.shape[first : last + 1]
    value = np.broadcast_to(value.reshape(value.shape[first : last + 1]), spanned)
    number = {} if first == last else {"num_axes": last - first + 1}
    if not product and not net.target.has("Bias"):
        weights = [np.ones_like(value), value]
        return net.layer(
            "Scale", [blob], suffix, weights=weights, frozen=not learned, bias_term=True,
            **axis_field(first), **number,
        )  # fmt: skip
    return net.layer(
        "Scale" if product else "Bias", [blob], suffix, weights=[value], frozen=not learned,
        **axis_field(first), **number,
    )  # fmt: skip


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
        return net.layer("Eltwise", [bottom, gate], operation=_PROD)


class Softsign(Rule):
    """x / (1 + |x|)."""

    operators = ("Softsign",)

    def apply(self, node: Node, net: Writer) -> Blob:
        bottom = net.input(node)
        bottom.free = False
        factor = run_row(net, bottom, [("AbsVal", {}), power(shift=1, exponent=-1)], "_factor")
        return net.layer("Eltwise", [bottom, factor], operation=_PROD)


class Sign(Rule):
    """Whether it is above 0, less whether it is below."""

    operators = ("Sign",)

    def apply(self, node: Node, net: Writer) -> Blob:
        bottom = net.input(node)
        bottom.free = False
        above = net.layer("Threshold", [bottom], "_above")
        below = run_row(net, bottom, [power(-1), ("Threshold", {})], "_below")
        return net.layer("Eltwise", [above, below], coeff=[1, -1])


#: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: erf(x) for x >= 0 is
#: 1 - (a1 t + ... + a5 t^5) exp(-x^2), t = 1 / (1 + p x), to 1.5e-7.
_ERF_P = 0.3275911
_ERF_A = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


def _erfc(net: Writer, x: Blob, scale: float) -> tuple[Blob, Blob]:
    """(1 - erf(|scale x|), |x|)."""
    x.free = False
    size = net.layer("AbsVal", [x], "_size")
    size.free = False
    powers = [
        net.layer(
            "Power", [size], f"_power{i}", power=-i, scale=_ERF_P * scale, shift=1
        )
        for i in range(1, 6)
    ]  # fmt: skip
    sum_ = net.layer("Eltwise", powers, "_powers", coeff=_ERF_A)
    square = net.layer("Power", [size], "_square", power=2)
    bell = net.layer("Exp", [square], "_bell", scale=-(scale**2))
    return net.layer("Eltwise", [sum_, bell], "_tail", operation=_PROD), size


class Erf(Rule):
    """The error function, to 1.5e-7."""

    operators = ("Erf",)

    def apply(self, node: Node, net: Writer) -> Blob:
        bottom = net.input(node)
        tail, _ = _erfc(net, bottom, 1)
        inner = run_row(net, tail, [power(-1, 1)], "_inner")
        sign = run_row(net, bottom, [("Threshold", {}), power(2, -1)], "_sign")
        return net.layer("Eltwise", [inner, sign], operation=_PROD)


class Gelu(Rule):
    """x times the normal distribution below x: max(x, 0) - |x| (1 - erf(|x| / sqrt(2))) / 2.

    With approximate="tanh" it is x sigmoid(sqrt(8 / pi) (x + 0.044715 x^3)).
    """

    operators = ("Gelu",)

    def requires(self, node: Node, target: Target) -> None:
        kind = node.get("approximate", "none")
        require(kind in ("none", "tanh"), f"its approximation is {kind}")

    def apply(self, node: Node, net: Writer) -> Blob:
        bottom = net.input(node)
        bottom.free = False
        if node.get("approximate", "none") == "tanh":
            factor = (8 / np.pi) ** 0.5
            cube = net.layer("Power", [bottom], "_cube", power=3)
            inner = net.layer(
                "Eltwise", [bottom, cube], "_inner", coeff=[factor, 0.044715 * factor]
            )
            gate = net.layer("Sigmoid", [inner], "_gate")
            return net.layer("Eltwise", [bottom, gate], operation=_PROD)
        tail, size = _erfc(net, bottom, 0.5**0.5)
        below = net.layer("Eltwise", [size, tail], "_below", operation=_PROD)
        above = net.layer("ReLU", [bottom], "_above")
        return net.layer("Eltwise", [above, below], coeff=[1, -0.5])


class PRelu(Rule):
    """PReLU where the slopes are one a channel, else max(x, 0) - slope max(-x, 0)."""

    operators = ("PRelu",)

    def requires(self, node: Node, target: Target) -> None:
        node.weights(1, "slope")
        require(node.out() == node.shape(), "its slopes have more values than its input")

    def is_channels(self, node: Node) -> bool:
        slope, shape = node.weights(1, "slope"), node.shape()
        if len(shape) < 2:
            return False
        axes = (1,) * (len(shape) - slope.ndim) + slope.shape
        return slope.size == 1 or (slope.size == shape[1] and axes[1] == shape[1])

    def apply(self, node: Node, net: Writer) -> Blob:
        slope, shared = node.weights(1, "slope"), {}
        if not self.is_channels(node):
            bottom = net.input(node)
            bottom.free = False
            above = net.layer("ReLU", [bottom], "_above")
            below = run_row(net, bottom, [power(-1), ("ReLU", {})], "_below")
            below = with_constant(net, below, slope, True, node.learned(1), "_slope")
            return net.layer("Eltwise", [above, below], coeff=[1, -1])
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
