"""Layers that are faster done in one operation: BatchNorm and Scale, siblings, linear ends.

Caffe has a layer for each half of what the paper calls batch normalization. Done one after the
other they read and write the blob three times as often.

Siblings are convolutions of one blob with one geometry: the parts of a split layer, or the 1x1
convolutions of an Inception module. A convolution with all their kernels reads the blob once, in
forward and in backward, and the narrow ones no longer leave most of each vector register empty:
on a CPU with AVX-512 a 3x3 convolution to 3 channels takes as long as one to 16.

A linear end is a 1x1 convolution of sums and concatenations of other convolutions' tops: what a
split layer ends in. As all of that is linear, the kernels can be multiplied instead of the blobs,
which are many times as large. Of the parts that read one blob remains one convolution with as many
outputs as the end has, and no blob in between is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch

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


@dataclass(frozen=True)
class Share:
    """Some outputs of a convolution that does several: node `number`'s, or a term of its sum."""

    number: int
    term: int | None = None


class LinearEnd:
    """A node that is a 1x1 convolution, as a sum of convolutions of other blobs, its terms.

    below: {number: numbers of the nodes that make its bottoms} of the end and of all nodes between
    it and its leaves. terms: the numbers of the leaves, which are convolutions, in lists of those
    that are one term, as they read one blob in one way. gathered: which terms are 1x1 convolutions
    that have no siblings; one convolution does them, of their blobs side by side.
    """

    def __init__(self, number: int, below: dict[int, list[int]], terms: list[list[int]]) -> None:
        self.number, self.below, self.terms = number, below, terms
        self.gathered: list[int] = []

    def arguments(self, nodes: Sequence[Node]) -> list[list[torch.Tensor]]:
        """The kernels of each term; with the first one goes the bias, where there is any."""
        kernels: dict[int, torch.Tensor] = {}
        weight, *biases = nodes[self.number].arguments()
        self._multiply(self.below[self.number][0], weight.flatten(1), nodes, kernels, biases)
        terms = [[_sum([kernels[leaf] for leaf in leaves])] for leaves in self.terms]
        if biases:
            terms[0].append(_sum(biases))
        return terms

    def _multiply(self, number, matrix, nodes, kernels, biases):
        """Find what the leaves at and below a node add, whose top enters the end by `matrix`.

        matrix: (outputs of the end, channels of the top).
        """
        node = nodes[number]
        if node.param.type == "Concat":
            parts = matrix.split([shape[1] for shape in node.bottom_shapes], 1)
        elif node.param.type == "Eltwise":
            factors = node.param.eltwise_param.coeff or [1] * len(node.bottoms)
            parts = [matrix if factor == 1 else factor * matrix for factor in factors]
        else:
            weight, *bias = node.arguments()
            biases += [matrix @ values for values in bias]
            product = matrix @ weight.flatten(1)
            if number not in self.below:
                kernels[number] = product.view(-1, *weight.shape[1:])
                return
            parts = [product]
        for child, part in zip(self.below[number], parts, strict=True):
            self._multiply(child, part, nodes, kernels, biases)

    def pays(self, nodes: Sequence[Node]) -> bool:
        """Whether it takes fewer multiply-adds than node by node, those of kernels included."""
        _, outputs, *sides = nodes[self.number].shapes.tops[0]
        places = nodes[self.number].shapes.tops[0][0] * prod(sides)
        inner = [nodes[n].shapes.params[0] for n in self.below if nodes[n].shapes.params]
        every = inner + [nodes[leaf].shapes.params[0] for term in self.terms for leaf in term]
        terms = [nodes[leaves[0]].shapes.params[0][1:] for leaves in self.terms]
        together = places * outputs * sum(map(prod, terms)) + outputs * sum(map(prod, every))
        return together < places * sum(map(prod, every))


class Convolutions:
    """Which convolutions of wired nodes are done together.

    groups: {number of the first: Shares} of what one convolution does: siblings, which read one
    blob, each perhaps through a Split, with one geometry, and backward goes on into that blob from
    all of them or from none. The kernels of some may be fixed, and of some shared. ends: {number:
    LinearEnd}. inner: numbers of the nodes that lie between an end and its leaves, and leaves: of
    those; they are not run by themselves. waiting: {leaf: Share} of the terms that are gathered.
    """

    def __init__(self, nodes: Sequence[Node], with_ends: bool = True) -> None:
        self.nodes = nodes
        self._kinds: dict[int, tuple] = {}  # of convolutions: what siblings have in common
        self._makers: dict[tuple[int, int], int] = {}  # (node, bottom): the node that made it
        self._readers: Counter[int] = Counter()  # of what a node made
        self._look()
        self.ends: dict[int, LinearEnd] = {}
        self.inner: set[int] = set()
        self.leaves: dict[int, Share] = {}
        if with_ends:
            self._find_ends()
        self.groups = self._find_groups()
        self.waiting: dict[int, Share] = {}
        for end in self.ends.values():
            self._gather(end)

    def _look(self):
        sources: dict[str, tuple[int, int]] = {}  # which node's which top, Splits left out
        makers: dict[str, int] = {}
        for index, node in enumerate(self.nodes):
            if _has_siblings(node):
                self._kinds[index] = _kind(node, sources)
            for i, name in enumerate(node.bottoms):
                self._makers[index, i] = makers[name]
                self._readers[makers[name]] += 1
            for i, name in enumerate(node.tops):
                split = node.param.type == "Split"
                sources[name] = sources[node.bottoms[0]] if split else (index, i)
                makers[name] = index

    def _find_ends(self):
        for number in reversed(range(len(self.nodes))):  # an end may be inside another one
            if number in self.inner or number in self.leaves or not self._is_pointwise(number):
                continue
            below = self._below(number)
            if not below:
                continue
            leaves = sorted({child for row in below.values() for child in row} - below.keys())
            terms: dict[tuple, list[int]] = {}
            for leaf in leaves:
                terms.setdefault(self._kinds[leaf], []).append(leaf)
            end = LinearEnd(number, below, list(terms.values()))
            learned = [n for n in (*below, *leaves) if n in self._kinds]
            with_bias = {len(self.nodes[n].shapes.params) for n in learned}
            if len(with_bias) == 1 and end.pays(self.nodes):
                self.ends[number] = end
                self.inner |= below.keys() - {number}
                for i, term in enumerate(end.terms):
                    self.leaves |= dict.fromkeys(term, Share(number, i))

    def _below(self, number):
        """{number: makers of the bottoms} of a linear node and of the inner ones below it.

        Empty for a convolution that is a leaf; None for what cannot be part of an end.
        """
        node, found = self.nodes[number], {}
        if number in self._kinds and not self._is_pointwise(number):
            return found
        makers = [self._makers[number, i] for i in range(len(node.bottoms))]
        for i, maker in enumerate(makers):
            rest = self._below(maker) if self._is_inner(maker, node.bottom_needs[i]) else None
            if rest is None:
                return {} if number in self._kinds else None
            found |= rest
        return {number: makers, **found}

    def _is_inner(self, number, needed):
        """Is the node linear, and does but one node see its top? needed: its gradient, by that."""
        node = self.nodes[number]
        return (
            (number in self._kinds or _adds(node) or _concatenates(node))
            and self._readers[number] == 1
            and (needed or not node.needs_backward)
            and not any(node.loss_weights)
            and not graph.in_place(node.param)
        )

    def _is_pointwise(self, number):
        """Is it a convolution whose outputs each depend on one place of its bottom, on the same?"""
        if number not in self._kinds or len(self.nodes[number].bottom_shapes[0]) != 4:
            return False
        node = self.nodes[number]
        same = node.shapes.tops[0][2:] == node.bottom_shapes[0][2:]
        return same and node.layer.axis == 1 and set(node.shapes.geometry.kernel) == {1}

    def _find_groups(self):
        groups: dict[tuple, dict[Share, int]] = {}  # with the number of each Share's first node
        for index, kind in self._kinds.items():
            if index not in self.inner and index not in self.ends:
                share = self.leaves.get(index, Share(index))
                groups.setdefault(kind, {}).setdefault(share, index)
        return {
            min(group.values()): list(group)
            for group in groups.values()
            if len(group) > 1 or min(group.values()) in self.leaves
        }

    def _gather(self, end):
        alone = {
            first: share
            for first, (share, *others) in self.groups.items()
            if share.number == end.number and not others and self._is_pointwise(first)
        }
        if len(alone) > 1:
            end.gathered = [share.term for share in alone.values()]
            self.waiting |= alone
            self.groups = {n: group for n, group in self.groups.items() if n not in alone}


class Together:
    """What a pass over the nodes does together; its loop calls `begin` and `end` as it comes by.

    run: the function that runs a node: (node, bottoms, arguments) to its tops. tops: {number: top}
    of nodes that were done ahead of their turn.
    """

    def __init__(
        self,
        plan: Convolutions,
        run: Callable[[Node, list[torch.Tensor], list[torch.Tensor]], list[torch.Tensor]],
    ) -> None:
        self._plan, self._run = plan, run
        self.tops: dict[int, torch.Tensor] = {}
        self._terms: dict[Share, torch.Tensor] = {}  # of gathered ones, the blob that is read
        self._arguments: dict[int, list[list[torch.Tensor]]] = {}  # of ends

    def begin(self, index: int, bottoms: list[torch.Tensor]) -> None:
        """Do the group whose first node this is, if there is one."""
        if index in self._plan.waiting:
            (self._terms[self._plan.waiting[index]],) = bottoms
        if index not in self._plan.groups:
            return
        node, group = self._plan.nodes[index], self._plan.groups[index]
        every = [self._kernels(share) for share in group]
        biased = max(map(len, every)) > 1
        for blobs in every:
            if biased and len(blobs) == 1:  # a term whose end has its bias elsewhere
                blobs.append(blobs[0].new_zeros(len(blobs[0])))
        arguments = [torch.cat(b) if len(b) > 1 else b[0] for b in zip(*every, strict=True)]
        (top,) = self._run(node, bottoms, arguments)
        parts = top.split([len(blobs[0]) for blobs in every], node.layer.axis)
        for share, part in zip(group, parts, strict=True):
            if share.term is None:
                self.tops[share.number] = part
            else:
                self._terms[share] = part

    def end(self, index: int) -> torch.Tensor:
        """The top of a linear end."""
        end = self._plan.ends[index]
        terms = [self._terms.pop(Share(index, i)) for i in range(len(end.terms))]
        if end.gathered:
            arguments = [self._kernels(Share(index, i)) for i in end.gathered]
            blob = torch.cat([terms[i] for i in end.gathered], 1)
            kernels = torch.cat([kernels for kernels, *_ in arguments], 1)
            biases = [bias for _, *some in arguments for bias in some]
            (top,) = self._run(self._plan.nodes[index], [blob], [kernels, *biases])
            terms = [top, *(x for i, x in enumerate(terms) if i not in end.gathered)]
        return _sum(terms)

    def _kernels(self, share):
        if share.term is None:
            return self._plan.nodes[share.number].arguments()
        if share.number not in self._arguments:
            found = self._plan.ends[share.number].arguments(self._plan.nodes)
            self._arguments[share.number] = found
        return self._arguments[share.number][share.term]


def _sum(tensors):
    first, *others = tensors
    return sum(others, first)


def _adds(node):
    sums = node.param.eltwise_param.SUM
    return node.param.type == "Eltwise" and node.param.eltwise_param.operation == sums


def _concatenates(node):
    return node.param.type == "Concat" and node.shapes.axis == 1


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
