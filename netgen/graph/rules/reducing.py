"""Accuracy, ArgMax, Reduction, HDF5Output (the *_layer.cpp of those names)."""

from math import prod

from netgen.graph.errors import require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.rules.losses import check_labels
from netgen.graph.shape import axis_of, dim, legacy_dim


@rule("Accuracy", bottoms=2, tops=(1, 2))
def accuracy(setup: Setup) -> LayerShapes:
    """A scalar; a second top has the accuracy of every class."""
    param = setup.layer.accuracy_param
    scores, labels = setup.bottoms
    classes = prod(scores) // prod(labels) if prod(labels) else 0
    require(
        param.top_k <= classes,
        f"top_k must be less than or equal to the number of classes. ({param.top_k} vs. {classes})",
    )
    axis = axis_of(scores, param.axis)
    check_labels(scores, labels, axis, "label axis")
    return LayerShapes([(), (scores[axis],)][: setup.num_tops], axis=axis)


@rule("ArgMax")
def argmax(setup: Setup) -> LayerShapes:
    """top_k indices (or values) along `axis`; without axis (N, 1 or 2, top_k) of each item."""
    param = setup.layer.argmax_param
    (bottom,) = setup.bottoms
    top_k = param.top_k
    require(top_k >= 1, "top k must not be less than 1.")
    if param.HasField("axis"):
        axis = axis_of(bottom, param.axis)
        require(
            top_k <= bottom[axis],
            "top_k must be less than or equal to the dimension of the axis. "
            f"({top_k} vs. {bottom[axis]})",
        )
        return LayerShapes([(*bottom[:axis], top_k, *bottom[axis + 1 :])], axis=axis)
    require(
        top_k <= prod(bottom[1:]),
        "top_k must be less than or equal to the dimension of the flattened bottom blob "
        f"per instance. ({top_k} vs. {prod(bottom[1:])})",
    )
    top = (dim(bottom, 0), 2 if param.out_max_val else 1, top_k)
    return LayerShapes([top + (1,) * (len(bottom) - 3)])


@rule("Reduction")
def reduction(setup: Setup) -> LayerShapes:
    (bottom,) = setup.bottoms
    axis = axis_of(bottom, setup.layer.reduction_param.axis)
    return LayerShapes([bottom[:axis]], axis=axis)


@rule("HDF5Output", bottoms=2, tops=0)
def hdf5_output(setup: Setup) -> LayerShapes:
    require_equal(
        legacy_dim(setup.bottoms[0], 0),
        legacy_dim(setup.bottoms[1], 0),
        "data blob and label blob must have the same batch size",
    )
    return LayerShapes([])
