"""The shape rules of Caffe 1.0's 61 layer types, a family to a file; importing registers them."""

from netgen.graph.rules import (  # noqa: F401
    convolution,
    data,
    dense,
    joining,
    losses,
    neuron,
    normalization,
    pooling,
    recurrent,
    reducing,
    reshaping,
    selecting,
)
