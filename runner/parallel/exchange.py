"""Meeting the other workers and waiting for them, so that a lost one shows: as WorkerLost."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import torch
import torch.distributed as dist

from netgen.errors import CaffeError
from runner.process.place import Place

#: how long a sum may take before the other workers count as lost
LIMIT = timedelta(minutes=30)
#: and how long the root may take for setting up and for a test
LONG = timedelta(days=30)
#: seconds that a sum on a device may take once there is a sign that it will not come
GRACE = 10


class WorkerLost(Exception):
    """Another worker does not answer any more; the text says how that showed."""


def connect(here: Place) -> dist.Store:
    """Find the other workers by the environment (env://); returns the store they share.

    here: this process's Place. Raises CaffeError.
    """
    try:
        store, _, _ = next(dist.rendezvous("env://", here.rank, here.count, timeout=LIMIT))
        dist.init_process_group(
            "gloo", store=store, rank=here.rank, world_size=here.count, timeout=LIMIT
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise unreachable(here, _reason(error)) from None
    return dist.PrefixStore("caffe", store)


def unreachable(here: Place, why: object) -> CaffeError:
    """The CaffeError of a worker that does not come to meet the others."""
    return CaffeError(f"rank {here.rank} of {here.count} workers cannot join the others: {why}")


def device_group() -> dist.ProcessGroup:
    """A group whose sums are made on CUDA devices."""
    # By default an error of NCCL would end the process before it can say anything.
    os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0")
    return dist.new_group(backend="nccl", timeout=LIMIT)


def patient_group() -> dist.ProcessGroup:
    """A group that waits however long it takes, on hosts."""
    return dist.new_group(backend="gloo", timeout=LONG)


@contextlib.contextmanager
def exchange() -> Iterator[list[dist.Work]]:
    """A list for what torch.distributed is to do; leaving waits for it, or raises WorkerLost.

    Nothing else may keep these works: connections are closed only when the last one goes.
    """
    works = []
    try:
        yield works
        while works:
            works[-1].wait()
            works.pop()
    except RuntimeError as error:
        raise WorkerLost(_reason(error)) from None
    finally:
        works.clear()


def arrival(work: dist.Work) -> Callable[[], bool]:
    """A function that says whether the device has done `work`, of NCCL, and not failed at it."""
    with torch.cuda.stream(torch.cuda.Stream()):
        work.wait()  # by that stream alone
        return torch.cuda.current_stream().record_event().query


def wait_for_device(
    asked: dist.Work,
    summed: dist.Work,
    arrived: Callable[[], bool],
    told_to_end: Callable[[], float | None],
) -> None:
    """Wait until a device has its sum, or raise WorkerLost if none is to be expected.

    asked: a work of gloo that is done beside it; summed: the sum's; arrived: its `arrival`;
    told_to_end: gives the time.monotonic() at which this process was, or None. The device's own
    stream must not wait for the sum before: then the weights can still be read.
    """
    start, broken = time.monotonic(), None
    while not arrived():
        now = time.monotonic()
        if asked.is_completed():
            asked.wait()  # fails if a process has ended
        if broken is None and summed.is_completed():  # without a sum: by an error
            broken = now
        for since, what in ((broken, "NCCL failed"), (told_to_end(), "told to end")):
            if since is not None and now - max(start, since) > GRACE:
                raise WorkerLost(f"{what}, and no sum for {GRACE} s")
        if now - start > LIMIT.total_seconds():
            raise WorkerLost(f"no sum for {LIMIT}")
        time.sleep(0 if now - start < 2e-3 else 50e-6)


def _reason(error):
    """The first line of an error of torch.distributed, without its place in the C++ source."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"^\[\S+\] *", "", line).partition(". This is typically")[0]
