"""Which layers and bottoms of a net take part in backward (net.cpp, Net::Init)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from netgen.schema import caffe_pb


@dataclass
class Node:
    """One layer in the order it runs, and how it is wired."""

    layer: object
    param: object  # the LayerParameter, phase set
    bottoms: list = field(default_factory=list)  # blob names
    tops: list = field(default_factory=list)
    bottom_shapes: list = field(default_factory=list)  # at set-up
    shapes: object = None  # netgen.graph.LayerShapes
    loss_weights: list = field(default_factory=list)  # one a top
    learnable: list = field(default_factory=list)  # positions in Parameters.learnable
    blobs: list = field(default_factory=list)  # the layer's blobs, plain tensors in its shapes
    leaves: list = field(default_factory=list)  # the same memory as autograd knows it
    blob_needs: list = field(default_factory=list)  # does backward reach blob i?
    needs_backward: bool = False
    bottom_needs: list = field(default_factory=list)  # does backward go on into bottom i?
    parameter_blobs: object = None  # of Net.parameter_blobs

    def arguments(self) -> list[torch.Tensor]:
        """The blobs as forward takes them: part of the graph where backward is to reach them."""
        needs = self.blob_needs if self.needs_backward else [False] * len(self.blobs)
        return [
            leaf.view(blob.shape) if need else blob
            for blob, leaf, need in zip(self.blobs, self.leaves, needs, strict=True)
        ]

    def all_arguments(self) -> list[torch.Tensor]:
        """The blobs with the graph reaching every one of them."""
        return [leaf.view(blob.shape) for blob, leaf in zip(self.blobs, self.leaves, strict=True)]

    @property
    def name(self) -> str:
        return self.param.name


def wire_forward(
    node: Node, specs: Sequence[caffe_pb.ParamSpec | None], blob_needs: set[str]
) -> None:
    """What is known when a layer is appended: does anything before it, or in it, learn?

    specs: the ParamSpecs as the net's prototxt has them, one a blob or None. blob_needs: set
    of blob names that need a gradient so far; the layer's tops are added to it.
    """
    given = list(node.param.propagate_down)
    node.bottom_needs = [
        given[i] if given else name in blob_needs for i, name in enumerate(node.bottoms)
    ]
    node.needs_backward = any(name in blob_needs for name in node.bottoms)
    node.needs_backward |= any(spec is None or spec.lr_mult != 0 for spec in specs)
    if node.needs_backward:
        blob_needs.update(node.tops)


def wire_backward(nodes: Sequence[Node]) -> None:
    """Walk back from the losses: a layer none of them depends on needs no backward."""
    under_loss, cut = set(), set()
    for node in reversed(nodes):
        contributes = any(
            weight or top in under_loss
            for top, weight in zip(node.tops, node.loss_weights, strict=True)
        )
        if node.needs_backward and all(top in cut for top in node.tops):
            node.needs_backward = False
            node.bottom_needs = [False] * len(node.bottoms)
        node.needs_backward &= contributes
        for i, name in enumerate(node.bottoms):
            if contributes:
                under_loss.add(name)
            else:
                node.bottom_needs[i] = False
            if not node.bottom_needs[i]:
                cut.add(name)


def force_backward(nodes: Sequence[Node]) -> None:
    """Let backward reach every blob and bottom but labels, as `force_backward: true` asks."""
    for node in nodes:
        node.needs_backward = True
        node.blob_needs = [True] * len(node.blob_needs)
        node.bottom_needs = [
            needs or i not in node.layer.no_force_backward
            for i, needs in enumerate(node.bottom_needs)
        ]
