"""`caffe train`: train, resume or finetune."""

import contextlib
import functools

import torch

from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner import glog, upgrades
from runner.commands.together import Together, check_prefixes, titles
from runner.device import device_of, gpu_ids
from runner.precision import set_precision
from runner.progress import progress_bar
from runner.signals import SignalHandler, effect
from runner.solver import Solver, snapshot


def train(flags):
    """Run the solver of -solver to its end, or to a signal's stop; several of them at once."""
    if not flags.solver:
        raise CaffeError("Need a solver definition to train.")
    if flags.snapshot and flags.weights:
        raise CaffeError(
            "Give a snapshot to resume training or weights to finetune but not both."
        )
    paths = flags.solvers()
    params = [_read(flags, path) for path in paths]
    signals = SignalHandler(effect(flags.sigint_effect), effect(flags.sighup_effect))
    with contextlib.closing(signals):
        if len(paths) > 1:
            return _train_together(flags, paths, params, signals)
        solver = _solver(flags, params[0], flags.snapshot, signals.request)
        with progress_bar(solver.iter, params[0].max_iter) as solver.progress:
            _optimize(solver)
    return 0


def _train_together(flags, paths, params, signals):
    check_prefixes(paths, params)
    states = flags.snapshot.split(",") if flags.snapshot else [""] * len(paths)
    if len(states) != len(paths):
        raise CaffeError(f"-snapshot names {len(states)} states for {len(paths)} solvers")
    together = Together(titles(paths), glog.log_directory(flags.log_dir, "logs"))
    with progress_bar(0, sum(param.max_iter for param in params)) as bar:

        def prepare(i):
            solver = _solver(flags, params[i], states[i], signals.listener())
            solver.progress = together.progress(i, bar)
            return functools.partial(_optimize, solver)

        return 1 if together.run(prepare) else 0


def _read(flags, path):
    """The SolverParameter of a file as the flags change it."""
    param = upgrades.read_solver(path)
    snapshot.resolve_prefix(param, path)
    param.train_state.level = flags.level
    param.train_state.stage.extend(flags.stages())
    if flags.snapshot or flags.weights:
        del param.weights[:]
    if flags.weights:
        param.weights.append(flags.weights)
    return param


def _solver(flags, param, state, request):
    """The Solver, restored from the file `state` if there is one."""
    device = _device(flags, param)
    set_precision(flags.precision, device)
    solver = Solver(param, device, request, precision=flags.precision)
    if state:
        glog.info(f"Resuming from {state}", "caffe.cpp:235")
        solver.restore(state)
    return solver


def _optimize(solver):
    glog.info("Starting Optimization", "caffe.cpp:239")
    solver.solve()
    glog.info("Optimization Done.", "caffe.cpp:250")


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
