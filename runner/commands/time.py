"""`caffe time`: how long each layer takes, forward and backward."""

import time as clock

import torch

from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner.commands.flags import Flags
from runner.commands.test import choose_device
from runner.layers import Context
from runner.log import glog, upgrades
from runner.net.layerwise import Layerwise
from runner.net.net import Net, net_param_for


def _phase(text):
    phases = {"": caffe_pb.TRAIN, "TRAIN": caffe_pb.TRAIN, "TEST": caffe_pb.TEST}
    if text not in phases:
        raise CaffeError('phase must be "TRAIN" or "TEST"')
    return phases[text]


def time(flags: Flags) -> int:
    """Time -iterations passes of -model, layer by layer; every layer's backward runs."""
    if not flags.model:
        raise CaffeError("Need a model definition to time.")
    if flags.iterations < 1:
        raise CaffeError(f"-iterations {flags.iterations}: at least one is needed to time")
    phase = _phase(flags.phase)
    device = choose_device(flags, 339, 343)
    param = upgrades.read_net(flags.model)
    param = net_param_for(param, phase, flags.level, flags.stages())
    net = Net(param, Context(device, precision=flags.precision))
    glog.info("Performing Forward", "caffe.cpp:351")
    run = Layerwise(net)
    run.goes_backward = True
    glog.info(f"Initial loss: {glog.number(run.forward())}", "caffe.cpp:356")
    glog.info("Performing Backward", "caffe.cpp:357")
    run.backward()
    _benchmark(run, flags.iterations, device)
    return 0


def _benchmark(run, iterations, device):
    def now():
        if device.type != "cpu":
            torch.cuda.synchronize(device)
        return clock.perf_counter()

    def say(text, line):
        glog.info(text, f"caffe.cpp:{line}")

    names = [node.name for node in run.net.nodes]
    forward, backward = [0.0] * len(names), [0.0] * len(names)
    say("*** Benchmark begins ***", 365)
    say(f"Testing for {iterations} iterations.", 366)
    start = now()
    for i in range(iterations):
        begin = now()
        for index in range(len(names)):
            mark = now()
            run.forward_layer(index)
            forward[index] += now() - mark
        for index in reversed(range(len(names))):
            mark = now()
            run.backward_layer(index)
            backward[index] += now() - mark
        took = glog.number((now() - begin) * 1000)
        say(f"Iteration: {i + 1} forward-backward time: {took} ms.", 394)
    total = (now() - start) * 1000

    def per(milliseconds):
        return glog.number(milliseconds / iterations)

    say("Average time per layer: ", 397)
    for index, name in enumerate(names):
        say(f"{name:>10}\tforward: {per(forward[index] * 1000)} ms.", 400)
        say(f"{name:>10}\tbackward: {per(backward[index] * 1000)} ms.", 403)
    say(f"Average Forward pass: {per(sum(forward) * 1000)} ms.", 408)
    say(f"Average Backward pass: {per(sum(backward) * 1000)} ms.", 410)
    say(f"Average Forward-Backward: {per(total)} ms.", 412)
    say(f"Total Time: {glog.number(total)} ms.", 414)
    say("*** Benchmark ends ***", 415)
