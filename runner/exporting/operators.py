"""Layers that one ONNX operator computes, where torch's translation would take several.

These are shorter and faster, and read by more programs: OpenCV's importer refuses what torch makes
of an LRN for more than one record, and sizes of a Resize that are no constants.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from netgen.schema import caffe_pb
from runner.layers import Layer

#: Whether torch can be told the operators of the file by name, as 2.8 and later can.
AVAILABLE = hasattr(torch.onnx, "ops") and hasattr(torch.onnx.ops, "symbolic")

#: A layer's top as one operator; None where the layer has another form, which torch translates.
Operator = Callable[[Layer, list[torch.Tensor]], torch.Tensor | None]


def lrn(layer: Layer, bottoms: list[torch.Tensor]) -> torch.Tensor | None:
    """LRN across channels; ONNX's alpha, as Caffe's, is divided by the size."""
    p = layer.param.lrn_param
    if p.norm_region != caffe_pb.LRNParameter.ACROSS_CHANNELS:
        return None
    settings = {"alpha": p.alpha, "beta": p.beta, "bias": p.k, "size": p.local_size}
    return _operator("LRN", bottoms[:1], settings, bottoms[0].shape)


def interp(layer: Layer, bottoms: list[torch.Tensor]) -> torch.Tensor | None:
    """Interp without a cut: the corners lie on each other."""
    p = layer.param.interp_param
    if p.pad_beg or p.pad_end:
        return None
    settings = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    return _resize(layer, bottoms, settings)


def upsample(layer: Layer, bottoms: list[torch.Tensor]) -> torch.Tensor | None:
    """Upsample without a mask: every value becomes a square."""
    sizes = zip(bottoms[0].shape[2:], layer.shapes_of(*bottoms).tops[0][2:], strict=True)
    if len(bottoms) > 1 or any(wanted % size for size, wanted in sizes):
        return None
    settings = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    return _resize(layer, bottoms, settings)


OPERATORS: dict[str, Operator] = {"LRN": lrn, "Interp": interp, "Upsample": upsample}


def _resize(layer: Layer, bottoms: list[torch.Tensor], settings: dict[str, str]) -> torch.Tensor:
    """Resize by constant factors, which leave the batch alone.

    A factor that is not whole asks for a quarter of a pixel too much, and the operator rounds
    down. It finds its pixels by the sizes then, since corners that lie on each other want these.
    """
    x, shape = bottoms[0], layer.shapes_of(*bottoms).tops[0]
    factors = [1.0, 1.0]
    for size, wanted in zip(x.shape[2:], shape[2:], strict=True):
        factors.append(wanted / size if wanted % size == 0 else (wanted + 0.25) / size)
    return _operator("Resize", [x, None, torch.tensor(factors)], settings, shape)


def _operator(
    name: str,
    inputs: list[torch.Tensor | None],
    settings: dict[str, float | str],
    shape: tuple[int, ...],
) -> torch.Tensor:
    return torch.onnx.ops.symbolic(name, inputs, settings, dtype=torch.float32, shape=shape)
