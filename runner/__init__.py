"""Runs Caffe's prototxts: the `caffe` command and its embedded PyTorch engine.

From Python:

    net = runner.Net("deploy.prototxt", weights="net.caffemodel")
    scores = net.forward(data=images)["prob"]

    solver = runner.Solver("solver.prototxt")
    solver.step(100)

`import runner` loads neither torch nor anything else; each name below is loaded when it is used.
Files are read and written by netgen.schema. For nets: Net, load_weights, WeightsReport, export.
For training: Solver. For both: device, quiet, LAYER_TYPES, SOLVER_TYPES. The command: main. An
external C++ Caffe: External, find_external, external_folder. For layers
of your own (docs/own_layers.md): Layer, LayerShapes, rule, declare. For measuring the engine:
Together, WARM_UP, DATA_MEMORY, prepare_host, set_precision.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own takes its time, in which Ctrl-C would find the command
if TYPE_CHECKING:  # what __getattr__ gives, for type checkers and editors
    from typing import Any

    from netgen.graph import LayerShapes as LayerShapes
    from netgen.graph import rule as rule
    from netgen.schema import declare as declare
    from runner.commands.cli import main as main
    from runner.commands.together import Together as Together
    from runner.data.memory import VARIABLE as DATA_MEMORY  # noqa: F401
    from runner.external.find import External as External
    from runner.external.find import build_folder as external_folder  # noqa: F401
    from runner.external.find import find as find_external  # noqa: F401
    from runner.face import Net as Net
    from runner.face import Solver as Solver
    from runner.face import device as device
    from runner.face import export as export
    from runner.face import load_weights as load_weights
    from runner.layers import LAYER_TYPES as LAYER_TYPES
    from runner.layers import Context as Context
    from runner.layers import Layer as Layer
    from runner.log.glog import quiet as quiet
    from runner.net.weights import WeightsReport as WeightsReport
    from runner.process.host import prepare as prepare_host  # noqa: F401
    from runner.process.precision import set_precision as set_precision
    from runner.process.recording import WARM_UP as WARM_UP
    from runner.solver import SOLVER_TYPES as SOLVER_TYPES

#: name -> (the module that has it, its name there)
_HOMES = {
    "DATA_MEMORY": ("runner.data.memory", "VARIABLE"),
    "Context": ("runner.layers", "Context"),
    "External": ("runner.external.find", "External"),
    "LAYER_TYPES": ("runner.layers", "LAYER_TYPES"),
    "Layer": ("runner.layers", "Layer"),
    "LayerShapes": ("netgen.graph", "LayerShapes"),
    "Net": ("runner.face", "Net"),
    "SOLVER_TYPES": ("runner.solver", "SOLVER_TYPES"),
    "Solver": ("runner.face", "Solver"),
    "Together": ("runner.commands.together", "Together"),
    "WARM_UP": ("runner.process.recording", "WARM_UP"),
    "WeightsReport": ("runner.net.weights", "WeightsReport"),
    "declare": ("netgen.schema", "declare"),
    "device": ("runner.face", "device"),
    "export": ("runner.face", "export"),
    "external_folder": ("runner.external.find", "build_folder"),
    "find_external": ("runner.external.find", "find"),
    "load_weights": ("runner.face", "load_weights"),
    "main": ("runner.commands.cli", "main"),
    "prepare_host": ("runner.process.host", "prepare"),
    "quiet": ("runner.log.glog", "quiet"),
    "rule": ("netgen.graph", "rule"),
    "set_precision": ("runner.process.precision", "set_precision"),
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'runner' has no attribute '{name}'")
    from importlib import import_module

    module, own_name = _HOMES[name]
    value = globals()[name] = getattr(import_module(module), own_name)
    return value


def __dir__() -> list[str]:
    return __all__
