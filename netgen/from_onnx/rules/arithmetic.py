"""Sums, products and maxima, with broadcasting.

A constant is a Power (one number), a Bias or a Scale (along some axes). Of two blobs of the same
shape an Eltwise is made; where one is spread over the other, as a gate is over the image of its
channel, it is the second bottom of a Bias or Scale, and where that cannot be said it is tiled.
"""

from __future__ import annotations

import numpy as np

from netgen.from_onnx.graph import Node, Shape
from netgen.from_onnx.rules.neuron import power, run_row, with_constant
from netgen.from_onnx.rules.rule import Rule, require
from netgen.from_onnx.rules.shapes import axis_field, reshaped, tiled
from netgen.from_onnx.targets import Target
from netgen.from_onnx.writer import Blob, Writer
from netgen.schema import caffe_pb

_SUM, _PROD, _MAX = (getattr(caffe_pb.EltwiseParameter, name) for name in ("SUM", "PROD", "MAX"))


def _span(small: Shape, large: Shape) -> tuple[int, Shape] | None:
    """(axis, shape) under which a second bottom is spread over the first, or None."""
    small = (1,) * (len(large) - len(small)) + small
    first, last = 0, len(small)
    while first < last and small[first] == 1 and large[first] != 1:
        first += 1
    while last > first and small[last - 1] == 1:
        last -= 1
    part = small[first:last]
    return (first, part) if part and part == large[first:last] else None


def combined(net: Writer, a: Blob, b: Blob, out: Shape, operation: int, suffix: str = "") -> Blob:
    """The sum, product or maximum of two blobs, in the shape that both broadcast to."""
    if a.shape == b.shape == out:
        fields = {} if operation == _SUM else {"operation": operation}
        return net.layer("Eltwise", [a, b], suffix, **fields)
    if operation != _MAX:
        kind = "Scale" if operation == _PROD else "Bias"
        for large, small in ((a, b), (b, a)):
            found = _span(small.shape, large.shape) if large.shape == out else None
            if found:
                axis, shape = found
                second = reshaped(net, small, shape, f"{suffix}_shape")
                return net.layer(kind, [large, second], suffix, **axis_field(axis))
    a, b = (
        tiled(net, blob, out, f"{suffix}_{name}") for blob, name in ((a, "first"), (b, "second"))
    )
    return combined(net, a, b, out, operation, suffix)


class _Arithmetic(Rule):
    def requires(self, node: Node, target: Target) -> None:
        node.out()
        for i in range(len(node.inputs)):
            node.shape(i)


class Sum(_Arithmetic):
    """Add, Mul and Max, and those of many inputs. The last layer has the node's name."""

    operators = ("Add", "Mul", "Sum", "Max", "Min", "Mean")

    def apply(self, node: Node, net: Writer) -> Blob:
        operation = {"Mul": _PROD, "Max": _MAX, "Min": _MAX}.get(node.op, _SUM)
        blobs = [net.input(node, i) for i in range(len(node.inputs)) if node.constant(i) is None]
        constants = [i for i in range(len(node.inputs)) if node.constant(i) is not None]
        for blob in blobs[1:] if constants else ():
            blob.free = False
        negative = node.op == "Min"
        if negative:
            blobs = [
                run_row(net, blob, [power(-1)], f"_minus{i}") for i, blob in enumerate(blobs, 1)
            ]
        count = len(blobs) + len(constants) - 1
        left = count + (node.op == "Min" or (node.op == "Mean" and len(node.inputs) > 1))

        def suffix() -> str:
            nonlocal left
            left -= 1
            return f"_part{left}" if left else ""

        same = len({blob.shape for blob in blobs}) == 1
        if len(blobs) > 2 and same and blobs[0].shape == node.out():
            left -= len(blobs) - 2
            fields = {} if operation == _SUM else {"operation": operation}
            top = net.layer("Eltwise", blobs, suffix(), **fields)
        else:
            top, *others = blobs
            for other in others:
                out = tuple(np.broadcast_shapes(top.shape, other.shape))
                top = combined(net, top, other, out, operation, suffix())
        for i in constants:
            value = node.weights(i, "constant")
            out = tuple(np.broadcast_shapes(top.shape, value.shape))
            top = tiled(net, top, out, "_wide")
            top = self.constant(net, top, -value if negative else value, operation,
                                node.learned(i), suffix())  # fmt: skip
        if negative:
            return run_row(net, top, [power(-1)])
        if node.op == "Mean" and len(node.inputs) > 1:
            return run_row(net, top, [power(1 / len(node.inputs))])
        return top

    def constant(
        self, net: Writer, blob: Blob, value: np.ndarray, operation: int, learned: bool, suffix: str
    ) -> Blob:
        if operation != _MAX:
            return with_constant(net, blob, value, operation == _PROD, learned, suffix)
        if value.size > 1 or value.ravel()[0] != 0:
            below = with_constant(net, blob, -value, False, suffix=f"{suffix}_less")
            above = net.layer("ReLU", [below], f"{suffix}_relu", in_place=True)
            return with_constant(net, above, value, False, suffix=suffix)
        return net.layer("ReLU", [blob], suffix, in_place=True)


class Difference(_Arithmetic):
    operators = ("Sub",)

    def apply(self, node: Node, net: Writer) -> Blob:
        first, second = node.constant(0), node.constant(1)
        out = node.out()
        if second is not None:
            top = tiled(net, net.input(node), out, "_wide")
            return with_constant(net, top, -node.weights(1, "constant"), False)
        if first is not None:
            value = node.weights(0, "constant")
            top = tiled(net, net.input(node, 1), out, "_wide")
            if value.size == 1:
                return run_row(net, top, [power(-1, float(value.reshape(())))])
            return with_constant(net, run_row(net, top, [power(-1)], "_minus"), value, False)
        a, b = net.input(node), net.input(node, 1)
        if a.shape == b.shape:
            return net.layer("Eltwise", [a, b], coeff=[1, -1])
        return combined(net, a, run_row(net, b, [power(-1)], "_minus"), out, _SUM)


class Quotient(_Arithmetic):
    operators = ("Div",)

    def requires(self, node: Node, target: Target) -> None:
        super().requires(node, target)
        divisor = node.constant(1)
        require(divisor is None or np.all(divisor), "it divides by 0")

    def apply(self, node: Node, net: Writer) -> Blob:
        out = node.out()
        if node.constant(1) is not None:
            top = tiled(net, net.input(node), out, "_wide")
            factor = 1 / np.float64(node.weights(1, "constant"))
            return with_constant(net, top, factor, True)
        inverse = run_row(net, net.input(node, 1), [power(exponent=-1)], "_inverse")
        if node.constant(0) is not None:
            inverse = tiled(net, inverse, out, "_wide")
            return with_constant(net, inverse, node.weights(0, "constant"), True)
        return combined(net, net.input(node), inverse, out, _PROD)


class Pow(_Arithmetic):
    operators = ("Pow",)

    def requires(self, node: Node, target: Target) -> None:
        exponent = node.weights(1, "exponent")
        require(exponent.size == 1, "its exponent is not one number")

    def apply(self, node: Node, net: Writer) -> Blob:
        exponent = float(node.weights(1, "exponent").reshape(()))
        return reshaped(
            net, run_row(net, net.input(node), [power(exponent=exponent)]), node.out(), "_axes"
        )
