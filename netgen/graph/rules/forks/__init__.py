"""The shape rules of layer types that only forks of Caffe have, a family to a file."""

from netgen.graph.rules.forks import (  # noqa: F401
    arranging,
    dense_block,
    losses,
    metric,
    normalizing,
    regions,
    resizing,
    scaling,
    sequences,
    spatial,
    warping,
    yolo,
)
