"""Passes of a net: recorded where they can be, or followed blob by blob in the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from runner.log import glog
from runner.net.debug_info import debug_info
from runner.net.net import Net
from runner.process.recording import CudaGraph, Replayed

Outputs = tuple[torch.Tensor, dict[str, torch.Tensor]]


class NetPass(Replayed):
    """`function`, net.forward or net.forward_backward, called with what net.fetch gave.

    record, generator: of Replayed; a net whose passes differ is never recorded.
    """

    def __init__(
        self,
        net: Net,
        function: Callable[..., Outputs],
        record: type[CudaGraph] | Callable[..., Any] | None,
        generator: torch.Generator,
    ) -> None:
        if record is not None and not net.replayable():
            record = None
            python = [node.name for node in net.nodes if node.param.type == "Python"]
            if python:
                glog.info(
                    f"net '{net.name}' is not recorded as a CUDA graph: its Python layers "
                    f"({', '.join(python)}) run on the host",
                    "net.cpp:200",
                )
        super().__init__(function, f"net '{net.name}'", record, generator)
        self.net = net

    def debug(self) -> Outputs:
        """A pass whose every blob and gradient debug_info logs; its layers fetch for themselves."""
        with debug_info(self.net):
            return self.function()
