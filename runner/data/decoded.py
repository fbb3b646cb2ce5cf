"""Decoded records: one flat array of pixels, and where each record lies in it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from netgen.errors import CaffeError
from runner.data.errors import DataLayerError


@dataclass(frozen=True, eq=False)
class Decoded:
    """N records, whose shapes may differ.

    values: 1-D uint8 or float32 tensor, each record's pixels in C, H, W order.
    starts: (N,) int64, each record's first pixel in values; shapes: (N, 3) int64;
    labels: (N,) int64. These three are NumPy arrays: they stay on the host.
    """

    values: torch.Tensor
    starts: np.ndarray
    shapes: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def length(self) -> int:
        """Their number, as a source says it."""
        return len(self.starts)

    def __getitem__(self, which: np.ndarray | slice) -> Decoded:
        """Some of the records, over the same values. which: an index array or slice."""
        return replace(
            self,
            starts=self.starts[which],
            shapes=self.shapes[which],
            labels=self.labels[which],
        )

    def take(self, first: int, count: int, stride: int = 1) -> Decoded:
        """`count` records, every stride-th from number `first` on, round and round."""
        return self[np.arange(first, first + count * stride, stride) % len(self)]

    def close(self) -> None:
        """Nothing to stop (the streaming reader has)."""


def collect(
    records: Iterable[tuple[Any, Any]],
    count: int,
    decode: Callable[[Any], tuple[np.ndarray, tuple[int, int, int], int]],
    limit: float = float("inf"),
) -> Decoded | None:
    """Decode the next `count` records of an iterator of (key, value) into a Decoded on the host.

    key: bytes-like, or None if an error of decode's says itself which record it is of.

    Pixels are written straight to their place in one array; it is float32 as soon as one
    record is. Returns None, having read no further, if it would take more than `limit` bytes.
    Raises DataLayerError naming the record that cannot be decoded.
    """
    values, end = np.empty(0, np.uint8), 0
    starts = np.empty(count, np.int64)
    shapes = np.empty((count, 3), np.int64)
    labels = np.empty(count, np.int64)
    for i, (key, record) in zip(range(count), records, strict=False):
        try:
            pixels, shapes[i], labels[i] = decode(record)
        except CaffeError as error:
            if key is None:
                raise  # it names itself
            raise DataLayerError(f"record '{_name(key)}': {error}") from None
        starts[i], end = end, end + pixels.size
        dtype = np.result_type(values, pixels)
        if end > values.size or dtype != values.dtype:
            # Room for all, were they like this one; more only if larger ones came before.
            room = max(values.size, starts[i] + pixels.size * (count - i))
            if room * dtype.itemsize > limit:
                return None
            values, old = np.empty(room, dtype), values
            values[: starts[i]] = old[: starts[i]]
        values[starts[i] : end] = pixels
    return Decoded(torch.from_numpy(values[:end]), starts, shapes, labels)


_resident = weakref.WeakValueDictionary()


def load(source: Any, decode: Any, device: torch.device, limit: float) -> Decoded | None:
    """All records of a database decoded once, values on `device`; None if over `limit` bytes.

    Layers of one process that read the same source get the same Decoded.
    """
    key = (source.identity, decode.force_color, decode.force_gray, device)
    records = _resident.get(key)
    if records is None:
        if source.length is None and source.size > limit:
            return None  # counting would take reading all of it, to no purpose
        records = collect(source.records(), source.count(), decode, limit)
        if records is None:
            return None
        records = _resident[key] = replace(records, values=records.values.to(device))
    return records


def _name(key: Any) -> str:
    return bytes(key).decode("utf-8", "backslashreplace")
