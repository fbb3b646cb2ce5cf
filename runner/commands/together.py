"""`caffe train -solver a.prototxt,b.prototxt`: several trainings in one process.

Small nets leave a device idle: on a GPU each training has a CUDA stream of its own, on a CPU a
share of the cores, and the decoded records of a source are shared. Each is what it would be
alone: its own weights, random numbers, log file and snapshots.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence

import torch

from netgen.errors import CaffeError, line_of
from netgen.schema import caffe_pb
from runner.commands.progress import Progress
from runner.log import glog


def titles(paths: Sequence[str]) -> list[str]:
    """A short name for each path, no two the same."""
    stems = [os.path.splitext(os.path.basename(path))[0] for path in paths]
    if len(set(stems)) == len(paths):
        return stems
    return [os.path.splitext(path)[0].strip("./").replace("/", "_") for path in paths]


class Together:
    """Runs jobs in a thread each: all are prepared one by one before the first starts."""

    def __init__(self, names: Sequence[str], log_directory: str) -> None:
        self.names, self.log_directory = names, log_directory
        self.threads_each = max(1, torch.get_num_threads() // len(names))
        self._one_by_one = threading.Lock()
        self._prepared = threading.Barrier(len(names))
        self._done = [0] * len(names)
        self.failures = []

    def run(self, prepare: Callable[[int], Callable[[], object]]) -> int:
        """Call `prepare(i)` for each job, then the function without arguments that it returns.

        A job that fails says why in its log; the others go on. Returns how many failed. An
        error that is nobody's input is raised when all have ended.
        """
        threads = [
            threading.Thread(target=self._job, args=(i, prepare), name=name)
            for i, name in enumerate(self.names)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for error in self.failures:
            if line_of(error) is None:
                raise error
        return len(self.failures)

    def progress(self, index: int, bar: Progress | None) -> Progress | None:
        """The Progress of job `index`; bar: of all jobs' iterations, or None."""
        if bar is None:
            return None

        def tell(done):
            self._done[index] = done
            bar(sum(self._done))

        return bar.part(tell)

    def _job(self, index, prepare):
        torch.set_num_threads(self.threads_each)
        log = glog.LogSink(title=f"{self.names[index]}: ")
        with glog.use(log), contextlib.closing(log):
            try:
                try:
                    if self.log_directory:
                        log.open_file(self.log_directory, self.names[index])
                    with self._one_by_one:
                        start = prepare(index)
                finally:
                    # What one has loaded the others may use: it has to be there for all.
                    self._prepared.wait()
                start()
            except Exception as error:
                self.failures.append(error)
                glog.fatal(line_of(error) or repr(error), "caffe.cpp:439")


def check_prefixes(paths: Sequence[str], params: Sequence[caffe_pb.SolverParameter]) -> None:
    """Refuse two solvers that would write the same snapshots. Raises CaffeError."""
    seen = {}
    for path, param in zip(paths, params, strict=True):
        other = seen.setdefault(os.path.abspath(param.snapshot_prefix), path)
        if other != path:
            raise CaffeError(
                f"{other} and {path} have the same snapshot_prefix '{param.snapshot_prefix}': "
                "they would overwrite each other's snapshots"
            )
