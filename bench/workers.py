"""One process on all cores beside a process a core (torchrun, gloo): the same images a step."""

import os
import sys

from bench import subjects
from bench.interleave import alternate
from bench.processes import CAFFE, run, seconds_a_step


def measure(folder, net, steps, rounds, count=2, width=1.0):
    """{"seconds": {candidate: [a step]}, "images": of a step, all workers' together}.

    count: processes of one thread, with the net's batch divided among them; the one process has
    as many threads.
    """
    options = {"display": steps, "max_iter": steps + 1, "width": width}
    whole = subjects.write_solver(folder, net, **options)
    images = subjects.batch_size(whole)
    part = subjects.write_solver(folder, net, batch_size=images // count, **options)
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        f"--nproc-per-node={count}",
        "-m",
        "runner",
    ]

    def candidate(command, solver, threads):
        command = [*command, "train", "-solver", solver]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        return lambda: seconds_a_step(run(command, env=environment).text)

    candidates = {
        f"1 process, {count} threads": candidate(CAFFE, whole, count),
        f"{count} processes": candidate(torchrun, part, 1),
    }
    return {
        "net": net,
        "images": images,
        "steps": steps,
        "width": width,
        "seconds": alternate(candidates, rounds),
    }
