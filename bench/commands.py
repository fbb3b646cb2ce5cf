"""What a person waits for: commands from Enter to their result, and parse_log's speed."""

import sys

from bench import subjects
from bench.interleave import alternate
from bench.processes import CAFFE, ROOT, run
from runner.log import at, read_line

LOG_MEGABYTES = 30


def measure(folder, rounds):
    """{"seconds": {command: [until its result]}, "parse_log": [MB/s], "log megabytes": of it}."""
    solver = subjects.write_solver(folder, "lenet", display=2, max_iter=21, tests=True)
    training = run([*CAFFE, "train", "-solver", solver]).text
    log = solver.with_suffix(".log")
    log.write_text(training, encoding="utf-8")
    python, tools = sys.executable, ROOT / "tools"
    commands = {
        "`python -m netgen baseline`": ([python, "-m", "netgen", "baseline"], None),
        "`caffe --version`": ([*CAFFE, "--version"], None),
        "`caffe train`, until the first iteration": (
            [*CAFFE, "train", "-solver", solver],
            f"{at(0)} (",
        ),
        "`caffe train`, LeNet, 21 iterations and two tests": (
            [*CAFFE, "train", "-solver", solver],
            None,
        ),
        "`tools/parse_log.py`": ([python, tools / "parse_log.py", log], None),
        "`tools/plot_loss.py --no_refresh`": (
            [python, tools / "plot_loss.py", log, "--no_refresh", "-o", f"{log}.png"],
            None,
        ),
        "`python -c 'import torch'`, for comparison": ([python, "-c", "import torch"], None),
    }
    seconds = alternate(
        {
            name: lambda command=command, until=until: run(command, until).seconds
            for name, (command, until) in commands.items()
        },
        rounds,
    )
    return {"seconds": seconds, **_parse_log(log, training, rounds)}


def _parse_log(path, training, rounds):
    """MB/s of parse_log on a long training's log: the displays of a short one, over and over."""
    head, _, rest = training.partition("Solving ")
    lines = [(line, read_line(line)) for line in rest.splitlines(keepends=True)]
    long = path.with_name("long.log")
    with open(long, "w", encoding="utf-8") as file:
        file.write(head + "Solving " + rest.partition("\n")[0] + "\n")
        first = 0
        while file.tell() < LOG_MEGABYTES * 1e6:
            for line, parts in lines:
                if parts.iteration is not None:
                    file.write(line.replace(at(parts.iteration), at(first + parts.iteration), 1))
                elif parts.output:
                    file.write(line)
            first += 22
    size = long.stat().st_size / 1e6
    seconds = alternate(
        {
            "short": lambda: run([sys.executable, ROOT / "tools/parse_log.py", path]).seconds,
            "long": lambda: run([sys.executable, ROOT / "tools/parse_log.py", long]).seconds,
        },
        rounds,
    )
    return {
        "parse_log": [
            size / (slow - start)
            for start, slow in zip(seconds["short"], seconds["long"], strict=True)
        ],
        "log megabytes": size,
    }
