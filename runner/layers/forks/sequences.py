"""Lstm, ContinuationIndicator, CtcLoss, LabelsequenceAccuracy: sequences and their labels."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from netgen import graph
from netgen.schema import caffe_pb
from runner.layers.base import Layer, Tensors
from runner.layers.gradient import custom_gradient
from runner.layers.loss import Loss
from runner.layers.recurrent import lstm_cell


class Lstm(Layer, type="Lstm"):
    """The LSTM of junhyukoh's fork (Hochreiter and Schmidhuber 1997; gates i, f, o, g).

    The first axis of bottom and top holds the batch_size streams of each time step side by
    side. A second bottom, cont, is 0 where a sequence begins; with it the states carry over
    between batches, without it every batch begins anew. clipping_threshold limits the gradient
    of each gate's input, at each step, before it goes on to the step before.
    """

    no_force_backward = (1,)
    refuses_backward_to = (1,)

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        self.carried: Tensors | None = None
        self.replayable = len(bottoms) == 1  # else the host keeps the states
        return super().setup(bottoms)

    def fillers(self) -> list[caffe_pb.FillerParameter]:
        p = self.param.lstm_param
        return [p.weight_filler, p.weight_filler, p.bias_filler]

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        (x, *given), (of_input, of_hidden, bias) = bottoms, blobs
        p = self.param.lstm_param
        streams, limit = p.batch_size, p.clipping_threshold
        inputs = F.linear(x.flatten(1), of_input, bias).unflatten(0, (-1, streams))
        if given:
            cont = given[0].detach().reshape(-1, streams, 1)
        else:
            cont = torch.ones_like(inputs[:, :, :1])
            cont[0] = 0
        carries = bool(given) and self.carried is not None
        zeros = inputs.new_zeros(streams, p.num_output)
        hidden, cell = self.carried if carries else (zeros, zeros)
        tops = []
        for t in range(inputs.shape[0]):
            gates = inputs[t] + F.linear(cont[t] * hidden, of_hidden)
            if limit > 0 and gates.requires_grad:
                gates.register_hook(lambda g: g.clamp(-limit, limit))
            cell, hidden = lstm_cell(cell, gates, cont[t])
            tops.append(hidden)
        if given:
            self.carried = [hidden.detach(), cell.detach()]
        return [torch.cat(tops)]

    def state(self) -> object:
        return None if self.carried is None else {"carried": [s.cpu() for s in self.carried]}

    def load_state(self, state: Any) -> None:
        self.carried = [s.to(self.context.device) for s in state["carried"]]


class ContinuationIndicator(Layer, type="ContinuationIndicator"):
    """(time_step, batch_size): 0 at the first step, then 1, for an LSTM's cont (warpctc-caffe)."""

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        top = torch.ones(self.shapes.tops[0], device=self.context.device)
        top[0] = 0
        return [top]


class CtcLoss(Loss, type="CtcLoss"):
    """Connectionist temporal classification (Graves et al. 2006), as warpctc-caffe has it.

    The loss is the mean over the batch, and its gradient that of the sum. Blanks among the
    labels are left out. A sequence that has too few steps for its labels counts 0.
    """

    replayable = False  # how many labels a sequence has must be known on the host

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        scores, labels = bottoms
        p, batch = self.param.ctc_loss_param, scores.shape[1]
        x = scores.detach()[: p.time_step].requires_grad_(scores.requires_grad)
        rows = labels.detach().reshape(batch, -1).long()
        low, high = (int(v) for v in torch.aminmax(rows))
        if low < 0 or high >= p.alphabet_size:
            raise graph.NetError(
                f"layer '{self.name}': label {low if low < 0 else high} is outside the alphabet "
                f"of {p.alphabet_size}"
            )
        said = rows != p.blank_label
        lengths = said.sum(1).cpu()
        if not lengths.any():
            raise graph.NetError(f"layer '{self.name}': total length should be greater than 0.")
        steps = torch.full((batch,), p.time_step)
        with torch.enable_grad():
            each = F.ctc_loss(
                x.log_softmax(2),
                rows[said],
                steps,
                lengths,
                p.blank_label,
                reduction="none",
                zero_infinity=True,
            )
        if not scores.requires_grad:
            return [each.sum() / batch]
        (gradient,) = torch.autograd.grad(each.sum(), x)
        gradient = F.pad(gradient, (0, 0, 0, 0, 0, scores.shape[0] - p.time_step))
        value = each.detach().sum() / batch
        return [custom_gradient(value, [scores], lambda upstream: [upstream * gradient])]


class LabelsequenceAccuracy(Layer, type="LabelsequenceAccuracy"):
    """The share of sequences whose best path says exactly the labels (warpctc-caffe).

    The best path takes the highest score of each step, the first of equal ones; repetitions
    become one label and blanks none.
    """

    no_force_backward = (0, 1)
    refuses_backward_to = (0, 1)
    untraceable = "it is for training"

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        scores, labels = (bottom.detach() for bottom in bottoms)
        blank = self.param.labelsequence_accuracy_param.blank_label
        path = scores.argmax(2)
        before = F.pad(path[:, :-1], (1, 0), value=blank)
        said = _packed(path, (path != before) & (path != blank))
        rows = labels.reshape(scores.shape[0], -1).long()
        wanted = _packed(rows, rows != blank)
        size = max(said.shape[1], wanted.shape[1])
        said, wanted = (F.pad(s, (0, size - s.shape[1]), value=-1) for s in (said, wanted))
        return [(said == wanted).all(1).to(scores.dtype).mean()]


def _packed(rows: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """The values of each row that are kept, in front, and -1 behind."""
    order = (~kept).to(torch.uint8).argsort(dim=1, stable=True)
    return torch.where(kept, rows, -1).gather(1, order)
