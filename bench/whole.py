"""Whole processes: `caffe train` beside a plain PyTorch script and C++ Caffe; time and memory.

Here each process has the settings that it makes itself: ours those of runner.process.host, the script
none. What ours gains beside the ratios of one process is those settings' work.
"""

import sys

from bench import subjects
from bench.interleave import alternate
from bench.processes import CAFFE, run, seconds_a_step
from bench.training import external_caffe


def measure(folder, net, steps, rounds, width=1.0):
    """{"seconds": {candidate: [a step]}, "rss": {candidate: peak bytes}}."""
    form = subjects.KINDS[subjects.SUBJECTS[net]]
    solver = subjects.write_solver(folder, net, display=steps, max_iter=steps + 1, width=width)
    batch = subjects.batch_size(solver)
    hand = [
        sys.executable,
        "-m",
        "bench.hand_written",
        net,
        folder,
        "--steps",
        steps,
        "--batch-size",
        batch,
        "--width",
        width,
    ]
    hand += ["--crop", form.crop] * bool(form.crop) + ["--mirror"] * form.mirror
    training = ["train", "-solver", solver]
    commands = {"`caffe train`": ([*CAFFE, *training], None), "PyTorch script": (hand, None)}
    if caffe := external_caffe():
        commands["C++ Caffe"] = ([caffe.tool, *training], caffe.environment())
    rss = {}

    def candidate(name, command, env):
        def seconds():
            done = run(command, env=env)
            rss[name] = max(rss.get(name, 0), done.rss)
            return float(done.text) if command is hand else seconds_a_step(done.text)

        return seconds

    seconds = alternate(
        {name: candidate(name, *command) for name, command in commands.items()}, rounds
    )
    return {"seconds": seconds, "rss": rss, "steps": steps, "batch": batch, "net": net}
