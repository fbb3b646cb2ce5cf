"""The training step of one net: ours, by hand, by hand and compiled, and C++ Caffe's."""

import os
import time

import runner
from bench import equality, hand_written, subjects
from bench.ceilings import SIZE, product, training_multiply_adds
from bench.interleave import alternate, steps_for, timed
from bench.parts import parts
from bench.processes import run, seconds_a_step
from netgen import nets
from netgen.describe import describe
from netgen.errors import CaffeError
from netgen.schema import caffe_pb

SECONDS = 1.0  # of a round
DISPLAY = 100


def measure(folder, net, rounds, width=1.0, compiled=True):
    """{"seconds": {candidate: [a step, one a round]}, and what these are measured against}."""
    options = nets.NetOptions(width=width)
    path = subjects.write_solver(folder, net, width=width, display=DISPLAY)
    batch = subjects.batch_size(path)
    ours = subjects.our_solver(path)

    def by_hand(**more):
        module = hand_written.NETS[net](width)
        return subjects.hand_loop(net, folder, batch, module, **more)

    loops = {"by hand": by_hand()}
    differences = equality.check(net, ours, loops["by hand"], options)
    steps = steps_for(ours.step, SECONDS)
    loops["by hand"].step(2)
    # A round shows as many displays as training does, and at least one.
    ours.param.display = min(DISPLAY, steps)
    candidates = {"ours": timed(ours.step, steps)}
    result = {
        "net": net,
        "batch": batch,
        "width": width,
        "steps": steps,
        "differences": differences,
        "parameters": equality.parameters(loops["by hand"].net),
    }
    if compiled:
        loops["compiled"] = by_hand(compiled=True)
        start = time.perf_counter()
        loops["compiled"].step(1)
        result["compile seconds"] = time.perf_counter() - start
        loops["compiled"].step(1)
    candidates |= {name: timed(loop.step, steps) for name, loop in loops.items()}
    if caffe := external_caffe():
        candidates["C++ Caffe"] = caffe_steps(caffe, folder, net, steps, width)
    seconds = alternate({**candidates, "product": product(SIZE)}, rounds)
    result["product"] = seconds.pop("product")
    result["seconds"] = seconds
    result["parts"] = parts(ours, 2 * steps)
    result |= arithmetic(net, options, batch)
    return result


def external_caffe():
    """The C++ Caffe of CAFFE_ROOT, of Python's path or of make pycaffe; None without one."""
    try:
        return runner.find_external()
    except CaffeError:
        if os.environ.get("CAFFE_ROOT"):  # named, and not there: not to be passed over
            raise
        return None


def caffe_steps(caffe, folder, net, steps, width=1.0):
    """A candidate: C++ Caffe's `caffe train` for so many steps, but two, after its first one.

    After one step the end of the training, which displays a forward pass, would look like another.
    """
    steps = max(2, steps)
    path = subjects.write_solver(folder, net, display=steps, max_iter=steps + 1, width=width)
    command = [caffe.tool, "train", "-solver", path]
    return lambda: seconds_a_step(run(command, env=caffe.environment()).text)


def arithmetic(net, options, batch):
    """{"forward": multiply-adds an image of a forward pass, "training": of a step}."""
    shape = subjects.KINDS[subjects.SUBJECTS[net]].shape
    described = describe(nets.build_net(net, options), caffe_pb.TRAIN, input_shape=shape)
    return {
        "forward": described["totals"]["multiply_adds"] / batch,
        "training": training_multiply_adds(described) / batch,
    }
