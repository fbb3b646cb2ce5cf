"""Layer types by Caffe's name. A family to a file; importing this package registers them."""

from runner.layers import (  # noqa: F401  (each import registers its types)
    combine,
    data,
    forks,
    linear,
    loss,
    neuron,
    normalization,
    pooling,
    python,
    recurrent,
    ssd,
)
from runner.layers.base import Context, Layer

LAYER_TYPES = Layer.TYPES

__all__ = ["LAYER_TYPES", "Context", "Layer"]
