"""LSTM.

Caffe's LSTM has ONNX's formulas with the gates in another order (input, forget, output,
candidate) and one bias. It begins anew where its second bottom, `cont`, is 0, and remembers its
state from one batch to the next where it is not: cont is 0 at the first step and 1 at the others.
"""

from __future__ import annotations

import numpy as np

from netgen.from_onnx.graph import Node
from netgen.from_onnx.rules.rule import Rule, require
from netgen.from_onnx.rules.shapes import cut, reshaped
from netgen.from_onnx.targets import Target
from netgen.from_onnx.writer import Blob, Writer

_TANH = ("Sigmoid", "Tanh", "Tanh")


class LSTM(Rule):
    operators = ("LSTM",)

    def requires(self, node: Node, target: Target) -> None:
        require(not node.get("layout"), "its sequences come batch first")
        direction = node.get("direction", "forward")
        require(
            direction in ("forward", "bidirectional", "reverse"), f"its direction is {direction}"
        )
        kinds = tuple(node.get("activations") or _TANH * (node.weights(1, "weight").shape[0]))
        require(set(zip(kinds[::3], kinds[1::3], kinds[2::3], strict=True)) == {_TANH},
                f"its activations are {', '.join(kinds)}")  # fmt: skip
        require(
            not node.get("clip") and not node.get("input_forget"), "it clips, or has no forget gate"
        )
        lengths = node.constant(4)
        require(
            not node.has(4) or (lengths is not None and np.all(lengths == node.shape()[0])),
            "its sequences have lengths of their own",
        )
        for i in (5, 6):
            state = node.constant(i)
            require(
                not node.has(i) or (state is not None and not np.any(state)),
                "it begins with a state of its own",
            )
        if node.has(7):
            require(not np.any(node.weights(7, "peepholes")), "it has peepholes")
        require(not node.used(2), "its last cell state is read")
        for i in (1, 2):
            node.weights(i, "weight")
        if node.has(3):
            node.weights(3, "bias")

    def apply(self, node: Node, net: Writer) -> list[Blob]:
        bottom = net.input(node)
        steps, streams, _ = bottom.shape
        cont = _cont(net, steps, streams)
        direction = node.get("direction", "forward")
        both = direction == "bidirectional"
        tops = []
        for i in range(2 if both else 1):
            backwards = both and i == 1 or direction == "reverse"
            suffix = "_backward" if backwards and both else ""
            x = _turned(net, bottom, f"{suffix}_turned") if backwards else bottom
            top = net.layer(
                "LSTM", [x, cont], suffix, weights=self.weights(node, i),
                num_output=node.shape(2)[2],
            )  # fmt: skip
            last = cut(net, top, 0, steps - 1, steps, f"{suffix}_last") if node.used(1) else top
            tops.append((_turned(net, top, f"{suffix}_again") if backwards else top, last))
        all_steps, last = ([tops[i][j] for i in range(len(tops))] for j in (0, 1))
        hidden = node.shape(2)[2]
        states = (
            [
                reshaped(net, top, (steps, 1, streams, hidden), f"_{i}_steps")
                for i, top in enumerate(all_steps)
            ]
            if node.used(0)
            else all_steps
        )
        y = net.layer("Concat", states, "_both") if both and node.used(0) else states[0]
        y_h = net.layer("Concat", last, "_last", axis=0) if both and node.used(1) else last[0]
        return [y, y_h]

    def weights(self, node: Node, direction: int) -> list[np.ndarray]:
        """W_xc, b_c, W_hc of a direction, with the gates in Caffe's order."""
        hidden = node.shape(2)[2]
        order = [0, 2, 1, 3]  # of ONNX's input, output, forget, candidate

        def gates(array: np.ndarray) -> np.ndarray:
            parts = array.reshape(4, hidden, -1)
            return parts[order].reshape(4 * hidden, -1)

        bias = np.zeros(4 * hidden)
        if node.has(3):
            bias = node.weights(3, "bias")[direction].reshape(2, -1).sum(0)
        return [
            gates(node.weights(1, "weight")[direction]),
            gates(bias).ravel(),
            gates(node.weights(2, "weight")[direction]),
        ]


def _cont(net: Writer, steps: int, streams: int) -> Blob:
    """(steps, streams): 0 at the first step, 1 at the others."""
    if steps == 1:
        return net.layer(
            "DummyData", [], "_cont", shape={"dim": [1, streams]}, data_filler={"value": 0}
        )
    first, others = net.layers(
        "DummyData", [], ["_begin", "_go_on"],
        shape=[{"dim": [1, streams]}, {"dim": [steps - 1, streams]}],
        data_filler=[{"value": 0}, {"value": 1}],
    )  # fmt: skip
    return net.layer("Concat", [first, others], "_cont", axis=0)


def _turned(net: Writer, blob: Blob, suffix: str) -> Blob:
    """The steps of a sequence in the opposite order."""
    steps = blob.shape[0]
    if steps == 1:
        return blob
    parts = net.layers("Slice", [blob], [f"{suffix}_{i}" for i in range(1, steps + 1)], axis=0)
    return net.layer("Concat", parts[::-1], suffix, axis=0)
