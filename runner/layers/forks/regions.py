"""ROIPooling, PSROIPooling, Proposal, BoxAnnotatorOHEM: regions of interest (R, 5).

A region is (index of its image, x1, y1, x2, y2) in pixels of the image, both ends included.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from netgen import graph
from runner.layers.base import Layer, Tensors

FLT_MAX = torch.finfo(torch.float32).max


def rounded(x: torch.Tensor) -> torch.Tensor:
    """x rounded as C's round does it, halves away from zero."""
    return ((x.double().abs() + 0.5).floor() * x.sign()).to(x.dtype)


class ROIPooling(Layer, type="ROIPooling"):
    """The largest value in each part of a region (Fast R-CNN, Girshick 2015).

    A region is rounded to places of the map, and is at least one place; its parts overlap by up
    to one place, as those of torch's adaptive pooling do. What lies outside the map does not
    count, and a part that lies wholly outside is 0.
    """

    no_force_backward = (1,)
    replayable = False  # the regions have to be known on the host
    untraceable = "where it looks depends on the regions' values"

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x, rois = bottoms
        p = self.param.roi_pooling_param
        rois = rois.detach().reshape(rois.shape[0], 5)
        places = rounded(rois[:, 1:] * p.spatial_scale).long().tolist()
        images = rois[:, 0].long().tolist()
        index = x.new_full((len(images), x.shape[1], p.pooled_h, p.pooled_w), -1, dtype=torch.int64)
        with torch.no_grad():
            for n, (image, corners) in enumerate(zip(images, places, strict=True)):
                if not 0 <= image < x.shape[0]:
                    raise graph.NetError(
                        f"layer '{self.name}': region {n} is in image {image}, outside the batch "
                        f"of {x.shape[0]}"
                    )
                index[n] = _best(x[image], corners, (p.pooled_h, p.pooled_w), image * x[0].numel())
        top = x.reshape(-1)[index.clamp(min=0)]
        return [torch.where(index < 0, torch.zeros_like(top), top)]


def _best(
    maps: torch.Tensor, corners: Sequence[int], out: tuple[int, int], start: int
) -> torch.Tensor:
    """Where the largest value of each part of a region lies; -1 where the part is outside.

    maps: (C, H, W). corners: x1, y1, x2, y2. out: how many parts on each axis. start: what
    the indices (C, *out) count from.
    """
    channels, height, width = maps.shape
    left, top, right, bottom = corners
    right, bottom = max(right, left), max(bottom, top)
    columns, rows = (
        (max(0, -low), max(0, high + 1 - size))
        for low, high, size in ((left, right, width), (top, bottom, height))
    )
    inside = maps[:, max(top, 0) : max(bottom + 1, 0), max(left, 0) : max(right + 1, 0)]
    if not inside.numel():
        return inside.new_full((channels, *out), -1, dtype=torch.int64)
    if any(columns) or any(rows):
        inside = F.pad(inside, (*columns, *rows), value=-FLT_MAX)
    values, index = F.adaptive_max_pool2d(inside, out, return_indices=True)
    row, column = index // inside.shape[2] + top, index % inside.shape[2] + left
    of_map = torch.arange(channels, device=maps.device)[:, None, None] * (height * width)
    found = start + of_map + row * width + column
    return torch.where(values == -FLT_MAX, -1, found)


class PSROIPooling(Layer, type="PSROIPooling"):
    """The mean of each part of a region, each part from maps of its own (R-FCN, Dai et al. 2016).

    Output channel c at part (i, j) of the group_size x group_size parts is pooled from channel
    (c group_size + i) group_size + j. A part covers the places from floor to ceil of its ends,
    as far as they are in the map; one without places is 0.
    """

    no_force_backward = (1,)
    untraceable = "where it looks depends on the regions' values"

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x, rois = bottoms
        p = self.param.psroi_pooling_param
        num, _, height, width = x.shape
        parts, size = p.group_size, (p.output_dim, p.group_size, p.group_size)
        rois = rois.detach().reshape(rois.shape[0], 5).to(x.dtype)
        start = rounded(rois[:, 1:3]) * p.spatial_scale
        extent = ((rounded(rois[:, 3:]) + 1) * p.spatial_scale - start).clamp(min=0.1)
        columns, rows = (
            _covered(start[:, axis], extent[:, axis], parts, places)
            for axis, places in ((0, width), (1, height))
        )
        area = rows.sum(2)[:, :, None] * columns.sum(2)[:, None]  # (R, parts, parts)
        own = rois[:, :1].long() == torch.arange(num, device=x.device)  # (R, N)
        maps = x.reshape(num, *size, height, width)
        tops = []
        for i in range(parts):
            in_image = own[:, :, None] * rows[:, i, None]  # (R, N, H)
            for j in range(parts):
                by_row = maps[:, :, i, j] @ columns[:, j].T  # (N, D, H, R)
                tops.append(torch.einsum("ndhr,rnh->rd", by_row, in_image))
        sums = torch.stack(tops, 2).reshape(-1, *size)
        return [sums / area.clamp(min=1)[:, None]]


def _covered(start: torch.Tensor, extent: torch.Tensor, parts: int, places: int) -> torch.Tensor:
    """Which places of an axis each part of each region covers, as ones (R, parts, places)."""
    step = torch.arange(parts + 1, device=start.device, dtype=start.dtype)
    ends = step * (extent / parts)[:, None] + start[:, None]
    place = torch.arange(places, device=start.device)
    low, high = ends[:, :-1, None].floor(), ends[:, 1:, None].ceil()
    return ((place >= low) & (place < high)).to(start.dtype)


class Proposal(Layer, type="Proposal"):
    """The best anchors, moved by their deltas, as regions (Faster R-CNN, Ren et al. 2015).

    Of pva-faster-rcnn. Scores (N, 2 A, H, W), of which the second A say object; deltas
    (N, 4 A, H, W); height, width and scale (or a vertical and a horizontal scale) of each image.
    Boxes are cut to the image; one smaller than min_size times the scale has score 0. Of the
    pre_nms_topn best the first post_nms_topn stay that overlap no better one by more than
    nms_thresh. A second top has their scores.
    """

    no_force_backward = (0, 1, 2)
    refuses_backward_to = (0, 1, 2)
    replayable = False  # how many regions there are has to be known on the host
    untraceable = "how many regions it proposes depends on the image"

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        p = self.param.proposal_param
        self.anchors = anchors(p.base_size, list(p.ratio), list(p.scale))
        return super().setup(bottoms)

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        scores, deltas, sizes = (bottom.detach().cpu().numpy() for bottom in bottoms)
        sizes = sizes.reshape(sizes.shape[0], -1)
        found = [
            self._one(scores[n, len(self.anchors) :], deltas[n], sizes[min(n, len(sizes) - 1)])
            for n in range(scores.shape[0])
        ]
        rois = np.concatenate(
            [np.insert(boxes, 0, n, axis=1) for n, (boxes, _) in enumerate(found)]
        )
        tops = [rois, np.concatenate([score for _, score in found])][: len(self.param.top)]
        device = bottoms[0].device
        return [torch.from_numpy(np.ascontiguousarray(top)).to(device) for top in tops]

    def _one(
        self, scores: np.ndarray, deltas: np.ndarray, size: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The boxes (R, 4) of one image, the best first, and their scores (R)."""
        p, (count, rows, columns) = self.param.proposal_param, scores.shape
        y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        places = np.stack([x, y, x, y], -1)[:, :, None] * p.feat_stride
        boxes = (places + self.anchors).reshape(-1, 4).astype(scores.dtype)
        deltas = deltas.reshape(count, 4, rows, columns).transpose(2, 3, 0, 1).reshape(-1, 4)
        boxes = _moved(boxes, deltas, height=size[0], width=size[1])
        score = scores.transpose(1, 2, 0).reshape(-1)
        scale_h, scale_w = size[2], size[3] if len(size) > 3 else size[2]
        wide = boxes[:, 2] - boxes[:, 0] + 1 >= p.min_size * scale_w
        high = boxes[:, 3] - boxes[:, 1] + 1 >= p.min_size * scale_h
        score = score * (wide & high)
        best = np.argsort(-score, kind="stable")[: p.pre_nms_topn]
        kept = best[_apart(boxes[best], p.nms_thresh, p.post_nms_topn)]
        return boxes[kept], score[kept]


def anchors(base_size: int, ratios: list[float], scales: list[float]) -> np.ndarray:
    """Boxes (A, 4) around the first place: for each ratio of height to width, each scale."""
    boxes, center = [], 0.5 * (base_size - 1)
    for ratio in ratios:
        width = math.floor(math.sqrt(base_size**2 / ratio) + 0.5)
        height = math.floor(width * ratio + 0.5)
        for scale in scales:
            w, h = 0.5 * (width * scale - 1), 0.5 * (height * scale - 1)
            boxes.append((center - w, center - h, center + w, center + h))
    return np.array(boxes)


def _moved(boxes: np.ndarray, deltas: np.ndarray, height: float, width: float) -> np.ndarray:
    """Boxes moved and resized by (dx, dy, log dw, log dh), and cut to the image."""
    size = boxes[:, 2:] - boxes[:, :2] + 1
    center = boxes[:, :2] + 0.5 * size + deltas[:, :2] * size
    with np.errstate(over="ignore"):  # then the box is the image's
        half = 0.5 * np.exp(deltas[:, 2:]) * size
    ends = np.array([width - 1, height - 1], boxes.dtype)
    return np.concatenate([(center + s * half).clip(0, ends) for s in (-1, 1)], 1)


def _apart(boxes: np.ndarray, threshold: float, most: int) -> list[int]:
    """The boxes that overlap no earlier one by more than the threshold, `most` at most."""
    area = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    alive, kept = np.ones(len(boxes), bool), []
    for i, box in enumerate(boxes):
        if len(kept) == most:
            break
        if not alive[i]:
            continue
        kept.append(i)
        low = np.maximum(boxes[i + 1 :, :2], box[:2])
        high = np.minimum(boxes[i + 1 :, 2:], box[2:])
        common = (high - low + 1).prod(1) * (high >= low).all(1)
        alive[i + 1 :] &= common / (area[i] + area[i + 1 :] - common) <= threshold
    return kept


class BoxAnnotatorOHEM(Layer, type="BoxAnnotatorOHEM"):
    """Keeps the roi_per_img regions of each image with the largest loss (R-FCN).

    Online hard example mining (Shrivastava et al. 2016): the tops are the labels and the weights
    of the boxes, with ignore_label and 0 at all other regions. Of equal losses the first counts
    as larger.
    """

    no_force_backward = (0, 1, 2, 3)
    untraceable = "it is for training"

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        rois, losses, labels, weights = (bottom.detach() for bottom in bottoms)
        p = self.param.box_annotator_ohem_param
        image = rois.reshape(rois.shape[0], 5, -1)[:, 0].reshape(-1)
        by_loss = losses.reshape(-1).argsort(descending=True, stable=True)
        by_image = image[by_loss].argsort(stable=True)
        order = by_loss[by_image]  # images one after the other, in each the largest loss first
        sorted_image = image[order]
        first = torch.searchsorted(sorted_image, sorted_image)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=order.device) - first
        labels_shape, weights_shape = self.shapes_of(*bottoms).tops
        kept = (rank < p.roi_per_img).reshape(labels_shape)
        labels, weights = labels.reshape(labels_shape), weights.reshape(weights_shape)
        ignored = labels.new_full((), p.ignore_label)
        return [torch.where(kept, labels, ignored), weights * kept.to(weights.dtype)]
