"""Progress bars: on stderr, and only where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")


def bar_options() -> dict[str, Any]:
    """How a bar is shown: disable None turns it off unless stderr is a terminal; it may be closed."""
    return {"disable": True if sys.stderr is None else None, "leave": False, "dynamic_ncols": True}


def progress(iterable: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
    """The items of `iterable`, counted by a bar named `what`."""
    return tqdm(iterable, desc=what, total=total, **bar_options())


def slices(count: int, size: int, what: str) -> Iterator[slice]:
    """Slices of at most `size` that cover range(count); the bar counts images."""
    with tqdm(total=count, desc=what, unit=" images", **bar_options()) as bar:
        for start in range(0, count, size):
            stop = min(start + size, count)
            yield slice(start, stop)
            bar.update(stop - start)
