"""pycaffe's scripts on our engine beside the engine itself: loops of steps, and deploy nets.

    python -m bench.scripts [NET...] [--rounds N] [--threads N]

Candidates take turns in one process. A ratio is taken within each round: the engine's seconds over
the script's, so that 1 is as fast as `caffe train`, or as the engine's own forward.
"""

import argparse
import os
import sys
import tempfile

import numpy as np
import torch

import caffe
import runner
from bench import subjects
from bench.interleave import alternate, steps_for, summary, timed
from netgen import nets, schema

SECONDS = 1.0  # of a round


def steps(folder, net, rounds):
    """{what a script does: ratios to `caffe train`} of a training net."""
    path = str(subjects.write_solver(folder, net))
    ours = subjects.our_solver(path)
    names = (
        "step(1), loss read",
        "step(1), all data read",
        "step(1), data and diffs read",
        "step(n)",
    )
    solvers = {name: caffe.SGDSolver(path) for name in names}

    def loop(name, look):
        solver = solvers[name]

        def run(count):
            for _ in range(count):
                solver.step(1)
                look(solver.net.blobs)

        return run

    def everything(blobs):
        for blob in blobs.values():
            blob.data, blob.diff  # noqa: B018

    scripts = {
        names[0]: loop(names[0], lambda blobs: float(blobs["loss"].data)),
        names[1]: loop(names[1], lambda blobs: [blob.data for blob in blobs.values()]),
        names[2]: loop(names[2], everything),
        names[3]: solvers[names[3]].step,
    }
    count = steps_for(ours.step, SECONDS)
    for run in scripts.values():
        run(3)
    return _ratios({"engine": ours.step, **scripts}, count, rounds)


def forwards(folder, net, rounds, batches=(1, 10)):
    """{batch: ratios to the engine's own forward} of a deploy net."""
    found = {}
    for batch in batches:
        param = nets.build_net(net, nets.NetOptions(batch_size=batch), deploy=True)
        path = os.path.join(folder, f"{net}-deploy-{batch}.prototxt")
        schema.write_text(param, path)
        shown, engine = caffe.Net(path, caffe.TEST), runner.Net(path).engine
        values = np.random.default_rng(0).random(shown.blobs[shown.inputs[0]].shape)
        shown.blobs[shown.inputs[0]].data[...] = values
        engine.blobs[shown.inputs[0]].memory().copy_(torch.from_numpy(values))

        def own(count, engine=engine):
            with torch.no_grad():
                for _ in range(count):
                    engine.forward()

        def script(count, shown=shown):
            for _ in range(count):
                shown.forward()

        own(3), script(3)
        count = steps_for(own, SECONDS, most=5000)
        found |= {
            f"forward, batch {batch}": values
            for values in _ratios({"engine": own, "script": script}, count, rounds).values()
        }
    return found


def _ratios(candidates, count, rounds):
    timings = {name: timed(run, count) for name, run in candidates.items()}
    seconds = alternate(timings, rounds)
    engine = seconds.pop("engine")
    return {
        name: summary([own / other for own, other in zip(engine, others, strict=True)])
        for name, others in seconds.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="*", default=["lenet", "cifar10_full", "resnet20"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    caffe.init_log(2)
    print(f"threads {options.threads}, rounds {options.rounds}; median (least to most)")
    for net in options.nets:
        with tempfile.TemporaryDirectory() as folder:
            records = subjects.write_records(folder, subjects.SUBJECTS[net])
            rows = steps(records, net, options.rounds)
            rows |= forwards(folder, net, options.rounds)
        for name, ratio in rows.items():
            print(
                f"{net:>14}  {name:<30} {ratio['median']:.3f} "
                f"({ratio['min']:.3f} to {ratio['max']:.3f})",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
