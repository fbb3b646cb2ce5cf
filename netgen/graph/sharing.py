"""Which layer owns a learnable blob when `param { name }` shares it (net.cpp: AppendParam)."""

from math import prod

from netgen.graph.errors import NetError, require
from netgen.graph.shape import shape_string
from netgen.schema import caffe_pb


def param_owners(layers):
    """For every layer the list of owners of its learnable blobs, as (layer, param) indices.

    layers: (LayerParameter, shapes of its learnable blobs) in the order of the net. The first
    layer that uses a name owns the blob; a blob without a name owns itself, so weights are
    counted once by counting where owner == (layer, param).
    Raises NetError when a shared blob's shape (share_mode STRICT), count (PERMISSIVE), lr_mult
    or decay_mult disagree with its owner's.
    """
    layers = list(layers)
    first, mults, owners = {}, {}, []
    for i, (layer, shapes) in enumerate(layers):
        row = []
        for j, shape in enumerate(shapes):
            spec = layer.param[j] if j < len(layer.param) else caffe_pb.ParamSpec()
            owner = first.setdefault(spec.name, (i, j)) if spec.name else (i, j)
            if owner != (i, j):
                holder, held = layers[owner[0]]
                check_shared_shape(spec, layer.name, shape, holder.name, held[owner[1]])
            note_multipliers(spec, mults.setdefault(owner, {}))
            row.append(owner)
        owners.append(row)
    return owners


def check_shared_shape(spec, layer, shape, owner, owner_shape):
    """Raises NetError unless `layer`'s blob of ParamSpec `spec` may be that of layer `owner`."""
    if spec.share_mode == caffe_pb.ParamSpec.PERMISSIVE:
        what, verb, same = "count", "shape is", prod(shape) == prod(owner_shape)
    else:
        what, verb, same = "shape", "expects shape", tuple(shape) == tuple(owner_shape)
    if not same:
        raise NetError(
            f"Cannot share param '{spec.name}' owned by layer '{owner}' with layer '{layer}'; "
            f"{what} mismatch.  Owner layer param shape is {shape_string(owner_shape)}; sharing "
            f"layer {verb} {shape_string(shape)}"
        )


def note_multipliers(spec, given):
    """Add the multipliers that `spec` spells out to `given`, those of the blob so far.

    Raises NetError if another layer gave another.
    """
    for name in ("lr_mult", "decay_mult"):
        if spec.HasField(name):
            value = getattr(spec, name)
            require(
                given.setdefault(name, value) == value,
                f"Shared param '{spec.name}' has mismatched {name}. "
                f"({value:g} vs. {given[name]:g})",
            )
