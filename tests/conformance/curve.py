"""One training by both engines, on real images: how far do their curves lie apart?

    python -m data_prep cifar10 --pad 0 --out DATA
    python tests/conformance/curve.py DATA OUT
    python tools/plot_loss.py OUT/*.log

Quarter-width All-CNN-C without dropout, crops and mirrors, so that nothing is random; both
engines start from the same caffemodel. Writes OUT/torch.log and OUT/pycaffe.log, which hold the
loss of every iteration and a test every 50, and prints the largest relative difference of each.
For comparison C++ Caffe trains once more, from weights changed by a millionth: training itself
lets rounding grow, and no other engine can lie much closer to it than it lies to itself.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from netgen import nets, schema, solvers
from netgen.commandline import Parser, run
from netgen.schema import caffe_pb
from runner.log import Log

CAFFE = [sys.executable, "-m", "runner", "train", "-solver", "solver.prototxt"]
START = "curve_iter_0"
SHOWN = {
    "loss": lambda training: training.train_loss(),
    "test loss": lambda training: training.test_losses()[0],
    "test accuracy": lambda training: training.accuracies()[0],
}


def write_net(data, out, batch):
    """The net, with records taken as they are."""
    net = nets.build_net(
        "baseline",
        nets.NetOptions(width=0.25, batch_size=batch, data=str(data), dropout=0, input_dropout=0),
        False,
    )
    for layer in net.layer:
        layer.ClearField("transform_param")
        if layer.type == "Data" and layer.include[0].phase == caffe_pb.TEST:
            # Older Caffes share a reader between layers of one name and source.
            layer.name = "test_data"
    schema.write_text(net, out / "net.prototxt")


def write_solver(out, iterations, base_lr):
    """A solver that tells everything; max_iter 0 only writes the first weights."""
    solver = solvers.build_solver(
        "baseline",
        solvers.SolverOptions(
            max_iter=max(1, iterations),
            net="net.prototxt",
            prefix="curve",
            random_seed=1,
            base_lr=base_lr,
            lr_policy="fixed",
            display=1,
            snapshot=0,
        ),
    )
    solver.max_iter = iterations
    solver.test_interval, solver.test_iter[0] = 50, 20
    schema.write_text(solver, out / "solver.prototxt")


def stir(model, stirred, size=1e-6):
    """Write `stirred`, the caffemodel `model` with every weight changed by about size of it."""
    net, random = schema.read_caffemodel(model), np.random.default_rng(0)
    for layer in net.layer:
        for blob in layer.blobs:
            values = schema.blob_to_array(blob)
            factors = 1 + size * random.standard_normal(values.shape)
            schema.array_to_blob((values * factors).astype(np.float32), blob)
    schema.write_binary(net, stirred)


def train(out, log, *words):
    """Train in folder `out`, with the log in its file `log`; returns that as a Log."""
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "GLOG_logtostderr": "1"}
    done = subprocess.run([*CAFFE, *words], cwd=out, env=environment, text=True,
                          stderr=subprocess.PIPE, check=False)  # fmt: skip
    (out / log).write_text(done.stderr)
    if done.returncode:
        raise SystemExit(f"{out / log}: exit status {done.returncode}")
    told = Log(out / log)
    told.read()
    return told


def main():
    """The command."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=lambda path: Path(path).resolve())
    parser.add_argument("out", type=Path)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--base-lr", type=float, default=0.002)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    write_net(options.data, options.out, options.batch_size)
    write_solver(options.out, 0, options.base_lr)
    train(options.out, "first.txt")
    stir(options.out / f"{START}.caffemodel", options.out / "stirred.caffemodel")
    write_solver(options.out, options.iterations, options.base_lr)
    runs = {"torch": ("torch", START), "pycaffe": ("pycaffe", START),
            "stirred": ("pycaffe", "stirred")}  # fmt: skip
    logs = {}
    for name, (engine, start) in runs.items():
        file = f"{name}.txt" if name == "stirred" else f"{name}.log"
        logs[name] = train(options.out, file, "-engine", engine, "-weights", f"{start}.caffemodel")
    for what, series in SHOWN.items():
        shown = {name: np.array(series(log.training()).values, float) for name, log in logs.items()}
        theirs = shown.pop("pycaffe")
        print(f"{what}: {len(theirs)} values, {theirs[0]:.6g} to {theirs[-1]:.6g}")
        for name, values in shown.items():
            if not len(values) or len(values) != len(theirs):
                raise SystemExit(f"{what}: {len(values)} times by {name}, {len(theirs)} by pycaffe")
            print(f"  largest relative difference to C++ Caffe, {name}: "
                  f"{np.max(abs(values - theirs) / abs(theirs)):.2g}")  # fmt: skip


if __name__ == "__main__":
    run(main)
