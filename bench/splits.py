"""Nets grown by splits: what a step costs beside the net they grew from, and beside multiply-adds.

    python -m bench.splits [--rounds N] [--threads N] [--batch N] [--width W]

A step is the Solver's that `caffe train` makes: reading, forward, backward, update. Of each net it
is timed as the engine runs it and, `apart`, with every layer run by itself; the candidates take
turns in one process, a ratio is taken within each round, and what is counted is the process's CPU
time, so that others on the machine disturb less. Loss and gradients of both ways must agree.
`predicted` is the ratio of the multiply-adds of a training step.
"""

import argparse
import tempfile
import time

import torch

import runner
from bench import subjects
from bench.ceilings import training_multiply_adds
from bench.interleave import alternate, steps_for, summary
from netgen import schema
from netgen.describe import describe
from netgen.schema import caffe_pb

PARENT, GROWN = "allcnn-c", ("msplit1", "msplit2")
SECONDS = 1.0  # of a round of one candidate


def check(net):
    """Refuse to compare what does not compute the same."""
    batch, found = net.fetch(), []
    for net.fused in (False, True):
        if net.context.random is not None:
            net.context.random.manual_seed(0)
        torch.manual_seed(0)
        net.parameters.grad.zero_()
        loss, _ = net.forward_backward(*batch)
        found.append((loss.item(), net.parameters.grad.clone()))
    (apart, slopes), (together, ours) = found
    worst = float((ours - slopes).abs().max() / slopes.abs().max())
    if abs(together - apart) > 1e-5 * abs(apart) or not worst < 1e-4:
        raise SystemExit(f"losses {apart} and {together}, gradients apart by {worst:.1g}")


def candidate(solver, fused, count):
    """CPU seconds of a step of `solver`, run together where the engine does that or apart."""

    def run():
        solver.net.fused = fused
        start = time.process_time()
        solver.step(count)
        return (time.process_time() - start) / count

    return run


def measure(folder, rounds, batch, width):
    """{net: {"together" and "apart": [CPU seconds a step], "multiply_adds": of a step}}."""
    runs, counts, found = {}, {}, {}
    for name in (PARENT, *GROWN):
        path = subjects.write_solver(folder, name, batch_size=batch, width=width)
        solver = subjects.our_solver(path, seed=1)
        check(solver.net)
        steps = steps_for(solver.step, SECONDS)
        for fused in (True, False):
            runs[name, fused] = candidate(solver, fused, steps)
        net = describe(schema.read_net(schema.read_solver(path).net), caffe_pb.TRAIN)
        counts[name] = training_multiply_adds(net)
    seconds = alternate(runs, rounds)
    for name, count in counts.items():
        found[name] = {
            "together": seconds[name, True],
            "apart": seconds[name, False],
            "multiply_adds": count,
        }
    return found


def lines(found):
    """The table, a line a net."""
    parent = found[PARENT]
    yield f"{'net':10} predicted   together  of predicted      apart  of predicted"
    for name, own in found.items():
        predicted = own["multiply_adds"] / parent["multiply_adds"]
        cells = []
        for way in ("together", "apart"):
            ratios = [a / b for a, b in zip(own[way], parent[way], strict=True)]
            cells.append(summary(ratios)["median"])
        words = "  ".join(f"{cell:9.2f}  {cell / predicted:12.2f}" for cell in cells)
        yield f"{name:10} {predicted:9.2f}  {words}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=float, default=1.0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with runner.quiet(), tempfile.TemporaryDirectory() as folder:
        records = subjects.write_records(folder, subjects.SUBJECTS[PARENT])
        found = measure(records, args.rounds, args.batch, args.width)
    print(
        f"PyTorch {torch.__version__}, {args.threads} thread(s), batch {args.batch}, width "
        f"{args.width:g}, medians of {args.rounds} rounds; CPU time of a step, {PARENT} = 1"
    )
    print("\n".join(lines(found)))


if __name__ == "__main__":
    main()
