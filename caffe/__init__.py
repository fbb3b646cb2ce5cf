"""pycaffe's face on our engine: `import caffe` for scripts that were written for Caffe's own."""

from caffe import _engine
from caffe._caffe import (
    NCCL,
    Timer,
    has_nccl,
    init_log,
    layer_type_list,
    log,
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_multiprocess,
    set_random_seed,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from caffe.pycaffe import Net
from caffe.solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)

Blob = _engine.Blob
Layer = _engine.PythonLayer
TRAIN, TEST = _engine.TRAIN, _engine.TEST
__version__ = "1.0.0"

# These need Net.
from caffe import io  # noqa: E402
from caffe.classifier import Classifier  # noqa: E402
from caffe.detector import Detector  # noqa: E402
from caffe.net_spec import NetSpec, layers, params, to_proto  # noqa: E402

__all__ = [
    "NCCL",
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "Classifier",
    "Detector",
    "Layer",
    "Net",
    "NesterovSolver",
    "NetSpec",
    "RMSPropSolver",
    "SGDSolver",
    "Timer",
    "get_solver",
    "has_nccl",
    "init_log",
    "io",
    "layer_type_list",
    "layers",
    "log",
    "params",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "to_proto",
]
