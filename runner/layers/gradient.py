"""Values whose gradient is not their derivative, because Caffe's is not."""

from collections.abc import Callable, Sequence

import torch


class _CustomGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value, backward, *xs):
        ctx.upstream_to_gradients = backward
        return value.clone()

    @staticmethod
    def backward(ctx, upstream):
        return (None, None, *ctx.upstream_to_gradients(upstream))


def custom_gradient(
    value: torch.Tensor,
    xs: Sequence[torch.Tensor],
    backward: Callable[[torch.Tensor], Sequence[torch.Tensor | None]],
) -> torch.Tensor:
    """`value`, without the graph that it comes from, with a backward of its own.

    xs: the tensors that get gradients. backward: a function of the upstream gradient that
    returns one gradient, or None, for each of them.
    """
    return _CustomGradient.apply(value.detach(), backward, *xs)
