"""What the tops with a loss weight add to the objective.

Caffe keeps a top's loss weight in the top's gradient, and takes as objective the dot product of
the two. A Split keeps those who read the top apart, so that the weight stays. Without one, which
is so for a loss layer whose weight is not spelled out and for a layer in place, backward writes
over the weight: what it leaves there weighs the value in the next forward, and where a layer
further up has written, that is the only gradient that goes back. There is one gradient to a
blob: of several weights for it, in place, the last that was set holds for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from netgen import graph
from runner.net.wiring import Node
from runner.process.precision import widened


@dataclass
class _Share:
    """One top of one layer: its weight, and what becomes of the gradient that holds it."""

    position: int
    name: str
    weight: float  # 0 for a top that is only watched
    watched: bool  # the blob's first value, whose gradient is what backward leaves behind
    replaced: bool  # a layer further up writes over the weight before this one reads it


class Objective:
    """The weighted tops of a net's nodes, which must be wired."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        last_reader = {}
        for index, node in enumerate(nodes):
            for name, needs in zip(node.bottoms, node.bottom_needs, strict=True):
                if node.needs_backward and needs:
                    last_reader[name] = index
        weights, overwritten = {}, set()
        for index, node in enumerate(nodes):
            for name, weight in zip(node.tops, node.loss_weights, strict=True):
                if weight:
                    weights[name] = weight
                    if last_reader.get(name, -1) >= index:
                        overwritten.add(name)
        self._left = dict.fromkeys(overwritten)  # what backward left in these blobs' gradients
        self._shares = [
            [
                _Share(
                    position,
                    name,
                    weights[name] if weight else 0,
                    watched=name in overwritten and not graph.in_place(node.param, position),
                    replaced=last_reader.get(name, -1) > index,
                )
                for position, (name, weight) in enumerate(
                    zip(node.tops, node.loss_weights, strict=True)
                )
                if weight or (name in overwritten and not graph.in_place(node.param, position))
            ]
            for index, node in enumerate(nodes)
        ]

    @property
    def remembers(self) -> bool:
        """Does a forward depend on the backward before it?"""
        return bool(self._left)

    def shares(self, index: int, tops: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """What the tops of node `index` add: a list of scalar tensors."""
        found = []
        for share in self._shares[index]:
            top = tops[share.position]
            if share.watched and top.requires_grad:
                top.register_hook(lambda left, name=share.name: self._left.update({name: left}))
            if share.weight:
                found.append(self._weighted(share, top))
        return found

    def _weighted(self, share, top):
        top = widened(top.detach() if share.replaced else top)
        left = self._left.get(share.name)
        if left is not None:
            return (top * left.view(top.shape)).sum()
        total = top.sum() if top.dim() else top
        return total if share.weight == 1 else total * share.weight
