"""Layers that are faster done in memory that is there already.

A blob of a training batch is larger than a processor's caches: to write one anew takes two to three
times as long as to write over one that was just read. A ReLU or a sum may write over a bottom that
nobody else reads, and a ReLU's backward over a gradient that nobody else has.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch

from netgen.schema import caffe_pb
from runner.layers.combine import Eltwise
from runner.layers.linear import Convolution
from runner.layers.neuron import ReLU
from runner.net.wiring import Node

#: beside convolutions and sums, layers whose tops are of their own memory, at which their backward
#: does not look again
_MAKES = ("BatchNorm", "InnerProduct", "Pooling")
#: layers whose backward, in training, gives a gradient that nobody else has; one that gives the same
#: to every bottom
_OWN_GRADIENT = ("Convolution", "Dropout", "InnerProduct", "Pooling")
_SAME_GRADIENT = ("Eltwise",)

Overwriting = Callable[[list[torch.Tensor]], list[torch.Tensor]]


def overwriting(
    nodes: Sequence[Node],
    outputs: Collection[str],
    scales: Collection[int],
    together: Collection[int],
    left: Collection[str],
) -> dict[int, Overwriting]:
    """{number: its forward} of the wired nodes that may write over a bottom when they are trained.

    outputs: names that the net gives out. scales: of fused_scales. together: convolutions that are
    done with others, whose tops are views. left: names of blobs that somebody looks at again as
    they were left.
    """
    sources, readers, last = _uses(nodes)

    def is_free(index, position):
        """Does nobody but node `index` see the value of that bottom?"""
        name, source = nodes[index].bottoms[position], sources[index][position]
        maker = nodes[source[0]]
        return (
            len(readers[source]) == 1
            and not (name in outputs and last[name] == source)
            and name not in left
            and not any(maker.loss_weights)
            and (source[0] in scales or source[0] not in together and _makes(maker))
        )

    found: dict[int, Overwriting] = {}
    for index, node in enumerate(nodes):
        if _rectifies(node) and is_free(index, 0):
            found[index] = _rectify(_owns_gradient(nodes, readers, index))
        elif _adds(node):
            free = [position for position in (0, 1) if is_free(index, position)]
            if free:
                found[index] = _add(free[-1])
    return found


def _uses(nodes):
    """Where each bottom comes from, who reads what comes from where, what the names are at last.

    What comes is (number of a node, number of a top).
    """
    sources, readers, values = [], {}, {}
    for index, node in enumerate(nodes):
        sources.append([values[name] for name in node.bottoms])
        for position, source in enumerate(sources[-1]):
            readers[source].append((index, position))
        for i, name in enumerate(node.tops):
            values[name] = (index, i)
            readers[index, i] = []
    return sources, readers, values


def _makes(node):
    """Is the node's top in memory of its own, at which its backward does not look again?"""
    if type(node.layer) is Convolution:
        return node.layer.axis == 1 and node.layer.spatial > 0
    return node.param.type in _MAKES or _adds(node)


def _rectifies(node):
    param = node.param.relu_param
    return (
        type(node.layer) is ReLU
        and not (param.negative_slope or param.relu6)
        and not node.layer.by_hand
    )


def _adds(node):
    return (
        type(node.layer) is Eltwise
        and node.param.eltwise_param.operation == caffe_pb.EltwiseParameter.SUM
        and len(node.bottoms) == 2
        and set(node.layer.coefficients) == {1.0}
        and not node.layer.in_place
    )


def _owns_gradient(nodes, readers, index):
    """Does the gradient that comes to the only top of node `index` belong to nobody else?"""
    if nodes[index].layer.phase != caffe_pb.TRAIN:
        return False
    asked, types = [(index, 0)], []
    while asked:
        for reader, position in readers[asked.pop()]:
            node = nodes[reader]
            if node.param.type == "Split":
                asked += [(reader, i) for i in range(len(node.tops))]
            elif node.needs_backward and node.bottom_needs[position]:
                types.append(node.param.type)
    known = all(kind in _OWN_GRADIENT + _SAME_GRADIENT for kind in types)
    # Of several, autograd makes a sum that is its own.
    return known and (len(types) > 1 or (bool(types) and types[0] in _OWN_GRADIENT))


def _rectify(owns_gradient):
    if not owns_gradient:
        return lambda bottoms: [torch.relu_(bottoms[0])]
    return lambda bottoms: [
        _Rectified.apply(bottoms[0]) if bottoms[0].requires_grad else torch.relu_(bottoms[0])
    ]


def _add(position):
    def add(bottoms):
        mine, other = bottoms[position], bottoms[1 - position]
        same = mine.dtype == other.dtype and mine.requires_grad >= other.requires_grad
        return [mine.add_(other) if same else mine + other]

    return add


class _Rectified(torch.autograd.Function):
    """A ReLU in place whose backward is in place too."""

    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        top = torch.relu_(x)
        ctx.save_for_backward(top)
        return top

    @staticmethod
    def backward(ctx, upstream):
        (top,) = ctx.saved_tensors
        backward = torch.ops.aten.threshold_backward
        if upstream.stride() != top.stride():  # such as an expanded one
            return backward(upstream, top, 0)
        return backward.grad_input(upstream, top, 0, grad_input=upstream)
