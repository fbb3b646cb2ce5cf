"""The engine from Python: what `runner` shows of it. Use `from runner import Net, Solver`.

A Net here is a net as a person uses it: arrays in, named arrays out, silent. The engine's own,
which a training step runs, is its `engine`; whoever measures or extends the engine goes there.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from netgen import graph, schema
from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner.exporting import export as export_engine_net
from runner.layers import Context
from runner.layers.blob import Blob, Window
from runner.log import glog, upgrades
from runner.net import inference
from runner.net import net as engine_net
from runner.net import weights as engine_weights
from runner.net.weights import WeightsReport
from runner.process.device import device_of, gpu_ids
from runner.process.precision import set_precision
from runner.solver import snapshot
from runner.solver import solver as engine_solver

Path = str | os.PathLike[str]

PHASES = {"TRAIN": caffe_pb.TRAIN, "TEST": caffe_pb.TEST}


def device(name: str | torch.device = "cpu") -> torch.device:
    """The device of a name ("cpu", "cuda", "cuda:1"), made this thread's for the engine's work.

    Raises CaffeError for another kind of device and for one that is not there.
    """
    try:
        asked = torch.device(name)
    except RuntimeError:
        asked = None
    if asked is None or asked.type not in ("cpu", "cuda"):
        raise CaffeError(f"device '{name}': it is cpu, cuda or cuda:N")
    if asked.type == "cpu":
        return asked
    return device_of(gpu_ids(str(asked.index or 0), f"device '{name}'"))


def load_weights(net: Net, source: Path | caffe_pb.NetParameter) -> WeightsReport:
    """Copy a caffemodel (binary or HDF5) into `net`, layer by layer of the same name.

    source: the file, or the NetParameter itself. Nothing is copied unless everything fits.
    Returns what was loaded, skipped (in the file only) and missing (in the net only); the log,
    if the net has one, says the same in Caffe's lines. Raises CaffeError for a file that cannot
    be read and for a layer whose blobs have other shapes.
    """
    with net.logging():
        return engine_weights.load_weights(net.engine, _path(source))


class Net:
    """A net that runs.

    net: a prototxt file or a NetParameter, which is left as it is. weights: a caffemodel, or
    several of which later ones win, to load over what the fillers draw. phase, level, stages:
    the state that layers' include and exclude rules ask about. device: as `device` takes it.
    precision: "fp32", "tf32" or "bf16", for the whole process. seed: of the fillers and of
    dropout and noise; None for those of `caffe test`. log: whether Caffe's lines go to the log.

    inputs: {name: shape} of the blobs that are filled from outside (Input layers). outputs: the
    names of the blobs that no layer reads. blob_shapes: {name: shape} of all blobs as the
    prototxt has them. Raises CaffeError for a net, weights or device that cannot be.
    """

    def __init__(
        self,
        net: Path | caffe_pb.NetParameter,
        weights: Path | caffe_pb.NetParameter | Sequence[Path] | None = None,
        phase: str | int = "TEST",
        level: int = 0,
        stages: Iterable[str] = (),
        device: str | torch.device = "cpu",
        *,
        precision: str = "fp32",
        seed: int | None = None,
        log: bool = False,
    ) -> None:
        self._log = log
        where = _device(device)
        set_precision(precision, where)
        with self.logging():
            param = engine_net.net_param_for(_net_param(net), _phase(phase), level, tuple(stages))
            try:
                self.engine = engine_net.Net(param, _context(where, precision, seed))
            except graph.NetError as error:
                raise (
                    error
                    if isinstance(net, caffe_pb.NetParameter)
                    else CaffeError(f"{os.fspath(net)}: {error}")
                ) from None
        self._prepare(inference.can_prepare(self.engine))
        for source in _several(weights):
            load_weights(self, source)

    def _prepare(self, steady: bool) -> None:
        """steady: whether nobody but this face changes the weights, and every pass is the same."""
        self._steady = steady
        self._slots: dict[str, Blob] = {  # {input: the Blob that an Input layer reads}
            top: self.engine.blobs[top]
            for node in self.engine.nodes
            if node.param.type == "Input"
            for top in node.tops
        }
        self._prepared: dict[tuple[str, ...], inference.Prepared] = {}
        self._checked: set[tuple] = set()
        self._windows: weakref.WeakSet[Window] = weakref.WeakSet()

    @classmethod
    def of(cls, engine: engine_net.Net, log: bool = False) -> Net:
        """The face of an engine's Net that exists already; they share everything."""
        net = cls.__new__(cls)
        net.engine, net._log = engine, log
        net._prepare(False)
        return net

    @property
    def name(self) -> str:
        """The net's name in its prototxt."""
        return self.engine.name

    @property
    def outputs(self) -> list[str]:
        """The blobs that no layer reads, sorted."""
        return list(self.engine.outputs)

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """{name: shape} of the tops of Input layers."""
        return {name: self.blob_shapes[name] for name in self._slots}

    @property
    def blob_shapes(self) -> dict[str, tuple[int, ...]]:
        """{name: shape} of every blob, at the batch size of the prototxt."""
        return {name: tuple(shape) for name, shape in self.engine.blob_shapes.items()}

    @property
    def layers(self) -> list[caffe_pb.LayerParameter]:
        """The layers in the order they run, with the Split layers that Caffe inserts."""
        return [node.param for node in self.engine.nodes]

    @property
    def params(self) -> dict[str, list[np.ndarray]]:
        """{layer: its blobs} of the layers that have any, float32 in Caffe's shapes.

        On a CPU the arrays are the net's own memory: writing to them changes the net. On a GPU
        they are copies that cannot be written to; `load_weights` takes new values there.
        """
        self._prepared.clear()  # what is written to an array that is gone by the next pass counts
        return {
            node.name: [_view(blob, self._windows) for blob in node.blobs]
            for node in self.engine.nodes
            if node.blobs
        }

    def forward(
        self, blobs: Iterable[str] | None = None, **inputs: np.ndarray | torch.Tensor
    ) -> dict[str, np.ndarray]:
        """Run every layer; returns {name: float32 array} of the outputs, or of `blobs`.

        inputs: values for the blobs of Input layers, in their shapes but for the first axis,
        which may be of any size; an input that is not given keeps the values it was given last,
        and is zero before. Layers that read, such as Data, go on to their next batch. The
        arrays are copies. A blob that is written in place has its last value. On a CPU a net of
        phase TEST without data layers has its weights laid out once for many calls
        (runner.net.inference), and once more for passes of a few images that are repeated often,
        of which one then takes longer; so values are the layers' but for rounding. Not so while
        somebody holds arrays of `params`, through which the weights may change at any time: let
        go of them for speed. Raises CaffeError for names that the net does not have and for
        shapes that do not fit.
        """
        wanted = None if blobs is None else list(blobs)
        self._check_names(wanted or [], self.engine.blob_shapes, "blob")
        self._fill(inputs)
        names = tuple(self.outputs if wanted is None else wanted)
        prepared = self._prepared_for(names) if self._steady else None
        if prepared is not None:
            with torch.inference_mode():
                found = prepared()
        else:
            kept: dict[str, torch.Tensor] | None = None if wanted is None else {}
            with self.logging(), torch.no_grad():
                _, found = self.engine.forward(kept=kept)
            if kept is not None:
                found = {name: kept[name] for name in names}
        return {name: value.float().cpu().numpy().copy() for name, value in found.items()}

    def _prepared_for(self, names: tuple[str, ...]) -> inference.Prepared | None:
        """The fixed path to these blobs, or None while somebody holds arrays of the weights.

        Such arrays may be written to without a trace. Raises NetError for a batch that does not
        fit, which an ordinary pass finds out: each new shape of the inputs has one.
        """
        if self._windows:
            return None
        shapes = tuple(blob.shape for blob in self._slots.values())
        with torch.no_grad():
            if shapes not in self._checked:
                self.engine.forward()
                self._checked.add(shapes)
            prepared = self._prepared.get(names)
            if prepared is None or not prepared.holds():
                batch = shapes[0][0] if shapes and shapes[0] else 1
                prepared = self._prepared[names] = inference.Prepared(self.engine, names, batch)
        return prepared

    def to_proto(self, diff: bool = False) -> caffe_pb.NetParameter:
        """The net with its weights, as a caffemodel holds it; diff: with the gradients."""
        return engine_weights.net_to_proto(self.engine, diff)

    def save(self, path: Path) -> None:
        """Write the net with its weights as a binary caffemodel. Raises CaffeError."""
        schema.write_binary(self.to_proto(), path)

    def logging(self) -> contextlib.AbstractContextManager[None]:
        """The context in which this net works: a silent one unless it was made with log=True."""
        return contextlib.nullcontext() if self._log else glog.quiet()

    def _fill(self, inputs: Mapping[str, np.ndarray | torch.Tensor]) -> None:
        self._check_names(inputs, self._slots, "input")
        where = self.engine.context.device
        values = {name: _copied(value).to(where) for name, value in inputs.items()}
        for name, value in values.items():
            shape = tuple(self.engine.blob_shapes[name])
            if len(value.shape) != len(shape) or tuple(value.shape[1:]) != shape[1:]:
                raise CaffeError(
                    f"net '{self.name}': input '{name}' is {_shape(shape)}, its first axis of any "
                    f"size, and was given {_shape(value.shape)}"
                )
        for name, value in values.items():
            self._slots[name].put(value)

    def _check_names(self, names: Iterable[str], known: Mapping[str, object], kind: str) -> None:
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = (
                    f"; did you mean '{near[0]}'?" if near else f" ({', '.join(known) or 'none'})"
                )
                raise CaffeError(f"net '{self.name}' has no {kind} '{name}'{hint}")


def export(net: Net, path: Path, batch: int | None = None) -> dict[str, float]:
    """Write `net`, with its weights, for other programs: in the format of the path's suffix.

    .onnx: the net, of phase TEST; inputs and outputs are its Input layers' tops and its outputs,
    by name. batch: the one size of the inputs' first axis; None for any. Returns {output: by how
    much onnxruntime's values differ from the engine's on random input, relative to the largest};
    above 1e-4 nothing is written. .safetensors, .caffemodel, .caffemodel.h5: the weights alone,
    all of which `load_weights` takes; returns {}. Raises CaffeError, also where the net has
    layers that cannot be exported, or packages of the extra `export` are missing.
    """
    with glog.quiet():
        return export_engine_net(_copied_net(net), path, batch)


class Solver:
    """Trains a net as a solver says: `caffe train`'s loop, without its signals and log file.

    solver: a prototxt file or a SolverParameter, which is left as it is; paths inside it are
    those of the current folder, as for `caffe`. weights: a caffemodel, or several, to finetune
    from; snapshot: a solver state to resume from; one or the other. device: as `device` takes
    it; None for what solver_mode and device_id say. precision, log: as for a Net. recorded:
    False has a GPU launch each step's kernels one by one rather than replay them.
    Raises CaffeError.
    """

    def __init__(
        self,
        solver: Path | caffe_pb.SolverParameter,
        weights: Path | Sequence[Path] | None = None,
        snapshot: Path | None = None,
        device: str | torch.device | None = None,
        *,
        precision: str = "fp32",
        log: bool = False,
        recorded: bool = True,
    ) -> None:
        self._log = log
        if weights is not None and snapshot is not None:
            raise CaffeError("a Solver takes a snapshot to resume from or weights, not both")
        with self._logging():
            param = _solver_param(solver)
            if weights is not None or snapshot is not None:
                del param.weights[:]
                param.weights.extend(str(path) for path in _several(weights))
            where = _device(_solver_device(param) if device is None else device)
            set_precision(precision, where)
            self.engine = engine_solver.Solver(param, where, precision=precision, recorded=recorded)
            if snapshot is not None:
                self.engine.restore(os.fspath(snapshot))

    @property
    def param(self) -> caffe_pb.SolverParameter:
        """The solver's own SolverParameter."""
        return self.engine.param

    @property
    def iter(self) -> int:
        """How many iterations have been done."""
        return self.engine.iter

    @property
    def loss(self) -> float:
        """The loss as the log displays it: the mean of the last average_loss iterations."""
        return self.engine.losses.value()

    @property
    def net(self) -> Net:
        """The net that is trained."""
        return Net.of(self.engine.net, self._log)

    @property
    def test_nets(self) -> list[Net]:
        """The nets that are tested, with the trained net's weights."""
        with self._logging():
            for net in self.engine.test_nets:
                net.share_weights_from(self.engine.net)
        return [Net.of(net, self._log) for net in self.engine.test_nets]

    def step(self, iterations: int) -> None:
        """Train for so many iterations, with the tests, displays and snapshots that are due."""
        with self._logging():
            self.engine.step(iterations)

    def solve(self) -> None:
        """Train to max_iter, then the last snapshot and test."""
        with self._logging():
            self.engine.solve()

    def snapshot(self) -> str:
        """Write a snapshot under snapshot_prefix; returns the solver state's path."""
        if not self.param.HasField("snapshot_prefix"):
            raise CaffeError("the solver has no snapshot_prefix to write a snapshot under")
        with self._logging():
            return str(self.engine.snapshot())

    def restore(self, path: Path) -> None:
        """Go on from a solver state (.solverstate or .solverstate.h5). Raises CaffeError."""
        with self._logging():
            self.engine.restore(os.fspath(path))

    def _logging(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._log else glog.quiet()


_device = device  # where a parameter has its name


def _path(source: Path | caffe_pb.NetParameter) -> str | caffe_pb.NetParameter:
    return source if isinstance(source, caffe_pb.NetParameter) else os.fspath(source)


def _copied_net(net: Net) -> engine_net.Net:
    """An engine's Net on the CPU with the layers and weights of `net`: it may be run."""
    weights = net.to_proto()
    param = caffe_pb.NetParameter(name=weights.name, layer=weights.layer)
    param.state.phase = net.engine.phase
    for layer in param.layer:
        del layer.blobs[:], layer.include[:], layer.exclude[:]
    copy = engine_net.Net(param)
    engine_weights.load_weights(copy, weights)
    return copy


def _several(sources: Any) -> list[Any]:
    """The sources of one, several or None; a path may name several, separated by ','."""
    if sources is None:
        return []
    if isinstance(sources, (str, os.PathLike)):
        path = os.fspath(sources)
        return [path] if os.path.exists(path) else [part.strip() for part in path.split(",")]
    return [sources] if isinstance(sources, caffe_pb.NetParameter) else list(sources)


def _net_param(net: Path | caffe_pb.NetParameter) -> caffe_pb.NetParameter:
    """A NetParameter of the caller's own, in current format."""
    if not isinstance(net, caffe_pb.NetParameter):
        return upgrades.read_net(os.fspath(net))
    param = caffe_pb.NetParameter()
    param.CopyFrom(net)
    schema.upgrade_net(param)
    return param


def _solver_param(solver: Path | caffe_pb.SolverParameter) -> caffe_pb.SolverParameter:
    if not isinstance(solver, caffe_pb.SolverParameter):
        path = os.fspath(solver)
        param = upgrades.read_solver(path)
        snapshot.resolve_prefix(param, path)
        return param
    param = caffe_pb.SolverParameter()
    param.CopyFrom(solver)
    schema.upgrade_solver(param)
    return param


def _solver_device(param: caffe_pb.SolverParameter) -> str:
    """The device of an explicit solver_mode: GPU, else the CPU, as for `caffe train`."""
    asks = param.HasField("solver_mode") and param.solver_mode == caffe_pb.SolverParameter.GPU
    return f"cuda:{param.device_id}" if asks else "cpu"


def _context(where: torch.device, precision: str, seed: int | None) -> Context:
    if seed is None:
        return Context(where, precision=precision)
    return Context(
        where,
        fillers=torch.Generator().manual_seed(seed),
        random=torch.Generator(where).manual_seed(seed),
        seed=seed,
        precision=precision,
    )


def _phase(phase: str | int) -> int:
    if phase in PHASES.values():
        return int(phase)
    if phase not in PHASES:
        raise CaffeError(f"phase '{phase}': it is TRAIN or TEST")
    return PHASES[str(phase)]


def _shape(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def _copied(value: np.ndarray | torch.Tensor) -> torch.Tensor:
    """A float32 tensor of its own memory."""
    if isinstance(value, torch.Tensor):
        return value.detach().to(torch.float32, copy=True)
    return torch.from_numpy(np.array(value, np.float32))


def _view(blob: torch.Tensor, windows: weakref.WeakSet[Window]) -> np.ndarray:
    """The blob's memory as an array, its Window among `windows`; of a GPU's blob a copy."""
    if blob.device.type != "cpu":
        array = blob.detach().cpu().numpy()
        array.flags.writeable = False
        return array
    if not blob.numel():
        return np.empty(tuple(blob.shape), np.float32)
    window = Window(blob.detach().view(-1))
    windows.add(window)
    return np.asarray(window).reshape(tuple(blob.shape))
