"""A child's solver state from its parent's, so that momentum survives a split.

The history's rows of a split layer go to split1 and split2 as the weights' do; what is new
starts at zero, as a solver starts it. SGD, Nesterov, AdaGrad and RMSProp keep one history blob
a learnable blob, AdaDelta and Adam two: first all of one kind, then all of the other
(adadelta_solver.cpp, adam_solver.cpp), so their number tells.
"""

import numpy as np

from netgen import graph, schema
from netgen.growth.split import apply
from netgen.growth.transfer import TransferError, arrays, carry, checked, rows
from netgen.schema import caffe_pb


def grow_history(net, weights, child_weights, plan, state, learned_net):
    """The child's SolverState.

    net, weights, plan: the parent's NetParameter and caffemodel, and the Plan. child_weights:
    what transfer_weights made of them. state: the parent's SolverState; iter and current_step are
    kept. learned_net: the path at which the child's caffemodel will be. The net is taken in
    phase TRAIN and its own `state`. Raises TransferError if the state is of another net.
    """
    old, new = arrays(weights), arrays(child_weights)
    before, after = _learnable(net, old), _learnable(_child(net, plan), new)
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
        history = {name: [None] * len(old[name]) for name, _ in before}
        for (name, index), blob in zip(before, given, strict=True):
            history[name][index] = _fitted(blob, old[name][index].shape, name)
        history = carry(
            net, history, plan, lambda layer, step, blobs: rows(step, checked(layer, blobs))
        )
        for name, index in after:
            array = history[name][index] if name in history else np.zeros_like(new[name][index])
            schema.array_to_blob(array, grown.history.add())
    return grown


def _child(net, plan):
    for step in plan.layers:
        net = apply(net, step)
    return net


def _learnable(net, blobs):
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


def _fitted(blob, shape, layer):
    array = schema.blob_to_array(blob)
    if array.size != np.prod(shape, dtype=int):
        raise TransferError(
            f"layer '{layer}': the solver state has a history of "
            f"{graph.shape_string(array.shape)}, the weights are "
            f"{graph.shape_string(shape)}"
        )
    return array.reshape(shape)
