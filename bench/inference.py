"""Deploy nets for use: Net.forward beside onnxruntime, OpenCV, torch.compile and C++ Caffe.

    python -m bench.inference                    # under 10 minutes; writes INFERENCE.md
    python -m bench.inference --quick            # a few rounds of small nets, to the screen
    python -m bench.inference --nets lenet -o -  # a part

One image and 32, on one thread, the same random weights for all, whose outputs must agree. The
candidates of a net take turns in one process, round by round; a ratio is taken within each round,
and the median is given. What is counted is the process's CPU time, and of C++ Caffe, which is a
process of its own, the time between the lines of its log. Peers that are not there are left out.
"""

import contextlib
import os
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from bench import public_nets, worker
from bench.interleave import alternate, summary, times_faster
from bench.processes import DAY, ROOT, Failed, run
from bench.report import measured_on, spread, table
from bench.training import external_caffe
from caffe_tools.machine import machine
from netgen import nets, schema
from netgen.commandline import Parser
from netgen.commandline import run as run_main
from netgen.schema import caffe_pb, write_bytes, write_json
from runner.log import read_line

PAGE = ROOT / "bench" / "INFERENCE.md"
BUNDLED = ("allcnn-c", "msplit2", "lenet", "cifar10_full", "resnet20")
NETS = (*BUNDLED, *public_nets.NETS)
TITLES = {
    "allcnn-c": "All-CNN-C",
    "lenet": "LeNet",
    "resnet20": "ResNet-20",
    "alexnet": "AlexNet",
    "googlenet": "GoogLeNet",
    "resnet50": "ResNet-50",
    "mobilenet": "MobileNet",
}
TARGETS = {1: 0.7, 32: 0.9}  # {batch: so much of the fastest peer's speed}
TOLERANCE = 1e-4  # of the largest output; float32 sums in another order
SECONDS = 0.2  # of a round of one candidate
WARM = 30  # passes of one image before: from the twentieth on Net.forward has all it prepares
SLOW, FEW = 0.2, 3  # rounds of nets of which a pass takes so many seconds
PASSES = 300  # of C++ Caffe in a round, at most
# What torch.compile is measured with: it takes as long as everything else together, and with one
# image onnxruntime is far ahead of it.
COMPILED = {name: (32,) for name in ("allcnn-c", "msplit2", "resnet20", "alexnet", "mobilenet")}
COMPILED |= {"lenet": (1, 32), "cifar10_full": (1, 32)}
OURS, CAFFE = "ours", "C++ Caffe"
PEERS = ("onnxruntime", "OpenCV", "torch.compile", CAFFE)


# --- in the process of one net ---


def measure(folder, net, rounds, compiled=True):
    """For each batch a {"net", "batch", "seconds": {candidate: [a pass, one a round]},

    "differences": {peer: of its output from ours}, "making": {peer: seconds until its first}}.
    """
    import torch

    import runner

    torch.set_num_threads(1)
    with runner.quiet():
        return [
            _of_batch(Path(folder), net, n, rounds, compiled and n in COMPILED.get(net, ()))
            for n in TARGETS
        ]


def _of_batch(folder, name, batch, rounds, compiled):
    import runner

    param = deploy_net(name, batch)
    path, weights = folder / f"{name}{batch}.prototxt", folder / f"{name}.caffemodel"
    schema.write_text(param, path)
    ours = runner.Net(param, seed=1)
    fill(ours)
    ours.save(weights)
    images = np.random.default_rng(1).standard_normal(ours.inputs["data"]).astype(np.float32)

    def forward(data):
        return ours.forward(data=data)["prob"]

    wanted = forward(images)
    peers = {
        "onnxruntime": lambda: _onnxruntime(ours, folder / f"{name}.onnx", batch),
        "OpenCV": lambda: _opencv(path, weights),
        "torch.compile": lambda: _compiled(param, ours.params) if compiled else None,
    }
    runs, differences, making = {OURS: forward}, {}, {}
    for peer, make in peers.items():
        start = time.perf_counter()
        found = make()
        if found is None:
            continue
        value = found(images).reshape(wanted.shape)
        making[peer] = time.perf_counter() - start
        differences[peer] = float(abs(value - wanted).max() / abs(wanted).max())
        if not differences[peer] < TOLERANCE:
            raise Failed(f"{name}, batch {batch}: {peer} differs by {differences[peer]:.1g}")
        runs[peer] = found
    candidates = {peer: _timed(found, images) for peer, found in runs.items()}
    if batch == 1:
        for _ in range(WARM):
            forward(images)
    pass_seconds = candidates[OURS]()
    if caffe := external_caffe():
        candidates[CAFFE] = _caffe(caffe, param, weights, folder, pass_seconds)
    if pass_seconds > SLOW:
        rounds = min(rounds, FEW)
    return {
        "net": name,
        "batch": batch,
        "seconds": alternate(candidates, rounds),
        "differences": differences,
        "making": making,
    }


def deploy_net(name, batch):
    """The deploy net of a bundled or a public net, as a NetParameter."""
    if name in public_nets.NETS:
        return public_nets.NETS[name](batch)
    return nets.build_net(name, nets.NetOptions(batch_size=batch), deploy=True)


def fill(net):
    """Random weights that keep the size of what passes, and statistics like those of a training."""
    random = np.random.default_rng(0)
    for layer in net.layers:
        for i, blob in enumerate(net.params.get(layer.name, ())):
            if layer.type == "BatchNorm":
                values = (
                    0.1 * random.standard_normal(blob.shape),
                    random.uniform(1, 3, blob.shape),
                    1,
                )[i]
            elif layer.type == "Scale":
                values = random.uniform(0.5, 1, blob.shape) if i == 0 else 0.1
            elif i == 0:
                values = random.standard_normal(blob.shape, np.float32) * (2 / blob[0].size) ** 0.5
            else:
                values = 0.1 * random.standard_normal(blob.shape)
            blob[...] = values


def _timed(forward, images):
    """A candidate: CPU seconds of a pass, of as many as take about SECONDS."""
    start = time.process_time()
    forward(images)
    count = max(1, min(1000, round(SECONDS / max(time.process_time() - start, 1e-6))))

    def candidate():
        start = time.process_time()
        for _ in range(count):
            forward(images)
        return (time.process_time() - start) / count

    return candidate


def _onnxruntime(net, path, batch):
    """forward(images) of onnxruntime, or None without its packages."""
    import runner

    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError:
        return None
    if not path.exists():
        runner.export(net, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_free_dimension_override_by_name("batch", batch)
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    return lambda images: session.run(["prob"], {"data": images})[0]


def _opencv(prototxt, weights):
    """forward(images) of OpenCV's dnn, or None without OpenCV."""
    try:
        import cv2
    except ImportError:
        return None
    cv2.setNumThreads(1)
    net = cv2.dnn.readNetFromCaffe(str(prototxt), str(weights))

    def forward(images):
        net.setInput(images)
        return net.forward("prob")

    return forward


def _compiled(param, params):
    """forward(images) of the net by hand in PyTorch, compiled; None where there is no compiler."""
    import torch

    from bench.torch_nets import TorchNet

    module = TorchNet(param, params).eval()
    run = torch.compile(module, dynamic=False, options={"freezing": True})

    def forward(images):
        with torch.no_grad():
            return run(torch.from_numpy(images)).numpy()

    try:
        forward(np.zeros(tuple(param.layer[0].input_param.shape[0].dim), np.float32))
    except torch._dynamo.exc.BackendCompilerFailed:
        return None
    return forward


def _caffe(caffe, param, weights, folder, pass_seconds):
    """A candidate: the seconds of a pass of C++ Caffe's `caffe test`, its first one left out.

    Each pass ends with one line in the log, of the sum of all scores.
    """
    net = caffe_pb.NetParameter()
    net.CopyFrom(param)
    net.layer.add(
        name="sum",
        type="Reduction",
        bottom=["prob"],
        top=["sum"],
        reduction_param={"operation": caffe_pb.ReductionParameter.SUM},
    )
    path = folder / "caffe.prototxt"
    schema.write_text(net, path)
    count = max(2, min(PASSES, 1 + round(SECONDS / pass_seconds)))
    command = [caffe.tool, "test", "-model", path, "-weights", weights, "-iterations", count]
    environment = {**caffe.environment(), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

    def candidate():
        lines = map(read_line, run(command, env=environment).text.splitlines())
        clocks = [line.clock for line in lines if line.message.startswith("Batch ")]
        if len(clocks) != count:
            raise Failed(f"{path}: {len(clocks)} lines of {count} passes")
        return (clocks[-1] - clocks[0]) % DAY / (count - 1)

    return candidate


# --- the page ---


def fastest(seconds):
    """The name of the peer that is fastest by its median."""
    peers = [peer for peer in PEERS if peer in seconds]
    return min(peers, key=lambda peer: summary(seconds[peer])["median"])


def verdict(row):
    """("onnxruntime", 0.83, "reached" or "8 % short") of a row that `measure` gave."""
    best, target = fastest(row["seconds"]), TARGETS[row["batch"]]
    ratio = times_faster(row["seconds"][OURS], row["seconds"][best])["median"]
    short = 100 * (1 - ratio / target)
    reached = (
        "reached" if short <= 0 else f"{short:.0f} % short" if short >= 1 else "under 1 % short"
    )
    return best, ratio, reached


def page(results):
    """The page, markdown, with its targets first."""
    rows, about = results["rows"], results["about"]
    peers = [peer for peer in PEERS if any(peer in row["seconds"] for row in rows)]
    lines = ["# Inference", "", measured_on(about), "", f"Peers: {about['peers']}.", ""]
    lines += [
        "Written by `python -m bench.inference`, whose first lines say what is measured: "
        "`Net.forward` of deploy nets on one thread. Above 1 ours is the faster; medians of n rounds "
        "with least and most. The target is "
        + " and ".join(f"{part:g} of the fastest peer with {n}" for n, part in TARGETS.items())
        + " images.",
        "",
    ]
    head = ["net", "images", *peers, "n", "fastest peer", "of its speed", "target"]
    lines += table(head, [_targets_row(row, peers) for row in rows])
    lines += ["", "Milliseconds a pass:", ""]
    lines += table(
        ["net", "images", OURS, *peers],
        [
            [_title(row), row["batch"]]
            + [
                spread(row["seconds"][name], 1000) if name in row["seconds"] else "-"
                for name in (OURS, *peers)
            ]
            for row in rows
        ],
    )
    worst = max(value for row in rows for value in row["differences"].values())
    making = {
        peer: [row["making"][peer] for row in rows if peer in row["making"]] for peer in peers
    }
    lines += [
        "",
        f"Outputs agreed to {worst:.0e} of the largest. Until its first pass took, in the median of the "
        "nets and with the most, "
        + ", ".join(
            f"{peer} {summary(values)['median']:.1f} s ({summary(values)['max']:.0f} s)"
            for peer, values in making.items()
            if values
        )
        + " (onnxruntime with the export, once a net). torch.compile, which takes the longest, is "
        "measured with a part of them.",
    ]
    return "\n".join(lines) + "\n"


def _title(row):
    return TITLES.get(row["net"], row["net"])


def _targets_row(row, peers):
    best, ratio, reached = verdict(row)
    seconds = row["seconds"]
    cells = []
    for peer in peers:
        ratios = peer in seconds and times_faster(seconds[OURS], seconds[peer])
        cells.append(
            f"{ratios['median']:.2f} ({ratios['min']:.2f} to {ratios['max']:.2f})"
            if ratios
            else "-"
        )
    return [
        _title(row),
        row["batch"],
        *cells,
        len(seconds[OURS]),
        best,
        f"{ratio:.2f}",
        f"{TARGETS[row['batch']]}: {reached}",
    ]


def _peers(measured):
    """The peers that were measured, with their versions, in words."""
    packages = {
        "onnxruntime": "onnxruntime",
        "OpenCV": "opencv-python-headless",
        "torch.compile": "torch",
    }
    found = []
    for peer in PEERS:
        if peer in measured:
            with contextlib.suppress(PackageNotFoundError, KeyError):
                peer = f"{peer} {version(packages[peer])}"
            found.append(peer)
    return ", ".join(found)


def main():
    parser = Parser(prog="python -m bench.inference", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--nets", choices=NETS, nargs="+", help="all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--no-compile",
        action="store_true",
        help="leave torch.compile out, which takes more time than everything else",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help=f"{PAGE.relative_to(ROOT)}; - for the screen, as with --quick and --nets",
    )
    parser.add_argument("--json", metavar="FILE", help="every single number, too")
    args = parser.parse_args()
    names = args.nets or (("lenet", "cifar10_full") if args.quick else NETS)
    output = args.output or ("-" if args.quick or args.nets else PAGE)
    start, before, rows = time.time(), os.getloadavg()[0], []
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        for name in names:
            began = time.perf_counter()
            rows += worker.call(
                "inference",
                Path(folder) / "log",
                folder=folder,
                net=name,
                rounds=2 if args.quick else args.rounds,
                compiled=not (args.quick or args.no_compile),
            )
            print(f"inference {name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    about = {
        "machine": machine(),
        "peers": _peers({peer for row in rows for peer in row["seconds"]}),
        "load": before,
        "minutes": (time.time() - start) / 60,
        "date": time.strftime("%Y-%m-%d", time.gmtime(start)),
    }
    results = {"about": about, "rows": rows}
    if args.json:
        write_json(results, args.json)
    if output == "-":
        print(page(results))
    else:
        write_bytes(page(results).encode(), output)
        print(f"wrote {output}", file=sys.stderr)


if __name__ == "__main__":
    run_main(main)
