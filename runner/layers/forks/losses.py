"""SmoothL1Loss, L1Loss, DiceCoefLoss, CenterLoss, and the losses that mine hard examples (OHEM)."""

import torch

from netgen.schema import caffe_pb
from runner.layers.base import Layer, Tensors, refuse_outside
from runner.layers.gradient import custom_gradient
from runner.layers.loss import FLT_MIN, LabelledScores, Loss, normalization_mode, normalizer

LossParameter = caffe_pb.LossParameter


def _smooth_l1(x: torch.Tensor, sigma: float = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """0.5 (sigma x)^2 where |x| < 1 / sigma^2, |x| - 0.5 / sigma^2 elsewhere; the derivative."""
    square = sigma**2
    near = x.abs() < 1 / square
    values = torch.where(near, 0.5 * square * x * x, x.abs() - 0.5 / square)
    return values, torch.where(near, square * x, x.sign())


class SmoothL1Loss(Layer, type="SmoothL1Loss"):
    """The smooth L1 distance of two bottoms over the batch size (Fast R-CNN, Girshick 2015).

    Weights inside multiply the difference, weights outside its loss. A third bottom alone, in
    SSD and in the first Fast R-CNN, holds weights inside; the gradient then leaves them out but
    in the derivative's argument.
    """

    is_loss = True
    no_force_backward = (2, 3)

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x, target, *weights = bottoms
        with torch.no_grad():
            weights = [weight.reshape(x.shape) for weight in weights]
            difference = x - target.reshape(x.shape)
            if weights:
                difference = weights[0] * difference
            values, gradient = _smooth_l1(difference, self.param.smooth_l1_loss_param.sigma)
            if len(weights) == 2:
                values, gradient = values * weights[1], gradient * weights[0] * weights[1]
            gradient = gradient / x.shape[0]
            value = values.sum() / x.shape[0]

        def backward(upstream):
            return upstream * gradient, (-upstream * gradient).reshape(target.shape)

        return [custom_gradient(value, [x, target], backward)]


class L1Loss(Layer, type=("L1Loss", "AbsLoss")):
    """The L1 distance of two bottoms over the batch size (DetectNet of NVIDIA's fork).

    Others call it AbsLoss, as in light field synthesis.
    """

    is_loss = True

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x, target = bottoms
        return [(x - target.reshape(x.shape)).abs().sum() / x.shape[0]]


class DiceCoefLoss(Layer, type="DiceCoefLoss"):
    """1 - (2 x y + 1) / (x x + y y + 1), the mean over the records (Milletari et al. 2016, V-Net).

    The 1 in both is that of HolmesShuan's Caffe layer, which keeps empty masks from 0 / 0.
    """

    is_loss = True

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x, y = (bottom.reshape(bottom.shape[0], -1) for bottom in bottoms)
        common, size = (x * y).sum(1), x.square().sum(1) + y.square().sum(1)
        ratio = (2 * common + 1) / (size + 1)
        return [1 - ratio.abs().mean().reshape(())]


class SmoothL1LossOHEM(Layer, type="SmoothL1LossOHEM"):
    """SmoothL1Loss of two or three bottoms, over what loss_param says (R-FCN, Dai et al. 2016).

    A second top has the loss of each place, summed over the channels, for BoxAnnotatorOHEM.
    """

    is_loss = True
    no_force_backward = (2,)

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        (x, target, *weights), p = bottoms, self.param.loss_param
        with torch.no_grad():
            difference = x - target.reshape(x.shape)
            if weights:
                difference = weights[0].reshape(x.shape) * difference
            values, gradient = _smooth_l1(difference)
            places = x[:, :1].numel()
            count = normalizer(
                normalization_mode(p, LossParameter.VALID),
                places,
                x.shape[0],
                x.new_full((), places),
                p.pre_fixed_normalizer,
            )
            each = values.sum(1).reshape(x.shape[0], 1, *(*x.shape[2:], 1, 1)[:2])

        def backward(upstream):
            of_x = upstream * gradient / count
            return of_x, -of_x.reshape(target.shape)

        top = custom_gradient(values.sum() / count, [x, target], backward)
        return [top, each][: len(self.param.top) or 1]


class SoftmaxWithLossOHEM(Loss, type="SoftmaxWithLossOHEM"):
    """SoftmaxWithLoss whose third top has the loss of each label (R-FCN, Dai et al. 2016)."""

    def holds_a_layer(self) -> bool:
        return True  # a Softmax

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        (scores, labels), p = bottoms, self.param.loss_param
        ignore = p.ignore_label if p.HasField("ignore_label") else None
        at = LabelledScores(self, scores, labels, self.shapes_of(*bottoms).axis, ignore)
        with torch.no_grad():
            probabilities = torch.softmax(at.scores, 1)
            of_label = probabilities.gather(1, at.labels).clamp(min=FLT_MIN)
            each = -of_label.log() * at.valid
            mode = normalization_mode(p, LossParameter.VALID)
            count = at.normalizer(mode, p.pre_fixed_normalizer)
            gradient = probabilities.scatter_add(1, at.labels, -torch.ones_like(of_label))
            gradient = (gradient * (at.valid / count)).reshape(scores.shape)
        top = custom_gradient(each.sum() / count, [scores], lambda upstream: [upstream * gradient])
        tops = [top, probabilities.reshape(scores.shape), each.reshape(labels.shape)]
        return tops[: len(self.param.top) or 1]


class CenterLoss(Loss, type="CenterLoss"):
    """Half the squared distance to the centre of the class, over the batch (Wen et al. 2016).

    The blob holds the centres. Its gradient is the paper's step: the sum of the distances of a
    class over one more than its records in the batch, whatever the loss weighs.
    """

    def fillers(self) -> list[caffe_pb.FillerParameter]:
        return [self.param.center_loss_param.center_filler]

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        (x, labels), (centers,) = bottoms, blobs
        batch, classes = x.shape[0], centers.shape[0]
        with torch.no_grad():
            index = labels.reshape(-1).long()
            refuse_outside(
                index,
                classes,
                lambda value: (
                    f"layer '{self.name}': label {value} is outside the {classes} classes of "
                    "num_output"
                ),
            )
            distance = x.reshape(batch, -1) - centers[index]
            value = distance.square().sum() / batch / 2

        def backward(upstream):
            records = torch.bincount(index, minlength=classes).to(distance.dtype)
            sums = torch.zeros_like(centers).index_add_(0, index, distance)
            step = -sums / (records[:, None] + 1)
            return (upstream * distance / batch).reshape(x.shape), step

        return [custom_gradient(value, [x, centers], backward)]
