"""The shape rules of the layer types, a family to a file; importing registers them.

Here are Caffe 1.0's 61 types; those of forks are in `forks`.
"""

from netgen.graph.rules import (  # noqa: F401
    convolution,
    data,
    dense,
    forks,
    joining,
    losses,
    neuron,
    normalization,
    pooling,
    recurrent,
    reducing,
    reshaping,
    selecting,
    ssd,
)
