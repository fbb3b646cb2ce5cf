"""One process a device of this machine, as torchrun starts them, for `caffe train -gpu 0,1`."""

import contextlib
import os
import runpy
import signal
import sys
import time
from multiprocessing import connection

import torch.distributed as dist
from torch import multiprocessing

from runner.log import glog

#: seconds that workers have, after one of them failed, to write their snapshot and leave
PATIENCE = 300
FORWARDED = ("SIGINT", "SIGHUP", "SIGTERM")


def launch(words: list[str], count: int) -> int:
    """Run `caffe` with these words in `count` processes; returns the exit status.

    It is 0 if all theirs are. SIGINT, SIGHUP and SIGTERM go on to rank 0, and with it to all;
    should this process be killed, they stop as at a SIGINT.
    """
    glog.log.close(discard=True)  # rank 0 has one
    # Each would take all cores, if nobody says otherwise.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    os.environ.setdefault(
        "TORCH_CPP_LOG_LEVEL", "ERROR"
    )  # as in every worker (runner.commands.cli)
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    with _forwarding() as forward_to:
        running = multiprocessing.start_processes(
            _work, (words, count, store.port), count, join=False, start_method="spawn"
        )
        forward_to(running.processes[0])
        return _watch(running.processes)


def _work(rank, words, count, port):
    """A worker's process: `caffe` with the environment that torchrun gives."""
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count), LOCAL_WORLD_SIZE=str(count),
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
        # The store is not rank 0's to open; older versions of torch then want the count.
        TORCHELASTIC_USE_AGENT_STORE="True", TORCHELASTIC_RESTART_COUNT="0",
    )  # fmt: skip
    sys.argv = ["caffe", *words]
    try:
        runpy.run_module("runner", run_name="__main__")  # as `python -m runner`, and torchrun, do
    except KeyboardInterrupt:  # before there was anything to stop
        sys.exit(130)


@contextlib.contextmanager
def _forwarding():
    """Forward signals to a process from when it is there; earlier ones are kept until then."""
    target, early = [], []

    def forward(number, frame):
        if not target:
            early.append(number)
        elif target[0].is_alive():
            os.kill(target[0].pid, number)

    def forward_to(process):
        target.append(process)
        for number in early:
            forward(number, None)

    before = {
        name: signal.signal(getattr(signal, name), forward)
        for name in FORWARDED
        if hasattr(signal, name)
    }
    try:
        yield forward_to
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def _watch(processes):
    """Wait for all processes; when one fails, stop the others. Returns the exit status."""
    ranks = {process.sentinel: rank for rank, process in enumerate(processes)}
    deadline = None
    while ranks:
        left = None if deadline is None else max(0, deadline - time.monotonic())
        ended = connection.wait(list(ranks), left)
        if not ended:  # a process that has not left by now hangs
            for sentinel in ranks:
                processes[ranks[sentinel]].kill()
            deadline = None
        for sentinel in ended:
            rank = ranks.pop(sentinel)
            processes[rank].join()
            code = processes[rank].exitcode
            if code < 0 and (deadline is None or code != -signal.SIGTERM):
                name = signal.Signals(-code).name
                glog.error(f"rank {rank} was ended by {name}", "parallel.cpp:256")
            if code and deadline is None:
                deadline = time.monotonic() + PATIENCE
                for other in ranks.values():
                    processes[other].terminate()
    return 1 if any(process.exitcode for process in processes) else 0
