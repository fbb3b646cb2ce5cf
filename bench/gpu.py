"""A GPU checked, then measured, in one call: `python -m bench.gpu`.

    python -m bench.gpu -o bench/GPU.md              # about 10 minutes on one GPU
    python -m bench.gpu --device cpu --width 0.25    # the same path without one

Checked, for each net and precision: loss and gradients of a batch against the CPU in float64; and
that steps recorded as a CUDA graph are the steps run one by one. Then milliseconds an iteration of
`caffe train`'s own loop beside a hand-written one (torch.compile, CUDA graphs), where the time of
an All-CNN-C step goes, and images/s of several quarter-width nets trained at once.
"""

import os
import tempfile
import time

import torch

import runner
from bench import hand_written, subjects
from bench.interleave import alternate, steps_for, summary, timed
from caffe_tools.machine import processor
from netgen.commandline import Parser, run
from netgen.schema import caffe_pb
from runner.log import glog

#: relative, of loss and of the gradient's norm: about ten times what rounding explains
BOUNDS = {"fp32": (1e-4, 1e-3), "tf32": (1e-2, 5e-2), "bf16": (3e-2, 3e-1)}
#: milliseconds an iteration of All-CNN-C at batch 128 that were aimed at on an H200
TARGETS = {"bf16": 1.0, "tf32": 2.0, "fp32": 6.0}
EPOCHS, IMAGES = 350, 50_000
ROUNDS, SECONDS = 7, 1.0


class Wrong(RuntimeError):
    """The device does not compute what it should; its speed would say nothing."""


def still(made):
    """Switch the Dropout layers of a Solver's train net off."""
    for node in made.net.nodes:
        if node.param.type == "Dropout":
            node.layer.phase = caffe_pb.TEST
    return made


def reference(path, weights):
    """(loss, gradients) of the first batch on the CPU in float64, from these weights."""
    torch.set_default_dtype(torch.float64)
    try:
        made = still(subjects.our_solver(path))
        made.net.parameters.data.copy_(weights)
        for node in made.net.nodes:
            if node.layer.reads:
                forward = node.layer.forward
                node.layer.forward = lambda *given, forward=forward: [
                    top.double() for top in forward(*given)
                ]
        loss, _ = made.net.forward_backward()
        return loss.item(), made.net.parameters.grad
    finally:
        torch.set_default_dtype(torch.float32)


def check_values(path, device, precision, expected):
    """(difference of loss, of gradients) from `reference`'s; raises Wrong above BOUNDS."""
    made = still(subjects.our_solver(path, device, precision))
    loss, _ = made.net.forward_backward()
    value, gradients = expected
    found = (
        abs(loss.item() - value) / abs(value),
        ((made.net.parameters.grad.cpu() - gradients).norm() / gradients.norm()).item(),
    )
    if any(
        not difference < bound for difference, bound in zip(found, BOUNDS[precision], strict=True)
    ):
        raise Wrong(
            f"{path}: {precision} differs from float64 by {found[0]:.2g} (loss) and "
            f"{found[1]:.2g} (gradients)"
        )
    return found


def check_recording(path, device, precision, steps=12):
    """Relative difference of what `steps` recorded and single steps change the weights by."""
    changes = []
    for recorded in (True, False):
        made = still(subjects.our_solver(path, device, precision, recorded=recorded))
        start = made.net.parameters.data.clone()
        made.step(steps)
        if recorded and device.type == "cuda" and made.train_pass.recording is None:
            raise Wrong(f"{path}: no step was recorded")
        changes.append(made.net.parameters.data - start)
    one, other = changes
    difference = ((one - other).norm() / other.norm()).item()
    if not difference < BOUNDS[precision][1]:
        raise Wrong(f"{path}: recorded {precision} steps differ by {difference:.2g}")
    return difference


def measure(net, path, device, precisions, wait, by_hand):
    """{candidate: [seconds a step]} of ours in each precision and of the hand-written loop."""
    candidates = {}
    for precision in precisions:
        made = subjects.our_solver(path, device, precision)
        made.step(runner.WARM_UP + 2)
        candidates[f"ours, {precision}"] = as_set(precision, device, made.step)
    if by_hand:
        folder, batch = os.path.dirname(path), subjects.batch_size(path)
        loop = subjects.hand_loop(
            net,
            folder,
            batch,
            hand_written.NETS[net](by_hand),
            device=device,
            compiled=device.type == "cuda",
        )
        for precision in precisions:
            candidates[f"by hand, {precision}"] = as_set(
                precision, device, autocast_steps(loop, device, precision)
            )
    steps = min(steps_for(run, SECONDS) for run in candidates.values())
    return alternate({name: timed(run, steps, wait) for name, run in candidates.items()}, ROUNDS)


def as_set(precision, device, run):
    """run(steps) with the process's precision set for it."""

    def steps(count):
        runner.set_precision(precision, device)
        run(count)

    return steps


def autocast_steps(loop, device, precision):
    def run(count):
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            loop.step(count)

    return run


def profile(path, device, precision, steps=20, rows=18):
    """A table of the kernels that a step spends its time in, and the device's idle share."""
    made = subjects.our_solver(path, device, precision)
    made.step(runner.WARM_UP + 2)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
        torch.cuda.synchronize()
    start = time.perf_counter()
    with torch.profiler.profile(activities=activities) as found:
        made.step(steps)
        if device.type == "cuda":
            torch.cuda.synchronize()
    wall = (time.perf_counter() - start) * 1e6
    on_device = device.type == "cuda"

    def spent(event):  # its name changed between versions of torch
        return (
            (
                getattr(event, "self_device_time_total", None)
                or getattr(event, "self_cuda_time_total", 0)
            )
            if on_device
            else (event.self_cpu_time_total)
        )

    events = sorted(found.key_averages(), key=spent, reverse=True)
    total = sum(map(spent, events))
    lines = [
        f"{precision}: {wall / steps:.0f} us a step under the profiler, of which "
        f"{total / steps:.0f} us in kernels",
        "",
        "| us a step | calls | kernel |",
        "|---:|---:|---|",
    ]
    lines += [
        f"| {spent(e) / steps:.1f} | {e.count / steps:.1f} | `{e.key[:90]}` |"
        for e in events[:rows]
        if spent(e)
    ]
    return lines


def at_once(folder, device, precision, counts, width, wait):
    """[(number of nets, images/s of all together)], each a quarter-width net with its seed."""
    path = subjects.write_solver(folder, "allcnn-c", width=width)
    batch, rates = subjects.batch_size(path), []
    for count in counts:
        steps = 300 if device.type == "cuda" else 5
        together = runner.Together([f"seed{i}" for i in range(count)], "")
        spans = []

        def prepare(i, steps=steps, spans=spans):
            made = subjects.our_solver(path, device, precision, seed=i)
            made.step(runner.WARM_UP + 2)
            wait()

            def run():
                start = time.perf_counter()
                made.step(steps)
                made.losses.value()  # waits for this net's stream
                spans.append((start, time.perf_counter()))

            return run

        if together.run(prepare):
            raise Wrong(f"{count} nets at once: {together.failures[0]}")
        lasted = max(end for _, end in spans) - min(start for start, _ in spans)
        rates.append((count, count * steps * batch / lasted))
    return rates


def main():
    parser = Parser(
        prog="python -m bench.gpu",
        description=__doc__,
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--width", type=float, default=1.0, help="of the All-CNN nets")
    parser.add_argument(
        "--nets", nargs="+", default=list(subjects.SUBJECTS), choices=subjects.SUBJECTS
    )
    parser.add_argument("--precisions", nargs="+", choices=BOUNDS)
    parser.add_argument("-o", "--output", metavar="FILE", help="instead of the screen")
    args = parser.parse_args()
    glog.log.minimum = "WEF"
    cuda = args.device != "cpu"
    device = runner.device(args.device)
    wait = torch.cuda.synchronize if cuda else lambda: None
    precisions = args.precisions or (list(BOUNDS) if cuda else ["fp32", "bf16"])
    name = torch.cuda.get_device_name(device) if cuda else processor()
    lines = [
        f"# {name}",
        "",
        f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}, batch as "
        f"published, All-CNN width {args.width:g}; medians of {ROUNDS} rounds (least to "
        "most), rounds of all candidates in turn.",
        "",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for net in args.nets:
            wide = {"width": args.width} if subjects.SUBJECTS[net] == "whitened" else {}
            records = subjects.write_records(folder, subjects.SUBJECTS[net])
            path = str(subjects.write_solver(records, net, **wide))
            lines += of_net(net, path, device, precisions, wait, wide.get("width", 1.0))
        if "allcnn-c" in args.nets:
            records = subjects.write_records(folder, "whitened")
            path = str(subjects.write_solver(records, "allcnn-c", width=args.width))
            lines += ["## Where an All-CNN-C step goes", ""]
            for precision in precisions:
                lines += [*profile(path, device, precision), ""]
            lines += [
                "## Nets at once",
                "",
                f"All-CNN-C of a quarter of {args.width:g} of its width, a seed each.",
                "",
                "| nets | images/s |",
                "|---:|---:|",
            ]
            rates = at_once(
                records,
                device,
                precisions[-1],
                (1, 2, 4, 8) if cuda else (1, 2),
                args.width / 4,
                wait,
            )
            lines += [f"| {count} | {rate:.0f} |" for count, rate in rates]
    text = "\n".join(lines) + "\n"
    if args.output:
        with open(args.output, "w", encoding="utf-8") as file:
            file.write(text)
    print(text)


def of_net(net, path, device, precisions, wait, width):
    """The lines about one net: checks, then times."""
    first = subjects.our_solver(path, device)
    expected = reference(path, first.net.parameters.data.cpu().double())
    lines = [f"## {net}", "", "| | loss | gradients | recorded |", "|---|---:|---:|---:|"]
    for precision in precisions:
        loss, gradients = check_values(path, device, precision, expected)
        recording = check_recording(path, device, precision)
        lines.append(f"| {precision} | {loss:.1g} | {gradients:.1g} | {recording:.1g} |")
    lines += ["", "| | ms an iteration | images/s |", "|---|---:|---:|"]
    seconds = measure(net, path, device, precisions, wait, width)
    batch = subjects.batch_size(path)
    for name, values in seconds.items():
        found = {key: 1000 * value for key, value in summary(values).items() if key != "n"}
        lines.append(
            f"| {name} | {found['median']:.3f} ({found['min']:.3f} to "
            f"{found['max']:.3f}) | {1000 * batch / found['median']:.0f} |"
        )
    lines.append("")
    if net == "allcnn-c" and device.type == "cuda" and width == 1:
        for precision in precisions:
            took = 1000 * summary(seconds[f"ours, {precision}"])["median"]
            minutes = took / 1000 * EPOCHS * IMAGES / batch / 60
            reached = "reached" if took <= TARGETS[precision] else "not reached"
            lines.append(
                f"- {precision}: {took:.2f} ms, {TARGETS[precision]:g} ms were aimed at: "
                f"{reached}; {EPOCHS} epochs in {minutes:.1f} minutes."
            )
        lines.append("")
    return lines


if __name__ == "__main__":
    run(main)
