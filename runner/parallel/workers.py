"""What the workers of one run exchange, all of it through torch.distributed.

Every iteration two sums are made: of the gradients (NCCL on GPUs, gloo on CPUs) and, beside
them on the host, of what signals asked for (gloo), so that all stop or snapshot at the same
iteration. Gloo notices at once when another process has ended; on GPUs, where NCCL alone would
wait for it forever, the host waits for both before it gives the device the update. That costs a
launch an iteration and buys that no update is ever made of a broken sum: when a worker is lost
the weights of all others are still those of the last iteration that was finished.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import os
import signal
import sys
import time
import zlib
from collections.abc import Iterator
from datetime import timedelta
from typing import NoReturn

import torch
import torch.distributed as dist

from netgen.errors import CaffeError
from runner.log import glog
from runner.parallel.exchange import (
    GRACE,
    WorkerLost,
    arrival,
    connect,
    device_group,
    exchange,
    patient_group,
    unreachable,
    wait_for_device,
)
from runner.process.place import Place, place
from runner.solver import Action, Solver, snapshot
from runner.solver.workers import Alone, Request, Workers

#: seconds by which the root is ahead of others when one has to write the last snapshot
ROOT_FIRST = 2


class ToldElsewhere(Exception):
    """The run failed, and another worker reports why."""


@contextlib.contextmanager
def join() -> Iterator[Workers]:
    """The workers of this run: Alone, or those of RANK and WORLD_SIZE once all are there.

    Raises CaffeError if they cannot be reached; ToldElsewhere, where another worker fails first.
    """
    here = place()
    if here.count == 1:
        yield Alone()
        return
    try:
        workers = DistributedWorkers(here)
    except WorkerLost as lost:
        raise unreachable(here, lost) from None
    try:
        yield workers
        workers.close()
    except WorkerLost as lost:
        workers.give_up(lost)
    except ToldElsewhere:
        _end_at_once()
        raise
    except CaffeError:
        workers.tell()
        _end_at_once()
        raise
    except BaseException:
        workers.tell()
        raise


class DistributedWorkers(Workers):
    """This process as one of several workers of a run, of which the root is one as well.

    here: its Place. Those that are not the root log errors only.
    """

    def __init__(self, here: Place) -> None:
        self.rank, self.count = here.rank, here.count
        self._store = connect(here)
        if not self.root:
            glog.log.minimum = "EF"
            glog.log.title = f"rank {self.rank}: "
        self._patient = patient_group()
        self._gradients = None  # the group that sums them; None: the one that sums requests
        self._actions = torch.zeros(len(Action), dtype=torch.int64)
        self._stop, self._terminated = False, None
        self._first_iter = self._standing = None
        self._seed = self._sum(torch.seed() % 2**31 if self.root else 0)
        # From here on the end of another process shows by itself, and SIGTERM need not kill.
        self._before = signal.signal(signal.SIGTERM, self._terminate)
        _end_with_launcher()

    def close(self) -> None:
        """Leave, at the end of the run."""
        signal.signal(signal.SIGTERM, self._before)
        dist.destroy_process_group()

    # --- signals ---

    def _terminate(self, number, frame):
        """Note a SIGTERM: the launcher has lost a worker, or wants all of them to end."""
        self._stop, self._terminated = True, time.monotonic()

    def listen(self, request: Request) -> Request:
        def either():
            stop, self._stop = self._stop, False
            return Action.STOP if stop else request()

        return either

    # --- setting up ---

    def seed(self) -> int:
        return self._seed

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        failure = None
        try:
            yield
        except Exception as error:
            failure = error
        failed = self._each(failure is not None, self._patient)
        if any(failed):
            if failure is not None and not any(failed[: self.rank]):
                raise failure
            raise ToldElsewhere from failure

    @contextlib.contextmanager
    def training(self, solver: Solver) -> Iterator[None]:
        try:
            self._share(solver)
            yield
        except WorkerLost as lost:
            self.give_up(lost, solver)

    def _share(self, solver):
        """Check that all have the same before them, and give everyone the root's weights."""
        if solver.device.type != "cpu":
            self._gradients = device_group()
        prints = self._each(_fingerprint(solver))
        others = [rank for rank in range(self.count) if prints[rank] != prints[0]]
        if others and not self.root:
            raise ToldElsewhere
        if others:
            raise CaffeError(
                f"rank {others[0]} does not train what rank 0 trains: its solver, net, number of "
                "records, snapshot or precision is another"
            )
        for flat in (solver.net.parameters.data, *solver.updater.history):
            with exchange() as works:
                works.append(dist.broadcast(flat, 0, group=self._gradients, async_op=True))
        self._first_iter = solver.iter

    # --- training ---

    def begin(self, solver: Solver) -> None:
        """Remember where the data stand, and seed what the iteration draws.

        Dropout and noise depend on the seed, the rank and the iteration: every worker has its
        own, and one that resumes has those of the uninterrupted run, without having been asked.
        """
        self._standing = (
            solver.iter, solver.net.state(), solver.test_state(), solver.losses.values.copy()
        )  # fmt: skip
        solver.random.manual_seed(zlib.crc32(f"{solver.seed} {self.rank} {solver.iter}".encode()))

    def reduce(self, gradients: torch.Tensor, request: Request) -> None:
        """The mean of all workers' gradients, in place (parallel.cpp, on_gradients_ready).

        One sum of everything; layer_wise_reduce only says when Caffe makes which part of it.
        """
        self._actions.zero_()
        self._actions[request().value] = 1
        with exchange() as works:
            works.append(dist.all_reduce(self._actions, async_op=True))
            works.append(dist.all_reduce(gradients, group=self._gradients, async_op=True))
            if gradients.is_cuda:
                wait_for_device(*works, arrival(works[-1]), lambda: self._terminated)
        gradients.mul_(1 / self.count)

    def agreed(self, request: Request) -> Action:
        if self._actions[Action.STOP.value]:
            return Action.STOP
        if self._actions[Action.SNAPSHOT.value]:
            # A terminal's signal goes to every worker; what is here by now is the same one.
            self._stop = request() is Action.STOP
            return Action.SNAPSHOT
        return Action.NONE

    def from_root(self, value: bool) -> bool:
        return bool(self._sum(value and self.root, self._patient))

    def _sum(self, number, group=None):
        return sum(self._each(number, group))

    def _each(self, number, group=None):
        """Every worker's number, an int or bool, by rank."""
        numbers = torch.zeros(self.count, dtype=torch.int64)
        numbers[self.rank] = int(number)
        with exchange() as works:
            works.append(dist.all_reduce(numbers, group=group, async_op=True))
        return numbers.tolist()

    # --- the end of a run that failed ---

    def tell(self) -> None:
        """Let the others know that this worker fails and reports why."""
        with contextlib.suppress(RuntimeError):
            self._store.set("told", "1")

    def give_up(self, lost: WorkerLost, solver: Solver | None = None) -> NoReturn:
        """End the run after a worker was lost: one of those left writes a snapshot and reports it.

        That is the root if it is still there, since only it knows where the test nets' data
        stand. Raises CaffeError at that worker and ToldElsewhere at the others.
        """
        self._leave(lost)
        if not self.root:
            time.sleep(ROOT_FIRST)
        if not self._is_first():
            raise ToldElsewhere
        glog.log.title = ""
        text = f"rank {self.rank}: a worker was lost {_when(solver)} ({lost})"
        try:
            path = self._last_snapshot(solver)
            text += f"; snapshot: {path}" if path else "; there is no snapshot to write"
        except CaffeError as error:
            text += f"; its snapshot: {error}"
        if self.root and self.count > 2:
            time.sleep(ROOT_FIRST + 1)  # until all have asked, as the store may be in this process
        if self._is_told():
            raise ToldElsewhere
        raise CaffeError(text)

    def _leave(self, lost):
        """Close the connections, by which workers that are no neighbours notice as well."""
        _end_at_once()
        self._store.set_timeout(timedelta(seconds=GRACE))
        if self._gradients is None:  # NCCL's would wait for its sum
            lost.__context__ = None
            dist.destroy_process_group()
            gc.collect()

    def _is_first(self):
        try:
            return self._store.add("lost", 1) == 1
        except RuntimeError:  # the store went with the worker that had it
            return True

    def _is_told(self):
        try:
            return self._store.check(["told"])
        except RuntimeError:
            return False

    def _last_snapshot(self, solver):
        """Write what the last finished iteration left; None where there is nothing to write."""
        if solver is None or self._first_iter is None or solver.iter == self._first_iter:
            return None
        if not (solver.param.snapshot or solver.param.snapshot_after_train):
            return None
        begun, data, tests, losses = self._standing
        if begun == solver.iter:  # it fetched and drew for the iteration that came to nothing
            solver.net.load_state(data)
            solver.load_test_state(tests)
            solver.losses.values = losses
        return snapshot.write(solver)


def _end_with_launcher() -> None:
    """Have Linux send SIGTERM should torchrun be killed, which then can stop nobody.

    `launch` does the same with SIGINT. A worker that was started by hand has a shell for a parent,
    and outlives it.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ and sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG of linux/prctl.h


def _end_at_once() -> None:
    """Have the process of a run that failed end, with status 1, when its own work is done.

    It is not to wait for a sum that will never come, nor to take down connections whose other
    end may have gone before, at which gloo's threads abort.
    """
    atexit.register(os._exit, 1)


def _when(solver):
    return "before training began" if solver is None else f"in iteration {solver.iter}"


def _fingerprint(solver):
    """A number that is the same for two workers only if they train the same net alike."""
    param = type(solver.param)()
    param.CopyFrom(solver.param)
    for field in ("net", "train_net", "test_net", "weights", "snapshot_prefix", "device_id"):
        param.ClearField(field)  # machines may have their files in different places
    parts = [
        param, solver.precision, solver.iter, solver.seed, solver.net.state(),
        sorted(solver.net.blob_shapes.items()), solver.net.parameters.learnable,
    ]  # fmt: skip
    return zlib.crc32("\n".join(map(str, parts)).encode())
