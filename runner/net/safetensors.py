"""Weights as a .safetensors file: a tensor named LAYER.BLOB for every blob, as Caffe has them.

Blobs are called as blob_names says: conv1.weight, conv1.bias, bn1.mean_sum. Their values are the
caffemodel's to the bit, so that the way back is the same file's weights.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from netgen import schema
from netgen.errors import CaffeError
from netgen.extras import needed
from netgen.schema import caffe_pb

SUFFIX = ".safetensors"

_WEIGHT_AND_BIAS = ("weight", "bias")
_NAMES = {
    "BatchNorm": ("mean_sum", "variance_sum", "factor"),
    "Bias": ("bias",),
    "Convolution": _WEIGHT_AND_BIAS,
    "ConvolutionDepthwise": _WEIGHT_AND_BIAS,
    "Deconvolution": _WEIGHT_AND_BIAS,
    "DepthwiseConvolution": _WEIGHT_AND_BIAS,
    "Embed": _WEIGHT_AND_BIAS,
    "InnerProduct": _WEIGHT_AND_BIAS,
    "NdConvolution": _WEIGHT_AND_BIAS,
    "PReLU": ("weight",),
    "Scale": _WEIGHT_AND_BIAS,
}
#: name -> its place among the blobs of a layer, in which it may be the first.
_PLACES = {name: i for names in _NAMES.values() for i, name in enumerate(names) if len(names) > 1}


def blob_names(layer: caffe_pb.LayerParameter, count: int) -> list[str]:
    """The names of a layer's `count` blobs: by its type, else blob0, blob1, ..."""
    names = _NAMES.get(layer.type, ())
    if layer.type == "Scale" and len(layer.bottom) > 1:  # its factor is a bottom
        names = ("bias",)
    return [names[i] if i < len(names) else f"blob{i}" for i in range(count)]


def write_weights(net: Any, path: str | os.PathLike[str]) -> None:
    """Write the blobs of an engine's Net; one that layers share is there for each of them.

    The metadata have the net's name as `net`, and `format` pt, which says that axes are in
    PyTorch's order. Raises CaffeError.
    """
    tensors = {
        f"{node.name}.{name}": np.ascontiguousarray(blob.detach().cpu().numpy())
        for node in net.nodes
        for name, blob in zip(blob_names(node.param, len(node.blobs)), node.blobs, strict=True)
    }
    content = needed("safetensors.numpy", "export").save(
        tensors, metadata={"format": "pt", "net": net.name}
    )
    schema.write_bytes(content, path)


def read_weights(path: str) -> dict[str, list[np.ndarray]]:
    """{layer: its blobs, float32, in Caffe's order} of a .safetensors file. Raises CaffeError."""
    library = needed("safetensors", "export")
    layers: dict[str, dict[str, np.ndarray]] = {}
    try:
        with library.safe_open(path, framework="numpy") as file:
            for key in file.keys():  # noqa: SIM118 (it is no dict)
                layer, _, name = key.rpartition(".")
                layers.setdefault(layer, {})[name] = file.get_tensor(key).astype(np.float32)
    except (library.SafetensorError, OSError, TypeError, ValueError) as error:
        raise CaffeError(f"{path}: no readable safetensors file: {error}") from None
    return {
        layer: [blobs[name] for name in sorted(blobs, key=_place)]
        for layer, blobs in layers.items()
    }


def _place(name: str) -> int:
    """The place of a blob of this name among its layer's."""
    number = name.removeprefix("blob")
    return int(number) if number.isdecimal() else _PLACES.get(name, 0)
