"""LabelSpecificAdd, LiftedStructSimilaritySoftmaxLoss, MarginInnerProduct: learning distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from netgen.schema import caffe_pb
from runner.layers.base import Context, Layer, Tensors, refuse_outside
from runner.layers.gradient import custom_gradient

Margin = caffe_pb.MarginInnerProductParameter

#: log of "no negative at all", far below every distance and finite, so that gradients are 0.
_NONE = -1e30


class LabelSpecificAdd(Layer, type="LabelSpecificAdd"):
    """Scores, the label's with a bias added (AM-Softmax, Wang et al. 2018: minus the margin).

    A score of -bias or less stays. In phase TEST nothing is added, whatever transform_test says,
    as in the authors' Caffe. With bias_base the bias changes with each forward.
    """

    no_force_backward = (1,)
    refuses_backward_to = (1,)
    untraceable = "it is for training"

    def __init__(self, param: caffe_pb.LayerParameter, context: Context) -> None:
        super().__init__(param, context)
        p = param.label_specific_add_param
        self._iteration, self._bias = p.iteration, p.bias
        self._anneals = p.HasField("bias_base")
        self.replayable = not self._anneals

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        scores, labels = bottoms
        p = self.param.label_specific_add_param
        tops: Tensors = [scores.clone(), scores.new_zeros(1)]
        if self.phase == caffe_pb.TRAIN:
            if self._anneals:
                grown = p.bias_base + (1 + p.bias_gamma * self._iteration) ** p.bias_power - 1
                self._bias = min(max(grown, p.bias_min), p.bias_max)
                self._iteration += 1
            rows = scores.reshape(scores.shape[0], -1)
            index = labels.detach().reshape(-1, 1).long()
            refuse_outside(
                index,
                rows.shape[1],
                lambda value: (
                    f"layer '{self.name}': label {value} is outside the {rows.shape[1]} scores"
                ),
            )
            added = self._bias * (rows.detach().gather(1, index) > -self._bias)
            tops[0] = rows.scatter_add(1, index, added.to(rows.dtype)).reshape(scores.shape)
            tops[1] = scores.new_full((1,), self._bias)
        return tops[: len(self.param.top)]

    def state(self) -> dict[str, int] | None:
        return {"iteration": self._iteration} if self._anneals else None

    def load_state(self, state: Any) -> None:
        self._iteration = state["iteration"]


class LiftedStructSimilaritySoftmaxLoss(Layer, type="LiftedStructSimilaritySoftmaxLoss"):
    """Every pair of a class against all negatives of both (Song et al. 2016, equations 4 and 5).

    J of a pair i, j is log(sum exp(margin - D_ik) + sum exp(margin - D_jl)) + D_ij over the
    negatives k of i and l of j, D being Euclidean; the loss is the sum of max(0, J)^2 over twice
    the number of pairs. Without a pair it is 0 / 0, as in the authors' Caffe.
    """

    is_loss = True
    no_force_backward = (1,)
    refuses_backward_to = (1,)

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        margin = self.param.lifted_struct_sim_softmax_loss_param.margin
        x, labels = bottoms[0].reshape(bottoms[0].shape[0], -1), bottoms[1].reshape(-1)
        same = labels[:, None] == labels
        pairs = torch.triu(same, 1)
        squares = (x[:, None] - x).square().sum(2)
        itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
        distances = squares.masked_fill(itself, 1).sqrt()  # no pair and no negative is on it
        negatives = torch.logsumexp((margin - distances).masked_fill(same, _NONE), 1)
        hinges = torch.logaddexp(negatives[:, None], negatives) + distances
        hinges = hinges.clamp(min=0).masked_fill(~pairs, 0)
        return [hinges.square().sum() / pairs.sum() / 2]


class MarginInnerProduct(Layer, type="MarginInnerProduct"):
    """Scores |x| cos(angle) of unit weights, the label's with m times the angle (SphereFace).

    Liu et al. 2017, arXiv 1704.08063, equation 7: the label's score is |x| psi(angle), where psi
    goes on falling, and is then averaged with the plain one, which weighs lambda to 1. As in
    the authors' Caffe every forward scales the rows of the blob to 1 in place; their gradient
    is that of the plain product; that of x is their direction, of unit length as far as psi's
    two parts go, and not the derivative.
    """

    no_force_backward = (1,)
    refuses_backward_to = (1,)
    replayable = False  # lambda is another one each time
    untraceable = "it is for training"

    def __init__(self, param: caffe_pb.LayerParameter, context: Context) -> None:
        super().__init__(param, context)
        self._iteration = param.margin_inner_product_param.iteration

    def fillers(self) -> list[caffe_pb.FillerParameter]:
        return [self.param.margin_inner_product_param.weight_filler]

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        p, axis = self.param.margin_inner_product_param, self.shapes_of(*bottoms).axis
        self._iteration += 1
        weight_of_plain = max(p.base * (1 + p.gamma * self._iteration) ** -p.power, p.lambda_min)
        with torch.no_grad():
            blobs[0].div_(blobs[0].norm(dim=1, keepdim=True))
            weights = blobs[0].detach().clone()
            x = bottoms[0].detach().flatten(axis)
            shape = (*x.shape[:axis], len(weights))
            x = x.reshape(-1, x.shape[-1])
            labels = bottoms[1].reshape(-1).long()
            refuse_outside(
                labels,
                len(weights),
                lambda value: (
                    f"layer '{self.name}': label {value} is outside the {len(weights)} classes of "
                    "num_output"
                ),
            )
            plain = x @ weights.T
            margin = p.type != Margin.SINGLE
            share = 1 / (1 + weight_of_plain) if margin else 1.0
            scores, of_label = plain.clone(), labels[:, None]
            if margin:
                norms = x.norm(dim=1, keepdim=True)
                cosine = plain.gather(1, of_label) / norms
                psi, along_weight, along_x = _PSI[p.type](cosine)
                moved = (norms * psi + weight_of_plain * plain.gather(1, of_label)) * share
                scores.scatter_(1, of_label, moved)

        def backward(upstream: torch.Tensor) -> list[torch.Tensor | None]:
            top = upstream.reshape(scores.shape)
            gradient = top @ weights
            if margin:
                own = share * top.gather(1, of_label)
                to_x = -along_x / norms
                length = torch.hypot(along_weight, to_x)
                gradient += own * (along_weight / length - 1) * weights[labels]
                gradient += own * (to_x / length) * x
            return [gradient.reshape(bottoms[0].shape), top.T @ x]

        top = custom_gradient(scores.reshape(shape), [bottoms[0], blobs[0]], backward)
        return [top, scores.new_full((1,), weight_of_plain)][: len(self.param.top)]

    def state(self) -> dict[str, int]:
        return {"iteration": self._iteration}

    def load_state(self, state: Any) -> None:
        self._iteration = state["iteration"]


def _double(c: torch.Tensor) -> Sequence[torch.Tensor]:
    """psi of twice the angle, and its gradient's parts along the weight and, less |x|, along x."""
    sign = c.sign()
    return 2 * sign * c**2 - 1, 4 * sign * c, 2 * sign * c**2 + 1


def _triple(c: torch.Tensor) -> Sequence[torch.Tensor]:
    outer = (c.abs() - 0.5).sign()
    down = c.sign() * (1 + outer) - 2
    return (
        outer * (4 * c**3 - 3 * c) + down,
        outer * (12 * c**2 - 3),
        8 * outer * c**3 - down,
    )


def _quadruple(c: torch.Tensor) -> Sequence[torch.Tensor]:
    sign = c.sign() * (2 * c**2 - 1).sign()
    down = 2 * c.sign() + sign - 3
    return (
        sign * (8 * c**4 - 8 * c**2 + 1) + down,
        sign * (32 * c**3 - 16 * c),
        sign * (24 * c**4 - 8 * c**2 - 1) - down,
    )


_PSI = {Margin.DOUBLE: _double, Margin.TRIPLE: _triple, Margin.QUADRUPLE: _quadruple}
