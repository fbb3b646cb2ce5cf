"""Depthwise convolutions: a net of them in our engine beside torch's grouped convolutions by hand.

    python -m bench.depthwise [--rounds N] [--threads N]

The net is six of MobileNet's pairs, a depthwise 3 x 3 and a 1 x 1 convolution with a ReLU each, on
16 images of 32 channels and 56 x 56 pixels, then the mean of the values; a step is forward,
backward and SGD. First both get the same weights, and their loss and gradients must agree.
Candidates take turns in one process, a ratio is taken within each round, and what is counted is the
process's CPU time, so that others on the machine disturb less.
"""

import argparse
import time

import torch
from torch import nn

import runner
from bench.interleave import alternate, steps_for, summary
from netgen import schema
from netgen.schema import caffe_pb

BATCH, CHANNELS, SIDE, PAIRS = 16, 32, 56, 6
SECONDS = 1.0  # of a round

DATA = """layer { name: "data" type: "DummyData" top: "data" dummy_data_param {
  shape { dim: %d dim: %d dim: %d dim: %d } data_filler { type: "constant" value: 0.5 } } }
"""
PAIR = """layer { name: "dw%(n)d" type: "DepthwiseConvolution" bottom: "%(below)s" top: "dw%(n)d"
  convolution_param { num_output: %(c)d group: %(c)d kernel_size: 3 pad: 1
    weight_filler { type: "msra" } } }
layer { name: "relu_dw%(n)d" type: "ReLU" bottom: "dw%(n)d" top: "dw%(n)d" }
layer { name: "pw%(n)d" type: "Convolution" bottom: "dw%(n)d" top: "pw%(n)d"
  convolution_param { num_output: %(c)d kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "relu_pw%(n)d" type: "ReLU" bottom: "pw%(n)d" top: "pw%(n)d" }
"""
LOSS = 'layer { name: "loss" type: "Reduction" bottom: "pw%d" top: "loss" loss_weight: 1\n'
LOSS += "  reduction_param { operation: MEAN } }\n"


def our_solver():
    """The Solver of the net."""
    text = DATA % (BATCH, CHANNELS, SIDE, SIDE)
    for number in range(PAIRS):
        below = f"pw{number - 1}" if number else "data"
        text += PAIR % {"n": number, "below": below, "c": CHANNELS}
    net = schema.parse_text(text + LOSS % (PAIRS - 1), caffe_pb.NetParameter)
    param = caffe_pb.SolverParameter(
        net_param=net, base_lr=1e-4, lr_policy="fixed", max_iter=10**9, random_seed=1, momentum=0.9
    )
    return runner.Solver(param)


class Loop:
    """The same in PyTorch; layout: of its images and weights."""

    def __init__(self, weights, layout):
        modules = []
        for _ in range(PAIRS):
            modules += [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS), nn.ReLU()]
            modules += [nn.Conv2d(CHANNELS, CHANNELS, 1), nn.ReLU()]
        self.net = nn.Sequential(*modules)
        with torch.no_grad():
            for own, given in zip(self.net.parameters(), weights, strict=True):
                own.copy_(torch.as_tensor(given).reshape(own.shape))
        self.net.to(memory_format=layout)
        images = torch.full((BATCH, CHANNELS, SIDE, SIDE), 0.5)
        self.images = images.to(memory_format=layout)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=1e-4, momentum=0.9)

    def backward(self):
        """Forward and backward; the loss, a float."""
        self.optimizer.zero_grad()
        loss = self.net(self.images).mean((1, 2, 3)).mean()
        loss.backward()
        return float(loss.detach())

    def step(self, count):
        """`count` steps."""
        for _ in range(count):
            self.backward()
            self.optimizer.step()


def cpu_seconds(run, count):
    """A candidate of run(count): CPU seconds of a step."""

    def candidate():
        start = time.process_time()
        run(count)
        return (time.process_time() - start) / count

    return candidate


def check(solver, loops):
    """Refuse to compare what does not compute the same."""
    for loop in loops:
        loss = loop.backward()
        ours = float(solver.net.forward()["loss"])
        if abs(loss - ours) > 1e-5 * abs(ours):
            raise SystemExit(f"losses differ: ours {ours}, by hand {loss}")


def measure(rounds):
    """{name: [CPU seconds a step]} of our engine and of both layouts by hand."""
    solver = our_solver()
    weights = [blob.copy() for blobs in solver.net.params.values() for blob in blobs]
    loops = {
        "by hand, channels_last": Loop(weights, torch.channels_last),
        "by hand, contiguous": Loop(weights, torch.contiguous_format),
    }
    check(solver, loops.values())
    runs = {"ours": solver.step, **{name: loop.step for name, loop in loops.items()}}
    for run in runs.values():
        run(3)
    count = steps_for(solver.step, SECONDS)
    return alternate({name: cpu_seconds(run, count) for name, run in runs.items()}, rounds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with runner.quiet():
        seconds = measure(args.rounds)
    print(f"PyTorch {torch.__version__}, {args.threads} thread(s), medians of {args.rounds} rounds")
    for name, values in seconds.items():
        found = summary(values)
        ratio = summary([own / other for own, other in zip(seconds["ours"], values, strict=True)])
        print(
            f"{name:24} {1e3 * found['median']:7.1f} ms of CPU a step "
            f"({1e3 * found['min']:.1f} to {1e3 * found['max']:.1f}); "
            f"ours takes {ratio['median']:.2f} of it ({ratio['min']:.2f} to {ratio['max']:.2f})"
        )


if __name__ == "__main__":
    main()
