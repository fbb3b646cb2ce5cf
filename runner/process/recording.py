"""Work for a CUDA device recorded once, as a CUDA graph, and replayed from then on.

A step of a small net is a few hundred kernels of a few microseconds: launching them one by one
from Python takes longer than running them. The kernels of a recording run on the same memory
each time, so what comes from the host is copied to where the recording expects it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch

from runner.log import glog

#: calls that run as they are before one is recorded: libraries choose and allocate in them
WARM_UP = 3

_one_by_one = threading.Lock()


class CudaGraph:
    """One recording of `function()` on the current stream."""

    def __init__(self, function: Callable[[], Any], generator: torch.Generator | None) -> None:
        self.graph = torch.cuda.CUDAGraph()
        if generator is not None:
            self.graph.register_generator_state(generator)
        stream = torch.cuda.current_stream()
        # Other threads may train other nets meanwhile, but a recording begins with waiting for
        # the whole device, which another one would not survive.
        with (
            _one_by_one,
            torch.cuda.graph(self.graph, stream=stream, capture_error_mode="thread_local"),
        ):
            self.result = function()

    def replay(self) -> Any:
        """Run it again; returns the same result tensors, refilled."""
        self.graph.replay()
        return self.result


class Replayed:
    """Calls `function(*inputs)`; after a few times records the call and replays it.

    function: its inputs, lists of tensors, must be all that changes from call to call beside
    what lies on the device; returns what holds tensors, which the next call overwrites. The
    first calls, and all of them where recording fails, run it as it is; a failure is logged
    once, as `name`'s. record: CudaGraph, or what takes its place; None never records.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        record: Callable[..., Any] | None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.function, self.name, self.record = function, name, record
        self.generator = generator
        self.calls = 0
        self.inputs: Any = None  # what the recording reads
        self.recording: Any = None

    def __call__(self, *inputs: list[torch.Tensor]) -> Any:
        if self.record is None:
            return self.function(*inputs)
        if self.recording is None:
            self.calls += 1
            if self.calls <= WARM_UP or not self._recorded(inputs):
                return self.function(*inputs)
        pairs = list(zip(chain(*inputs), chain(*self.inputs), strict=True))
        if any(x.shape != kept.shape for x, kept in pairs):
            self._give_up("its inputs change their shapes")
            return self.function(*inputs)
        for x, kept in pairs:
            kept.copy_(x, non_blocking=True)
        return self.recording.replay()

    def _recorded(self, inputs):
        self.inputs = [[x.clone() for x in tensors] for tensors in inputs]
        try:
            self.recording = self.record(lambda: self.function(*self.inputs), self.generator)
        except (RuntimeError, AttributeError) as error:  # AttributeError: a torch too old
            self._give_up(str(error).splitlines()[0])
        return self.recording is not None

    def _give_up(self, why):
        glog.warning(f"{self.name} is not recorded as a CUDA graph: {why}", "net.cpp:200")
        self.record = self.recording = self.inputs = None


def recorder(device: torch.device) -> type[CudaGraph] | None:
    """What records work for `device`: CudaGraph, or None on a CPU, where nothing is won."""
    return CudaGraph if device.type != "cpu" else None
