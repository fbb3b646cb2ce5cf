"""LSTM, and GRU and RNN step by step.

Caffe's LSTM has ONNX's formulas with the gates in another order (input, forget, output,
candidate) and one bias. It begins anew where its second bottom, `cont`, is 0, and remembers its
state from one batch to the next where it is not: cont is 0 at the first step and 1 at the others.
A state that it begins with and the last cell state are bottoms and tops with `expose_hidden`.

Caffe has no GRU, and its RNN has a product more than ONNX's. Sequences of up to MOST_STEPS are
written out, each step in layers of its own that share their weights.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netgen.from_onnx.graph import Node, Shape
from netgen.from_onnx.rules.rule import Rule, require
from netgen.from_onnx.rules.shapes import cut, permuted, require_order, reshaped, selected
from netgen.from_onnx.targets import Target
from netgen.from_onnx.writer import Blob, Writer
from netgen.schema import caffe_pb

MOST_STEPS = 64
_PROD = caffe_pb.EltwiseParameter.PROD

#: What stands where the outputs (steps, directions, streams, values) and (directions, streams,
#: values) have an axis, with the layout that has streams first.
_STREAMS_FIRST = {4: (2, 0, 1, 3), 3: (1, 0, 2)}


class _Way(NamedTuple):
    """A direction of a node, or a step of it; suffix: of the names of its layers."""

    node: Node
    net: Writer
    direction: int
    suffix: str


class _Recurrent(Rule):
    """What the operators of sequences share.

    activations: those that a direction may have, the first of them by default.
    """

    activations: tuple[tuple[str, ...], ...]

    def requires(self, node: Node, target: Target) -> None:
        direction = node.get("direction", "forward")
        require(
            direction in ("forward", "bidirectional", "reverse"), f"its direction is {direction}"
        )
        require(len(self.kinds(node)) == 1 and self.kinds(node) <= set(self.activations),
                f"its activations are {', '.join(node.get('activations', ()))}")  # fmt: skip
        require(not node.get("clip"), "it clips")
        by_stream = node.get("layout")
        lengths = node.constant(4)
        steps = node.shape()[1 if by_stream else 0]
        require(
            not node.has(4) or (lengths is not None and np.all(lengths == steps)),
            "its sequences have lengths of their own",
        )
        node.weights(1, "weight"), node.weights(2, "weight")
        if node.has(3):
            node.weights(3, "bias")
        if by_stream:
            require_order(node.shape(), (1, 0, 2), target)

    def kinds(self, node: Node) -> set[tuple[str, ...]]:
        """The activations of the directions."""
        size = len(self.activations[0])
        names = tuple(node.get("activations") or self.activations[0])
        return {names[i : i + size] for i in range(0, len(names), size)}

    def apply(self, node: Node, net: Writer) -> list[Blob]:
        bottom = net.input(node)
        if node.get("layout"):
            bottom = permuted(net, bottom, (1, 0, 2), "_by_step")
        direction = node.get("direction", "forward")
        both = direction == "bidirectional"
        found = []  # of each direction: all steps, and the last states
        for i in range(2 if both else 1):
            backwards = (both and i == 1) or direction == "reverse"
            suffix = "_backward" if backwards and both else ""
            x = _turned(net, bottom, f"{suffix}_turned") if backwards else bottom
            states = [self.state(node, net, j, i, suffix) for j in (5, 6)]
            top, *last = self.run(_Way(node, net, i, suffix), x, states)
            if not last and node.used(1):
                steps = top.shape[0]
                last = [cut(net, top, 0, steps - 1, steps, f"{suffix}_last")]
            turns = backwards and node.used(0)
            found.append([_turned(net, top, f"{suffix}_again") if turns else top, *last])
        outputs = list(zip(*found, strict=True))
        return [
            self.joined(node, net, outputs[j], j) if node.used(j) else outputs[0][0]
            for j in range(len(node.outputs))
        ]

    def joined(self, node: Node, net: Writer, parts: tuple[Blob, ...], index: int) -> Blob:
        """An output of all directions, with ONNX's axes."""
        out, suffix = node.out(index), f"_state{index}" if index else ""
        order = _STREAMS_FIRST[len(out)] if node.get("layout") else tuple(range(len(out)))
        usual = tuple(out[order.index(axis)] for axis in range(len(out)))
        if len(parts) == 1:
            top = reshaped(net, parts[0], usual, f"{suffix}_axes")
        else:
            axis = 1 - bool(index)
            one = (*usual[:axis], 1, *usual[axis + 1 :])
            each = [
                reshaped(net, part, one, f"{suffix}_{i}_axes") for i, part in enumerate(parts, 1)
            ]
            field = {"axis": 0} if axis == 0 else {}
            top = net.layer("Concat", each, f"{suffix}_both", **field)
        return permuted(net, top, order, f"{suffix}_by_stream")

    def state(
        self, node: Node, net: Writer, index: int, direction: int, suffix: str
    ) -> Blob | None:
        """The state (1, streams, values) that a direction begins with, None for zeros."""
        if not node.has(index):
            return None
        value, shape = node.constant(index), node.shape(index)
        axis = 1 if node.get("layout") else 0
        alone = (1, *(size for i, size in enumerate(shape) if i != axis))
        if value is None:
            name = f"{suffix}_begin{index}"
            part = cut(net, net.input(node, index), axis, direction, direction + 1, name)
            return reshaped(net, part, alone, f"{name}_axes")
        part = value.take(direction, axis).reshape(alone)
        return net.constant(f"{node.inputs[index]}{suffix}", part) if np.any(part) else None

    def run(self, way: _Way, bottom: Blob, states: list[Blob | None]) -> list[Blob]:
        """The states of all steps, (steps, streams, values), and perhaps the last ones."""
        raise NotImplementedError


class LSTM(_Recurrent):
    operators = ("LSTM",)
    activations = (("Sigmoid", "Tanh", "Tanh"),)

    def requires(self, node: Node, target: Target) -> None:
        super().requires(node, target)
        require(not node.get("input_forget"), "it has no forget gate")
        if node.has(7):
            require(not np.any(node.weights(7, "peepholes")), "it has peepholes")

    def run(self, way: _Way, bottom: Blob, states: list[Blob | None]) -> list[Blob]:
        node, net, direction, suffix = way
        steps, streams, _ = bottom.shape
        hidden = node.shape(2)[2]
        weights = self.weights(node, direction)
        if states == [None, None] and not node.used(2):
            cont = _cont(net, steps, streams, suffix)
            return [
                net.layer("LSTM", [bottom, cont], suffix, weights=weights, num_output=hidden)
            ]  # fmt: skip
        cont = _filled(net, (steps, streams), 1, f"{suffix}_cont")
        begin = [
            state or _filled(net, (1, streams, hidden), 0, f"{suffix}_{name}0")
            for name, state in zip("hc", states, strict=True)
        ]
        tops = net.layers(
            "LSTM", [bottom, cont, *begin], [suffix or "_all", f"{suffix}_h", f"{suffix}_c"],
            weights=weights, num_output=hidden, expose_hidden=True,
        )  # fmt: skip
        unused = [top for i, top in enumerate(tops) if not node.used(i)]
        if unused:
            net.silence(unused)
        return tops

    def weights(self, node: Node, direction: int) -> list[np.ndarray]:
        """W_xc, b_c, W_hc of a direction, with the gates in Caffe's order."""
        hidden = node.shape(2)[2]
        order = [0, 2, 1, 3]  # of ONNX's input, output, forget, candidate

        def gates(array: np.ndarray) -> np.ndarray:
            parts = array.reshape(4, hidden, -1)
            return parts[order].reshape(4 * hidden, -1)

        bias = _biases(node, direction, 4 * hidden).sum(0)
        return [
            gates(node.weights(1, "weight")[direction]),
            gates(bias).ravel(),
            gates(node.weights(2, "weight")[direction]),
        ]


class _WrittenOut(_Recurrent):
    """A layer or more for each step: what Caffe has no layer for."""

    def requires(self, node: Node, target: Target) -> None:
        super().requires(node, target)
        steps = node.shape()[1 if node.get("layout") else 0]
        require(
            steps <= MOST_STEPS,
            f"Caffe has no such layer, and {steps} steps are too many to be written out "
            f"({MOST_STEPS})",
        )

    def run(self, way: _Way, bottom: Blob, states: list[Blob | None]) -> list[Blob]:
        node, net, direction, suffix = way
        steps, streams, _ = bottom.shape
        hidden = node.shape(2)[2]
        weight = node.weights(1, "weight")[direction]
        bias = self.input_bias(node, direction)
        top = net.layer(
            "InnerProduct", [bottom], f"{suffix}_input", weights=[weight, bias],
            num_output=len(weight), axis=2,
        )  # fmt: skip
        inputs = [top]
        if steps > 1:
            names = [f"{suffix}_input{t}" for t in range(1, steps + 1)]
            inputs = net.layers("Slice", [top], names, axis=0)
        state = states[0] or _filled(net, (1, streams, hidden), 0, f"{suffix}_begin")
        tops = []
        for t, part in enumerate(inputs, 1):
            step = way._replace(suffix=f"{suffix}_step{t}")
            state = self.step(step, part, state, f"{top.name}_{direction}")
            state.free = False
            tops.append(state)
        every = net.layer("Concat", tops, f"{suffix}_steps", axis=0) if steps > 1 else tops[0]
        return [every, tops[-1]]

    def input_bias(self, node: Node, direction: int) -> np.ndarray:
        """What is added to the product with the input."""
        return _biases(node, direction, node.shape(1)[1]).sum(0)

    def step(self, way: _Way, part: Blob, state: Blob, shared: str) -> Blob:
        """The state after a step.

        part: the product with its input, (1, streams, values). shared: what the names of weights
        begin with that all steps share.
        """
        raise NotImplementedError

    def product(
        self, net: Writer, state: Blob, weights: list[np.ndarray], suffix: str, shared: str
    ) -> Blob:
        """A product with the state, whose weights all steps share."""
        names = [f"{shared}_{blob}" for blob in ("weight", "bias")[: len(weights)]]
        return net.layer(
            "InnerProduct", [state], suffix, weights=weights, num_output=len(weights[0]), axis=2,
            param=[{"name": name} for name in names],
            **({} if len(weights) > 1 else {"bias_term": False}),
        )  # fmt: skip


class RNN(_WrittenOut):
    """tanh(W x + R h + b), or the same with ReLU."""

    operators = ("RNN",)
    activations = (("Tanh",), ("Relu",))

    def step(self, way: _Way, part: Blob, state: Blob, shared: str) -> Blob:
        node, net, direction, suffix = way
        weights = [node.weights(2, "weight")[direction]]
        back = self.product(net, state, weights, f"{suffix}_back", shared)
        top = net.layer("Eltwise", [part, back], f"{suffix}_sum")
        ((kind,),) = self.kinds(node)
        return net.layer({"Tanh": "TanH", "Relu": "ReLU"}[kind], [top], suffix)


class GRU(_WrittenOut):
    """Gates z, r = sigmoid(W x + R h + b); the state is n + z (h - n).

    n is tanh(W x + b + R (r h)), or with linear_before_reset tanh(W x + b + r (R h + b')).
    """

    operators = ("GRU",)
    activations = (("Sigmoid", "Tanh"),)

    def input_bias(self, node: Node, direction: int) -> np.ndarray:
        of_input, of_state = _biases(node, direction, node.shape(1)[1])
        if node.get("linear_before_reset"):
            of_state = of_state.copy()
            of_state[2 * node.shape(2)[2] :] = 0
        return of_input + of_state

    def step(self, way: _Way, part: Blob, state: Blob, shared: str) -> Blob:
        node, net, direction, suffix = way
        hidden = node.shape(2)[2]
        gates, new = np.split(node.weights(2, "weight")[direction], [2 * hidden])
        cut_at = {"axis": 2, "slice_point": [2 * hidden]}
        of_gates, of_new = net.layers(
            "Slice", [part], [f"{suffix}_gates_in", f"{suffix}_new_in"], **cut_at
        )
        back = self.product(net, state, [gates], f"{suffix}_gates_back", f"{shared}_gates")
        both = net.layer("Eltwise", [of_gates, back], f"{suffix}_gates_sum")
        both = net.layer("Sigmoid", [both], f"{suffix}_gates")
        z, r = net.layers("Slice", [both], [f"{suffix}_z", f"{suffix}_r"], axis=2)
        shared = f"{shared}_new"
        if node.get("linear_before_reset"):
            bias = _biases(node, direction, 3 * hidden)[1][2 * hidden :]
            back = self.product(net, state, [new, bias], f"{suffix}_new_back", shared)
            back = net.layer("Eltwise", [r, back], f"{suffix}_reset", operation=_PROD)
        else:
            back = net.layer("Eltwise", [r, state], f"{suffix}_reset", operation=_PROD)
            back = self.product(net, back, [new], f"{suffix}_new_back", shared)
        n = net.layer("Eltwise", [of_new, back], f"{suffix}_new_sum")
        n = net.layer("TanH", [n], f"{suffix}_new")
        apart = net.layer("Eltwise", [state, n], f"{suffix}_apart", coeff=[1, -1])
        kept = net.layer("Eltwise", [z, apart], f"{suffix}_kept", operation=_PROD)
        return net.layer("Eltwise", [n, kept], suffix)


def _biases(node: Node, direction: int, size: int) -> np.ndarray:
    """(2, size): of the product with the input, and of that with the state."""
    if not node.has(3):
        return np.zeros((2, size), np.float32)
    return node.weights(3, "bias")[direction].reshape(2, size)


def _filled(net: Writer, shape: Shape, value: float, suffix: str) -> Blob:
    """A blob of one value."""
    return net.layer(
        "DummyData", [], suffix, shape={"dim": list(shape)}, data_filler={"value": value}
    )


def _cont(net: Writer, steps: int, streams: int, suffix: str) -> Blob:
    """(steps, streams): 0 at the first step, 1 at the others."""
    if steps == 1:
        return _filled(net, (1, streams), 0, f"{suffix}_cont")
    first, others = net.layers(
        "DummyData", [], [f"{suffix}_begin", f"{suffix}_go_on"],
        shape=[{"dim": [1, streams]}, {"dim": [steps - 1, streams]}],
        data_filler=[{"value": 0}, {"value": 1}],
    )  # fmt: skip
    return net.layer("Concat", [first, others], f"{suffix}_cont", axis=0)


def _turned(net: Writer, blob: Blob, suffix: str) -> Blob:
    """The steps of a sequence in the opposite order."""
    return selected(net, blob, 0, range(blob.shape[0])[::-1], suffix)
