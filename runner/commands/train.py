"""`caffe train`: train, resume or finetune, in one process or in one a device."""

import contextlib
import os
import shlex
import shutil

import torch

from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner import parallel
from runner.commands.flags import Flags, without
from runner.commands.progress import progress_bar, tell
from runner.commands.together import Together, check_prefixes, titles
from runner.log import glog, lines, upgrades
from runner.process.device import device_of, gpu_ids
from runner.process.place import is_worker, place, refuse_workers
from runner.process.precision import set_precision
from runner.process.signals import SignalHandler, effect
from runner.solver import Solver, snapshot
from runner.solver.trial import fastest_precision


def train(flags: Flags) -> int:
    """Run the solver of -solver to its end, or to a signal's stop; several of them at once.

    With several devices in -gpu one process a device trains its one solver, as it does where
    torchrun started this process. Caffe's log is rank 0's: the losses and outputs it displays
    while training are those of rank 0's batches.
    """
    paths = flags.solvers()
    if len(paths) > 1:
        refuse_workers(f"-solver {flags.solver}")
        return _train_together(flags, paths)
    if flags.gpu and not is_worker():
        count = len(gpu_ids(flags.gpu))
        if count > 1:
            return parallel.launch(flags.arguments, count)
    try:
        with parallel.join() as workers:
            _train(flags, paths[0], workers)
    except parallel.ToldElsewhere:
        return 1
    return 0


def _train(flags, path, workers):
    with contextlib.ExitStack() as stack:
        with workers.together():
            param = _read(flags, path)
            if workers.root:
                stack.enter_context(snapshot.prefix_lock(param))
            signals = stack.enter_context(_signals(flags))
            request = workers.listen(signals.request)
            solver = _solver(flags, param, flags.snapshot, request, workers)
        stack.enter_context(workers.training(solver))
        if workers.root:
            bar = progress_bar(solver.iter, param.max_iter)
            solver.progress = stack.enter_context(bar)
        _tell_snapshots(param, solver)
        with _optimization():
            solver.solve()
    if solver.progress and solver.stopped:  # a person is at hand
        _tell_how_to_go_on(flags, solver)


def _tell_snapshots(param, solver):
    """Say what the snapshots will take, on a terminal; warn where the disk has no room for it."""
    count = _remaining_snapshots(param, solver.iter)
    if not (solver.workers.root and count):
        return
    size = snapshot.size(solver)
    folder = os.path.dirname(param.snapshot_prefix) or "."
    free = shutil.disk_usage(folder).free
    told = (
        f"{count} snapshot(s) of {_megabytes(size)} to come, {_megabytes(count * size)} under "
        f"{param.snapshot_prefix}*; {_megabytes(free)} are free there"
    )
    if count * size > free:
        glog.warning(told, "solver.cpp:57")
    elif solver.progress:
        solver.progress.tell(told)


def _remaining_snapshots(param, done):
    """How many snapshots a training writes from iteration `done` on."""
    periodic = param.max_iter // param.snapshot - done // param.snapshot if param.snapshot else 0
    last = param.snapshot_after_train and (not param.snapshot or param.max_iter % param.snapshot)
    return max(0, periodic) + bool(last)


def _megabytes(count):
    return f"{count / 1e6:,.1f} MB" if count < 1e9 else f"{count / 1e9:,.1f} GB"


def _tell_how_to_go_on(flags, solver):
    state = solver.latest_snapshot
    if state is None:
        tell("Nothing was kept: snapshot_after_train is false, and no snapshot was due.")
        return
    words = without(flags.arguments, ("snapshot", "weights", "precision"))
    if solver.precision != "fp32":
        words += ["-precision", solver.precision]
    tell("To go on: " + shlex.join(["caffe", *words, "-snapshot", state]))


def _train_together(flags, paths):
    params = [_read(flags, path) for path in paths]
    check_prefixes(paths, params)
    states = flags.snapshot.split(",") if flags.snapshot else [""] * len(paths)
    if len(states) != len(paths):
        raise CaffeError(f"-snapshot names {len(states)} states for {len(paths)} solvers")
    if flags.precision == "auto":
        raise CaffeError("-precision auto is for one training: name what it chose for each net")
    together = Together(titles(paths), glog.log_directory(flags.log_dir, "logs"))
    iterations = sum(param.max_iter for param in params)
    with contextlib.ExitStack() as stack:
        for param in params:
            stack.enter_context(snapshot.prefix_lock(param))
        signals = stack.enter_context(_signals(flags))
        bar = stack.enter_context(progress_bar(0, iterations))

        def prepare(i):
            solver = _solver(flags, params[i], states[i], signals.listener())
            solver.progress = together.progress(i, bar)

            def start():
                with _optimization():
                    solver.solve()

            return start

        return 1 if together.run(prepare) else 0


def _signals(flags):
    return contextlib.closing(
        SignalHandler(
            effect(flags.sigint_effect), effect(flags.sighup_effect), effect(flags.sigterm_effect)
        )
    )


def _read(flags, path):
    """The SolverParameter of a file as the flags change it. Raises CaffeError."""
    if not path:
        raise CaffeError("Need a solver definition to train.")
    if flags.snapshot and flags.weights:
        raise CaffeError("Give a snapshot to resume training or weights to finetune but not both.")
    param = upgrades.read_solver(path)
    snapshot.resolve_prefix(param, path)
    param.train_state.level = flags.level
    param.train_state.stage.extend(flags.stages())
    if flags.snapshot or flags.weights:
        del param.weights[:]
    if flags.weights:
        param.weights.append(flags.weights)
    return param


def _solver(flags, param, state, request, workers=None):
    """The Solver, restored from the file `state` if there is one."""
    device = _device(flags, param)
    precision = flags.precision
    if precision == "auto":
        refuse_workers("-precision auto")
        precision = fastest_precision(param, device)
    set_precision(precision, device)
    solver = Solver(param, device, request, precision=precision, workers=workers)
    if state:
        glog.info(f"Resuming from {state}", "caffe.cpp:235")
        solver.restore(state)
    return solver


@contextlib.contextmanager
def _optimization():
    """The lines of caffe.cpp around a training that comes to an end."""
    glog.info(lines.STARTING, "caffe.cpp:239")
    yield
    glog.info(lines.DONE, "caffe.cpp:250")


def _device(flags, param):
    """-gpu first; then an explicit solver_mode: GPU; else the CPU. Sets device_id.

    The devices of -gpu go to this machine's workers in their order; the solver's device_id is
    its first worker's.
    """
    here, asked = place(), f"-gpu {flags.gpu}"
    asks_gpu = param.HasField("solver_mode") and param.solver_mode == caffe_pb.SolverParameter.GPU
    if asks_gpu and not flags.gpu:
        asked = f"solver_mode: GPU, device_id: {param.device_id}"
        numbers = range(param.device_id, param.device_id + here.local_count)
        ids = gpu_ids(",".join(map(str, numbers)), asked)
    else:
        ids = gpu_ids(flags.gpu)
    if not ids:
        glog.info("Use CPU.", "caffe.cpp:197")
        return device_of(ids)
    glog.info(f"Using GPUs {', '.join(map(str, ids))}", "caffe.cpp:204")
    for number in ids:
        glog.info(lines.gpu(number, torch.cuda.get_device_name(number)), "caffe.cpp:209")
    if len(ids) != here.local_count:
        raise CaffeError(
            f"{asked}: {len(ids)} device(s), and {here.local_count} process(es) on this machine"
        )
    param.device_id = ids[here.local_rank]
    return device_of([param.device_id])
