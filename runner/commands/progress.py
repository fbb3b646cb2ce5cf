"""A progress bar under the log lines, on a terminal only."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from runner.log import glog


@contextlib.contextmanager
def progress_bar(start: int, total: int) -> Iterator[Callable[[int], object] | None]:
    """Yield a function that takes the iterations done, or None where stderr is no terminal.

    Log lines are written above the bar, which shows the rate and the time left.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    bar = tqdm(
        total=total, initial=start, unit="it", dynamic_ncols=True, file=sys.stderr,
        smoothing=0.05, mininterval=0.5,
    )  # fmt: skip
    glog.log.through(lambda line: tqdm.write(line, file=sys.stderr))
    try:
        yield lambda done: bar.update(done - bar.n)
    finally:
        glog.log.through(None)
        bar.close()
