"""A net's way out, into the files of other programs and back: `caffe export`."""

from __future__ import annotations

import os

from netgen import schema
from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner.exporting.onnx import write_onnx
from runner.net import hdf5, safetensors, weights
from runner.net.net import Net

#: How each kind of weights' file is written; ONNX is the only one that holds the net.
_WEIGHTS = {
    safetensors.SUFFIX: safetensors.write_weights,
    ".caffemodel": lambda net, path: schema.write_binary(weights.net_to_proto(net), path),
    ".caffemodel.h5": hdf5.write_weights,
}
SUFFIXES = (".onnx", *_WEIGHTS)


def export(net: Net, path: str | os.PathLike[str], batch: int | None = None) -> dict[str, float]:
    """Write `net` to `path` in the format of its suffix, one of SUFFIXES.

    net: an engine's Net on a CPU, and for ONNX of phase TEST. batch, result: as for write_onnx;
    files that hold weights alone take no batch and give {}. Raises CaffeError.
    """
    name = os.fspath(path)
    suffix = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)
    if suffix is None:
        raise CaffeError(f"{name}: a net is exported to {', '.join(SUFFIXES)}")
    if suffix != ".onnx":
        if batch is not None:
            raise CaffeError(f"{name}: -batch is for .onnx, this file holds weights alone")
        _WEIGHTS[suffix](net, name)
        return {}
    if net.phase != caffe_pb.TEST:
        raise CaffeError(f"net '{net.name}' is of phase TRAIN: export one of phase TEST")
    return write_onnx(net, path, batch)
