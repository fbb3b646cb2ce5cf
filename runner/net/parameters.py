"""All of a net's learnable blobs in one flat buffer, and who shares which.

One buffer holds the values, one the gradients; every blob is a view of both. Blobs of the same
multipliers lie side by side, so that an update of the whole net is a few operations on a few
long vectors, however many layers there are.
"""

from dataclasses import dataclass

import torch

from netgen import graph


@dataclass
class Learnable:
    """One blob the solver updates: its place in the flat buffer and its multipliers."""

    shape: tuple
    layer: str
    index: int
    given: dict  # multipliers that are spelled out
    offset: int = 0

    @property
    def count(self):
        return torch.Size(self.shape).numel()

    @property
    def lr_mult(self):
        return self.given.get("lr_mult", 1.0)

    @property
    def decay_mult(self):
        return self.given.get("decay_mult", 1.0)

    @property
    def multipliers(self):
        return self.lr_mult, self.decay_mult


class Parameters:
    """Collects blobs as layers are set up (`add`), then lays them out (`allocate`)."""

    def __init__(self):
        self.learnable = []
        self._named = {}
        self.data = self.grad = None
        self.blobs = []

    def add(self, layer, index, shape, spec, log=None):
        """Register blob `index` of `layer`; returns the Learnable's position.

        spec: its ParamSpec or None. A name met before shares the earlier blob, as Caffe does:
        STRICT wants equal shapes, PERMISSIVE equal counts, and multipliers that are given
        must agree; NetError otherwise.
        """
        name = spec.name if spec is not None else ""
        if name in self._named and name:
            return self._share(name, layer, index, shape, spec, log)
        given = {}
        if spec is not None:
            graph.note_multipliers(spec, given)
        self.learnable.append(Learnable(tuple(shape), layer, index, given))
        if name:
            self._named[name] = len(self.learnable) - 1
        return len(self.learnable) - 1

    def _share(self, name, layer, index, shape, spec, log):
        position = self._named[name]
        owner = self.learnable[position]
        if log:
            log(
                f"Sharing parameters '{name}' owned by layer '{owner.layer}', "
                f"param index {owner.index}",
                "net.cpp:467",
            )
        graph.check_shared_shape(spec, layer, shape, owner.layer, owner.shape)
        graph.note_multipliers(spec, owner.given)
        return position

    def allocate(self, device):
        """Make the flat buffers; `blobs[i]` is a leaf tensor whose grad is a view as well."""
        kinds = list(dict.fromkeys(blob.multipliers for blob in self.learnable))
        total = 0
        for blob in sorted(self.learnable, key=lambda blob: kinds.index(blob.multipliers)):
            blob.offset = total
            total += blob.count
        self.data = torch.zeros(total, device=device)
        self.grad = torch.zeros(total, device=device)
        for blob in self.learnable:
            part = slice(blob.offset, blob.offset + blob.count)
            # .data: every view counts its own changes, so that a layer which updates its
            # statistics in forward does not invalidate what autograd kept of the others.
            leaf = self.data.data[part].view(blob.shape).requires_grad_()
            leaf.grad = self.grad.data[part].view(blob.shape)
            self.blobs.append(leaf)

    def groups(self):
        """[(slice of the flat buffers, lr_mult, decay_mult)], the whole of them in order."""
        groups, start = [], 0
        for multipliers in dict.fromkeys(blob.multipliers for blob in self.learnable):
            size = sum(b.count for b in self.learnable if b.multipliers == multipliers)
            groups.append((slice(start, start + size), *multipliers))
            start += size
        return groups

    def split(self, flat):
        """Views of a flat vector, one a blob, in the blobs' shapes."""
        return [
            flat[blob.offset : blob.offset + blob.count].view(blob.shape) for blob in self.learnable
        ]
