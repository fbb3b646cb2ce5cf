"""Memory that blobs share in Caffe: backward may not find there what forward left.

A layer in place writes over the top of those below it, which may need it for their gradients.
And Flatten's backward does not write a gradient: it lends its bottom the memory of its top's.
Where the bottom's gradient was lent before, the owner's stays empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from netgen import graph
from runner.log import glog
from runner.net.wiring import Node


class Memory:
    """Informs layers whose tops others overwrite, and keeps what is left there for backward."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._left = {}
        self._overwritten(nodes)
        self._lent(nodes)

    @property
    def names(self) -> set[str]:
        """The blobs of which what is left counts."""
        return set(self._left)

    def keep(self, blobs: Mapping[str, torch.Tensor]) -> None:
        """Remember what forward left in the blobs that backward reads again."""
        for name in self._left:
            self._left[name] = blobs[name].detach()

    def refresh(self, name: str, give: Callable[[], torch.Tensor]) -> None:
        """Remember what `give` gives as what was left in blob `name`, if anybody reads it."""
        if name in self._left:
            self._left[name] = give()

    def _overwritten(self, nodes: Sequence[Node]) -> None:
        writers = {}  # of each blob the layers in place, the last first
        for node in reversed(nodes):
            name = node.tops[0] if node.tops else None
            if node.needs_backward and name in writers:
                types = {writer.param.type for writer in writers[name]}
                if node.layer.overwritten_by(types, lambda name=name: self._left[name]):
                    self._left[name] = None
                    _warn(
                        node,
                        f"computes its gradient from what layer '{writers[name][0].name}' "
                        "left in its top",
                    )
            for i, name in enumerate(node.param.top):
                if graph.in_place(node.param, i):
                    writers.setdefault(name, []).append(node)

    def _lent(self, nodes: Sequence[Node]) -> None:
        makers = {}
        for node in nodes:
            if node.param.type == "Flatten" and node.needs_backward and node.bottom_needs[0]:
                maker = makers[node.bottoms[0]]
                if _lends(maker):
                    node.layer.loses_gradient = True
                    _warn(node, f"behind {maker.param.type} ends the gradient")
            for name in node.tops:
                makers.setdefault(name, node)


def _lends(node: Node) -> bool:
    """Is the memory of its top's gradient also that of a bottom's, a parameter's, or its own?"""
    kind = node.param.type
    return (
        kind in ("Reshape", "Parameter", "LSTM", "RNN")
        or (kind == "Slice" and len(node.tops) == 1)
        or (kind == "Concat" and len(node.bottoms) == 1)
    )


def _warn(node: Node, what: str) -> None:
    glog.warning(
        f"layer '{node.name}': {node.param.type} {what}, in Caffe and therefore here",
        "net.cpp:369",
    )
