"""Records that do not fit in memory: batches read ahead by a thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import torch

from runner.data.decoded import Decoded, collect


class Stream:
    """Reads a Source batch by batch, at most `ahead` batches before they are taken.

    Batches are expected in order; asking for another one (a resumed run does, once) starts
    the reading anew from there. collect: makes a batch, a dataclass with `values`, of the next
    records, as runner.data.decoded's does.
    """

    def __init__(
        self,
        source: Any,
        decode: Any,
        device: torch.device,
        ahead: int,
        collect: Callable[..., Any] = collect,
    ) -> None:
        self._source = source
        self._decode = decode
        self._collect = collect
        self._device = device
        self._ahead = max(1, ahead)
        self._place = None  # (first, count, stride) of the batch that is expected
        self._batches = deque()  # futures of it and those behind it
        self._thread = None
        self._records = None

    def take(self, first: int, count: int, stride: int = 1) -> Decoded:
        """`count` records, every stride-th from number `first` on, values on the device.

        Raises the DataLayerError of a record that cannot be decoded.
        """
        if self._place != (first, count, stride):
            self._start(first, count, stride)
        self._place = None  # until the batch is known to be good
        batch = self._batches.popleft().result()
        self._place = (first + count * stride, count, stride)
        self._batches.append(self._thread.submit(self._read, self._records, count))
        return replace(batch, values=batch.values.to(self._device, non_blocking=True))

    def close(self) -> None:
        """Stop reading. A later take starts again."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
            self._records.close()
        self._thread = self._records = self._place = None
        self._batches.clear()

    def _start(self, first, count, stride):
        self.close()
        self._records = self._source.records(first, stride)
        self._thread = ThreadPoolExecutor(1, "prefetch")
        for _ in range(self._ahead):
            self._batches.append(self._thread.submit(self._read, self._records, count))

    def _read(self, records, count):
        batch = self._collect(records, count, self._decode)
        if self._device.type != "cpu":
            # Only a copy from pinned memory runs beside the computation.
            with torch.cuda.device(self._device):
                batch = replace(batch, values=batch.values.pin_memory())
        return batch
