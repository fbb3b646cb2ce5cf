"""Arrays, messages and images: what goes into a net and comes out of it.

scikit-image and scipy resize images; they are imported where that is asked for. Images are read
by Pillow.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from PIL import Image

from caffe.extras import extra
from caffe.proto import caffe_pb2

__all__ = [
    "Transformer",
    "array_to_blobproto",
    "array_to_datum",
    "arraylist_to_blobprotovector_str",
    "blobproto_to_array",
    "blobprotovector_str_to_arraylist",
    "caffe_pb2",
    "datum_to_array",
    "load_image",
    "oversample",
    "resize_image",
]

#: what scripts use of pycaffe's own imports, as caffe.io.resize -> its module and package
_BORROWED = {
    "resize": ("skimage.transform", "scikit-image"),
    "skimage": ("skimage.io", "scikit-image"),
    "zoom": ("scipy.ndimage", "scipy"),
}

#: Weights of red, green and blue in skimage.color.rgb2gray (ITU-R BT.709)
_LUMINANCE = np.array([0.2125, 0.7154, 0.0721])


def __getattr__(name: str) -> Any:
    if name not in _BORROWED:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    module, package = _BORROWED[name]
    found = extra(module, package, f"caffe.io.{name}")
    return sys.modules[name] if name == "skimage" else getattr(found, name)


# --- messages and arrays ---


def blobproto_to_array(blob: Any, return_diff: bool = False) -> np.ndarray:
    """The values of a BlobProto, or with return_diff its diff, as a new float64 array.

    The shape is the blob's, or num x channels x height x width where a file from before 2014
    gives one of these. Raises ValueError where the values do not fill the shape.
    """
    values = np.array(blob.diff if return_diff else blob.data, np.float64)
    legacy = ("num", "channels", "height", "width")
    if any(blob.HasField(name) for name in legacy):
        return values.reshape([getattr(blob, name) for name in legacy])
    return values.reshape(tuple(blob.shape.dim))


def array_to_blobproto(arr: np.ndarray, diff: np.ndarray | None = None) -> Any:
    """A new BlobProto of the array, and of `diff` beside it, which should have its shape."""
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(arr.shape)
    blob.data.extend(arr.astype(float).flat)
    if diff is not None:
        blob.diff.extend(diff.astype(float).flat)
    return blob


def arraylist_to_blobprotovector_str(arraylist: Iterable[np.ndarray]) -> bytes:
    """A serialized BlobProtoVector of the arrays."""
    vector = caffe_pb2.BlobProtoVector()
    vector.blobs.extend(map(array_to_blobproto, arraylist))
    return vector.SerializeToString()


def blobprotovector_str_to_arraylist(str: bytes) -> list[np.ndarray]:
    """The arrays of a serialized BlobProtoVector."""
    return [blobproto_to_array(blob) for blob in caffe_pb2.BlobProtoVector.FromString(str).blobs]


def array_to_datum(arr: np.ndarray, label: int | None = None) -> Any:
    """A Datum of a (C, H, W) array: uint8 goes to `data`, every other dtype to `float_data`.

    Raises ValueError for another number of axes, TypeError for a label that is no whole number.
    """
    if arr.ndim != 3:
        raise ValueError("Incorrect array shape.")
    datum = caffe_pb2.Datum()
    datum.channels, datum.height, datum.width = arr.shape
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(float).flat)
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum: Any) -> np.ndarray:
    """The (C, H, W) array of a Datum: uint8 from `data`, else float64 from `float_data`."""
    if datum.data:
        values = np.frombuffer(datum.data, np.uint8).copy()
    else:
        values = np.array(datum.float_data, float)
    return values.reshape(datum.channels, datum.height, datum.width)


# --- preprocessing ---


class Transformer:
    """Brings images into the form that a net's inputs want, and back.

    inputs: {name of an input: its shape}, the batch being the first axis. Each setting belongs to
    one input; None is as good as not made. `preprocess` applies those that were made in this
    order: resizing to the input's height and width, transposing, swapping channels, raw_scale,
    the mean, input_scale.
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = inputs
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, np.ndarray] = {}
        self.input_scale: dict[str, float] = {}

    def _check(self, in_: str) -> None:
        if in_ not in self.inputs:
            raise Exception(f"{in_} is not one of the net inputs: {self.inputs}")

    def preprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """The float32 array for input `in_` of an (H, W, K) image.

        As in pycaffe, raw_scale, mean and input_scale change `data` itself where it is float32
        and has the input's size. Raises Exception for an unknown input.
        """
        self._check(in_)
        out = data.astype(np.float32, copy=False)
        size = tuple(self.inputs[in_][2:])
        if out.shape[:2] != size:
            out = resize_image(out, size)
        if self.transpose.get(in_) is not None:
            out = out.transpose(self.transpose[in_])
        if self.channel_swap.get(in_) is not None:
            out = out[self.channel_swap[in_], :, :]
        if self.raw_scale.get(in_) is not None:
            out *= self.raw_scale[in_]
        if self.mean.get(in_) is not None:
            out -= self.mean[in_]
        if self.input_scale.get(in_) is not None:
            out *= self.input_scale[in_]
        return out

    def deprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """What `preprocess` made `data` of, sizes apart; `data` is not changed."""
        self._check(in_)
        out = data.copy().squeeze()
        if self.input_scale.get(in_) is not None:
            out /= self.input_scale[in_]
        if self.mean.get(in_) is not None:
            out += self.mean[in_]
        if self.raw_scale.get(in_) is not None:
            out /= self.raw_scale[in_]
        if self.channel_swap.get(in_) is not None:
            out = out[np.argsort(self.channel_swap[in_]), :, :]
        if self.transpose.get(in_) is not None:
            out = out.transpose(np.argsort(self.transpose[in_]))
        return out

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """The order of an image's axes in the net: (2, 0, 1) from H x W x K to K x H x W."""
        self._check(in_)
        if len(order) != len(self.inputs[in_]) - 1:
            raise Exception(
                "Transpose order needs to have the same number of dimensions as the input."
            )
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """The order of channels: (2, 1, 0) from RGB to BGR. It acts on the transposed image."""
        self._check(in_)
        if len(order) != self.inputs[in_][1]:
            raise Exception(
                "Channel swap needs to have the same number of dimensions as the input channels."
            )
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """The factor before the mean is subtracted: 255 where the net takes bytes."""
        self._check(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: np.ndarray) -> None:
        """The mean to subtract: one value a channel, or an image (K, H, W).

        An image of another size than the input's is resized. Raises ValueError for a mean of
        other channels or axes.
        """
        self._check(in_)
        wanted = tuple(self.inputs[in_][1:])
        if mean.ndim == 1:
            if len(mean) != wanted[0]:
                raise ValueError("Mean channels incompatible with input.")
            mean = mean[:, np.newaxis, np.newaxis]
        else:
            shape = (1, *mean.shape) if mean.ndim == 2 else mean.shape
            if len(shape) != 3:
                raise ValueError("Mean shape invalid")
            if shape != wanted:
                low, high = mean.min(), mean.max()
                image = ((mean - low) / (high - low)).transpose(1, 2, 0)
                mean = resize_image(image, wanted[1:]).transpose(2, 0, 1) * (high - low) + low
        self.mean[in_] = mean

    def set_input_scale(self, in_: str, scale: float) -> None:
        """The factor at the very end, after the mean is subtracted."""
        self._check(in_)
        self.input_scale[in_] = scale


# --- images ---


def load_image(filename: str | PathLike, color: bool = True) -> np.ndarray:
    """The image of a file, float32 in 0..1, (H, W, 3) in RGB or without `color` (H, W, 1).

    Gray images are repeated for three channels, alpha is dropped (of a gray image with alpha it
    stays, as in pycaffe), 16-bit values are divided by 65535. Luminance is scikit-image's. Raises
    OSError for a file that is missing or is no image.
    """
    with Image.open(filename) as image:
        if image.mode in ("1", "P", "CMYK", "YCbCr", "LAB", "HSV"):
            has_alpha = "transparency" in image.info
            image = image.convert("L" if image.mode == "1" else "RGBA" if has_alpha else "RGB")
        pixels = np.asarray(image)
    deep = pixels.dtype in (np.uint16, np.int32, np.uint32)
    values = pixels if pixels.dtype.kind == "f" else pixels / (65535 if deep else 255)
    if values.ndim == 3 and values.shape[2] == 4:
        values = values[:, :, :3]
    if not color and values.ndim == 3 and values.shape[2] == 3:
        values = values @ _LUMINANCE
    if values.ndim == 2:
        values = values[:, :, np.newaxis]
        if color:
            values = np.tile(values, (1, 1, 3))
    return values.astype(np.float32)


def resize_image(im: np.ndarray, new_dims: Sequence[int], interp_order: int = 1) -> np.ndarray:
    """The (H, W, K) image at height and width `new_dims`, float32.

    interp_order: of the spline; 1 is linear. Images of one or three channels are interpolated by
    scikit-image, without the low-pass filter that it got after Caffe's time, others by scipy.
    Beyond the border there are zeros, of the image scaled to 0..1. Raises ImportError where the
    package is missing.
    """
    height, width = (int(size) for size in new_dims)
    if im.shape[-1] not in (1, 3):
        zoom = extra("scipy.ndimage", "scipy", "caffe.io.resize_image").zoom
        factors = (height / im.shape[0], width / im.shape[1], 1)
        return zoom(im, factors, order=interp_order).astype(np.float32)
    low, high = im.min(), im.max()
    if not high > low:  # nothing to scale by
        return np.full((height, width, im.shape[-1]), low, np.float32)
    resize = extra("skimage.transform", "scikit-image", "caffe.io.resize_image").resize
    unit = (im - low) / (high - low)
    resized = resize(
        unit, (height, width), order=interp_order, mode="constant", anti_aliasing=False
    )
    return (resized * (high - low) + low).astype(np.float32)


def oversample(images: Sequence[np.ndarray], crop_dims: Sequence[int]) -> np.ndarray:
    """Ten crops of each (H, W, K) image: the corners, the centre, and all five mirrored.

    crop_dims: (height, width). Returns a (10 N, height, width, K) float32 array. All images have
    the size of the first.
    """
    height, width = (int(size) for size in crop_dims)
    tall, wide = images[0].shape[:2]
    corners = [(y, x) for y in (0, tall - height) for x in (0, wide - width)]
    corners.append((int(tall / 2 - height / 2), int(wide / 2 - width / 2)))
    crops = []
    for image in images:
        five = [image[y : y + height, x : x + width] for y, x in corners]
        crops += [*five, *(crop[:, ::-1] for crop in five)]
    return np.stack(crops).astype(np.float32)
