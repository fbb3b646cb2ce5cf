"""BatchNorm and the Scale behind it in one operation.

Caffe has a layer for each half of what the paper calls batch normalization. Done one after the
other they read and write the blob three times as often.
"""

from __future__ import annotations

from collections.abc import Sequence

from netgen import graph
from runner.net.wiring import Node


def fused_scales(nodes: Sequence[Node], outputs: Sequence[str]) -> set[int]:
    """Numbers of the wired Scale nodes that the BatchNorm right before them can do as well.

    The Scale has a factor and a bias for each channel and is alone in reading what it scales;
    outputs: names that the net gives out.
    """
    return {
        index + 1
        for index, (norm, scale) in enumerate(zip(nodes, nodes[1:], strict=False))
        if norm.param.type == "BatchNorm"
        and scale.param.type == "Scale"
        and scale.bottoms == norm.tops
        and scale.param.scale_param.bias_term
        and scale.shapes.axis == 1
        and len(scale.shapes.params[0]) == 1
        and scale.bottom_needs == [norm.needs_backward]
        and not any([*norm.loss_weights, *scale.loss_weights])
        and not _read_elsewhere(norm.tops[0], index, nodes, outputs)
    }


def _read_elsewhere(name, norm, nodes, outputs):
    """Does anyone but the node after number `norm` see that one's top?"""
    if graph.in_place(nodes[norm + 1].param):  # from then on the name is the scaled blob's
        return False
    return name in outputs or any(name in node.bottoms for node in nodes[norm + 2 :])
