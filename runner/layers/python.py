"""Layers written by the user in Python, as pycaffe's: a subclass of caffe.Layer.

    class Double(caffe.Layer):
        def setup(self, bottom, top): ...
        def reshape(self, bottom, top): top[0].reshape(*bottom[0].data.shape)
        def forward(self, bottom, top): top[0].data[...] = 2 * bottom[0].data
        def backward(self, top, propagate_down, bottom): bottom[0].diff[...] = 2 * top[0].diff

It works on the net's blobs, in the face as in the engine's own passes, where what it reads and
writes there is carried over.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import torch

from netgen import graph
from netgen.schema import caffe_pb
from runner.layers.base import Layer
from runner.layers.blob import BlobVec, Uncopied, Vector


class NamedPhase(int):
    """A phase as Python layers see it: the number of stock Caffe, whose str is TRAIN or TEST.

    So it was in the Caffe of Faster R-CNN, whose layers take str(self.phase) for a key.
    """

    def __str__(self) -> str:
        return str(caffe_pb.Phase.Name(int(self)))


class PythonLayer(Uncopied):
    """The base of users' layers, caffe.Layer.

    blobs: their parameters, which setup adds with `self.blobs.add_blob(*shape)`. param_str: of
    the python_param, "" by default. phase: caffe.TRAIN or TEST, a number
    whose str is its name. type: "Python".
    """

    type = "Python"
    param_str = ""
    param_str_ = ""  # its name before 2015
    phase = 0
    blobs: BlobVec

    def __new__(cls, *arguments: Any, **keywords: Any) -> PythonLayer:
        layer = super().__new__(cls)
        layer.blobs = BlobVec()
        return layer

    def __init__(self, param: Any = None) -> None:
        """param: the LayerParameter, for subclasses to hand on."""

    def setup(self, bottom: list, top: list) -> None:
        """Called once, when the net is built."""

    def reshape(self, bottom: list, top: list) -> None:
        """Called after setup and before each forward: gives the tops their shapes."""


class Python(Layer, type="Python"):
    """Runs the class python_param names: `instance` is the user's."""

    replayable = False  # what it does is done on the host
    untraceable = "it is a program in Python"

    def __init__(self, param: Any, context: Any) -> None:
        super().__init__(param, context)
        own = param.python_param
        self.instance = _class_of(own)(param)
        self.instance.param_str = self.instance.param_str_ = own.param_str
        self.instance.phase = NamedPhase(self.phase)

    def attach(self, bottoms: list, tops: list) -> None:
        self.bottom_blobs, self.top_blobs = Vector(bottoms), Vector(tops)

    @property
    def parameter_blobs(self) -> BlobVec:
        """The user's own."""
        return self.instance.blobs

    def setup(self, bottoms: list) -> graph.LayerShapes:
        self.instance.setup(self.bottom_blobs, self.top_blobs)
        self.reshape_blobs()
        tops = [blob.shape for blob in self.top_blobs]
        params = [blob.shape for blob in self.instance.blobs]
        self.shapes = graph.layer_shapes(self.param, bottoms, self.phase, data_shape=(tops, params))
        return self.shapes

    def shapes_for(self, bottoms: Any) -> graph.LayerShapes:
        """What the user's layer last said: only running it tells more."""
        return self.shapes

    def take_parameters(self, node: Any, gradients: list) -> None:
        values = [blob.tensor().clone() for blob in self.instance.blobs]
        for i, (blob, value) in enumerate(zip(self.instance.blobs, values, strict=True)):
            blob.become_parameter(node, i, gradients[i])
            node.blobs[i].copy_(value)

    # --- on blobs ---

    def reshape_blobs(self) -> None:
        """Let the user's layer give its tops their shapes."""
        self.instance.reshape(self.bottom_blobs, self.top_blobs)

    def forward_blobs(self) -> None:
        """The user's forward."""
        self.instance.forward(self.bottom_blobs, self.top_blobs)

    def backward_blobs(self, needs: list[bool]) -> None:
        """The user's backward. needs: whether to go on into each bottom."""
        self.instance.backward(self.top_blobs, needs, self.bottom_blobs)

    # --- in the engine's passes ---

    def flush_parameters(self) -> None:
        """Let what the user wrote to the host's copies of its parameters reach the device."""
        for blob in self.instance.blobs:
            blob.data_memory.flush()
            blob.diff_memory.flush()

    def forward(self, bottoms: list, blobs: list) -> list:
        tops = _Bridge.apply(self, len(bottoms), *bottoms, *blobs)
        return [tops] if isinstance(tops, torch.Tensor) else list(tops)


class _Bridge(torch.autograd.Function):
    """The user's forward and backward between tensors."""

    @staticmethod
    def forward(ctx: Any, layer: Python, count: int, *tensors: torch.Tensor) -> tuple:
        ctx.layer, ctx.count = layer, count
        for blob, value in zip(layer.bottom_blobs, tensors[:count], strict=True):
            blob.put(value, owned=False)
        layer.reshape_blobs()
        layer.forward_blobs()
        layer.flush_parameters()
        # A tensor that the blob has only noted may be a bottom's own: outputs are others.
        return tuple(blob.tensor().clone() for blob in layer.top_blobs)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple:
        layer, count = ctx.layer, ctx.count
        for blob, diff in zip(layer.top_blobs, upstream, strict=True):
            blob.put_diff(diff, owned=False)
        needs = list(ctx.needs_input_grad[2 : 2 + count])
        layer.backward_blobs(needs)
        layer.flush_parameters()
        found = [
            blob.diff_tensor().clone() if need else None
            for blob, need in zip(layer.bottom_blobs, needs, strict=True)
        ]
        # What its parameters get it has added to their diffs by itself.
        return None, None, *found, *[None] * (len(ctx.needs_input_grad) - 2 - count)


def _class_of(param: Any) -> type:
    """The class that a PythonParameter names. Raises what importing it raises."""
    _offer_caffe()
    if not {os.getcwd(), ""} & set(sys.path):
        sys.path.append(os.getcwd())
    importlib.invalidate_caches()  # the script may have just written it
    return getattr(importlib.import_module(param.module), param.layer)


def _offer_caffe() -> None:
    """Let `import caffe` in the user's module find the face of this engine.

    A C++ pycaffe may come earlier on the path; its layers would not run here.
    """
    if "caffe" in sys.modules:
        return
    path = Path(__file__).parents[2] / "caffe" / "__init__.py"
    spec = importlib.util.spec_from_file_location(
        "caffe", path, submodule_search_locations=[str(path.parent)]
    )
    assert spec is not None and spec.loader is not None
    module = sys.modules["caffe"] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules["caffe"]
        raise
