"""Values whose gradient is not their derivative, because Caffe's is not."""

import torch


class _CustomGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value, backward, *xs):
        ctx.upstream_to_gradients = backward
        return value.clone()

    @staticmethod
    def backward(ctx, upstream):
        return (None, None, *ctx.upstream_to_gradients(upstream))


def custom_gradient(value, xs, backward):
    """`value` (taken without its graph), whose backward is ours.

    xs: the tensors that get gradients. backward: function of the upstream gradient, giving
    one gradient, or None, for each x.
    """
    return _CustomGradient.apply(value.detach(), backward, *xs)
