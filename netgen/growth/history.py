"""A child's solver state from its parent's, so that momentum survives a split.

The rows of a split layer's history go to split1 and split2 as those of its weights do; what is
new starts at zero, as a solver starts it. SGD, Nesterov, AdaGrad and RMSProp keep one history blob
a learnable blob, AdaDelta and Adam two: first all of one kind, then all of the other
(adadelta_solver.cpp, adam_solver.cpp), so their number says which of the two it is.
"""

import numpy as np

from netgen import graph, schema
from netgen.growth.errors import TransferError
from netgen.growth.split import Split
from netgen.growth.start import Blobs, checked, rows
from netgen.growth.transfer import arrays, carry
from netgen.schema import caffe_pb


def grow_history(
    split: Split,
    weights: caffe_pb.NetParameter,
    child_weights: caffe_pb.NetParameter,
    state: caffe_pb.SolverState,
    learned_net: str,
) -> caffe_pb.SolverState:
    """The child's SolverState.

    split: the Split of the parent net. weights: the parent's caffemodel. child_weights: what
    transfer_weights made of it. state: the parent's SolverState; iter and current_step are kept.
    learned_net: the path at which the child's caffemodel will be. The nets are taken in phase
    TRAIN and their own `state`. Raises TransferError if the state is of another net.
    """
    old, new = arrays(weights), arrays(child_weights)
    before, after = _learnable(split.parent, old), _learnable(split.child, new)
    kinds = len(state.history) // max(len(before), 1)
    if kinds not in (1, 2) or len(state.history) != kinds * len(before):
        raise TransferError(
            f"the solver state has {len(state.history)} history blobs, the net {len(before)} "
            "learnable blobs: neither one nor two each"
        )
    grown = caffe_pb.SolverState(
        iter=state.iter, learned_net=learned_net, current_step=state.current_step
    )
    for kind in range(kinds):
        given = state.history[kind * len(before) : (kind + 1) * len(before)]
        history: Blobs = {name: [None] * len(old[name]) for name, _ in before}
        for (name, index), blob in zip(before, given, strict=True):
            history[name][index] = _fitted(blob, old[name][index].shape, name)
        history = carry(
            split, history, lambda layer, blobs: rows(layer.plan, checked(layer.layer, blobs))
        )
        for name, index in after:
            array = history[name][index] if name in history else np.zeros_like(new[name][index])
            schema.array_to_blob(array, grown.history.add())
    return grown


def _learnable(net: caffe_pb.NetParameter, blobs: Blobs) -> list[tuple[str, int]]:
    """[(layer name, index)] of the blobs that own themselves, in the solver's order."""
    layers = [
        (layer, [blob.shape for blob in blobs.get(layer.name, [])])
        for layer in graph.in_phase(net, caffe_pb.TRAIN).layer
    ]
    return [
        (layer.name, j)
        for i, ((layer, _), row) in enumerate(zip(layers, graph.param_owners(layers), strict=True))
        for j, owner in enumerate(row)
        if owner == (i, j)
    ]


def _fitted(blob: caffe_pb.BlobProto, shape: tuple[int, ...], layer: str) -> np.ndarray:
    array = schema.blob_to_array(blob)
    if array.size != np.prod(shape, dtype=int):
        raise TransferError(
            f"layer '{layer}': the solver state has a history of "
            f"{graph.shape_string(array.shape)}, the weights are "
            f"{graph.shape_string(shape)}"
        )
    return array.reshape(shape)
