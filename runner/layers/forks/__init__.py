"""Layer types that only forks of Caffe have, a family to a file.

Each docstring names the paper or the fork that defines its layer; the gradient is the fork's,
which in some losses is not the derivative of the value.
"""

from runner.layers.forks import (  # noqa: F401  (each import registers its types)
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
