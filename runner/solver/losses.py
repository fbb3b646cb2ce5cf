"""The loss that is displayed: the mean of the last average_loss iterations' losses."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch


class SmoothedLoss:
    """Caffe's UpdateSmoothedLoss; the losses stay on the device until `value` is asked."""

    def __init__(self, window: int) -> None:
        self.values = deque(maxlen=window)

    def clear(self) -> None:
        """Forget everything, as Caffe does when a run starts."""
        self.values.clear()

    def add(self, loss: torch.Tensor) -> None:
        """Take the loss (0-d tensor, whose memory may be used again) of the next iteration."""
        self.values.append(loss.detach().clone())

    def value(self) -> float:
        """The smoothed loss as a float."""
        return torch.stack(list(self.values)).mean().item() if self.values else 0.0

    def state(self) -> dict[str, Any]:
        """For a snapshot; tensors and ints only."""
        return {"window": self.values.maxlen, "values": [value.cpu() for value in self.values]}

    def load_state(self, state: dict[str, Any], device: torch.device | None = None) -> None:
        """Take back a `state`; a window of another length starts anew."""
        if state["window"] == self.values.maxlen:
            self.values.extend(value.to(device) for value in state["values"])
