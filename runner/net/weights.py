"""Weights in and out of a net: caffemodel (binary), .h5, .safetensors, by layer name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from netgen import graph, schema
from netgen.errors import CaffeError
from netgen.graph import shape_string
from netgen.schema import caffe_pb
from runner.log import glog, upgrades
from runner.net import hdf5, safetensors
from runner.net.written import check_model

if TYPE_CHECKING:
    from runner.net.net import Net

_LEGACY_AXES = ("num", "channels", "height", "width")


@dataclass(frozen=True)
class WeightsReport:
    """What became of the weights of a file, by layer names in the order of file and net.

    loaded: layers whose blobs were copied. skipped: those with blobs in the file that the net
    does not have. missing: those with blobs in the net that the file does not have, which keep
    the values they had.
    """

    loaded: tuple[str, ...]
    skipped: tuple[str, ...]
    missing: tuple[str, ...]


def load_weights(net: Net, source: str | caffe_pb.NetParameter) -> WeightsReport:
    """Copy the layers of a caffemodel (or HDF5, safetensors file) that `net` has, by name.

    source: the file's path, or the NetParameter itself. Nothing is copied unless everything
    fits, nor where a .resume beside it tells that it is damaged. Logs Caffe's `Ignoring source layer l` lines, then in one line what was loaded and
    what was not. Returns a WeightsReport. Raises CaffeError for a missing file and for a count
    or shape that differs.
    """
    path, source = _read(source)
    nodes = net.by_name()
    copies, loaded = [], []
    for layer, blobs in source:
        if layer not in nodes:
            glog.info(f"Ignoring source layer {layer}", "net.cpp:746")
            continue
        targets = _targets(net, nodes[layer], blobs)
        copies += [
            (target, _fitted(blob, tuple(target.shape), i, layer)) for i, target, blob in targets
        ]
        if targets:
            loaded.append(layer)
    with torch.no_grad():
        for target, array in copies:
            target.copy_(torch.from_numpy(array))
    given = {name for name, _ in source}
    report = WeightsReport(
        loaded=tuple(loaded),
        skipped=tuple(name for name, blobs in source if blobs and name not in loaded),
        missing=tuple(node.name for node in net.nodes if node.blobs and node.name not in given),
    )
    _log(report, path)
    return report


def _read(source):
    """(what the log calls it, (layer, its blobs) pairs) of a path or NetParameter."""
    if isinstance(source, caffe_pb.NetParameter):
        return f"net '{source.name}'", _by_layer(source)
    if not os.path.exists(source):
        raise CaffeError(f"Check failed: fd != -1 (-1 vs. -1) File not found: {source}")
    check_model(source)
    if schema.is_hdf5(source):
        return source, list(hdf5.read_weights(source).items())
    if os.fspath(source).endswith(safetensors.SUFFIX):
        return source, list(safetensors.read_weights(source).items())
    return source, _by_layer(upgrades.read_caffemodel(source))


def _by_layer(param):
    return [(layer.name, list(layer.blobs)) for layer in param.layer]


def _targets(net, node, blobs):
    """(index, the net's tensor, the file's blob) for each blob of the layer.

    blobs: a list; or a dict by index (HDF5), where a blob that another layer owns may lack.
    """
    if isinstance(blobs, dict):
        missing = [
            i
            for i, position in enumerate(node.learnable)
            if i not in blobs and net.parameters.learnable[position].layer == node.name
        ]
        if missing or len(blobs) > len(node.blobs):
            raise graph.NetError(f"Incompatible number of blobs for layer {node.name}")
        return [(i, node.blobs[i], array) for i, array in sorted(blobs.items())]
    if len(node.blobs) != len(blobs):
        raise graph.NetError(
            f"Incompatible number of blobs for layer {node.name} "
            f"({len(node.blobs)} vs. {len(blobs)})"
        )
    return [(i, *pair) for i, pair in enumerate(zip(node.blobs, blobs, strict=True))]


def _fitted(blob, shape, index, layer):
    """The file's blob as an array of the net's shape; older files pad shapes with leading 1s."""
    try:
        array = blob if isinstance(blob, np.ndarray) else schema.blob_to_array(blob)
    except schema.SchemaError as error:
        raise CaffeError(f"param {index} of layer '{layer}': {error}") from None
    given = array.shape
    if not isinstance(blob, np.ndarray) and any(map(blob.HasField, _LEGACY_AXES)):
        # num, channels, height, width of files before blobs had shapes: right-aligned
        extra = 4 - len(shape)
        given = given[extra:] if extra > 0 and given[:extra] == (1,) * extra else given
    if given != shape:
        raise graph.NetError(
            f"Cannot copy param {index} weights from layer '{layer}'; shape mismatch.  Source "
            f"param shape is {shape_string(array.shape)}; target param shape is "
            f"{shape_string(shape)}. To learn this layer's parameters from scratch rather than "
            "copying from a saved net, rename the layer."
        )
    return np.ascontiguousarray(array, np.float32).reshape(shape)


def _log(report, path):
    names = ", ".join(report.loaded) or "none"
    text = f"Loaded {len(report.loaded)} layers from {path}: {names}"
    if report.skipped:
        text += f"; not in the net: {', '.join(report.skipped)}"
    if report.missing:
        text += f"; not in the file, left as they were: {', '.join(report.missing)}"
    glog.info(text, "net.cpp:768")


def net_to_proto(net: Net, with_diff: bool = False) -> caffe_pb.NetParameter:
    """The net as Caffe writes it: its name, and every layer with its blobs."""
    param = caffe_pb.NetParameter(name=net.name)
    for node in net.nodes:
        layer = param.layer.add()
        layer.CopyFrom(node.param)
        del layer.blobs[:]
        del layer.param[:]
        layer.param.extend(node.layer.specs())
        for i, blob in enumerate(node.blobs):
            grad = net.parameters.blobs[node.learnable[i]].grad if with_diff else None
            schema.array_to_blob(
                blob.detach().cpu().numpy(),
                layer.blobs.add(),
                diff=None if grad is None else grad.cpu().numpy(),
            )
    return param
