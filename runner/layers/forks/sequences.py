"""Lstm, ContinuationIndicator, CTC losses and decoders: sequences and their labels."""

import itertools
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
    of each gate's input, at each step, before it goes on to the step before. Without batch_size
    a bottom of three axes has steps and streams on axes of their own, as in caffe_ocr.
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
        apart = len(self.shapes_of(*bottoms).tops[0]) == 3
        streams, limit = x.shape[1] if apart else p.batch_size, p.clipping_threshold
        inputs = F.linear(x.flatten(2 if apart else 1), of_input, bias)
        if not apart:
            inputs = inputs.unflatten(0, (-1, streams))
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
        return [torch.stack(tops) if apart else torch.cat(tops)]

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
        rows = labels.detach().reshape(batch, -1).long()
        if not (rows != p.blank_label).any():
            raise graph.NetError(f"layer '{self.name}': total length should be greater than 0.")
        value, gradient = _ctc(self, scores[: p.time_step], rows, p.blank_label)
        if gradient is None:
            return [value]
        gradient = F.pad(gradient, (0, 0, 0, 0, 0, scores.shape[0] - p.time_step))
        return [custom_gradient(value, [scores], lambda upstream: [upstream * gradient])]


class WarpCTCLoss(Loss, type="WarpCTCLoss"):
    """The same with all steps, of caffe_ocr, a fork for reading text.

    Its gradient is that of the sum, whatever the loss weight.
    """

    replayable = False

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        scores, labels = bottoms
        rows = labels.detach().reshape(scores.shape[1], -1).long()
        value, gradient = _ctc(self, scores.flatten(2), rows, self.param.ctc_loss_param.blank_index)
        if gradient is None:
            return [value]
        gradient = gradient.reshape(scores.shape)
        return [custom_gradient(value, [scores], lambda upstream: [gradient])]


def _ctc(
    layer: Layer, scores: torch.Tensor, rows: torch.Tensor, blank: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The mean of the losses, and the gradient of their sum if the scores need one.

    scores: (T, N, C). rows: (N, L), the labels, of which blanks do not count. Raises NetError
    for a label that has no score.
    """
    (steps, batch, letters), x = scores.shape, scores.detach().requires_grad_(scores.requires_grad)
    low, high = (int(v) for v in torch.aminmax(rows))
    if low < 0 or high >= letters:
        raise graph.NetError(
            f"layer '{layer.name}': label {low if low < 0 else high} is outside the alphabet "
            f"of {letters}"
        )
    said = rows != blank
    with torch.enable_grad():
        each = F.ctc_loss(
            x.log_softmax(2),
            rows[said],
            torch.full((batch,), steps),
            said.sum(1).cpu(),
            blank,
            reduction="none",
            zero_infinity=True,
        )
    value = each.detach().sum() / batch
    if not scores.requires_grad:
        return value, None
    return value, torch.autograd.grad(each.sum(), x)[0]


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


class CTCGreedyDecoder(Layer, type="CTCGreedyDecoder"):
    """What the best path of each sequence says, -1 behind it (caffe_ocr, a fork for reading text).

    The best path takes the highest score of each step, the first of equal ones; repetitions
    become one label, unless ctc_merge_repeated is false, and blanks none. With labels the top
    is 1 - the mean edit distance, over the longer of both sequences, and the share of sequences
    that are right. A label below 0 ends the labels; where nothing is said and nothing is wanted
    counts as wrong in the share.
    """

    no_force_backward = (0, 1)
    refuses_backward_to = (0, 1)
    replayable = False  # edit distances are found on the host
    untraceable = "it reads what the scores say on the host"

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        p, scores = self.param.ctc_decoder_param, bottoms[0].detach()
        scores = scores.reshape(scores.shape[:3])
        blank = p.blank_index if p.blank_index >= 0 else scores.shape[2] - 1
        path = scores.argmax(2).T
        kept = path != blank
        if p.ctc_merge_repeated:
            kept[:, 1:] &= path[:, 1:] != path[:, :-1]
        said = _packed(path, kept)
        if len(bottoms) == 1:
            return [said.to(scores.dtype).reshape(self.shapes_of(*bottoms).tops[0])]
        distance, right = 0.0, 0
        labels = bottoms[1].detach().reshape(len(said), -1)
        for found, row in zip(said.tolist(), labels.tolist(), strict=True):
            found = [c for c in found if c >= 0]
            ended = itertools.takewhile(lambda c: c >= 0, row)
            wanted = [label for c in ended if (label := int(c + 0.5)) != blank]
            if found or wanted:
                edits = _edit_distance(wanted, found)
                distance += edits / max(len(found), len(wanted))
                right += not edits
        top = scores.new_tensor([1 - distance / len(said), right / len(said)])
        return [top.reshape(1, 2, 1, 1)]


def _edit_distance(one: Sequence[int], other: Sequence[int]) -> int:
    """How many labels must be added, left out or changed (Levenshtein 1966)."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def _packed(rows: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """The values of each row that are kept, in front, and -1 behind."""
    order = (~kept).to(torch.uint8).argsort(dim=1, stable=True)
    return torch.where(kept, rows, -1).gather(1, order)
