"""A function over many items on several threads, its results in the order of the items."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

CHUNK = 4  # items that a thread takes at once: less of the time goes into handing over
AHEAD = 8  # chunks of each thread that may wait to be taken
MEMORY = 256 << 20  # bytes of results that may wait, more only where there is a chunk a thread


def in_order(
    function: Callable[[T], R], items: Iterable[T], size: Callable[[R], int]
) -> Iterator[R]:
    """Yield function(item) of every item, in order, however many items there are.

    There is a thread for each processor that the process may use: decoding and resizing pictures
    hold Python's lock for a small part of their time. size: the bytes of a result, by which is
    told how many may wait to be taken. Raises what function raises, at the item's turn; what was
    begun is then finished and the rest dropped.
    """
    threads = len(os.sched_getaffinity(0))
    waiting: deque[Future[list[R]]] = deque()
    rest = iter(items)
    chunks = iter(lambda: list(itertools.islice(rest, CHUNK)), [])
    most = threads
    pool = ThreadPoolExecutor(threads)
    try:
        for chunk in chunks:
            waiting.append(pool.submit(lambda chunk=chunk: [function(item) for item in chunk]))
            while len(waiting) > most:
                results = waiting.popleft().result()
                fitting = MEMORY // max(1, sum(map(size, results)))
                most = max(threads, min(fitting, AHEAD * threads))
                yield from results
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
