"""Softmax, the losses and Accuracy.

Several of Caffe's losses have a gradient that is not the derivative of the value they print: the
logarithm is cut off, or a distance is padded. Here they compute both (`_with_gradient`).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from netgen import graph, schema
from netgen.schema import caffe_pb
from runner.layers.base import Layer, Tensors, refuse_outside
from runner.layers.gradient import custom_gradient
from runner.layers.in_place import Rereading
from runner.log import glog

FLT_MIN = torch.finfo(torch.float32).tiny
LOG_THRESHOLD = 1e-20
LossParameter = caffe_pb.LossParameter


def _with_gradient(value, *pairs):
    """The scalar `value`, with the gradients that are given, in pairs of (tensor, gradient)."""
    return custom_gradient(
        value, [x for x, _ in pairs], lambda upstream: [upstream * g for _, g in pairs]
    )


class Loss(Layer):
    """A layer whose first top enters the objective, and whose second bottom holds labels."""

    is_loss = True
    no_force_backward = (1,)
    refuses_backward_to = (1,)


class Softmax(Rereading, type="Softmax"):
    """exp(x) / sum(exp(x)) along `axis`."""

    reads_bottom, reads_top = False, True

    def _axis(self, x: torch.Tensor) -> int:
        return self.shapes_of(x).axis

    def gradient(self, x: torch.Tensor, y: torch.Tensor, upstream: torch.Tensor) -> torch.Tensor:
        return (upstream - (upstream * y).sum(self._axis(y), keepdim=True)) * y

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x, self._axis(x))


def normalization_mode(loss_param: LossParameter, default: int) -> int:
    """The normalization that a LossParameter asks for, perhaps by the older field `normalize`."""
    if not loss_param.HasField("normalization") and loss_param.HasField("normalize"):
        return LossParameter.VALID if loss_param.normalize else LossParameter.BATCH_SIZE
    return loss_param.normalization if loss_param.HasField("normalization") else default


def normalizer(
    mode: int, full: int, batch: int, valid: torch.Tensor, fixed: float = 1
) -> float | torch.Tensor:
    """What a summed loss is divided by, at least 1.

    mode: a LossParameter.NormalizationMode. full, batch, valid: the number of predictions, of
    records and of predictions that are not ignored; the last is a tensor, as reading it would
    mean waiting for the device. fixed: the pre_fixed_normalizer of forks.
    """
    if mode == LossParameter.VALID:
        return valid.clamp(min=1)
    numbers = {
        LossParameter.FULL: full,
        LossParameter.BATCH_SIZE: batch,
        LossParameter.PRE_FIXED: fixed,
    }
    return max(1, numbers.get(mode, 1))


class LabelledScores:
    """Scores and labels laid out as (outer, classes, inner) and (outer, 1, inner).

    layer: the one that messages name. axis: that of the classes, counted from 0. ignore: the
    label whose places get label 0 and
    `valid` 0, or None. Raises NetError for a label that is no class (on the CPU, where looking
    costs nothing).
    """

    def __init__(
        self,
        layer: Layer,
        scores: torch.Tensor,
        labels: torch.Tensor,
        axis: int,
        ignore: int | None,
    ) -> None:
        outer, classes = scores.shape[:axis].numel(), scores.shape[axis]
        self.scores = scores.detach().reshape(outer, classes, -1)
        self.labels = labels.detach().to(torch.int64).reshape(outer, 1, -1)
        if ignore is None:
            self.valid = torch.ones_like(self.labels, dtype=self.scores.dtype)
        else:
            self.valid = (self.labels != ignore).to(self.scores.dtype)
            self.labels = torch.where(self.labels == ignore, 0, self.labels)
        refuse_outside(
            self.labels,
            classes,
            lambda value: (
                f"layer '{layer.name}': label {value} of blob '{layer.param.bottom[1]}' is "
                f"outside the {classes} classes of '{layer.param.bottom[0]}'"
            ),
        )

    def normalizer(self, mode: int, fixed: float = 1) -> float | torch.Tensor:
        """What the sum of the losses of all labels is divided by."""
        outer, _, inner = self.labels.shape
        return normalizer(mode, outer * inner, outer, self.valid.sum(), fixed)


class SoftmaxWithLoss(Loss, type="SoftmaxWithLoss"):
    """-log softmax(x)[label], cut off at -log(FLT_MIN); gradient p - 1[label].

    A second top holds the probabilities; no gradient flows through it, as in Caffe. With SegNet's
    weight_by_label_freqs, loss and gradient of a place are multiplied by the class_weighting of
    its label, which does not enter the normalization (caffe-segnet softmax_loss_layer.cpp).
    """

    def holds_a_layer(self) -> bool:
        return True  # a Softmax

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        shapes, p = super().setup(bottoms), self.param.loss_param
        self.weights = None
        if p.weight_by_label_freqs:
            self.weights = torch.tensor(list(p.class_weighting), device=self.context.device)
        return shapes

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        scores, labels = bottoms
        p = self.param.loss_param
        ignore = p.ignore_label if p.HasField("ignore_label") else None
        at = LabelledScores(self, scores, labels, self.shapes_of(*bottoms).axis, ignore)
        mode = normalization_mode(p, LossParameter.VALID)
        with torch.no_grad():
            probabilities = torch.softmax(at.scores, 1)
            count = at.normalizer(mode, p.pre_fixed_normalizer)
            counts = at.valid
            if self.weights is not None:
                counts = counts * self.weights.to(counts.dtype)[at.labels]
            of_label = probabilities.gather(1, at.labels).clamp(min=FLT_MIN)
            value = -(of_label.log() * counts).sum() / count
        top = value
        if scores.requires_grad:
            with torch.no_grad():
                gradient = probabilities.scatter_add(1, at.labels, -torch.ones_like(of_label))
                gradient = (gradient * (counts / count)).reshape(scores.shape)
            top = _with_gradient(value, (scores, gradient))
        return [top, probabilities.reshape(scores.shape)][: len(self.param.top) or 1]


class InfogainLoss(Loss, type="InfogainLoss"):
    """-sum_l H[label, l] log p_l; H from `source` or from bottom[2]."""

    refuses_backward_to = (1, 2)
    no_force_backward = (1, 2)

    def holds_a_layer(self) -> bool:
        return True  # a Softmax

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        shapes = super().setup(bottoms)
        p = self.param.infogain_loss_param
        if len(bottoms) < 3:
            matrix = schema.blob_to_array(schema.read_blob(p.source))
            classes = bottoms[0][shapes.axis]
            if matrix.size != classes**2:
                raise graph.NetError(
                    f"layer '{self.name}': H must be {classes}x{classes}, "
                    f"{p.source} has {matrix.size} values"
                )
            self.matrix = torch.from_numpy(matrix).to(self.context.device)
        return shapes

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        scores, labels, *given = bottoms
        p = self.param.loss_param
        ignore = p.ignore_label if p.HasField("ignore_label") else None
        at = LabelledScores(self, scores, labels, self.shapes_of(*bottoms).axis, ignore)
        with torch.no_grad():
            classes = at.scores.shape[1]
            matrix = (given[0] if given else self.matrix).reshape(classes, classes)
            rows = matrix[at.labels[:, 0]].movedim(-1, 1)
            probabilities = torch.softmax(at.scores, 1)
            count = at.normalizer(normalization_mode(p, LossParameter.VALID))
            logs = probabilities.clamp(min=LOG_THRESHOLD).log()
            value = -(rows * logs * at.valid).sum() / count
            gradient = probabilities * rows.sum(1, keepdim=True) - rows
            gradient = (gradient * (at.valid / count)).reshape(scores.shape)
        top = _with_gradient(value, (scores, gradient))
        return [top, probabilities.reshape(scores.shape)][: len(self.param.top) or 1]


class MultinomialLogisticLoss(Loss, type="MultinomialLogisticLoss"):
    """-log of the probability that bottom[0] gives the label, averaged over the batch."""

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        given, labels = bottoms
        batch = given.shape[0]
        at = LabelledScores(self, given.reshape(batch, -1), labels, 1, None)
        with torch.no_grad():
            of_label = at.scores.gather(1, at.labels).clamp(min=LOG_THRESHOLD)
            gradient = torch.zeros_like(at.scores).scatter_(1, at.labels, -1 / of_label / batch)
            value = -of_label.log().sum() / batch
        return [_with_gradient(value, (given, gradient.reshape(given.shape)))]


class EuclideanLoss(Loss, type="EuclideanLoss"):
    """Sum of squared differences over twice the batch size; both bottoms get gradients."""

    no_force_backward = ()
    refuses_backward_to = ()

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x, y = bottoms
        return [(x - y.reshape(x.shape)).square().sum() / (2 * x.shape[0])]


class HingeLoss(Loss, type="HingeLoss"):
    """One-vs-all hinge loss, L1 or squared (L2), over the batch size."""

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x = bottoms[0].reshape(bottoms[0].shape[0], -1)
        labels = LabelledScores(self, x, bottoms[1], 1, None).labels[:, 0]
        sign = torch.ones_like(x).scatter_(1, labels, -1.0)
        margin = torch.relu(1 + sign * x)
        if self.param.hinge_loss_param.norm == caffe_pb.HingeLossParameter.L2:
            margin = margin.square()
        return [margin.sum() / x.shape[0]]


class SigmoidCrossEntropyLoss(Loss, type="SigmoidCrossEntropyLoss"):
    """Cross entropy of sigmoid(x) with targets in [0, 1], by default over the batch size."""

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x, p = bottoms[0], self.param.loss_param
        target = bottoms[1].detach().reshape(x.shape)
        loss = F.binary_cross_entropy_with_logits(x, target, reduction="none")
        valid = x.new_full((), x.numel())
        if p.HasField("ignore_label"):
            counts = target.to(torch.int64) != p.ignore_label
            loss, valid = loss * counts, counts.sum()
        mode = normalization_mode(p, LossParameter.BATCH_SIZE)
        return [loss.sum() / normalizer(mode, x.numel(), x.shape[0], valid)]


class ContrastiveLoss(Loss, type="ContrastiveLoss"):
    """Similar pairs pull, others push apart up to `margin` (Hadsell et al. 2006); over 2 N.

    Like Caffe, the distance in the gradient's denominator is padded by 1e-4.
    """

    no_force_backward = (2,)
    refuses_backward_to = (2,)

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        a, b, similar = bottoms
        p, batch = self.param.contrastive_loss_param, a.shape[0]
        with torch.no_grad():
            difference = (a - b.reshape(a.shape)).reshape(batch, -1)
            same = similar.reshape(batch, 1).to(torch.int64) != 0
            square = difference.square().sum(1, keepdim=True)
            distance = square.sqrt()
            if p.legacy_version:
                gap = (p.margin - square).clamp(min=0)
                push, slope = gap, (gap > 0).to(a.dtype)
            else:
                gap = (p.margin - distance).clamp(min=0)
                push, slope = gap.square(), gap / (distance + 1e-4)
            value = torch.where(same, square, push).sum() / (2 * batch)
            gradient = torch.where(same, difference, -slope * difference) / batch
            gradient = gradient.reshape(a.shape)
        return [_with_gradient(value, (a, gradient), (b, -gradient.reshape(b.shape)))]


class Accuracy(Layer, type="Accuracy"):
    """The share of labels that are among the top_k scores, where a tie counts as a miss.

    A second top has that of each class. A label that is no class is never right: SegNet's nets
    count so the pixels that their loss ignores (BVLC Caffe reads what lies beyond the scores).
    """

    no_force_backward = (0, 1)
    refuses_backward_to = (0, 1)
    untraceable = "it is for training"
    _warned = False

    def _warn(self, stray: torch.Tensor, labels: torch.Tensor, classes: int) -> None:
        if self._warned or labels.device.type != "cpu" or not stray.any():
            return  # looking there would mean waiting for the device
        self._warned = True
        glog.warning(
            f"layer '{self.name}': label {int(labels[stray][0])} of blob '{self.param.bottom[1]}' "
            f"is outside the {classes} classes of '{self.param.bottom[0]}' and counts as a miss; "
            "accuracy_param { ignore_label } leaves it out",
            "accuracy_layer.cpp:74",
        )

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        p = self.param.accuracy_param
        ignore = p.ignore_label if p.HasField("ignore_label") else None
        scores, labels = bottoms
        axis = self.shapes_of(*bottoms).axis
        stray = (labels < 0) | (labels >= scores.shape[axis])
        if ignore is not None:
            stray &= labels != ignore
        self._warn(stray, labels, scores.shape[axis])
        at = LabelledScores(self, scores, torch.where(stray, 0, labels), axis, ignore)
        with torch.no_grad():
            known = at.valid * ~stray.reshape(at.valid.shape)
            not_worse = (at.scores >= at.scores.gather(1, at.labels)).sum(1, keepdim=True)
            right = (not_worse <= p.top_k) * known
            tops = [right.sum() / at.valid.sum().clamp(min=1)]
            if len(self.param.top) > 1:
                classes = at.scores.shape[1]
                where = at.labels.reshape(-1)
                per_class = [
                    torch.zeros(classes, device=where.device).index_add_(0, where, v.reshape(-1))
                    for v in (right, known)
                ]
                tops.append(per_class[0] / per_class[1].clamp(min=1))
        return tops
