"""debug_info: the mean absolute value of every blob and gradient, logged as Caffe logs them.

The nets know nothing of it: while it is on, each layer's forward is watched from outside.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from runner.log import glog

if TYPE_CHECKING:
    from runner.net.net import Net


@contextlib.contextmanager
def debug_info(net: Net, wanted: bool = True) -> Iterator[None]:
    """Log one pass of `net` made inside the with block: forward, and backward if gradients are on.

    wanted: False makes it do nothing. A parameter that layers share shows its whole gradient.
    """
    if not wanted:
        yield
        return
    backward, diffs = torch.is_grad_enabled(), {}
    net.fused = False
    for node in net.nodes:
        node.layer.forward = functools.partial(_forward, node, node.layer.forward, diffs)
    try:
        yield
    finally:
        net.fused = True
        for node in net.nodes:
            del node.layer.forward  # the class's own shows again
    if backward:
        _log_backward(net, diffs)


def _log(pass_name, node, what, value, line):
    text = f"    [{pass_name}] Layer {node.name}, {what}: {glog.number(value)}"
    glog.info(text, f"net.cpp:{line}")


def _mean(tensor):
    return tensor.detach().abs().mean()


def _forward(node, forward, diffs, bottoms, blobs):
    tops = forward([_watched(x, diffs, (node.name, i)) for i, x in enumerate(bottoms)], blobs)
    for name, top in zip(node.tops, tops, strict=True):
        _log("Forward", node, f"top blob {name} data", _mean(top), 593)
    specs = node.param.param
    for i, blob in enumerate(node.blobs):
        name = (specs[i].name if i < len(specs) else "") or i
        _log("Forward", node, f"param blob {name} data", _mean(blob), 605)
    return tops


def _watched(bottom, diffs, key):
    """The same values; the gradient that comes back through them leaves its mean in `diffs`."""
    if not bottom.requires_grad:
        return bottom
    bottom = bottom.view_as(bottom)  # tops of a Split are one tensor, with a gradient each

    def keep(gradient):
        diffs[key] = _mean(gradient)

    bottom.register_hook(keep)
    return bottom


def _log_backward(net, diffs):
    for node in reversed(net.nodes):
        if not node.needs_backward:
            continue
        for i, name in enumerate(node.bottoms):
            if node.bottom_needs[i]:
                value = diffs.get((node.name, i), 0.0)
                _log("Backward", node, f"bottom blob {name} diff", value, 621)
        for i, position in enumerate(node.learnable):
            if node.blob_needs[i]:
                value = _mean(net.parameters.blobs[position].grad)
                _log("Backward", node, f"param blob {i} diff", value, 632)
    vectors = net.parameters.data.detach(), net.parameters.grad
    one, two = (
        ", ".join(glog.number(torch.linalg.vector_norm(v, order)) for v in vectors)
        for order in (1, 2)
    )
    glog.error(
        f"    [Backward] All net params (data, diff): L1 norm = ({one}); L2 norm = ({two})",
        "net.cpp:721",
    )
