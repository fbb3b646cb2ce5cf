"""Our training step beside a hand-written PyTorch loop of the same net, in one run.

    python bench/train_step.py                      # CPU, All-CNN-C, batch 128
    python bench/train_step.py --device cuda        # a GPU: checks it against the CPU first
    python bench/train_step.py --width 0.25 --batch-size 64 --steps 20 --json out.json

Ours is `caffe train`'s own solver on prototxt and LMDB: data, crop and flip, dropout, update.
The hand-written loop is nn.Sequential in channels_last with torch.optim.SGD, its data already
in memory and cropped and flipped by slices. Rounds of both alternate, so that a noisy or
throttled machine slows both; what counts is the ratio of the medians.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from data_prep import encode_datums, write_lmdb
from netgen import nets, schema, solvers
from netgen.schema import caffe_pb
from runner import glog
from runner.solver import Solver

CLASSES = 10


def write_data(folder, count=2048):
    """Random records of the padded CIFAR-10 form, learnable in nothing but speed."""
    rng = np.random.default_rng(0)
    images = rng.normal(0, 0.5, (count, 3, 42, 42)).astype(np.float32)
    labels = rng.integers(0, CLASSES, count).astype(np.int32)
    for part in ("train", "test"):
        write_lmdb(Path(folder) / f"cifar10_{part}_lmdb", [list(encode_datums(images, labels))])
    return images, labels


def our_solver(folder, args, device):
    """The Solver of the bundled net at the asked width and batch size."""
    net = nets.build(
        "baseline", nets.NetOptions(width=args.width, batch_size=args.batch_size, data=folder),
        False,
    )  # fmt: skip
    path = os.path.join(folder, "net.prototxt")
    schema.write_text(net, path)
    param = solvers.build("baseline", solvers.SolverOptions(max_iter=10**6, net=path))
    for field in ("display", "snapshot", "snapshot_prefix", "test_iter", "test_interval"):
        param.ClearField(field)
    param.random_seed = 1
    return Solver(param, device)


class HandWritten:
    """All-CNN-C as one would write it in PyTorch today."""

    def __init__(self, images, labels, args, device):
        torch.manual_seed(1)
        narrow, wide = (max(1, round(c * args.width)) for c in (96, 192))
        layers, channels = [nn.Dropout(0.2)], 3
        plan = [(narrow, 3, 1, 1), (narrow, 3, 1, 1), (narrow, 3, 2, 1), 0.5,
                (wide, 3, 1, 1), (wide, 3, 1, 1), (wide, 3, 2, 1), 0.5,
                (wide, 3, 1, 0), (wide, 1, 1, 0), (CLASSES, 1, 1, 0)]  # fmt: skip
        for item in plan:
            if isinstance(item, float):
                layers.append(nn.Dropout(item))
                continue
            out, kernel, stride, pad = item
            layers += [nn.Conv2d(channels, out, kernel, stride, pad), nn.ReLU(inplace=True)]
            channels = out
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.net = nn.Sequential(*layers).to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), lr=0.05, momentum=0.9, weight_decay=0.001
        )
        self.images = torch.from_numpy(images).to(device)
        self.labels = torch.from_numpy(labels).long().to(device)
        self.batch, self.at = args.batch_size, 0

    def step(self, count):
        for _ in range(count):
            top, left = np.random.randint(0, 11, 2)
            rows = slice(self.at, self.at + self.batch)
            x = self.images[rows, :, top : top + 32, left : left + 32]
            x = x.flip(3) if np.random.rand() < 0.5 else x
            x = x.contiguous(memory_format=torch.channels_last)
            loss = nn.functional.cross_entropy(self.net(x), self.labels[rows])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.at = (self.at + self.batch) % (len(self.images) - self.batch)


def check_device(folder, args, device):
    """Largest relative difference of loss and gradients between `device` and the CPU.

    One batch without dropout or augmentation, from the same weights; raises SystemExit
    where they differ by more than float32 rounding and the device's convolutions allow.
    """
    results = {}
    for where in ("cpu", device):
        solver = our_solver(folder, args, where)
        for step in solver.net.steps:
            if step.param.type == "Dropout":
                step.layer.phase = caffe_pb.TEST
        loss, _ = solver.net.forward_backward()
        results[where] = loss.item(), solver.net.parameters.grad.cpu()
    (loss, grad), (loss2, grad2) = results.values()
    errors = abs(loss - loss2) / abs(loss), ((grad - grad2).norm() / grad.norm()).item()
    print(f"{device} against cpu: loss differs by {errors[0]:.2g}, gradients by {errors[1]:.2g}")
    if not (errors[0] < 1e-4 and errors[1] < 1e-3):
        raise SystemExit("the device does not compute what the CPU does")
    return errors


def measure(candidates, steps, rounds, device):
    """{name: [seconds a step, one a round]}; the candidates alternate round by round."""
    seconds = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, run in candidates.items():
            start = time.perf_counter()
            run(steps)
            if device != "cpu":
                torch.cuda.synchronize()
            if number:  # the first round warms up
                seconds[name].append((time.perf_counter() - start) / steps)
    return seconds


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=2, help="steps a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    glog.log.minimum = "WEF"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    with tempfile.TemporaryDirectory() as folder:
        images, labels = write_data(folder)
        if args.device != "cpu":
            check_device(folder, args, args.device)
        ours = our_solver(folder, args, args.device)
        hand = HandWritten(images, labels, args, args.device)
        seconds = measure(
            {"ours": ours.step, "hand-written": hand.step}, args.steps, args.rounds, args.device
        )
    name = torch.cuda.get_device_name() if args.device != "cpu" else platform.processor()
    print(f"{name or platform.machine()}, {torch.get_num_threads()} threads, "
          f"PyTorch {torch.__version__}, batch {args.batch_size}, width {args.width:g}, "
          f"n = {args.rounds} rounds of {args.steps} steps")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, values in seconds.items():
        print(f"{name:13} {medians[name] * 1000:9.2f} ms a step "
              f"({min(values) * 1000:.2f} to {max(values) * 1000:.2f}), "
              f"{args.batch_size / medians[name]:8.1f} images/s")
    print(f"ours / hand-written, images/s: {medians['hand-written'] / medians['ours']:.3f}")
    if args.json:
        Path(args.json).write_text(json.dumps({"seconds": seconds, "options": vars(args)}))


if __name__ == "__main__":
    main()
