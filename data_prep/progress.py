"""How far a command is, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

INTERVAL = 10.0  # seconds from line to line where there is no terminal


@contextmanager
def counting(
    total: int | None, what: str, unit: str = "", scale: bool = False
) -> Iterator[Callable[[int], object]]:
    """Give count(n), which tells that n more are done of `total` things that are called `what`.

    unit: what is counted. scale: the bar's numbers get k and M. A log gets a line every INTERVAL
    seconds, and none of what is done sooner.
    """
    if sys.stderr is not None and sys.stderr.isatty():
        unit = f" {unit}" if len(unit) > 1 else unit or "it"
        with tqdm(
            total=total, desc=what, unit=unit, unit_scale=scale, leave=False, dynamic_ncols=True
        ) as bar:
            yield bar.update
    else:
        yield _Lines(total, what, unit).count


class _Lines:
    def __init__(self, total: int | None, what: str, unit: str) -> None:
        self._of = f" of {total:,}" if total else ""
        self._what, self._unit = what, f" {unit}" if unit else ""
        self._done, self._next = 0, time.monotonic() + INTERVAL

    def count(self, more: int) -> None:
        self._done += more
        if time.monotonic() >= self._next and sys.stderr is not None:
            line = f"{self._what}: {self._done:,}{self._of}{self._unit}"
            print(line, file=sys.stderr, flush=True)
            self._next = time.monotonic() + INTERVAL


def progress(iterable: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """The items of `iterable`, counted under the name `what`."""
    if total is None and hasattr(iterable, "__len__"):
        total = len(iterable)
    with counting(total, what) as count:
        for item in iterable:
            yield item
            count(1)


def slices(count: int, size: int, what: str) -> Iterator[slice]:
    """Slices of at most `size` that cover range(count); images are counted."""
    with counting(count, what, "images") as done:
        for start in range(0, count, size):
            stop = min(start + size, count)
            yield slice(start, stop)
            done(stop - start)
