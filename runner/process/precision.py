"""The number formats that -precision names, for convolutions and inner products.

Weights, their gradients' sums, updates, statistics and losses are float32 in each of them.
"""

from __future__ import annotations

import contextlib

import torch

from netgen.errors import CaffeError
from runner.log import glog


def set_precision(name: str, device: torch.device) -> None:
    """Have this process compute for `device` as -precision says. Raises CaffeError.

    fp32: as Caffe. tf32: products of 10-bit mantissas on a CUDA device's tensor cores. bf16:
    activations of 8-bit mantissas as well (torch.autocast), on CUDA or CPU.
    """
    if name == "tf32" and device.type == "cpu":
        raise CaffeError("-precision tf32 is for CUDA devices; a CPU has fp32 and bf16")
    if name == "bf16" and device.type == "cpu" and not has_bfloat16_tiles():
        glog.warning(
            "this CPU multiplies bfloat16 more slowly than float32 (it has no AMX): -precision "
            "fp32 trains faster, -precision auto takes what is fastest",
            "caffe.cpp:219",
        )
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = name == "tf32"


def has_bfloat16_tiles(cpuinfo: str = "/proc/cpuinfo") -> bool:
    """Has the CPU units for products of bfloat16 (x86's AMX)? True where it cannot be told."""
    try:
        with open(cpuinfo) as file:
            flags = [line for line in file if line.startswith("flags")]
    except OSError:
        return True
    return not flags or " amx_bf16" in flags[0]


def widened(x: torch.Tensor) -> torch.Tensor:
    """The tensor x; in float32 if it is bfloat16."""
    return x.float() if x.dtype == torch.bfloat16 else x


def autocast(name: str, device: torch.device) -> contextlib.AbstractContextManager:
    """The context in which layers run."""
    if name != "bf16":
        return contextlib.nullcontext()
    # Without the cache, which a recorded step could not renew.
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)
