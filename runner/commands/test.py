"""`caffe test`: score a model."""

import torch

from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner.commands.flags import Flags
from runner.layers import Context
from runner.log import glog, upgrades
from runner.net import weights
from runner.net.debug_info import debug_info
from runner.net.net import Net, net_param_for
from runner.process.device import device_of, gpu_ids
from runner.process.precision import set_precision
from runner.solver.tallies import warn_of_uneven


def choose_device(flags: Flags, gpu_line: int, cpu_line: int) -> torch.device:
    """The device of -gpu (its first id), with -precision set for it.

    gpu_line, cpu_line: the lines of caffe.cpp from which Caffe logs the choice.
    """
    ids = gpu_ids(flags.gpu)
    if ids:
        glog.info(f"Use GPU with device ID {ids[0]}", f"caffe.cpp:{gpu_line}")
    else:
        glog.info("Use CPU.", f"caffe.cpp:{cpu_line}")
    device = device_of(ids)
    if flags.precision == "auto":
        raise CaffeError("-precision auto times training steps: it is for caffe train")
    set_precision(flags.precision, device)
    return device


@torch.no_grad()
def test(flags: Flags) -> int:
    """Run -iterations batches of the TEST net, printing each and the means."""
    if not flags.model:
        raise CaffeError("Need a model definition to score.")
    if not flags.weights:
        raise CaffeError("Need model weights to score.")
    device = choose_device(flags, 266, 275)
    if device.type != "cpu":
        glog.info(f"GPU device name: {torch.cuda.get_device_name(device)}", "caffe.cpp:270")
    param = upgrades.read_net(flags.model)
    net = Net(
        net_param_for(param, caffe_pb.TEST, flags.level, flags.stages()),
        Context(device, precision=flags.precision),
    )
    weights.load_weights(net, flags.weights)
    count = flags.iterations
    if count < 1:
        raise CaffeError(f"-iterations {count}: at least one is needed to score")
    glog.info(f"Running for {count} iterations.", "caffe.cpp:281")
    total_loss, totals, uneven = 0.0, {}, set()
    for i in range(count):
        with debug_info(net, param.debug_info):
            loss, outputs = net.forward()
        total_loss += loss.item()
        for name, blob in outputs.items():
            scores = blob.reshape(-1).tolist()
            for score in scores:
                glog.info(f"Batch {i}, {name} = {glog.number(score)}", "caffe.cpp:304")
            before = totals.get(name, [0.0] * len(scores))
            if len(before) == len(scores):
                totals[name] = [a + b for a, b in zip(before, scores, strict=True)]
            else:
                uneven.add(name)
    glog.info(f"Loss: {glog.number(total_loss / count)}", "caffe.cpp:309")
    warn_of_uneven(sorted(uneven), "caffe.cpp:312")
    for name in uneven:
        del totals[name]
    for name, scores in totals.items():
        for score in scores:
            mean, weight = score / count, net.loss_weights[name]
            text = f"{name} = {glog.number(mean)}"
            if weight:
                text += f" (* {glog.number(weight)} = {glog.number(weight * mean)} loss)"
            glog.info(text, "caffe.cpp:321")
    return 0
