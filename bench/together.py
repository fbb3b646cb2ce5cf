"""Two nets trained at once in one process beside one after the other, with the same threads."""

import time

import torch

import runner
from bench import subjects
from bench.interleave import alternate, steps_for

SECONDS = 1.0  # of a round of one net


def measure(folder, net, rounds, count=2, width=1.0):
    """{"seconds": {candidate: [a step of all nets]}, "images": of a step of all}."""
    path = subjects.write_solver(folder, net, width=width)
    solvers = [subjects.our_solver(path, seed=seed) for seed in range(count)]
    steps = steps_for(solvers[0].step, SECONDS)

    def in_turn():
        start = time.perf_counter()
        for solver in solvers:
            solver.step(steps)
        return (time.perf_counter() - start) / steps

    def at_once():
        together = runner.Together([str(seed) for seed in range(count)], "")
        start = time.perf_counter()
        together.run(lambda i: lambda: solvers[i].step(steps))
        return (time.perf_counter() - start) / steps

    return {
        "net": net,
        "count": count,
        "threads": torch.get_num_threads(),
        "steps": steps,
        "images": count * subjects.batch_size(path),
        "width": width,
        "seconds": alternate({"one after the other": in_turn, "at once": at_once}, rounds),
    }
