"""LSTM, RNN and the LSTMUnit cell. The state carries over between batches while cont is 1."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from netgen import graph
from netgen.schema import caffe_pb
from runner.layers.base import Layer, Tensors


def lstm_cell(
    cell: torch.Tensor, gates: torch.Tensor, cont: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """One time step: (c, h) from c_{t-1}, the gate inputs (i, f, o, g joined) and cont, 0 or 1."""
    i, f, o, g = gates.chunk(4, -1)
    cell = cont * torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return cell, torch.sigmoid(o) * torch.tanh(cell)


class LSTMUnit(Layer, type="LSTMUnit"):
    """c_t and h_t from c_{t-1} (1, N, D), the gate inputs (1, N, 4D) and cont (1, N)."""

    refuses_backward_to = (2,)
    no_force_backward = (2,)

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        cell, gates, cont = bottoms
        return list(lstm_cell(cell, gates, cont.unsqueeze(-1)))


class Recurrent(Layer):
    """What LSTM and RNN share: the bottoms x (T, N, ...), cont (T, N) and perhaps a static input.

    The static input is (N, ...). With expose_hidden the first states are bottoms and the last
    ones tops, without gradients, as in Caffe; otherwise they are kept from batch to batch.
    """

    #: The names of the states, in Caffe's order.
    states: tuple[str, ...] = ()
    refuses_backward_to = (1,)
    no_force_backward = (1,)

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        self.carried = None
        exposed = self.param.recurrent_param.expose_hidden
        self.exposed = len(self.states) if exposed else 0
        self.replayable = exposed  # else the host keeps the states
        self.static = len(bottoms) > 2 + self.exposed
        return super().setup(bottoms)

    def fillers(self) -> list[caffe_pb.FillerParameter]:
        p = self.param.recurrent_param
        return [p.bias_filler if bias else p.weight_filler for bias in self.biases()]

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x, cont, *rest = bottoms
        blobs = list(blobs)
        weight, bias = blobs[:2]
        del blobs[:2]
        inputs = F.linear(x.flatten(2), weight, bias)
        if self.static:
            inputs = inputs + F.linear(rest[0].flatten(1), blobs.pop(0))
        if self.exposed:
            states = [state[0].detach() for state in rest[-self.exposed :]]
        elif self.carried is not None and self.carried[0].shape[0] == x.shape[1]:
            states = self.carried
        else:
            outputs = self.param.recurrent_param.num_output
            states = [x.new_zeros(x.shape[1], outputs) for _ in self.states]
        tops = []
        for t in range(x.shape[0]):
            top, states = self.advance(inputs[t], cont[t].unsqueeze(-1), states, blobs)
            tops.append(top)
        self.carried = [state.detach() for state in states]
        last = [state.unsqueeze(0) for state in self.carried] if self.exposed else []
        return [torch.stack(tops), *last]

    def biases(self) -> list[bool]:
        """Which of the layer's blobs are biases."""
        raise NotImplementedError(f"{type(self).__name__} has no biases")

    def advance(
        self, x: torch.Tensor, cont: torch.Tensor, states: Tensors, blobs: Tensors
    ) -> tuple[torch.Tensor, Tensors]:
        """One time step: the top, and the states after it.

        x: what the bottoms add to the gates. cont: (N, 1), 0 where a sequence begins. states:
        those before it. blobs: the layer's other blobs.
        """
        raise NotImplementedError(f"{type(self).__name__} has no advance")

    def state(self) -> object:
        return None if self.carried is None else {"carried": [s.cpu() for s in self.carried]}

    def load_state(self, state: Any) -> None:
        self.carried = [s.to(self.context.device) for s in state["carried"]]


class LSTM(Recurrent, type="LSTM"):
    """Blobs: W_xc (4D, K), b_c (4D), perhaps W_xc_static, W_hc (4D, D); gates i, f, o, g."""

    states = ("h", "c")

    def biases(self) -> list[bool]:
        return [False, True, False, False] if self.static else [False, True, False]

    def advance(
        self, x: torch.Tensor, cont: torch.Tensor, states: Tensors, blobs: Tensors
    ) -> tuple[torch.Tensor, Tensors]:
        hidden, cell = states
        gates = F.linear(cont * hidden, blobs[0]) + x
        cell, hidden = lstm_cell(cell, gates, cont)
        return hidden, [hidden, cell]


class RNN(Recurrent, type="RNN"):
    """Blobs: W_xh, b_h, perhaps W_xh_static, W_hh (D, D), W_ho (D, D), b_o (D); tanh."""

    states = ("h",)

    def biases(self) -> list[bool]:
        static = [False] if self.static else []
        return [False, True, *static, False, False, True]

    def advance(
        self, x: torch.Tensor, cont: torch.Tensor, states: Tensors, blobs: Tensors
    ) -> tuple[torch.Tensor, Tensors]:
        recurrent, output, bias = blobs
        hidden = torch.tanh(F.linear(cont * states[0], recurrent) + x)
        return torch.tanh(F.linear(hidden, output, bias)), [hidden]
