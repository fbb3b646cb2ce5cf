"""-precision auto: the number format in which a net's steps are the fastest on this device."""

from __future__ import annotations

import statistics
import time

import torch

from netgen.schema import caffe_pb
from runner.log import glog
from runner.process.precision import set_precision
from runner.solver.solver import Solver

STEPS = 5  # of each format that are timed, after two that are not


def fastest_precision(param: caffe_pb.SolverParameter, device: torch.device) -> str:
    """The name of the precision whose training steps take least time; a line says how long.

    A few steps of each are made, in turn, by solvers of their own that write no snapshot: the
    training that follows is what it would be with that precision alone. Raises CaffeError.
    """
    formats = ("fp32", "tf32", "bf16") if device.type != "cpu" else ("fp32", "bf16")
    alone = caffe_pb.SolverParameter()
    alone.CopyFrom(param)
    for field in ("test_iter", "test_interval", "test_net", "test_net_param", "test_state"):
        alone.ClearField(field)
    alone.ClearField("weights")
    alone.display = alone.snapshot = 0
    alone.snapshot_after_train = False
    alone.max_iter = max(alone.max_iter, 2 + STEPS)
    with glog.quiet():
        solvers = {}
        for name in formats:
            set_precision(name, device)
            solvers[name] = Solver(alone, device, precision=name)
        seconds: dict[str, list[float]] = {name: [] for name in formats}
        for count in [2] + [1] * STEPS:
            for name, solver in solvers.items():
                set_precision(name, device)
                seconds[name].append(_seconds(solver, count))
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    best = min(medians, key=lambda name: medians[name])
    told = ", ".join(f"{name} {1000 * lapse:.3g} ms" for name, lapse in medians.items())
    glog.info(f"A step takes {told}: training with -precision {best}", "caffe.cpp:219")
    return best


def _seconds(solver: Solver, count: int) -> float:
    """How long so many steps take."""
    start = time.perf_counter()
    solver.step(count)
    if solver.device.type != "cpu":
        torch.cuda.synchronize(solver.device)
    return time.perf_counter() - start
