"""All of a net's learnable blobs in one flat buffer, and who shares which.

One buffer holds the values, one the gradients; every blob is a view of both. An update of
the whole net is then a few operations on two long vectors, however many layers there are.
"""

from dataclasses import dataclass

import torch

from netgen import graph
from netgen.graph import shape_string


@dataclass
class Learnable:
    """One blob the solver updates: its place in the flat buffer and its multipliers."""

    shape: tuple
    layer: str
    index: int
    lr_mult: float
    decay_mult: float
    has_lr: bool
    has_decay: bool
    offset: int = 0

    @property
    def count(self):
        return torch.Size(self.shape).numel()


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
        self.learnable.append(
            Learnable(
                tuple(shape), layer, index,
                spec.lr_mult if spec is not None else 1.0,
                spec.decay_mult if spec is not None else 1.0,
                spec is not None and spec.HasField("lr_mult"),
                spec is not None and spec.HasField("decay_mult"),
            )
        )
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
        permissive = spec.share_mode == type(spec).PERMISSIVE
        same = (
            owner.count == torch.Size(shape).numel()
            if permissive
            else owner.shape == tuple(shape)
        )
        if not same:
            verb = "shape is" if permissive else "expects shape"
            raise graph.NetError(
                f"Cannot share param '{name}' owned by layer '{owner.layer}' with layer "
                f"'{layer}'; {'count' if permissive else 'shape'} mismatch.  Owner layer param "
                f"shape is {shape_string(owner.shape)}; sharing layer {verb} "
                f"{shape_string(shape)}"
            )
        for field, has in (("lr_mult", "has_lr"), ("decay_mult", "has_decay")):
            if not spec.HasField(field):
                continue
            if getattr(owner, has) and getattr(owner, field) != getattr(spec, field):
                raise graph.NetError(f"Shared param '{name}' has mismatched {field}.")
            setattr(owner, has, True)
            setattr(owner, field, getattr(spec, field))
        return position

    def allocate(self, device):
        """Make the flat buffers; `blobs[i]` is a leaf tensor whose grad is a view as well."""
        total = 0
        for blob in self.learnable:
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

    def multipliers(self, field):
        """`lr_mult` or `decay_mult` of every element: a float if all agree, else a vector."""
        values = [getattr(blob, field) for blob in self.learnable]
        if len(set(values)) <= 1:
            return values[0] if values else 1.0
        counts = torch.tensor([blob.count for blob in self.learnable])
        return torch.tensor(values).repeat_interleave(counts).to(self.data.device)

    def split(self, flat):
        """Views of a flat vector, one a blob, in the blobs' shapes."""
        return [
            flat[blob.offset : blob.offset + blob.count].view(blob.shape)
            for blob in self.learnable
        ]
