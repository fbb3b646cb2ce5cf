"""Our step beside the hand-written one over batch size, width, depth and size of the data set."""

import os
import time
from functools import partial

import runner
from bench import hand_written, subjects
from bench.interleave import alternate, steps_for, timed
from netgen import nets
from netgen.nets.resnet import resnet

SECONDS = 0.5  # of a round


def measure(folder, axis, values, rounds):
    """[{"value": of the axis, "seconds": {candidate: [a step]}, ...}] along an axis."""
    return [AXES[axis](folder, value, rounds) for value in values]


def _batch(folder, batch, rounds):
    return _pair(folder, "allcnn-c", batch, rounds, batch, width=0.5)


def _width(folder, width, rounds):
    return _pair(folder, "allcnn-c", 32, rounds, width, width=width)


def _depth(folder, blocks, rounds):
    """ResNets of 6 blocks + 2 layers."""
    return _pair(
        folder,
        "resnet20",
        32,
        rounds,
        6 * blocks + 2,
        make=lambda name, options: resnet(blocks, name, options),
        module=partial(hand_written.resnet, blocks),
    )


def _pair(folder, net, batch, rounds, value, width=1.0, make=nets.build_net, module=None):
    path = subjects.write_solver(folder, net, make=make, batch_size=batch, width=width)
    ours = subjects.our_solver(path)
    module = (module or hand_written.NETS[net])(width)
    loop = subjects.hand_loop(net, folder, batch, module)
    steps = steps_for(ours.step, SECONDS)
    loop.step(2)
    seconds = alternate(
        {"ours": timed(ours.step, steps), "by hand": timed(loop.step, steps)}, rounds
    )
    return {"value": value, "batch": batch, "seconds": seconds}


def _records(folder, count, rounds):
    """LeNet on LMDBs of so many records, resident and streamed."""
    records = subjects.write_records(os.path.dirname(folder), "digits", count)
    path = subjects.write_solver(records, "lenet")
    candidates, opening = {}, {}
    for name, megabytes in (("resident", None), ("streamed", 0)):
        os.environ.pop(runner.DATA_MEMORY, None)
        if megabytes is not None:
            os.environ[runner.DATA_MEMORY] = str(megabytes)
        start = time.perf_counter()
        solver = subjects.our_solver(path)
        opening[name] = time.perf_counter() - start
        steps = steps_for(solver.step, SECONDS)
        candidates[name] = timed(solver.step, steps)
    seconds = alternate(candidates, rounds)
    return {"value": count, "batch": 64, "seconds": seconds, "opening": opening}


AXES = {"batch": _batch, "width": _width, "depth": _depth, "records": _records}
