"""Layers that are faster done in one operation: a BatchNorm and its Scale, sibling convolutions.

Caffe has a layer for each half of what the paper calls batch normalization. Done one after the
other they read and write the blob three times as often.

Siblings are convolutions of one blob with one geometry: the parts of a split layer, or the 1x1
convolutions of an Inception module. A convolution with all their kernels reads the blob once, in
forward and in backward, and the narrow ones no longer leave most of each vector register empty:
on a CPU with AVX-512 a 3x3 convolution to 3 channels takes as long as one to 16.
"""

from __future__ import annotations

from collections.abc import Sequence

from netgen import graph
from runner.layers.linear import Convolution
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


def sibling_convolutions(nodes: Sequence[Node]) -> dict[int, list[int]]:
    """{number of the first: numbers of all} of the wired nodes that one convolution can do.

    They read one blob, each perhaps through a Split, with one geometry, and backward goes on into
    that blob from all of them or from none. The kernels of some may be fixed, and of some shared.
    """
    groups: dict[tuple, list[int]] = {}
    sources: dict[str, tuple[int, int]] = {}  # which layer's which top a name is, Splits left out
    for index, node in enumerate(nodes):
        if _has_siblings(node):
            groups.setdefault(_kind(node, sources), []).append(index)
        for i, name in enumerate(node.tops):
            split = node.param.type == "Split"
            sources[name] = sources[node.bottoms[0]] if split else (index, i)
    return {group[0]: group for group in groups.values() if len(group) > 1}


def _has_siblings(node):
    """Is the node a convolution that others could be done together with?"""
    return (
        type(node.layer) is Convolution
        and node.layer.options["groups"] == 1
        and len(node.bottoms) == 1
    )


def _kind(node, sources):
    """What siblings have in common."""
    return (
        sources[node.bottoms[0]],
        node.shapes.geometry,
        node.shapes.margins,
        node.layer.axis,
        len(node.shapes.params),
        node.needs_backward,
        node.bottom_needs[0],
    )
