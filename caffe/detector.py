"""Detection: classification of windows of images, as R-CNN does it (Girshick et al. 2014)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

import caffe
from caffe import io
from caffe.classifier import predictions_of, transformer_of
from caffe.extras import extra


class Detector(caffe.Net):
    """A Net that classifies windows of images.

    mean, input_scale, raw_scale, channel_swap: of the Transformer. context_pad: how many pixels
    of the net's input, at each side, show what is around a window; the mean stands where that
    lies outside the image.
    """

    def __init__(
        self,
        model_file: str,
        pretrained_file: str,
        mean: np.ndarray | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ) -> None:
        super().__init__(model_file, caffe.TEST, weights=pretrained_file)
        self.transformer = transformer_of(
            self,
            mean=mean,
            input_scale=input_scale,
            raw_scale=raw_scale,
            channel_swap=channel_swap,
        )
        self.configure_crop(context_pad)

    def detect_windows(self, images_windows: Iterable[tuple[str, Any]]) -> list[dict[str, Any]]:
        """The net's first output for every window.

        images_windows: (file name, windows) pairs, a window being (ymin, xmin, ymax, xmax) in
        pixels. Returns, for each window in its order, a dict of `window`, `prediction` and
        `filename`.
        """
        images_windows = [(path, list(windows)) for path, windows in images_windows]
        crops = []
        for path, windows in images_windows:
            image = io.load_image(path)
            crops += [self.crop(image, window) for window in windows]
        predictions = predictions_of(self, crops)
        whose = ((path, window) for path, windows in images_windows for window in windows)
        return [
            {"window": window, "prediction": prediction, "filename": path}
            for (path, window), prediction in zip(whose, predictions, strict=False)
        ]

    def detect_selective_search(self, image_fnames: Iterable[str]) -> list[dict[str, Any]]:
        """detect_windows on the windows that selective search proposes.

        It needs the package selective_search_ijcv_with_python, and through it MATLAB. Raises
        ImportError without.
        """
        package = "selective_search_ijcv_with_python"
        search = extra(package, package, "Detector.detect_selective_search")
        paths = [os.path.abspath(path) for path in image_fnames]
        windows = search.get_windows(paths, cmd="selective_search_rcnn")
        return self.detect_windows(zip(paths, windows, strict=True))

    def crop(self, im: np.ndarray, window: Sequence[float]) -> np.ndarray:
        """The window of an (H, W, K) image, with its context where context_pad asks for it.

        window: (ymin, xmin, ymax, xmax). With context the result has the net's input size.
        """
        top, left, bottom, right = (int(edge) for edge in window)
        if not self.context_pad:
            return im[top:bottom, left:right]
        size = self.blobs[self.inputs[0]].width  # the input is taken to be square
        scale = size / (size - 2 * self.context_pad)
        half = np.array([(bottom - top + 1) / 2, (right - left + 1) / 2])
        centre = np.array([top, left]) + half
        start, end = np.round(centre - scale * half), np.round(centre + scale * half)
        factor = size / (end - start + 1)
        outside = np.round(np.maximum(0, -start) * factor).astype(int)
        limits = im.shape[:2]
        start, end = np.clip(start, 0, limits), np.clip(end, 0, limits)
        room = np.round((end - start + 1) * factor).astype(int)
        room = np.minimum(room, size - outside)
        (y0, x0), (y1, x1) = start.astype(int), end.astype(int)
        framed = np.ones(self.crop_dims, np.float32) * self.crop_mean
        (dy, dx), (height, width) = outside, room
        framed[dy : dy + height, dx : dx + width] = io.resize_image(
            im[y0:y1, x0:x1], (height, width)
        )
        return framed

    def configure_crop(self, context_pad: int | None) -> None:
        """Set the context, and with it the mean image in the form that loaded images have."""
        name = self.inputs[0]
        back = np.argsort(self.transformer.transpose[name])
        shape = self.blobs[name].data.shape[1:]
        self.crop_dims = np.array(shape)[back]
        self.context_pad = context_pad
        if not context_pad:
            return
        mean = self.transformer.mean.get(name)
        if mean is None:
            self.crop_mean = np.zeros(self.crop_dims, np.float32)
            return
        mean = mean.astype(np.float32).transpose(back)
        swap = self.transformer.channel_swap.get(name)
        if swap is not None:
            mean = mean[:, :, np.argsort(swap)]
        self.crop_mean = mean / self.transformer.raw_scale.get(name, 1)
