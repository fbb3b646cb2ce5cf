"""A snapshot of All-CNN-C: how long training waits for it."""

import time
from pathlib import Path

from bench import subjects


def measure(folder, rounds):
    """{"seconds": [one a round], "bytes": of one snapshot's files}."""
    solver = subjects.our_solver(subjects.write_solver(folder, "allcnn-c", batch_size=4))
    seconds, size = [], 0
    for number in range(rounds + 1):
        solver.step(1)
        start = time.perf_counter()
        state = Path(solver.snapshot())
        if number:
            seconds.append(time.perf_counter() - start)
        written = list(state.parent.glob(f"{state.stem}.*"))
        size = sum(path.stat().st_size for path in written)
        for path in written:
            path.unlink()
    return {"seconds": seconds, "bytes": size}
