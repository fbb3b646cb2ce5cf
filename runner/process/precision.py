"""The number formats that -precision names, for convolutions and inner products.

Weights, their gradients' sums, updates, statistics and losses are float32 in each of them.
"""

from __future__ import annotations

import contextlib

import torch

from netgen.errors import CaffeError


def set_precision(name: str, device: torch.device) -> None:
    """Have this process compute for `device` as -precision says. Raises CaffeError.

    fp32: as Caffe. tf32: products of 10-bit mantissas on a CUDA device's tensor cores. bf16:
    activations of 8-bit mantissas as well (torch.autocast), on CUDA or CPU.
    """
    if name == "tf32" and device.type != "cuda":
        raise CaffeError("-precision tf32 is for CUDA devices; a CPU has fp32 and bf16")
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = name == "tf32"


def widened(x: torch.Tensor) -> torch.Tensor:
    """The tensor x; in float32 if it is bfloat16."""
    return x.float() if x.dtype == torch.bfloat16 else x


def autocast(name: str, device: torch.device) -> contextlib.AbstractContextManager:
    """The context in which layers run."""
    if name != "bf16":
        return contextlib.nullcontext()
    # Without the cache, which a recorded step could not renew.
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)
