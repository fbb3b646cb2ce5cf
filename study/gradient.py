"""Write the gradient of a net's weights: of the loss of its first training batches, their mean.

It is what one step of plain SGD at a rate of 1 takes away, as the solver and the net are otherwise:
no momentum, no decay, no clipping. The file is a caffemodel whose blobs are the gradients, times
each blob's lr_mult. `python -m netgen transfer --gradient` reads it.
"""

from __future__ import annotations

from netgen import schema
from netgen.commandline import Parser, run, say
from netgen.errors import CaffeError
from netgen.schema import caffe_pb

EXAMPLE = """example:
  python -m study.gradient solver.prototxt --weights parent.caffemodel -o gradient.caffemodel
"""
PLAIN = {
    "base_lr": 1.0,
    "lr_policy": "fixed",
    "momentum": 0.0,
    "weight_decay": 0.0,
    "type": "SGD",
    "display": 0,
    "snapshot": 0,
    "max_iter": 1,
}
LEFT_OUT = ("test_iter", "test_interval", "test_net", "test_net_param", "clip_gradients")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = Parser.documented("gradient", __doc__, EXAMPLE)
    parser.add_argument("solver", metavar="SOLVER.prototxt", help="names the net")
    parser.add_argument("--weights", required=True, metavar="FILE.caffemodel")
    parser.add_argument("--batches", type=int, default=8, metavar="N", help="(8)")
    parser.add_argument("-o", dest="output", required=True, metavar="FILE.caffemodel")
    options = parser.parse_args(arguments)
    if options.batches < 1:
        parser.error("--batches must be at least 1")
    found = gradient(schema.read_solver(options.solver), options.weights, options.batches)
    schema.write_binary(found, options.output)
    say(f"Wrote {options.output}: the mean gradient of {options.batches} batches")
    return 0


def gradient(solver: caffe_pb.SolverParameter, weights: str, batches: int) -> caffe_pb.NetParameter:
    """The gradients of the solver's net with these weights, in the blobs of a NetParameter.

    Raises CaffeError, also for a gradient that is not finite.
    """
    import numpy as np

    import runner  # only now, as they take their time to load

    plain = caffe_pb.SolverParameter()
    plain.CopyFrom(solver)
    for name in LEFT_OUT:
        plain.ClearField(name)
    for name, value in PLAIN.items():
        setattr(plain, name, value)
    plain.iter_size = batches
    plain.snapshot_after_train = False
    training = runner.Solver(plain, weights=weights)
    before = {name: [blob.copy() for blob in blobs] for name, blobs in training.net.params.items()}
    training.step(1)
    result = caffe_pb.NetParameter(name=training.net.name)
    for name, blobs in training.net.params.items():
        layer = result.layer.add(name=name)
        for old, new in zip(before[name], blobs, strict=True):
            if not np.isfinite(new).all():
                raise CaffeError(f"{weights}: the gradient of layer '{name}' is not finite")
            schema.array_to_blob(old - new, layer.blobs.add())
    return result


if __name__ == "__main__":
    run(main)
