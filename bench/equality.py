"""That both nets are the same one: parameters, outputs, loss and gradients."""

from itertools import zip_longest

import numpy as np
import torch
from torch.nn.functional import cross_entropy

import runner
from netgen import nets
from netgen.schema import caffe_pb

# Of norms, relative. Float32 sums in another order turn one ReLU in ten million the other way, of
# which the loss shows nothing, and the gradient the root of that.
TOLERANCES = {"loss": 1e-4, "gradient": 1e-3, "output": 1e-4}


class NotEqual(RuntimeError):
    """Two nets that are measured against each other differ; the ratio would say nothing."""


def check(name, solver, loop, options):
    """Give both the same random weights and compare; returns {what: relative difference}.

    solver: ours, of a net that was built with NetOptions `options`; loop: the hand-written one.
    Raises NotEqual for other shapes of parameters or differences above TOLERANCES.
    """
    ours = [tuple(blob.shape) for blob in _learned(solver.net)]
    theirs = [tuple(p.shape) for p in loop.net.parameters()]
    if ours != theirs:
        pairs = zip_longest(ours, theirs)
        own, other = next(pair for pair in pairs if pair[0] != pair[1])
        raise NotEqual(f"{name}: a parameter of {own}, by hand of {other}")
    weights = _random_weights(ours, loop.images.std())
    _fill(_learned(solver.net), weights)
    _fill(loop.net.parameters(), weights)
    found = dict(zip(("loss", "gradient"), _training(solver, loop), strict=True))
    found["output"] = _inference(name, loop.net, weights, options)
    for what, difference in found.items():
        if not difference < TOLERANCES[what]:
            raise NotEqual(f"{name}: {what} differs by {difference:.2g} of its norm")
    return found


def parameters(net):
    """How many numbers a hand-written module learns."""
    return sum(p.numel() for p in net.parameters())


def _random_weights(shapes, size):
    """Weights that make about 1 of images of such a size and keep it, and biases around 0.5.

    Large scores would differ: Caffe's loss takes no probability for less than 1e-38.
    """
    random = torch.Generator().manual_seed(1)
    weights = [
        torch.randn(shape, generator=random) * (2 / torch.Size(shape[1:]).numel()) ** 0.5
        if len(shape) > 1
        else 0.1 * torch.randn(shape, generator=random) + 0.5
        for shape in shapes
    ]
    weights[0] /= size
    return weights


def _learned(net, flat=None):
    """What our net learns, in the order of its layers: views of its values, or of `flat`.

    BatchNorm's statistics are blobs of the net with a rate of 0.
    """
    blobs = net.parameters.split(net.parameters.data if flat is None else flat)
    return [
        blobs[position]
        for node in net.nodes
        if node.param.type != "BatchNorm"
        for position in node.learnable
    ]


def _fill(blobs, values):
    with torch.no_grad():
        for blob, value in zip(blobs, values, strict=True):
            blob.copy_(value)


def _training(solver, loop):
    """Relative differences of loss and gradients of one training batch, without dropout."""
    dropouts = [node.layer for node in solver.net.nodes if node.param.type == "Dropout"]
    for layer in dropouts:
        layer.phase = caffe_pb.TEST
    feed = next(node.layer.feed for node in solver.net.nodes if node.param.type == "Data")
    before = feed.state()
    images, labels = (tensor.clone() for tensor in feed.next())
    feed.load_state(before)
    solver.net.parameters.grad.zero_()
    loss, _ = solver.net.forward_backward()
    gradient = solver.net.parameters.grad.clone()
    for layer in dropouts:
        layer.phase = caffe_pb.TRAIN
    solver.net.parameters.grad.zero_()
    feed.load_state(before)

    theirs = loop.net
    for module in theirs.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    theirs.zero_grad()
    images = images.contiguous(memory_format=torch.channels_last)
    other = cross_entropy(theirs(images), labels.long())
    other.backward()
    theirs.train()
    parts = [p.grad.reshape(-1) for p in theirs.parameters()]
    own = [p.reshape(-1) for p in _learned(solver.net, gradient)]
    return (
        abs(loss.item() - other.item()) / abs(other.item()),
        _difference(torch.cat(own), torch.cat(parts)),
    )


def _inference(name, module, weights, options):
    """Relative difference of the scores of a deploy net, with statistics for its BatchNorms."""
    param = nets.build_net(name, options, deploy=True)
    del param.layer[-1]  # the Softmax: near the end of its range it would hide differences
    net = runner.Net(param).engine
    _fill(_learned(net), weights)
    statistics = [node.blobs for node in net.nodes if node.param.type == "BatchNorm"]
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    random = torch.Generator().manual_seed(2)
    for (mean, variance, factor), norm in zip(statistics, norms, strict=True):
        mean.copy_(0.1 * torch.randn(mean.shape, generator=random))
        variance.copy_(torch.rand(variance.shape, generator=random) + 0.5)
        factor.fill_(1)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
    shape = tuple(param.layer[0].input_param.shape[0].dim)
    image = torch.tensor(np.random.default_rng(0).normal(size=shape), dtype=torch.float32)
    net.nodes[0].layer.values = [image]
    with torch.no_grad():
        _, outputs = net.forward()
        (scores,) = outputs.values()
        module.eval()
        theirs = module(image.contiguous(memory_format=torch.channels_last))
        module.train()
    return _difference(scores.reshape(-1), theirs.reshape(-1))


def _difference(ours, theirs):
    return ((ours - theirs).norm() / theirs.norm()).item()
