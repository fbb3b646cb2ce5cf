"""Which device -gpu and the solver's mode ask for."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from netgen.errors import CaffeError

#: the type of torch device that -gpu numbers
KIND = "cuda"
NO_GPU = "Cannot use GPU in CPU-only Caffe: check mode."


def gpu_ids(text: str, asked: str | None = None) -> list[int]:
    """The ids of -gpu: "0", "0,1" or "all"; [] for "". Raises CaffeError.

    asked: what wants them, for the message; -gpu itself by default.
    """
    asked = asked or f"-gpu {text}"
    if not text:
        return []
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        why = f"PyTorch {torch.__version__} finds no CUDA device"
        raise CaffeError(f"{NO_GPU} ({asked}: {why})")
    if text == "all":
        return list(range(count))
    try:
        ids = [int(word) for word in text.split(",")]
    except ValueError:
        raise CaffeError(f"{asked}: device ids are numbers separated by ','") from None
    for number in ids:
        if not 0 <= number < count:
            raise CaffeError(f"{asked}: there is no device {number}, only 0 to {count - 1}")
        if ids.count(number) > 1:
            raise CaffeError(f"{asked}: device {number} is named twice")
    return ids


def device_of(ids: Sequence[int]) -> torch.device:
    """The torch device of the first id, or the CPU; this thread's work goes there from now on."""
    if not ids:
        return torch.device("cpu")
    device = torch.device(KIND, ids[0])
    torch.cuda.set_device(device)
    # What is to be recorded cannot be on the default stream.
    if torch.cuda.current_stream(device) == torch.cuda.default_stream(device):
        torch.cuda.set_stream(torch.cuda.Stream(device))
    # cuDNN tries its algorithms on the first batch of each shape and takes the fastest.
    torch.backends.cudnn.benchmark = True
    return device
