"""The maps of YOLO, as MobileNet-YOLO's fork has them: two losses, and what the maps show.

Boxes are (x, y, width, height) of their centre and size, as shares of the image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from netgen import graph
from runner.data.boxes import suppress
from runner.layers.base import Layer, Tensors
from runner.layers.gradient import custom_gradient
from runner.layers.loss import Loss

#: As many images are first also taught the boxes of the anchors.
WARM_UP = 12800


def _overlap(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Intersection over union of boxes (..., 4) that broadcast against each other."""
    low = torch.maximum(a[..., :2] - a[..., 2:] / 2, b[..., :2] - b[..., 2:] / 2)
    high = torch.minimum(a[..., :2] + a[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2)
    common = (high - low).clamp(min=0).prod(-1)
    return common / (a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - common)


class _MapLoss(Loss):
    """Base of the losses of YOLO's maps."""

    replayable = False  # how many objects there are has to be known on the host

    def _known(self, label: float, classes: int) -> int:
        """The class that a row of the labels names. Raises NetError for one that is none."""
        if not 0 <= int(label) < classes:
            raise graph.NetError(
                f"layer '{self.name}': label {int(label)} of blob '{self.param.bottom[1]}' is "
                f"outside the {classes} classes of '{self.param.bottom[0]}'"
            )
        return int(label)


class RegionLoss(_MapLoss, type="RegionLoss"):
    """The loss of YOLO v2 (Redmon and Farhadi 2017).

    Every place and anchor is wanted to say that there is no object unless it overlaps one by
    more than thresh; the best anchor at an object's centre is wanted to say its box, its class,
    and that it is one (or, with rescore, by how much they overlap). The layer computes the
    gradient of each value; the loss is the sum of its squares, and both are over the batch.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.passes = 0

    def state(self) -> object:
        return self.passes

    def load_state(self, state: Any) -> None:
        self.passes = state

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        (x, labels), p = bottoms, self.param.region_loss_param
        batch, _, height, width = x.shape
        with torch.no_grad():
            maps = x.detach().reshape(batch, p.num, -1, height, width)
            rows = labels.detach().reshape(batch, -1, 5)
            early = self.passes < WARM_UP // batch
            each = [self._gradient(*one, early) for one in zip(maps, rows, strict=True)]
            gradient = torch.stack(each).reshape(x.shape)
            value = gradient.square().sum() / batch
        self.passes += 1
        return [custom_gradient(value, [x], lambda upstream: [upstream / batch * gradient])]

    def _gradient(self, maps: torch.Tensor, truths: torch.Tensor, warming_up: bool) -> torch.Tensor:
        """The gradient of the maps (A, 5 + classes, H, W) of one image."""
        p, (_, _, height, width) = self.param.region_loss_param, maps.shape
        anchors = maps.new_tensor(list(p.biases)).reshape(-1, 2)
        size = maps.new_tensor([width, height])
        place = maps[:, :2].sigmoid()
        is_object = maps[:, 4].sigmoid()
        classes = maps[:, 5:].softmax(1)
        corner = _corners(maps)
        boxes = torch.cat(
            [
                (corner + place) / size[:, None, None],
                maps[:, 2:4].exp() * (anchors / size)[:, :, None, None],
            ],
            1,
        ).movedim(1, -1)  # (A, H, W, 4)
        slope = is_object * (1 - is_object)
        gradient = torch.zeros_like(maps)
        gradient[:, 4] = p.noobject_scale * is_object * slope
        found = truths[: _until_zero(truths[:, 1]), 1:]
        if len(found):
            best = _overlap(boxes[..., None, :], found).amax(-1)
            gradient[:, 4] = torch.where(best > p.thresh, 0, gradient[:, 4])
        if warming_up:
            off_centre = place - 0.5
            gradient[:, :2] = 0.01 * off_centre * place * (1 - place)
            gradient[:, 2:4] = 0.01 * maps[:, 2:4]
        for label, *box in truths[: _until_zero(truths[:, 3])].tolist():
            truth = maps.new_tensor(box)
            i, j = _place_of(box, maps)
            shapes = anchors / size if p.bias_match else boxes[:, j, i, 2:]
            centred = torch.zeros_like(boxes[:, 0, 0])
            centred[:, 2:] = shapes
            a = int(_overlap(centred, truth * truth.new_tensor([0, 0, 1, 1])).argmax())
            at = (a, slice(None), j, i)
            overlap = _overlap(boxes[a, j, i], truth)
            scale = p.coord_scale * (1 if p.rescore else 2 - box[2] * box[3])
            here, delta = place[at], gradient[at]
            wanted = truth[:2] * size - here.new_tensor([i, j])
            delta[:2] = -scale * (wanted - here) * here * (1 - here)
            delta[2:4] = -scale * ((truth[2:] * size / anchors[a]).log() - maps[at][2:4])
            certain = is_object[a, j, i]
            goal = overlap if p.rescore else 1
            delta[4] = -p.object_scale * (goal - certain) * slope[a, j, i]
            delta[5:] = p.class_scale * classes[at]
            delta[5 + self._known(label, p.num_class)] -= p.class_scale
        return gradient


class Yolov3(_MapLoss, type="Yolov3"):
    """The loss of one map of YOLO v3 (Redmon and Farhadi 2018): MobileNet-YOLO's yolov3_layer.cpp.

    Every place and anchor is wanted to say that there is no object unless it overlaps one by
    more than thresh. An object teaches, at its centre, the anchor that is most like it of all
    anchors, if it is one of this map's, and every other that is like it by more than iou_thresh:
    the box, that it is one, and the class, smoothed by label_smooth_eps. The layer computes the
    gradient of each value, and the loss is the sum of their squares; both are over the batch.
    """

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        (x, labels), p = bottoms, self.param.yolov3_param
        batch, _, height, width = x.shape
        with torch.no_grad():
            maps = x.detach().reshape(batch, p.num, -1, height, width)
            said = maps.sigmoid()
            said[:, :, 2:4] = maps[:, :, 2:4]
            rows = labels.detach().reshape(batch, -1, 5)
            deltas = [self._deltas(*one) for one in zip(said, rows, strict=True)]
            gradient = torch.stack(deltas)
            value = gradient.square().sum() / batch
            if p.use_logic_gradient:
                slope = said * (1 - said)
                slope[:, :, 2:4] = 1
                gradient = gradient * slope
            gradient = gradient.reshape(x.shape)
        return [custom_gradient(value, [x], lambda upstream: [upstream / batch * gradient])]

    def _deltas(self, said: torch.Tensor, truths: torch.Tensor) -> torch.Tensor:
        """What is too much of each value of a map (A, 5 + classes, H, W), after its sigmoids."""
        p, (_, _, height, width) = self.param.yolov3_param, said.shape
        size = said.new_tensor([width, height])
        pixels, own = size * p.anchors_scale, list(p.mask)
        anchors = said.new_tensor(list(p.biases)).reshape(-1, 2)
        sides = said[:, 2:4].exp() * (anchors[own] / pixels)[:, :, None, None]
        centres = (_corners(said) + said[:, :2]) / size[:, None, None]
        boxes = torch.cat([centres, sides], 1).movedim(1, -1)  # (A, H, W, 4)
        deltas = torch.zeros_like(said)
        deltas[:, 4] = said[:, 4]
        found = truths[: _until_zero(truths[:, 1]), 1:]
        if len(found):
            best = _overlap(boxes[..., None, :], found).amax(-1)
            deltas[:, 4] = torch.where(best > p.thresh, 0, deltas[:, 4])
        shapes = torch.cat([torch.zeros_like(anchors), anchors / pixels], 1)
        for label, *box in truths[: _until_zero(truths[:, 3])].tolist():
            truth, (i, j) = said.new_tensor(box), _place_of(box, said)
            likeness = _overlap(shapes, truth * truth.new_tensor([0, 0, 1, 1])).tolist()
            taught, most = [], likeness.index(max(likeness))
            if most in own:
                most = own.index(most)
                taught.append(most)
            # As there, an anchor's number among all is compared with the number in this map.
            if p.iou_thresh < 1:
                taught += [
                    a
                    for a, n in enumerate(own)
                    if n != most and likeness[n] > np.float32(p.iou_thresh)
                ]
            scale = p.coord_scale * (2 - box[2] * box[3])
            for a in taught:
                delta, here = deltas[a, :, j, i], said[a, :, j, i]
                centre = truth[:2] * size - here.new_tensor([i, j])
                delta[:2] = scale * (here[:2] - centre)
                delta[2:4] = scale * (here[2:4] - (truth[2:] * pixels / anchors[own[a]]).log())
                delta[4] = (here[4] - 1) * (p.object_scale if p.use_logic_gradient else 1)
                at = 5 + self._known(label, p.num_class)
                if not delta[at]:  # else it was taught by another object
                    delta[5:] = p.class_scale * (here[5:] - p.label_smooth_eps / 2)
                delta[at] = p.class_scale * (here[at] - (1 - p.label_smooth_eps / 2))
        return deltas


def _corners(maps: torch.Tensor) -> torch.Tensor:
    """x and y (2, H, W) of the places of maps (..., H, W)."""
    height, width = maps.shape[-2:]
    x, y = (torch.arange(n, device=maps.device) for n in (width, height))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))


def _place_of(box: Sequence[float], maps: torch.Tensor) -> tuple[int, int]:
    """Column and row of the place of maps (..., H, W) that a box has its centre in."""
    height, width = maps.shape[-2:]
    i, j = int(box[0] * width), int(box[1] * height)
    return min(max(i, 0), width - 1), min(max(j, 0), height - 1)


def _until_zero(values: torch.Tensor) -> int:
    """How many values there are before the first zero."""
    zeros = (values == 0).nonzero()
    return int(zeros[0]) if len(zeros) else len(values)


class _Detections(Layer):
    """Base of the layers that say which objects the maps of one image show.

    A row of the top is (0, class + 1, confidence, left, top, right, bottom), the most certain
    first. Of boxes that overlap a more certain one, of whatever class, by nms_threshold none
    stays. Where there is no object at all the only row is 0, -1, -1, ...
    """

    replayable = False  # how many objects there are has to be known on the host
    untraceable = "how many boxes it finds depends on the image"

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        self.no_force_backward = self.refuses_backward_to = tuple(range(len(bottoms)))
        return super().setup(bottoms)

    def found(self, maps: list[np.ndarray]) -> list[np.ndarray]:
        """What each map (A (5 + classes), H, W) shows: confidence, class, x, y, w, h in rows."""
        raise NotImplementedError

    def threshold(self) -> float:
        """The overlap from which on the less certain of two boxes is left out."""
        raise NotImplementedError

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        maps = [x.detach().cpu().numpy()[0] for x in bottoms]
        with np.errstate(over="ignore"):  # of a net that knows nothing yet: inf, as in Caffe
            rows = np.concatenate(self.found(maps))
        rows = rows[np.argsort(-rows[:, 0], kind="stable")]
        centre, half = rows[:, 2:4], rows[:, 4:] / 2
        rows[:, 2:] = np.concatenate([centre - half, centre + half], 1)
        # An overlap of just the threshold is too much, unlike SSD's.
        below = np.nextafter(np.float32(self.threshold()), np.float32(-1))
        kept = rows[suppress(torch.from_numpy(rows[:, 2:]), float(below))]
        top = np.full((max(len(kept), 1), 7), -1, np.float32)
        top[:, 0] = 0
        if len(kept):
            top[:, 1], top[:, 2], top[:, 3:] = kept[:, 1] + 1, kept[:, 0], kept[:, 2:]
        return [torch.from_numpy(top[None, None]).to(bottoms[0].device)]


def _places(maps: np.ndarray, anchors: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """A map as (H, W, A, 5 + classes), and its boxes (H, W, A, 4).

    anchors: their widths and heights, (A, 2), in pixels of which `scale` are a place.
    """
    _, height, width = maps.shape
    maps = maps.reshape(len(anchors), -1, height, width).transpose(2, 3, 0, 1)
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    size = np.array([width, height], np.float32)
    centre = (_sigmoid(maps[..., :2]) + np.stack([x, y], -1)[:, :, None]) / size
    return maps, np.concatenate([centre, np.exp(maps[..., 2:4]) * anchors / (size * scale)], -1)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


class YoloDetectionOutput(_Detections, type="YoloDetectionOutput"):
    """The objects that maps of YOLO v2 show (Redmon and Farhadi 2017), for one image.

    Each anchor of each place shows its best class at most, with the probability of an object
    times that of the class, where that is confidence_threshold at least.
    """

    def threshold(self) -> float:
        return self.param.yolo_detection_output_param.nms_threshold

    def found(self, maps: list[np.ndarray]) -> list[np.ndarray]:
        return [self._one(one) for one in maps]

    def _one(self, maps: np.ndarray) -> np.ndarray:
        p = self.param.yolo_detection_output_param
        maps, places = _places(maps, np.array(p.biases, np.float32).reshape(-1, 2), 1)
        scores = np.exp(maps[..., 5:] - maps[..., 5:].max(-1, keepdims=True))
        classes = scores.argmax(-1)
        confidence = _sigmoid(maps[..., 4]) * (scores.max(-1) / scores.sum(-1))
        where = np.nonzero(confidence >= p.confidence_threshold)
        rows = np.stack([confidence[where], classes[where]], 1)
        return np.concatenate([rows, places[where]], 1).astype(np.float32)


class Yolov3DetectionOutput(_Detections, type="Yolov3DetectionOutput"):
    """The objects that maps of YOLO v3 show (Redmon and Farhadi 2018), for one image.

    A box shows every class whose probability, times that of an object, is above
    confidence_threshold.
    """

    def threshold(self) -> float:
        return self.param.yolov3_detection_output_param.nms_threshold

    def found(self, maps: list[np.ndarray]) -> list[np.ndarray]:
        p = self.param.yolov3_detection_output_param
        anchors = np.array(p.biases, np.float32).reshape(-1, 2)
        masks = np.array(p.mask).reshape(len(maps), -1)
        return [
            self._one(one, anchors[mask], scale)
            for one, mask, scale in zip(maps, masks, p.anchors_scale, strict=True)
        ]

    def _one(self, maps: np.ndarray, anchors: np.ndarray, scale: int) -> np.ndarray:
        maps, places = _places(maps, anchors, scale)
        confidence = _sigmoid(maps[..., 5:]) * _sigmoid(maps[..., 4:5])
        threshold = self.param.yolov3_detection_output_param.confidence_threshold
        *where, classes = np.nonzero(confidence > threshold)
        rows = np.stack([confidence[(*where, classes)], classes], 1)
        return np.concatenate([rows, places[tuple(where)]], 1).astype(np.float32)
