"""What concerns the process: mode, device, random numbers, log, time, and its workers.

Caffe's compiled module of this name holds the classes as well: scripts find them here too.
"""

from __future__ import annotations

import operator
import time
from importlib import import_module
from typing import Any

from caffe._engine import (
    LAYER_TYPES,
    FatalError,
    StringVec,
    Uncopied,
    fatal,
    glog,
    state,
    synchronize,
    visible_gpu,
)

#: the classes that scripts import from here -> the modules that have them, which need this one
_CLASSES = {
    **dict.fromkeys(("Blob", "BlobVec", "RawBlobVec", "StringVec"), "caffe._engine"),
    **dict.fromkeys(
        ("Net", "BoolVec", "DtypeVec", "IntVec", "LayerVec", "NetVec"), "caffe.pycaffe"
    ),
    **dict.fromkeys(
        (
            "AdaDeltaSolver",
            "AdaGradSolver",
            "AdamSolver",
            "NesterovSolver",
            "RMSPropSolver",
            "SGDSolver",
            "Solver",
            "SolverParameter",
            "get_solver",
        ),
        "caffe.solver",
    ),
    **dict.fromkeys(("Layer", "TRAIN", "TEST", "__version__"), "caffe"),
    "LayerParameter": "caffe.proto.caffe_pb2",
}


def __getattr__(name: str) -> Any:
    if name in _CLASSES:
        return getattr(import_module(_CLASSES[name]), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def set_mode_cpu() -> None:
    """Have nets that are made from now on compute on the CPU, which is so at first."""
    state.gpu = False


def set_mode_gpu() -> None:
    """Have nets that are made from now on compute on the GPU; making one fails without."""
    state.gpu = True


def set_device(number: int) -> None:
    """Choose the GPU of set_mode_gpu by its number. Raises RuntimeError where it is missing."""
    number = operator.index(number)
    with fatal():
        visible_gpu(number, f"set_device({number})")
    state.device_id = number


def set_random_seed(seed: int) -> None:
    """Have fillers, masks and random data of what is made from now on follow from `seed`.

    Raises OverflowError unless it fits into 32 bits, without a sign.
    """
    seed = operator.index(seed)
    if not 0 <= seed < 2**32:
        raise OverflowError(f"a random seed is a whole number from 0 to 2**32 - 1, not {seed}")
    state.seed(seed)


def layer_type_list() -> StringVec:
    """The names of all layer types."""
    return StringVec(sorted(LAYER_TYPES))


def init_log(level: int = 0, stderr: bool = True) -> None:
    """Log from severity `level` on: 0 information, 1 warnings, 2 errors, 3 nothing but the end."""
    glog.log.minimum = "IWEF"[min(max(operator.index(level), 0), 3) :]


def log(text: str | bytes) -> None:
    """Write a line of information to the log. Raises TypeError for anything but a text."""
    if not isinstance(text, str | bytes):
        raise TypeError(f"log takes a str, not {type(text).__name__}: {text!r}")
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    glog.info(text, "_caffe.cpp:68")


def solver_count() -> int:
    """How many workers train together."""
    return state.solver_count


def set_solver_count(count: int) -> None:
    """Say how many workers train together."""
    state.solver_count = int(count)


def solver_rank() -> int:
    """Which of the workers this process is, from 0 on."""
    return state.solver_rank


def set_solver_rank(rank: int) -> None:
    """Say which of the workers this process is."""
    state.solver_rank = int(rank)


def set_multiprocess(multiprocess: bool) -> None:
    """Say that the workers are processes: here they always are."""


def has_nccl() -> bool:
    """Is NCCL offered to scripts? Data parallel training is `caffe train -gpu 0,1` here."""
    return False


class NCCL:
    """Stands for Caffe's class of this name, in a build without NCCL."""

    def __init__(self, solver: Any, uid: Any) -> None:
        raise FatalError(
            "NCCL is not offered to scripts: `caffe train -solver FILE -gpu 0,1` or torchrun "
            "trains on several devices"
        )


class Timer(Uncopied):
    """A stopwatch that waits for the device. ms: milliseconds from start to stop."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._took = 0.0

    def start(self) -> None:
        """Start, anew if it runs."""
        synchronize()
        self._start = time.perf_counter()

    def stop(self) -> None:
        """Stop, if it runs."""
        if self._start is not None:
            synchronize()
            self._took = 1000 * (time.perf_counter() - self._start)
            self._start = None

    @property
    def ms(self) -> float:
        """Milliseconds from start to stop, or to now."""
        if self._start is not None:
            self.stop()
        return self._took
