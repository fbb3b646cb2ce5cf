"""`caffe train`: train, resume or finetune."""

import contextlib

import torch

from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner import glog, upgrades
from runner.device import device_of, gpu_ids
from runner.precision import set_precision
from runner.progress import progress_bar
from runner.signals import SignalHandler, effect
from runner.solver import Solver, snapshot


def train(flags):
    """Run the solver of -solver to its end, or to a signal's stop."""
    if not flags.solver:
        raise CaffeError("Need a solver definition to train.")
    if flags.snapshot and flags.weights:
        raise CaffeError(
            "Give a snapshot to resume training or weights to finetune but not both."
        )
    param = upgrades.read_solver(flags.solver)
    snapshot.resolve_prefix(param, flags.solver)
    param.train_state.level = flags.level
    param.train_state.stage.extend(flags.stages())
    device = _device(flags, param)
    signals = SignalHandler(effect(flags.sigint_effect), effect(flags.sighup_effect))
    with contextlib.closing(signals):
        _optimize(flags, param, device, signals.request)
    glog.info("Optimization Done.", "caffe.cpp:250")
    return 0


def _optimize(flags, param, device, request):
    if flags.snapshot or flags.weights:
        del param.weights[:]
    if flags.weights:
        param.weights.append(flags.weights)
    set_precision(flags.precision, device)
    solver = Solver(param, device, request, precision=flags.precision)
    if flags.snapshot:
        glog.info(f"Resuming from {flags.snapshot}", "caffe.cpp:235")
        solver.restore(flags.snapshot)
    glog.info("Starting Optimization", "caffe.cpp:239")
    with progress_bar(solver.iter, param.max_iter) as solver.progress:
        solver.solve()


def _device(flags, param):
    """-gpu first; then an explicit solver_mode: GPU; else the CPU. Sets device_id."""
    asks_gpu = param.HasField("solver_mode") and param.solver_mode == caffe_pb.SolverParameter.GPU
    if asks_gpu and not flags.gpu:
        ids = gpu_ids(str(param.device_id), f"solver_mode: GPU, device_id: {param.device_id}")
    else:
        ids = gpu_ids(flags.gpu)
    if not ids:
        glog.info("Use CPU.", "caffe.cpp:197")
        return device_of(ids)
    glog.info(f"Using GPUs {', '.join(map(str, ids))}", "caffe.cpp:204")
    for number in ids:
        glog.info(f"GPU {number}: {torch.cuda.get_device_name(number)}", "caffe.cpp:209")
    if len(ids) > 1:
        raise CaffeError("Multi-GPU execution not available: give one device to -gpu")
    param.device_id = ids[0]
    return device_of(ids)
