"""Classification of whole images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

import caffe
from caffe import io


def transformer_of(net: Any, **settings: Any) -> io.Transformer:
    """The Transformer of a net's first input, for images H x W x K.

    settings: mean, input_scale, raw_scale, channel_swap, each left out where it is None.
    """
    name = net.inputs[0]
    transformer = io.Transformer({name: net.blobs[name].data.shape})
    transformer.set_transpose(name, (2, 0, 1))
    for setting, value in settings.items():
        if value is not None:
            getattr(transformer, f"set_{setting}")(name, value)
    return transformer


def predictions_of(net: Any, crops: Iterable[np.ndarray]) -> np.ndarray:
    """The net's first output, (N, ...), for N crops H x W x K, brought into its input's form."""
    name = net.inputs[0]
    batch = np.stack([net.transformer.preprocess(name, crop) for crop in crops])
    return net.forward_all(**{name: batch})[net.outputs[0]]


class Classifier(caffe.Net):
    """A Net that classifies images.

    image_dims: the height and width that images are resized to before they are cropped to the
    net's input; by default that input's. mean, input_scale, raw_scale, channel_swap: of the
    Transformer.
    """

    def __init__(
        self,
        model_file: str,
        pretrained_file: str,
        image_dims: Sequence[int] | None = None,
        mean: np.ndarray | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> None:
        super().__init__(model_file, caffe.TEST, weights=pretrained_file)
        self.transformer = transformer_of(
            self,
            mean=mean,
            input_scale=input_scale,
            raw_scale=raw_scale,
            channel_swap=channel_swap,
        )
        self.crop_dims = np.array(self.blobs[self.inputs[0]].data.shape[2:])
        self.image_dims = self.crop_dims if image_dims is None else image_dims

    def predict(self, inputs: Sequence[np.ndarray], oversample: bool = True) -> np.ndarray:
        """The (N, C) probabilities of N images of C classes.

        inputs: (H, W, K) arrays. oversample: average over ten crops (io.oversample); otherwise the
        centre is taken.
        """
        images = np.stack([io.resize_image(image, self.image_dims) for image in inputs])
        if oversample:
            crops = io.oversample(images, self.crop_dims)
        else:
            top, left = (
                int(size / 2 - crop / 2)
                for size, crop in zip(self.image_dims, self.crop_dims, strict=True)
            )
            height, width = self.crop_dims
            crops = images[:, top : top + height, left : left + width, :]
        predictions = predictions_of(self, crops)
        if oversample:
            predictions = predictions.reshape(len(predictions) // 10, 10, -1).mean(1)
        return predictions
