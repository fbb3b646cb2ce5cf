"""All of a net's learnable blobs in one flat buffer, and who shares which.

One buffer holds the values, one the gradients; every blob is a view of both. Blobs of the same
multipliers lie side by side, so that an update of the whole net is a few operations on a few
long vectors, however many layers there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from netgen.graph import Learnables
from netgen.schema import caffe_pb


class Parameters:
    """Collects blobs as layers are set up (`add`), then lays them out (`allocate`)."""

    def __init__(self) -> None:
        self.learnable = Learnables()
        self.data = self.grad = None
        self.blobs = []
        self._parts = []  # each blob's slice of the flat buffers

    def add(
        self,
        layer: str,
        index: int,
        shape: Sequence[int],
        spec: caffe_pb.ParamSpec | None,
        log: Callable[[str, str], None] | None = None,
    ) -> int:
        """Register blob `index` of `layer`, as Learnables.bring does; returns its position."""
        return self.learnable.bring(layer, index, shape, spec, log)

    def allocate(self, device: torch.device) -> None:
        """Make the flat buffers; `blobs[i]` is a leaf tensor whose grad is a view as well."""
        kinds = list(dict.fromkeys(blob.multipliers for blob in self.learnable))
        total, offsets = 0, {}
        for i, blob in sorted(
            enumerate(self.learnable), key=lambda pair: kinds.index(pair[1].multipliers)
        ):
            offsets[i] = total
            total += blob.count
        self.data = torch.zeros(total, device=device)
        self.grad = torch.zeros(total, device=device)
        for i, blob in enumerate(self.learnable):
            part = slice(offsets[i], offsets[i] + blob.count)
            self._parts.append(part)
            # .data: every view counts its own changes, so that a layer which updates its
            # statistics in forward does not invalidate what autograd kept of the others.
            leaf = self.data.data[part].view(blob.shape).requires_grad_()
            leaf.grad = self.grad.data[part].view(blob.shape)
            self.blobs.append(leaf)

    def groups(self) -> list[tuple[slice, float, float]]:
        """[(slice of the flat buffers, lr_mult, decay_mult)], the whole of them in order."""
        groups, start = [], 0
        for multipliers in dict.fromkeys(blob.multipliers for blob in self.learnable):
            size = sum(b.count for b in self.learnable if b.multipliers == multipliers)
            groups.append((slice(start, start + size), *multipliers))
            start += size
        return groups

    def split(self, flat: torch.Tensor) -> list[torch.Tensor]:
        """Views of a flat vector, one a blob, in the blobs' shapes."""
        return [
            flat[part].view(blob.shape)
            for part, blob in zip(self._parts, self.learnable, strict=True)
        ]
