"""Fillers: how Caffe draws the starting values of a blob (filler.hpp)."""

import math
from collections.abc import Sequence

import torch

from netgen.errors import CaffeError
from netgen.schema import caffe_pb


def fan(shape: Sequence[int], filler: caffe_pb.FillerParameter) -> float:
    """The n of xavier and msra: the fan in, the fan out or their average, as Caffe counts them."""
    count = math.prod(shape)
    fan_in = count // shape[0]
    fan_out = count // shape[1] if len(shape) > 1 else count
    if filler.variance_norm == caffe_pb.FillerParameter.AVERAGE:
        return (fan_in + fan_out) / 2
    return fan_out if filler.variance_norm == caffe_pb.FillerParameter.FAN_OUT else fan_in


def _constant(tensor, filler, generator):
    tensor.fill_(filler.value)


def _uniform(tensor, filler, generator):
    if filler.min > filler.max:
        raise CaffeError(f"uniform filler: min {filler.min:g} is above max {filler.max:g}")
    tensor.uniform_(filler.min, filler.max, generator=generator)


def _gaussian(tensor, filler, generator):
    outputs = tensor.shape[0]
    if not filler.std > 0:
        raise CaffeError(f"gaussian filler: std must be positive ({filler.std:g})")
    if not -1 <= filler.sparse <= outputs:
        raise CaffeError(
            f"gaussian filler: sparse {filler.sparse} is not between 0 and the {outputs} outputs"
        )
    tensor.normal_(filler.mean, filler.std, generator=generator)
    if filler.sparse >= 0:  # on average, `sparse` inputs of a unit are not zero
        keep = torch.empty_like(tensor).bernoulli_(filler.sparse / outputs, generator=generator)
        tensor.mul_(keep)


def _positive_unitball(tensor, filler, generator):
    rows = tensor.uniform_(0, 1, generator=generator).view(tensor.shape[0], -1)
    rows.div_(rows.sum(1, keepdim=True))


def _xavier(tensor, filler, generator):
    bound = math.sqrt(3 / fan(tensor.shape, filler))
    tensor.uniform_(-bound, bound, generator=generator)


def _msra(tensor, filler, generator):
    tensor.normal_(0, math.sqrt(2 / fan(tensor.shape, filler)), generator=generator)


def _bilinear(tensor, filler, generator):
    if tensor.dim() != 4:
        raise CaffeError("Blob must be 4 dim.")
    if tensor.shape[2] != tensor.shape[3]:
        raise CaffeError("Filter must be square")
    width = tensor.shape[3]
    factor = math.ceil(width / 2)
    centre = (width - 1) / (2 * factor)
    line = 1 - (torch.arange(width, dtype=torch.float32) / factor - centre).abs()
    tensor.copy_(line[:, None] * line[None, :])


FILLERS = {
    "bilinear": _bilinear,
    "constant": _constant,
    "gaussian": _gaussian,
    "msra": _msra,
    "positive_unitball": _positive_unitball,
    "uniform": _uniform,
    "xavier": _xavier,
}


def fill(
    tensor: torch.Tensor,
    filler: caffe_pb.FillerParameter,
    generator: torch.Generator | None = None,
) -> None:
    """Fill `tensor` (float32, in place) as the FillerParameter says.

    generator: the generator of the tensor's device to draw from; None is torch's own.

    Raises CaffeError for an unknown type, and for values and shapes that Caffe refuses.
    """
    if filler.type not in FILLERS:
        raise CaffeError(f"Unknown filler name: {filler.type}")
    if filler.sparse != -1 and filler.type != "gaussian":
        raise CaffeError("Sparsity not supported by this Filler.")
    if tensor.numel() == 0 or (tensor.dim() == 0 and filler.type == "positive_unitball"):
        raise CaffeError(f"filler {filler.type}: the blob it should fill has no elements")
    shaped = tensor.view(1) if tensor.dim() == 0 else tensor  # a scalar has a fan of 1
    FILLERS[filler.type](shaped, filler, generator)
