"""MultiBoxLoss (multibox_loss_layer.cpp of weiliu89/caffe, branch ssd; Liu et al. 2016, 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from netgen import graph
from netgen.schema import caffe_pb
from runner.data import boxes
from runner.layers.base import Layer, Tensors
from runner.layers.gradient import custom_gradient
from runner.layers.loss import FLT_MIN, normalization_mode, normalizer

Param = caffe_pb.MultiBoxLossParameter
#: What takes the place of a box's number.
UNMATCHED, IGNORED = -1, -2
#: Smaller boxes are left out when hard examples are suppressed.
SMALLEST_AREA = 1e-5


@dataclass(frozen=True)
class Truth:
    """The ground truth of one image: boxes (n, 4) and their labels, (n,) int64."""

    boxes: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Chosen:
    """The priors of one image that enter the loss; each field is (n,) int64.

    prior, place, box: the priors that are matched, the location class that each of them predicts
    with, and the number of the ground truth box that it is to predict. negative: the priors that
    are to predict background.
    """

    prior: torch.Tensor
    place: torch.Tensor
    box: torch.Tensor
    negative: torch.Tensor


class MultiBoxLoss(Layer, type="MultiBoxLoss"):
    """Localization loss of the matched priors plus confidence loss, over a normalizer.

    Bottoms: locations (N, priors x classes x 4, or x 4 if these are shared), confidences
    (N, priors x classes), priors (1, 2, priors x 4), ground truth (1, 1, boxes, 8) of rows of
    item, label, instance, xmin, ymin, xmax, ymax and difficult. VALID, the default, normalizes by
    the number of matched priors.

    Where priors are mined (mining_type), only the chosen ones have a confidence loss; else all of
    them have. In three places Caffe is not followed: its forward without a backward leaves the
    matches of the last batch for the next; with conf_loss_type LOGISTIC and without mining it
    writes the labels of all images but the first to wrong places; and with LOGISTIC a
    background_label_id over 0 is the target of every class of a matched prior.
    """

    is_loss = True
    no_force_backward = (2, 3)
    refuses_backward_to = (2, 3)
    replayable = False  # how many priors are matched has to be known on the host

    def holds_a_layer(self) -> bool:
        return True  # one for the locations; the other one, for the confidences, goes unsaid

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        self.p = self.param.multibox_loss_param
        self.mines = self.p.mining_type != Param.NONE
        return super().setup(bottoms)

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        location, confidence, priors, rows = bottoms
        p, count = self.p, priors.shape[2] // 4
        batch = len(location)
        location = location.reshape(batch, count, -1, 4)
        confidence = confidence.reshape(batch, count, p.num_classes)
        with torch.no_grad():
            prior, variance = priors.reshape(2, count, 4).unbind()
            truths = self._truths(rows.reshape(-1, 8), batch)
            images = [
                (i, truth, self._choose(prior, variance, location[i], confidence[i], truth))
                for i, truth in enumerate(truths)
                if truth is not None
            ]
            matched = sum(len(chosen.prior) for _, _, chosen in images)
            valid = torch.tensor(float(matched), device=location.device)
            by = normalizer(self._mode(), batch * count, batch, valid)
        wanted = list(self.param.propagate_down) or [True, True]
        total = location.new_zeros(())
        if wanted[0] and matched:
            total = total + p.loc_weight * self._location_loss(location, prior, variance, images)
        if wanted[1]:
            total = total + self._confidence_loss(confidence, images)
        return [total / by]

    def _mode(self) -> int:
        return normalization_mode(self.param.loss_param, caffe_pb.LossParameter.VALID)

    # --- ground truth ---

    def _truths(self, rows: torch.Tensor, batch: int) -> list[Truth | None]:
        """The ground truth of each image, None for those without any; rows: (boxes, 8)."""
        p, table = self.p, rows.double().cpu().numpy()
        keep = table[:, 0] >= 0
        labels = table[:, 1].astype(int)
        if not p.use_difficult_gt:
            keep &= table[:, 7] == 0
        for label in set(labels[keep].tolist()):
            if label == p.background_label_id:
                raise self._error("Found background label in the dataset.")
            if not 0 <= label < p.num_classes:
                raise self._error(
                    f"label {label} of blob '{self.param.bottom[3]}' is outside the "
                    f"{p.num_classes} classes"
                )
        items = torch.from_numpy(table[:, 0].astype(int))
        found: list[Truth | None] = []
        for i in range(batch):
            own = ((items == i) & torch.from_numpy(keep)).nonzero()[:, 0].to(rows.device)
            one = rows[own]
            found.append(Truth(one[:, 3:7], one[:, 1].long()) if len(own) else None)
        return found

    def _error(self, message: str) -> graph.NetError:
        return graph.NetError(f"layer '{self.name}': {message}")

    # --- which priors ---

    def _choose(
        self,
        prior: torch.Tensor,
        variance: torch.Tensor,
        location: torch.Tensor,
        confidence: torch.Tensor,
        truth: Truth,
    ) -> Chosen:
        """Match the priors of an image with its ground truth, and mine them."""
        matches, overlaps = self._match(prior, variance, location, truth)
        negative = matches.new_zeros(0)
        if self.mines:  # all classes share their locations
            losses = self._losses(matches[0], prior, variance, location, confidence, truth)
            eligible = torch.ones_like(matches[0], dtype=torch.bool)
            wanted = self.p.sample_size
            if self.p.mining_type == Param.MAX_NEGATIVE:
                eligible = (matches[0] == UNMATCHED) & (overlaps < self.p.neg_overlap)
                positive = int((matches[0] >= 0).sum())
                wanted = int(np.float32(positive) * np.float32(self.p.neg_pos_ratio))
            order = self._hardest(losses, eligible, prior, variance, location)
            selected = torch.zeros_like(eligible)
            selected[order[:wanted]] = True
            negative = (selected & (matches[0] == UNMATCHED)).nonzero()[:, 0]
            if self.p.mining_type == Param.HARD_EXAMPLE:
                matches = torch.where(selected[None], matches, UNMATCHED)
        return self._chosen(matches, negative)

    @staticmethod
    def _chosen(matches: torch.Tensor, negative: torch.Tensor) -> Chosen:
        place, priors = (matches >= 0).nonzero(as_tuple=True)
        return Chosen(priors, place, matches[place, priors], negative)

    def _match(
        self, prior: torch.Tensor, variance: torch.Tensor, location: torch.Tensor, truth: Truth
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The number of the box that each prior is matched with, for each location class.

        Returns (location classes, priors) int64, UNMATCHED or IGNORED for none, and the largest
        overlap of each prior with any box.
        """
        p = self.p
        threshold = p.overlap_threshold if p.match_type == Param.PER_PREDICTION else None
        places = location.shape[1]
        if p.use_prior_for_matching:
            matches, overlaps = self._match_boxes(prior, truth.boxes, threshold)
            if p.share_location:
                return matches[None], overlaps
            label = torch.where(matches >= 0, truth.labels[matches.clamp(min=0)], UNMATCHED)
            classes = torch.arange(places, device=label.device)
            return torch.where(label == classes[:, None], matches, UNMATCHED), overlaps
        if p.encode_variance_in_target:
            variance = torch.ones_like(variance)
        rows = []
        for place in range(places):
            decoded = boxes.decode(prior, variance, location[:, place], p.code_type)
            own = torch.arange(len(truth.labels), device=prior.device)
            if not p.share_location:
                own = own[truth.labels == place]
            matches, overlaps = self._match_boxes(decoded, truth.boxes[own], threshold)
            if len(own):
                matches = torch.where(matches >= 0, own[matches.clamp(min=0)], matches)
            rows.append(matches)
        return torch.stack(rows), overlaps

    def _match_boxes(
        self, predicted: torch.Tensor, truth: torch.Tensor, threshold: float | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        overlaps = boxes.jaccard(predicted, truth)
        if not len(truth):
            none = torch.full_like(predicted[:, 0], UNMATCHED, dtype=torch.int64)
            return none, torch.zeros_like(predicted[:, 0])
        crossing = torch.zeros_like(predicted[:, 0], dtype=torch.bool)
        if self.p.ignore_cross_boundary_bbox:
            crossing = ((predicted < 0) | (predicted > 1)).any(-1)
            overlaps = torch.where(crossing[:, None], 0, overlaps)
        matches = torch.where(crossing, IGNORED, boxes.match(overlaps, threshold))
        most = overlaps.amax(1)
        return matches, torch.where(most > boxes.LEAST_OVERLAP, most, 0)

    def _losses(
        self,
        matches: torch.Tensor,
        prior: torch.Tensor,
        variance: torch.Tensor,
        location: torch.Tensor,
        confidence: torch.Tensor,
        truth: Truth,
    ) -> torch.Tensor:
        """The loss of each prior, (priors,), by which it is mined."""
        found = matches >= 0
        label = torch.where(found, truth.labels[matches.clamp(min=0)], self.p.background_label_id)
        if self.p.conf_loss_type == Param.SOFTMAX:
            probability = torch.softmax(confidence, 1).gather(1, label[:, None])[:, 0]
            losses = -probability.clamp(min=FLT_MIN).log()
        else:
            target = F.one_hot(label, self.p.num_classes).to(confidence.dtype)
            losses = _cross_entropy(confidence, target, "none").sum(1)
        if self.p.mining_type == Param.HARD_EXAMPLE:
            chosen = self._chosen(matches[None], matches.new_zeros(0))
            differences = self._differences(location, prior, variance, truth, chosen)
            losses[chosen.prior] += self._distance(differences).sum(1)
        return losses

    def _hardest(
        self,
        losses: torch.Tensor,
        eligible: torch.Tensor,
        prior: torch.Tensor,
        variance: torch.Tensor,
        location: torch.Tensor,
    ) -> torch.Tensor:
        """The eligible priors, hardest first, without those that nms_param suppresses."""
        order = eligible.nonzero()[:, 0]
        order = order[losses[order].argsort(descending=True, stable=True)]
        threshold, top_k = self.p.nms_param.nms_threshold, self.p.nms_param.top_k
        if not self.p.HasField("nms_param") or threshold <= 0:
            return order
        if top_k > -1:
            order = order[:top_k]
        candidates = prior
        if not self.p.use_prior_for_nms:
            if self.p.encode_variance_in_target:
                variance = torch.ones_like(variance)
            candidates = boxes.decode(prior, variance, location[:, 0], self.p.code_type)
        order = order[boxes.areas(candidates[order]) >= SMALLEST_AREA]
        kept = boxes.suppress(candidates[order].cpu(), threshold)
        return order[torch.from_numpy(kept).to(order.device)]

    # --- losses ---

    def _differences(
        self,
        location: torch.Tensor,
        prior: torch.Tensor,
        variance: torch.Tensor,
        truth: Truth,
        chosen: Chosen,
    ) -> torch.Tensor:
        """Predicted less wanted codes of an image's matched priors: (matched, 4)."""
        p = self.p
        predicted = location[chosen.prior, chosen.place]
        prior, variance = prior[chosen.prior], variance[chosen.prior]
        unit = torch.ones_like(variance) if p.encode_variance_in_target else variance
        wanted = boxes.encode(prior, unit, truth.boxes[chosen.box], p.code_type)
        if p.bp_inside:
            where = prior
            if not p.use_prior_for_matching:
                where = boxes.decode(prior, unit, predicted.detach(), p.code_type)
            predicted = torch.where((where < 0) | (where > 1), wanted, predicted)
        if not p.encode_variance_in_target:
            return predicted - wanted
        # Caffe's gradient leaves out the division.
        difference = predicted.detach() / variance - wanted / variance
        return custom_gradient(difference, [predicted], lambda upstream: [upstream])

    def _distance(self, differences: torch.Tensor) -> torch.Tensor:
        if self.p.loc_loss_type == Param.L2:
            return differences.square() / 2
        return F.smooth_l1_loss(differences, torch.zeros_like(differences), reduction="none")

    def _location_loss(
        self,
        location: torch.Tensor,
        prior: torch.Tensor,
        variance: torch.Tensor,
        images: Sequence[tuple[int, Truth, Chosen]],
    ) -> torch.Tensor:
        """The summed loss of the locations of all matched priors."""
        return self._distance(
            torch.cat(
                [
                    self._differences(location[i], prior, variance, truth, chosen)
                    for i, truth, chosen in images
                ]
            )
        ).sum()

    def _confidence_loss(
        self, confidence: torch.Tensor, images: Sequence[tuple[int, Truth, Chosen]]
    ) -> torch.Tensor:
        """The summed loss of the confidences of the chosen priors, or of all without mining."""
        p, (_, count, classes) = self.p, confidence.shape
        places, labels = [], []
        for i, truth, chosen in images:
            label = truth.labels[chosen.box]
            if p.map_object_to_agnostic:
                label = torch.full_like(label, p.background_label_id + 1)
            places.append(i * count + torch.cat([chosen.prior, chosen.negative]))
            background = torch.full_like(chosen.negative, p.background_label_id)
            labels.append(torch.cat([label, background]))
        scores = confidence.reshape(-1, classes)
        none = torch.zeros(0, dtype=torch.int64, device=scores.device)
        place, label = torch.cat([none, *places]), torch.cat([none, *labels])
        if self.mines:
            scores = scores[place]
            place = torch.arange(len(place), device=place.device)
        if p.conf_loss_type == Param.LOGISTIC:
            target = torch.zeros_like(scores)
            known = label < classes
            target[place[known], label[known]] = 1
            return _cross_entropy(scores, target, "sum")
        every = place.new_full((len(scores),), p.background_label_id)
        every[place] = label
        return _softmax_loss(scores, every)


def _cross_entropy(scores: torch.Tensor, target: torch.Tensor, reduction: str) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(scores, target, reduction=reduction)


def _softmax_loss(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The sum of -log softmax(scores)[label], cut off as SoftmaxWithLoss does it."""
    labels = labels[:, None]
    probabilities = torch.softmax(scores.detach(), 1)
    of_label = probabilities.gather(1, labels).clamp(min=FLT_MIN)
    gradient = probabilities.scatter_add(1, labels, -torch.ones_like(of_label))
    return custom_gradient(-of_label.log().sum(), [scores], lambda upstream: [upstream * gradient])
