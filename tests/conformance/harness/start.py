"""The weights a case starts from: written by us, from a fixed seed, for every engine alike."""

import os

import numpy as np
import torch

import runner
from netgen.schema import caffe_pb
from runner.layers.fillers import fan  # noqa: TID251  (the one home of Caffe's fan in and out)


def _drawn(filler, shape, random):
    """An array as `filler` would draw it, from numpy's frozen generator; None if not random."""
    if filler.type == "uniform":
        return random.uniform(filler.min, filler.max, shape)
    if filler.type == "gaussian":
        return filler.mean + filler.std * random.standard_normal(shape)
    if filler.type == "xavier":
        return random.uniform(-1, 1, shape) * np.sqrt(3 / fan(shape, filler))
    if filler.type == "msra":
        return random.standard_normal(shape) * np.sqrt(2 / fan(shape, filler))
    return None


def statistics(channels, random):
    """The three blobs of a BatchNorm that has seen something."""
    mean = 0.3 * random.standard_normal(channels)
    return [mean * 2.5, random.uniform(0.5, 1.5, channels) * 2.5, np.array([2.5])]


def write_start(folder, net, random, values=None, batch_statistics=False, state=None):
    """Write init.caffemodel for the train net of prototxt `net` in `folder`.

    Parameters and blobs with a random filler are drawn, the others are filled. values: {layer:
    [arrays]} that are taken as they are. batch_statistics: BatchNorm blobs are drawn as well.
    state: the solver's train_state.
    """
    before = os.getcwd()
    os.chdir(folder)
    try:
        state = state or caffe_pb.NetState()
        built = runner.Net(net, phase="TRAIN", level=state.level, stages=state.stage, seed=0)
        for node in built.engine.nodes:
            arrays = (values or {}).get(node.name)
            if arrays is None and batch_statistics and node.param.type == "BatchNorm":
                arrays = statistics(node.shapes.params[0], random)
            if arrays is None and node.param.type == "Parameter":  # it has no filler
                arrays = [0.4 * random.standard_normal(node.shapes.params[0])]
            if arrays is None:
                arrays = [
                    _drawn(filler, shape, random)
                    for filler, shape in zip(node.layer.fillers(), node.shapes.params, strict=False)
                ]
            for blob, array in zip(node.blobs, arrays, strict=False):
                if array is not None:
                    blob.copy_(torch.from_numpy(np.asarray(array, np.float32)).view(blob.shape))
        built.save("init.caffemodel")
    finally:
        os.chdir(before)
