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
                _check_shape(spec, layer, shape, *layers[owner[0]], owner[1])
            _check_mults(spec, mults.setdefault(owner, {}))
            row.append(owner)
        owners.append(row)
    return owners


def _check_shape(spec, layer, shape, owner, owner_shapes, index):
    if spec.share_mode == caffe_pb.ParamSpec.PERMISSIVE:
        what, verb, same = "count", "shape is", prod(shape) == prod(owner_shapes[index])
    else:
        what, verb, same = "shape", "expects shape", shape == owner_shapes[index]
    if not same:
        raise NetError(
            f"Cannot share param '{spec.name}' owned by layer '{owner.name}' with layer "
            f"'{layer.name}'; {what} mismatch.  Owner layer param shape is "
            f"{shape_string(owner_shapes[index])}; sharing layer {verb} {shape_string(shape)}"
        )


def _check_mults(spec, known):
    for name in ("lr_mult", "decay_mult"):
        if spec.HasField(name):
            value = getattr(spec, name)
            require(
                known.setdefault(name, value) == value,
                f"Shared param '{spec.name}' has mismatched {name}. "
                f"({value:g} vs. {known[name]:g})",
            )
