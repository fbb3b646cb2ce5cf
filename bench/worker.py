"""One section in a process of its own: `python -m bench.worker SECTION '{"folder": ...}'`.

The process is set up as `caffe train` sets up its own (runner.prepare_host), before PyTorch is loaded, and
so for every candidate of the section: their ratios are about code, not about settings. The result
is the one line of stdout, as JSON; log lines go to stderr.
"""

import json
import subprocess
import sys
from importlib import import_module

import runner
from bench.processes import ROOT, Failed


def call(section, log, **arguments):
    """The result of bench.SECTION.measure(**arguments), run in another process.

    log: path of a file that takes what it says meanwhile. Raises Failed.
    """
    command = [sys.executable, "-m", "bench.worker", section, json.dumps(arguments)]
    with open(log, "a", encoding="utf-8") as file:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=file, text=True, cwd=ROOT)
    if done.returncode:
        with open(log, encoding="utf-8") as file:
            raise Failed(f"{section} {arguments}: {file.read()[-2000:]}")
    return json.loads(done.stdout)


def main():
    runner.prepare_host()
    section, arguments = sys.argv[1], json.loads(sys.argv[2])
    out, sys.stdout = sys.stdout, sys.stderr
    result = import_module(f"bench.{section}").measure(**arguments)
    print(json.dumps(result), file=out)


if __name__ == "__main__":
    main()
