"""PriorBox (prior_box_layer.cpp of weiliu89/caffe, branch ssd)."""

from __future__ import annotations

import numpy as np
import torch

from netgen import graph
from netgen.graph.rules.ssd import prior_sizes
from runner.layers.base import Layer, Tensors

DEFAULT_VARIANCE = 0.1


class PriorBox(Layer, type="PriorBox"):
    """The default boxes of a feature map, in units of the image, and their variances.

    They depend on nothing but the shapes of the bottoms. Caffe computes with single precision
    up to the centres and sizes, and with double precision from there on; so does this.
    """

    no_force_backward = (0, 1)

    def setup(self, bottoms: list[graph.Shape]) -> graph.LayerShapes:
        self._made: dict[tuple[graph.Shape, ...], torch.Tensor] = {}
        return super().setup(bottoms)

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        key = tuple(tuple(x.shape[2:]) for x in bottoms)
        if key not in self._made:
            top = torch.from_numpy(self._make(*key)).to(self.context.device)
            self._made = {key: top}
        top = self._made[key]
        return [top.to(bottoms[0].dtype) if bottoms[0].dtype == torch.float64 else top.clone()]

    def _make(self, feature_map: graph.Shape, image: graph.Shape) -> np.ndarray:
        """The top (1, 2, places x priors x 4) for bottoms of these heights and widths, float32."""
        p = self.param.prior_box_param
        layer_size = np.array(feature_map[::-1], np.float32)  # width, height
        size = np.array([p.img_w or p.img_size, p.img_h or p.img_size], np.float64)
        if not size.all():
            size = np.array(image[::-1], np.float64)
        step = np.array([p.step_w or p.step, p.step_h or p.step], np.float32)
        if not step.all():
            step = size.astype(np.float32) / layer_size
        columns, rows = (
            (np.arange(count, dtype=np.float32) + np.float32(p.offset)) * by
            for count, by in zip(layer_size.astype(int), step, strict=True)
        )
        places = np.stack(np.broadcast_arrays(columns[None], rows[:, None]), -1)[:, :, None]
        halves = np.array(prior_sizes(p), np.float32).astype(np.float64) / 2
        boxes = np.concatenate([(places - halves) / size, (places + halves) / size], -1)
        boxes = boxes.astype(np.float32)
        if p.clip:
            boxes = boxes.clip(0, 1)
        variance = np.array(p.variance or [DEFAULT_VARIANCE], np.float32)
        return np.stack([boxes, np.broadcast_to(variance, boxes.shape)]).reshape(1, 2, -1)
