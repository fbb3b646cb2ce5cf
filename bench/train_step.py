"""Our training step beside a hand-written PyTorch loop of the same net, in one run.

    python bench/train_step.py                      # CPU, All-CNN-C, batch 128
    python bench/train_step.py --device cuda        # a GPU: checks it against the CPU first
    python bench/train_step.py --width 0.25 --batch-size 64 --steps 20 --json out.json

Ours is `caffe train`'s own solver on prototxt and LMDB: data, crop and flip, dropout, update.
The hand-written loop is that of bench/hand_written.py. Rounds of both alternate, so that a noisy
or throttled machine slows both; what counts is the ratio of the medians.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for bench, run as a script

import torch

from bench import hand_written, subjects
from bench.interleave import alternate, timed
from netgen.schema import caffe_pb
from runner import glog

NET = "allcnn-c"


def check_device(solver, device):
    """Largest relative difference of loss and gradients between `device` and the CPU.

    One batch without dropout or augmentation, from the same weights; raises SystemExit
    where they differ by more than float32 rounding and the device's convolutions allow.
    """
    results = {}
    for where in ("cpu", device):
        ours = subjects.our_solver(solver, where)
        for step in ours.net.steps:
            if step.param.type == "Dropout":
                step.layer.phase = caffe_pb.TEST
        loss, _ = ours.net.forward_backward()
        results[where] = loss.item(), ours.net.parameters.grad.cpu()
    (loss, grad), (loss2, grad2) = results.values()
    errors = abs(loss - loss2) / abs(loss), ((grad - grad2).norm() / grad.norm()).item()
    print(f"{device} against cpu: loss differs by {errors[0]:.2g}, gradients by {errors[1]:.2g}")
    if not (errors[0] < 1e-4 and errors[1] < 1e-3):
        raise SystemExit("the device does not compute what the CPU does")
    return errors


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

    def wait():
        if args.device != "cpu":
            torch.cuda.synchronize()

    with tempfile.TemporaryDirectory() as folder:
        records = subjects.write_records(folder, subjects.SUBJECTS[NET])
        solver = subjects.write_solver(
            records, NET, width=args.width, batch_size=args.batch_size)
        if args.device != "cpu":
            check_device(solver, args.device)
        ours = subjects.our_solver(solver, args.device)
        hand = subjects.hand_loop(NET, records, args.batch_size,
                                  hand_written.NETS[NET](args.width), device=args.device)
        candidates = {"ours": timed(ours.step, args.steps, wait),
                      "hand-written": timed(hand.step, args.steps, wait)}
        alternate(candidates, 1)  # to warm up
        seconds = alternate(candidates, args.rounds)
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
