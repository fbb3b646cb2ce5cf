"""Net: a net that is run layer by layer over blobs anybody may read and write."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from itertools import zip_longest
from typing import Any

import numpy as np

from caffe._engine import (
    TEST,
    TRAIN,
    Blob,
    BlobVec,
    FatalError,
    Layerwise,
    PythonLayer,
    StringVec,
    Uncopied,
    Vector,
    check_file,
    fatal,
    glog,
    is_hdf5,
    load_weights,
    make_net,
    save_hdf5,
    save_net,
)

Arrays = dict[str, np.ndarray]


class LayerVec(Vector):
    """The layers of a net."""


class NetVec(Vector):
    """The test nets of a solver."""


class IntVec(Vector):
    """Positions."""


class BoolVec(Vector):
    """Whether each of several."""


class DtypeVec(Vector):
    """Numbers."""


class Fixed(Uncopied):
    """An object of which scripts set everything but what is named in `fixed`."""

    fixed: frozenset[str] = frozenset()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.fixed and name in self.__dict__:
            raise AttributeError(
                f"property '{name}' of '{type(self).__name__}' object has no setter"
            )
        super().__setattr__(name, value)


class BuiltInLayer(Fixed, PythonLayer):
    """A layer of the engine. type: Caffe's name of it; blobs: its parameters."""

    fixed = frozenset(("type", "blobs"))

    def __new__(cls, *arguments: Any, **keywords: Any) -> BuiltInLayer:
        return object.__new__(cls)

    def __init__(self, type: str, blobs: BlobVec) -> None:
        self.type, self.blobs = type, blobs


def __getattr__(name: str) -> Any:
    """The other classes of Caffe's compiled module, which its pycaffe.py imports as well."""
    if name.endswith("Solver") or name in ("NCCL", "Timer"):
        return getattr(import_module("caffe._caffe"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def _text(value: Any, name: str) -> str:
    """A path that pycaffe takes: str or bytes."""
    if isinstance(value, bytes):
        return value.decode()
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}: {value!r}")
    return value


def _whole(value: Any, name: str) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}: {value!r}")
    return int(value)


class Net(Fixed):
    """The net of a prototxt file.

    network_file: its path. phase: caffe.TRAIN or caffe.TEST. level, stages: of its NetState.
    weights: a .caffemodel or .h5 to copy by layer name. The deprecated form
    Net(network_file, weights, phase) is taken too. Raises RuntimeError for what Caffe refuses,
    TypeError for arguments of other types.
    """

    fixed = frozenset(
        (
            "blobs",
            "blob_loss_weights",
            "bottom_names",
            "inputs",
            "layer_dict",
            "layers",
            "outputs",
            "params",
            "top_names",
        )
    )

    def __init__(
        self,
        network_file: str,
        phase: Any,
        level: Any = None,
        stages: Sequence[str] | None = None,
        weights: str | None = None,
    ) -> None:
        path = _text(network_file, "network_file")
        if isinstance(phase, str | bytes):
            if not isinstance(level, int) or stages is not None or weights is not None:
                raise TypeError("Net(network_file, phase, level=0, stages=None, weights=None)")
            phase, level, weights = level, None, _text(phase, "weights")
            for number, line in (
                (139, "DEPRECATION WARNING - deprecated use of Python interface"),
                (140, 'Use this instead (with the named "weights" parameter):'),
                (142, f"Net('{path}', {phase}, weights='{weights}')"),
            ):
                glog.warning(line, f"_caffe.cpp:{number}")
            check_file(path)
            check_file(weights)
        phase, level = _whole(phase, "phase"), _whole(level or 0, "level")
        if phase not in (TRAIN, TEST):
            raise FatalError(f"phase is caffe.TRAIN (0) or caffe.TEST (1), not {phase}")
        names = [_text(stage, "stages") for stage in stages or ()]
        check_file(path)
        self._take(make_net(path, phase, level, names))
        if weights is not None:
            weights = _text(weights, "weights")
            check_file(weights)
            self.copy_from(weights)

    @classmethod
    def _of(cls, run: Layerwise) -> Net:
        """The face of a net that the engine has made and runs layer by layer."""
        face = cls.__new__(cls)
        face._take(run.net, run)
        return face

    def _take(self, net: Any, run: Layerwise | None = None) -> None:
        self._net = net
        self._run = run or Layerwise(net)
        self._blob_names = StringVec(map(_shown, net.blobs))
        self._blobs = BlobVec(net.blobs.values())
        self._layer_names = StringVec(node.name for node in net.nodes)
        positions = {name: i for i, name in enumerate(net.blobs)}
        self._tops = [IntVec(positions[name] for name in node.tops) for node in net.nodes]
        self._bottoms = [IntVec(positions[name] for name in node.bottoms) for node in net.nodes]
        self._inputs = IntVec(
            positions[name]
            for node in net.nodes
            if node.param.type == "Input"
            for name in node.tops
        )
        self._outputs = IntVec(positions[name] for name in net.outputs)
        weights = net.loss_weights
        self._blob_loss_weights = DtypeVec(float(weights.get(name) or 0) for name in net.blobs)
        self.layers = LayerVec(
            getattr(node.layer, "instance", None)
            or BuiltInLayer(node.param.type, net.parameter_blobs(node))
            for node in net.nodes
        )
        #: {name: Blob} in the order they are made
        self.blobs: OrderedDict[str, Blob] = OrderedDict(
            zip(self._blob_names, self._blobs, strict=True)
        )
        self.blob_loss_weights: OrderedDict[str, float] = OrderedDict(
            zip(self._blob_names, self._blob_loss_weights, strict=True)
        )
        self.layer_dict: OrderedDict[str, PythonLayer] = OrderedDict(
            zip(self._layer_names, self.layers, strict=True)
        )
        #: {layer name: BlobVec} of the layers that have parameters
        self.params: OrderedDict[str, BlobVec] = OrderedDict(
            (name, layer.blobs)
            for name, layer in zip(self._layer_names, self.layers, strict=True)
            if layer.blobs
        )
        names = list(self._blob_names)
        self.inputs: list[str] = [names[i] for i in self._inputs]
        self.outputs: list[str] = [names[i] for i in self._outputs]
        self.top_names = self._named(self._tops)
        self.bottom_names = self._named(self._bottoms)

    def _named(self, positions: list[IntVec]) -> OrderedDict[str, list[str]]:
        return OrderedDict(
            (name, [self._blob_names[i] for i in of_layer])
            for name, of_layer in zip(self._layer_names, positions, strict=True)
        )

    def _top_ids(self, layer: int) -> IntVec:
        return self._tops[layer]

    def _bottom_ids(self, layer: int) -> IntVec:
        return self._bottoms[layer]

    # --- running ---

    def forward(
        self,
        blobs: list[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **inputs: np.ndarray,
    ) -> Arrays:
        """Run the layers from `start` to `end`, by default all of them.

        inputs: values for exactly the net's inputs. Returns views of the data of the outputs, or
        of the tops of `end`, and of `blobs`: the next forward changes them.
        """
        first = self._position(start) if start is not None else 0
        last = self._position(end) if end is not None else len(self.layers) - 1
        wanted = set((self.outputs if end is None else self.top_names[end]) + (blobs or []))
        if inputs:
            if set(inputs) != set(self.inputs):
                raise Exception("Input blob arguments do not match net inputs.")
            for name, value in inputs.items():
                if value.shape[0] != self.blobs[name].shape[0]:
                    raise Exception("Input is not batch sized")
                self.blobs[name].data[...] = value
        self._go_forward(first, last)
        return {name: self.blobs[name].data for name in wanted}

    def backward(
        self,
        diffs: list[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **outputs: np.ndarray,
    ) -> Arrays:
        """Go back from layer `start`, by default the last, down to `end`, by default the first.

        outputs: diffs for exactly the net's outputs. Returns views of the diffs of the inputs,
        or of the bottoms of `end`, and of `diffs`.
        """
        first = self._position(start) if start is not None else len(self.layers) - 1
        last = self._position(end) if end is not None else 0
        wanted = set((self.inputs if end is None else self.bottom_names[end]) + (diffs or []))
        if outputs:
            if set(outputs) != set(self.outputs):
                raise Exception("Top diff arguments do not match net outputs.")
            for name, diff in outputs.items():
                if diff.shape[0] != self.blobs[name].shape[0]:
                    raise Exception("Diff is not batch sized")
                self.blobs[name].diff[...] = diff
        self._backward(first, last)
        return {name: self.blobs[name].diff for name in wanted}

    def _position(self, name: str) -> int:
        return list(self._layer_names).index(name)

    def _go_forward(self, first: int, last: int) -> None:
        with fatal():
            self._run.begin()
            self._run.forward_range(first, last)

    def _forward(self, start: int, end: int) -> float:
        """Run layers number `start` to `end`; returns their part of the objective."""
        self._check_range(start, end)
        self._go_forward(start, end)
        return self._run.objective(start, end)

    def _backward(self, start: int, end: int) -> None:
        """Go back from layer number `start` down to `end`."""
        self._check_range(end, start)
        with fatal():
            self._run.begin()
            self._run.backward_range(start, end)

    def _check_range(self, low: int, high: int) -> None:
        if low < 0:
            raise FatalError(f"Check failed: start >= 0 ({low} vs. 0)")
        if high >= len(self.layers):
            raise FatalError(f"Check failed: end < layers_.size() ({high} vs. {len(self.layers)})")

    def forward_all(self, blobs: list[str] | None = None, **inputs: np.ndarray) -> Arrays:
        """Run forward on any number of records, a batch at a time.

        inputs: an array for each of the net's inputs, as many records each. Returns copies of
        the outputs' and `blobs`' data, a row a record.
        """
        found: dict[str, list] = {name: [] for name in set(self.outputs + (blobs or []))}
        for batch in self._batch(inputs):
            for name, data in self.forward(blobs=blobs, **batch).items():
                found[name].extend(data.copy())
        return _cut(found, len(next(iter(inputs.values()))))

    def forward_backward_all(
        self,
        blobs: list[str] | None = None,
        diffs: list[str] | None = None,
        **arrays: np.ndarray,
    ) -> tuple[Arrays, Arrays]:
        """Run forward and backward on any number of records, a batch at a time.

        arrays: of inputs, and of outputs for their diffs. Returns copies of the outputs' and
        `blobs`' data, and of the inputs' and `diffs`' diffs.
        """
        data: dict[str, list] = {name: [] for name in set(self.outputs + (blobs or []))}
        back: dict[str, list] = {name: [] for name in set(self.inputs + (diffs or []))}
        forwards = self._batch({name: arrays[name] for name in self.inputs if name in arrays})
        backwards = self._batch({name: arrays[name] for name in self.outputs if name in arrays})
        for inputs, outputs in zip_longest(forwards, backwards, fillvalue={}):
            for name, array in self.forward(blobs=blobs, **inputs).items():
                data[name].extend(array.copy())
            for name, array in self.backward(diffs=diffs, **outputs).items():
                back[name].extend(array.copy())
        count = len(next(iter(arrays.values())))
        return _cut(data, count), _cut(back, count)

    def _batch(self, arrays: Arrays) -> Iterator[Arrays]:
        """The arrays a batch of the net at a time, zeros where the last one is not full."""
        if not arrays:
            return
        count = len(next(iter(arrays.values())))
        size = next(iter(self.blobs.values())).shape[0]
        for first in range(0, count, size):
            part = {name: array[first : first + size] for name, array in arrays.items()}
            missing = size - (min(first + size, count) - first)
            if missing:
                part = {
                    name: np.concatenate([array, np.zeros((missing, *array.shape[1:]))])
                    for name, array in part.items()
                }
            yield part

    def reshape(self) -> None:
        """Let the shapes of all blobs follow from those of the inputs."""
        with fatal():
            self._run.reshape()

    def clear_param_diffs(self) -> None:
        """Set the parameters' diffs to zero."""
        self._run.clear_parameter_diffs()

    def before_forward(self, call: Callable[[int], Any]) -> None:
        """Have `call(layer number)` called before each layer's forward."""
        self._run.before_forward.append(call)

    def after_forward(self, call: Callable[[int], Any]) -> None:
        """Have `call(layer number)` called after each layer's forward."""
        self._run.after_forward.append(call)

    def before_backward(self, call: Callable[[int], Any]) -> None:
        """Have `call(layer number)` called before each layer's backward."""
        self._run.before_backward.append(call)

    def after_backward(self, call: Callable[[int], Any]) -> None:
        """Have `call(layer number)` called after each layer's backward."""
        self._run.after_backward.append(call)

    # --- weights ---

    def copy_from(self, path: str) -> None:
        """Take the weights of a .caffemodel or .h5 for the layers of the same names."""
        self._run.begin()
        with fatal():
            load_weights(self._net, _text(path, "path"))

    def share_with(self, other: Net) -> None:
        """Use the other net's weights, for the layers of the same names, from now on."""
        if not isinstance(other, Net):
            raise TypeError(f"share_with takes a Net, not {type(other).__name__}")
        self._run.begin()
        with fatal():
            self._net.share_weights_from(other._net)

    def save(self, path: str) -> None:
        """Write a .caffemodel."""
        self._run.begin()
        save_net(self._net, _text(path, "path"))

    def save_hdf5(self, path: str) -> None:
        """Write a .caffemodel.h5."""
        self._run.begin()
        save_hdf5(self._net, _text(path, "path"))

    def load_hdf5(self, path: str) -> None:
        """Take the weights of an HDF5 file, whatever it is called, as `copy_from` does."""
        check_file(_text(path, "path"))
        if not is_hdf5(path):
            raise FatalError(f"Couldn't open {path}: it is no HDF5 file")
        self.copy_from(path)

    # --- data ---

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Have the first layer, a MemoryData, read these arrays, which are not copied.

        data: (N, C, H, W) float32, C-contiguous; labels: (N,) or (N, 1, 1, 1) float32.
        """
        first = self._net.nodes[0]
        if first.param.type != "MemoryData":
            raise FatalError(
                "set_input_arrays may only be called if the first layer is a MemoryDataLayer"
            )
        with fatal():
            first.layer.set_input_arrays(data, labels)


def _shown(name: str) -> str:
    return "(automatic)" if name.startswith("(automatic)") else name


def _cut(found: dict[str, list], count: int) -> Arrays:
    """Arrays of the rows, without those that only fill up the last batch."""
    arrays = {name: np.asarray(rows) for name, rows in found.items()}
    extra = len(next(iter(arrays.values()))) - count if arrays else 0
    return {name: array[:-extra] for name, array in arrays.items()} if extra else arrays
