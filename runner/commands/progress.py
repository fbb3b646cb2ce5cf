"""A progress bar under the log lines, on a terminal only."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from runner.log import glog


class Progress:
    """Shows the iterations done; a Solver calls it with their number after each one."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def __call__(self, done: int) -> None:
        self._bar.update(done - self._bar.n)

    @contextlib.contextmanager
    def testing(self) -> Iterator[None]:
        """Say that a test runs; the rate and the time left are those of training alone."""
        bar, start = self._bar, time.time()
        bar.set_description_str("testing")
        try:
            yield
        finally:
            lapse = time.time() - start
            bar.start_t += lapse
            bar.last_print_t += lapse
            bar.set_description_str("")

    def tell(self, line: str) -> None:
        """Write a line for the person at hand above the bar."""
        self._bar.write(line, file=sys.stderr)

    def part(self, tell: Callable[[int], None]) -> Progress:
        """The Progress of one of several trainings: `tell` is called in this one's place."""
        return _Part(self._bar, tell)


class _Part(Progress):
    def __init__(self, bar: Any, tell: Callable[[int], None]) -> None:
        super().__init__(bar)
        self._tell = tell

    def __call__(self, done: int) -> None:
        self._tell(done)

    @contextlib.contextmanager
    def testing(self) -> Iterator[None]:
        yield  # the others go on training meanwhile


def tell(line: str) -> None:
    """Write a line for the person at hand to stderr; it is none of Caffe's log."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):  # a stderr that is full is no error
            print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress_bar(start: int, total: int) -> Iterator[Progress | None]:
    """Yield the Progress of iterations `start` to `total`, or None where stderr is no terminal.

    Log lines are written above the bar, which shows the rate and the time left.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    bar = tqdm(
        total=total, initial=start, unit="it", dynamic_ncols=True, file=sys.stderr,
        smoothing=0.05, mininterval=0.5,
    )  # fmt: skip
    glog.log.through(lambda line: tqdm.write(line, file=sys.stderr))
    try:
        yield Progress(bar)
    finally:
        glog.log.through(None)
        bar.close()
