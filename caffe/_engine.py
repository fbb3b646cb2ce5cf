"""The one door from the face to the engine: its nets, its log, its devices, its random numbers.

Nets and solvers are made here with the mode, the device and the seed that this module keeps for
the process, as Caffe's singleton does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from netgen import schema
from netgen.errors import CaffeError, FatalError
from runner.process import host

host.prepare()  # before torch is loaded

import torch  # noqa: E402

from netgen.schema import caffe_pb, is_hdf5  # noqa: E402
from runner.layers import LAYER_TYPES, Context  # noqa: E402
from runner.layers.blob import Blob, BlobVec, Uncopied, Vector  # noqa: E402
from runner.layers.python import PythonLayer  # noqa: E402
from runner.log import glog, upgrades  # noqa: E402
from runner.net import Net, hdf5, load_weights, net_param_for, net_to_proto  # noqa: E402
from runner.net.layerwise import Layerwise  # noqa: E402
from runner.process.device import device_of, gpu_ids  # noqa: E402
from runner.process.place import place  # noqa: E402
from runner.process.signals import Action  # noqa: E402
from runner.solver import snapshot  # noqa: E402
from runner.solver.lr_policy import learning_rate  # noqa: E402
from runner.solver.shown import ShownSolver  # noqa: E402
from runner.solver.workers import Alone  # noqa: E402

__all__ = [
    "LAYER_TYPES",
    "Blob",
    "BlobVec",
    "CaffeError",
    "FatalError",
    "Layerwise",
    "Net",
    "PythonLayer",
    "ShownSolver",
    "StringVec",
    "Uncopied",
    "Vector",
    "check_file",
    "fatal",
    "glog",
    "is_hdf5",
    "learning_rate_of",
    "load_weights",
    "make_net",
    "make_solver",
    "raising_interrupts",
    "read_solver",
    "save_hdf5",
    "save_net",
    "state",
    "synchronize",
    "visible_gpu",
]


class StringVec(Vector):
    """Names."""


class RawBlobVec(Vector):
    """The bottoms or tops of a layer."""


class _State:
    """Caffe's singleton: mode, device, seed, and this process's place among several."""

    def __init__(self) -> None:
        self.gpu = False
        self.device_id = 0
        self.solver_count, self.solver_rank = place().count, place().rank
        self.fillers = torch.Generator()
        self._random: dict[torch.device, torch.Generator] = {}
        self.seed(int.from_bytes(os.urandom(4), "little"))

    def seed(self, number: int) -> None:
        """Have everything random from now on follow from `number`."""
        self._seed = number
        self.fillers.manual_seed(number)
        for generator in self._random.values():
            generator.manual_seed(number)

    def draw(self) -> int:
        """A seed that follows from the process's."""
        return int(torch.randint(2**31, (), generator=self.fillers))

    def device(self) -> torch.device:
        """Where nets that are made now compute. Raises FatalError where there is no such GPU."""
        if not self.gpu:
            return torch.device("cpu")
        with fatal():
            return device_of(gpu_ids(str(self.device_id), "set_mode_gpu()"))

    def random(self, device: torch.device) -> torch.Generator:
        """The generator of what is drawn on a device while nets run."""
        if device not in self._random:
            self._random[device] = torch.Generator(device).manual_seed(self._seed)
        return self._random[device]


state = _State()


@contextlib.contextmanager
def fatal() -> Iterator[None]:
    """Raise what the engine refuses as FatalError, with the same text."""
    try:
        yield
    except FatalError:
        raise
    except CaffeError as error:
        raise FatalError(str(error)) from error


def check_file(path: str) -> None:
    """Raise FatalError, in pycaffe's words, for a file that cannot be opened."""
    try:
        with open(path, "rb"):
            pass
    except OSError:
        raise FatalError(f"Could not open file {path}") from None


def make_net(path: str, phase: int, level: int, stages: Sequence[str]) -> Net:
    """The engine's net of a prototxt file, on the device of the mode."""
    device = state.device()
    with fatal():
        param = net_param_for(upgrades.read_net(path), phase, level, stages)
        random = state.random(device)
        return Net(param, Context(device, state.fillers, random, state.draw()))


class _Script(Alone):
    """A script that trains alone."""

    def seed(self) -> int:
        return state.draw()


def read_solver(path: str) -> caffe_pb.SolverParameter:
    """The SolverParameter of a file, with its snapshot_prefix. Raises FatalError."""
    with fatal():
        param = upgrades.read_solver(path)
        snapshot.resolve_prefix(param, path)
        return param


def make_solver(param: caffe_pb.SolverParameter) -> ShownSolver:
    """The solver of a SolverParameter, on the device of the mode. Raises FatalError."""
    if param.random_seed >= 0:
        state.seed(param.random_seed)
    with fatal():
        return ShownSolver(param, state.device(), workers=_Script())


def learning_rate_of(solver: ShownSolver) -> float:
    """The rate at which `solver` would update now."""
    rate, solver.current_step = learning_rate(solver.param, solver.iter, solver.current_step)
    return rate


@contextlib.contextmanager
def raising_interrupts(solver: ShownSolver) -> Iterator[None]:
    """Have Ctrl-C end `solver` between two iterations, and raise KeyboardInterrupt then.

    A second one raises it at once. Where the script handles SIGINT itself, or another thread
    than the main one trains, nothing changes.
    """
    usual = signal.default_int_handler
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not usual:
        yield
        return
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True

    signal.signal(signal.SIGINT, interrupt)
    before, solver.request = solver.request, lambda: Action.STOP if interrupted else Action.NONE
    try:
        yield
    finally:
        solver.request = before
        signal.signal(signal.SIGINT, usual)
    if interrupted:
        raise KeyboardInterrupt


def save_net(net: Net, path: str) -> None:
    """Write a .caffemodel."""
    with _written(path):
        param = net_to_proto(net)
        for node, layer in zip(net.nodes, param.layer, strict=True):
            for blob, message in zip(net.parameter_blobs(node), layer.blobs, strict=True):
                if tuple(message.shape.dim) != blob.shape:  # reshaped by the script
                    message.shape.dim[:] = blob.shape
        schema.write_binary(param, path)


def save_hdf5(net: Net, path: str) -> None:
    """Write a .caffemodel.h5."""
    with _written(path):
        hdf5.write_weights(net, path)


@contextlib.contextmanager
def _written(path: str) -> Iterator[None]:
    try:
        with fatal():
            yield
    except OSError as error:
        raise FatalError(f"{path}: {error.strerror or error}") from None


def visible_gpu(number: int, asked: str) -> None:
    """Raise CaffeError unless there is a GPU of this number; asked: what wants it."""
    gpu_ids(str(int(number)), asked)


def synchronize() -> None:
    """Wait for the GPU, if one is used."""
    if state.gpu and torch.cuda.is_available():
        torch.cuda.synchronize()


TRAIN, TEST = int(caffe_pb.TRAIN), int(caffe_pb.TEST)
