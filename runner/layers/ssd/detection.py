"""DetectionOutput and DetectionEvaluate (the *_layer.cpp of weiliu89/caffe, branch ssd)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from netgen import graph
from runner.data import boxes
from runner.layers.base import Layer, Tensors
from runner.layers.ssd.files import in_pixels, read_sizes
from runner.layers.ssd.saving import Saving
from runner.log import glog

NO_LABEL = -1


class DetectionOutput(Layer, type="DetectionOutput"):
    """Decoded boxes after non-maximum suppression, class by class (Liu et al. 2016, 3).

    Bottoms: locations (N, priors x classes x 4, or x 4 if shared), confidences
    (N, priors x classes), priors (1, 2, priors x 4); a fourth is only drawn on in Caffe, and
    nothing is drawn here. The top (1, 1, detections, 7) has rows of image, label, confidence,
    xmin, ymin, xmax and ymax: by image, then label, then confidence. If there are none it has a
    row of -1 for each image. With a save_output_param detections are also written to files.
    """

    no_force_backward = (0, 1, 2, 3)
    refuses_backward_to = (0, 1, 2, 3)
    replayable = False
    untraceable = "how many boxes it finds depends on the image"

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        shapes = super().setup(bottoms)
        p = self.param.detection_output_param
        self._saving = Saving.wanted(self.name, p.save_output_param, p.background_label_id)
        return shapes

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        p = self.param.detection_output_param
        location, confidence, priors = (x.detach() for x in bottoms[:3])
        batch, count = len(location), priors.shape[2] // 4
        prior, variance = priors.reshape(2, count, 1, 4).unbind()
        if p.variance_encoded_in_target:
            variance = torch.ones_like(variance)
        location = location.reshape(batch, count, -1, 4)
        decoded = boxes.decode(prior, variance, location, p.code_type).transpose(1, 2).cpu()
        scores = confidence.reshape(batch, count, p.num_classes).transpose(1, 2).cpu().numpy()
        rows = [self._detections(i, decoded[i], scores[i]) for i in range(batch)]
        for image in rows if self._saving else []:
            self._saving.add(image)
        found = np.concatenate(rows)
        if not len(found):
            glog.info("Couldn't find any detections", "detection_output_layer.cpp:309")
            found = np.full((batch, 7), -1, np.float32)
            found[:, 0] = np.arange(batch)
        return [torch.from_numpy(found).to(location)[None, None]]

    def _detections(self, image: int, decoded: torch.Tensor, scores: np.ndarray) -> np.ndarray:
        """The rows (n, 7) of one image; decoded: (location classes, priors, 4)."""
        p = self.param.detection_output_param
        kept = []
        for label in range(p.num_classes):
            if label == p.background_label_id:
                continue
            own = decoded[0 if p.share_location else label]
            priors = self._suppressed(own, scores[label])
            rows = np.empty((len(priors), 7), scores.dtype)
            rows[:, 0], rows[:, 1], rows[:, 2] = image, label, scores[label, priors]
            rows[:, 3:] = own.numpy()[priors]
            kept.append(rows)
        rows = np.concatenate([np.empty((0, 7), scores.dtype), *kept])
        if -1 < p.keep_top_k < len(rows):
            best = np.argsort(-rows[:, 2], kind="stable")[: p.keep_top_k]
            rows = rows[best]
            rows = rows[np.argsort(rows[:, 1], kind="stable")]
        return rows

    def _suppressed(self, own: torch.Tensor, scores: np.ndarray) -> np.ndarray:
        """The numbers of the priors that detect a class, the surest first."""
        p, nms = self.param.detection_output_param, self.param.detection_output_param.nms_param
        order = np.arange(len(scores))
        if p.HasField("confidence_threshold"):
            order = np.flatnonzero(scores > np.float32(p.confidence_threshold))
        order = order[np.argsort(-scores[order], kind="stable")]
        if nms.HasField("top_k") and nms.top_k > -1:
            order = order[: nms.top_k]
        return order[boxes.suppress(own[torch.from_numpy(order)], nms.nms_threshold, nms.eta)]


class DetectionEvaluate(Layer, type="DetectionEvaluate"):
    """Whether each detection is right; a solver with eval_type "detection" makes a score of it.

    Bottoms: detections (1, 1, n, 7) and ground truth (1, 1, boxes, 8). The top (1, 1, rows, 5)
    has a row for each class, -1, label, the number of its boxes, -1 and -1, then one for each
    detection: image, label, confidence, true positive, false positive. Where a detection fits a
    difficult box and these do not count, the last two are 0.

    With name_size_file overlaps are taken in pixels of the images, which are those of the file
    in their order, round and round. As in Caffe an image without any detection is not counted.
    """

    no_force_backward = (0, 1)
    refuses_backward_to = (0, 1)
    replayable = False
    untraceable = "it is for training"

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        param = self.param.detection_evaluate_param
        self._sizes = []
        if param.HasField("name_size_file"):
            self._sizes = [size for _, size in read_sizes(self.name, param.name_size_file)]
        self._image = 0
        return super().setup(bottoms)

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        p = self.param.detection_evaluate_param
        detections = bottoms[0].detach().reshape(-1, 7).float().cpu()
        truth = bottoms[1].detach().reshape(-1, 8).float().cpu()
        ended = (truth[:, 0].long() == -1).nonzero()[:, 0]
        if len(ended):
            truth = truth[: int(ended[0])]
        detections = detections[detections[:, 0].long() != -1]
        for table, where in ((truth, "dataset"), (detections, "detection results")):
            if bool((table[:, 1].long() == p.background_label_id).any()):
                raise graph.NetError(f"layer '{self.name}': Found background label in the {where}.")
        rows = self._class_rows(truth)
        for image in detections[:, 0].long().unique().tolist():
            own = detections[(detections[:, 0].long() == image)]
            boxes_of = truth[truth[:, 0].long() == image]
            size = self._sizes[self._image] if self._sizes else None
            for label in own[:, 1].long().unique().tolist():
                if label != NO_LABEL:
                    rows += self._judge(
                        image,
                        label,
                        own[own[:, 1].long() == label],
                        boxes_of[boxes_of[:, 1].long() == label],
                        size,
                    )
            if self._sizes:
                self._image = (self._image + 1) % len(self._sizes)
        return [torch.tensor(rows, dtype=bottoms[0].dtype, device=bottoms[0].device)[None, None]]

    def _class_rows(self, truth: torch.Tensor) -> list[list[float]]:
        p = self.param.detection_evaluate_param
        counted = truth if p.evaluate_difficult_gt else truth[truth[:, 7] == 0]
        return [
            [-1, label, int((counted[:, 1].long() == label).sum()), -1, -1]
            for label in range(p.num_classes)
            if label != p.background_label_id
        ]

    def _judge(
        self,
        image: int,
        label: int,
        detections: torch.Tensor,
        truth: torch.Tensor,
        size: tuple[int, int] | None,
    ) -> list[list[float]]:
        """The rows of one image and class, the surest detection first."""
        p = self.param.detection_evaluate_param
        if not len(truth):  # all are wrong, in the order they came in
            return [[image, label, score, 0, 1] for score in detections[:, 2].tolist()]
        detections = detections[detections[:, 2].argsort(descending=True, stable=True)]
        found, wanted = detections[:, 3:7], truth[:, 3:7]
        if size is not None:
            resize = p.resize_param if p.HasField("resize_param") else None
            found, wanted = (in_pixels(b, *size, resize) for b in (found, wanted))
        overlaps, which = boxes.jaccard(found, wanted, pixels=size is not None).max(1)
        rows, visited = [], set()
        for score, overlap, box in zip(
            detections[:, 2].tolist(), overlaps.tolist(), which.tolist(), strict=True
        ):
            if overlap < p.overlap_threshold:
                right, wrong = 0, 1
            elif not p.evaluate_difficult_gt and truth[box, 7]:
                right, wrong = 0, 0
            else:
                right = int(box not in visited)
                wrong = 1 - right
                visited.add(box)
            rows.append([image, label, score, right, wrong])
        return rows

    def state(self) -> dict[str, int] | None:
        return {"image": self._image} if self._sizes else None

    def load_state(self, state: dict[str, int]) -> None:
        self._image = state["image"]
