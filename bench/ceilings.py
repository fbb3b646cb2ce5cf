"""What the machine can do at best: float32 products and bytes from memory; and what a net needs."""

import torch

from bench.interleave import timed

SIZES = (1024, 2048, 4096)
BYTES = 1 << 30
SIZE = 2048  # of the product that takes its turn with the nets


def measure(rounds):
    """{"gemm": {size: [GFLOP/s]}, "copy": [GB/s], "threads": n} with PyTorch's own kernels."""
    gemm = {
        size: [gflops(size, took()) for _ in range(rounds)]
        for size in SIZES
        for took in [product(size)]
    }
    source, target = torch.zeros(BYTES, dtype=torch.uint8), torch.ones(BYTES, dtype=torch.uint8)
    copy = timed(lambda steps: target.copy_(source), 1)
    return {
        "gemm": gemm,
        "copy": [2e-9 * BYTES / copy() for _ in range(rounds)],
        "threads": torch.get_num_threads(),
    }


def product(size):
    """A candidate: a float32 product of two (size, size) matrices."""
    a, b, out = torch.rand(size, size), torch.rand(size, size), torch.empty(size, size)
    torch.mm(a, b, out=out)
    return timed(lambda steps: torch.mm(a, b, out=out), 1)


def gflops(size, seconds):
    """Of a product of two (size, size) matrices in so many seconds."""
    return 2e-9 * size**3 / seconds


def training_multiply_adds(described):
    """Multiply-adds of a training step, of what netgen.describe says of a net.

    Forward, the weights' gradients and the input's gradient cost the same; the last is not wanted
    where nothing before a layer learns. Batch and not image.
    """
    total, learned = 0, set()
    for layer in described["layers"]:
        behind = any(bottom in learned for bottom in layer["bottoms"])
        total += layer["multiply_adds"] * (3 if behind else 2)
        if behind or layer["params"]:
            learned.update(layer["tops"])
        else:
            learned.difference_update(layer["tops"])
    return total


def images_per_second(gflops, multiply_adds):
    """The ceiling of a net that is nothing but its multiply-adds, two operations each."""
    return gflops * 1e9 / (2 * multiply_adds)
