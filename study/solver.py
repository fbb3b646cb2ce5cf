"""Write a solver made from another: the same rates in the same places, of another length.

Drops of the rate (stepvalue, stepsize) move in proportion to the length. What is not named stays as
it is in the other solver. --cost-of NET makes the training as long as takes the multiply-adds that
--iterations iterations of that net would take.
"""

from __future__ import annotations

import sys

from netgen import schema
from netgen.commandline import Parser, run
from netgen.describe import describe
from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from study.trainings import TESTS, testing_interval

EXAMPLE = """examples:
  python -m study.solver mine.prototxt --net net.prototxt --iterations 5000 --prefix s -o new.prototxt
  python -m study.solver tpm/solver.prototxt --net parent.prototxt --iterations 5000 \\
      --cost-of tpm/net.prototxt --prefix s -o new.prototxt
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser.documented("solver", __doc__, EXAMPLE)
    add = parser.add_argument
    add("solver", metavar="SOLVER.prototxt")
    add("--net", required=True, metavar="PATH")
    add("--iterations", type=int, required=True, metavar="N")
    add("--cost-of", metavar="NET.prototxt", help="as many multiply-adds as N iterations of it")
    add("--base-lr", type=float, metavar="LR")
    add("--lr-policy", metavar="P", help="replaces that of the solver, its drops left out")
    add("--test-interval", type=int, metavar="N", help="(ten tests)")
    add("--display", type=int, metavar="N")
    add("--snapshot", type=int, metavar="N")
    add("--random-seed", type=int, metavar="N")
    add("--prefix", required=True, metavar="PATH", help="of snapshots")
    add("-o", dest="output", required=True, metavar="FILE")
    options = parser.parse_args(words)
    iterations = options.iterations
    if options.cost_of:
        costs = [cost(path) for path in (options.cost_of, options.net)]
        if not costs[1]:
            raise CaffeError(f"{options.net}: has no multiply-adds, so nothing costs as much")
        iterations = max(1, round(iterations * costs[0] / costs[1]))
        if iterations > 10 * TESTS:
            iterations -= iterations % TESTS  # so that the last test is at the end
    solver = schema.read_solver(options.solver)
    if solver.HasField("train_net") or solver.test_net:
        raise CaffeError(f"{options.solver}: has train_net or test_net; one net for both is needed")
    solver = remade(solver, iterations)
    solver.net, solver.snapshot_prefix = options.net, options.prefix
    solver.ClearField("test_initialization")  # right after a split there is to be a test
    solver.test_interval = options.test_interval or testing_interval(iterations)
    if options.lr_policy and options.lr_policy != solver.lr_policy:
        for name in ("stepvalue", "stepsize", "gamma", "power"):
            solver.ClearField(name)
        solver.lr_policy = options.lr_policy
        solver.power = 1
    for name in ("base_lr", "display", "snapshot", "random_seed"):
        if (value := getattr(options, name)) is not None:
            setattr(solver, name, value)
    line = " ".join(f"python -m study.solver {' '.join(words)}".split())
    schema.write_bytes(schema.encode(f"# {line}\n{schema.to_text(solver)}"), options.output)
    return 0


def remade(solver: caffe_pb.SolverParameter, iterations: int) -> caffe_pb.SolverParameter:
    """The solver with another length, its drops of the rate in proportion."""
    new = caffe_pb.SolverParameter()
    new.CopyFrom(solver)
    scale = iterations / solver.max_iter if solver.max_iter else 1.0
    new.max_iter = iterations
    del new.stepvalue[:]
    new.stepvalue.extend(dict.fromkeys(max(1, round(at * scale)) for at in solver.stepvalue))
    if solver.stepsize:
        new.stepsize = max(1, round(solver.stepsize * scale))
    return new


def cost(path: str) -> float:
    """The multiply-adds of a batch of a net, forward."""
    net = schema.read_net(path)
    return describe(net, caffe_pb.TRAIN)["totals"]["multiply_adds"]


if __name__ == "__main__":
    run(main)
