"""The loss that is displayed: a running mean of the last average_loss iterations."""

import torch


class SmoothedLoss:
    """Caffe's UpdateSmoothedLoss, on the device: nothing is read back until `value` is asked."""

    def __init__(self, window):
        self.window = window
        self.clear()

    def clear(self):
        """Forget everything, as Caffe does when a run starts."""
        self.values, self.smoothed, self.count = [], None, 0

    def add(self, loss):
        """Take the loss (0-d tensor) of the next iteration."""
        if self.smoothed is None:
            self.smoothed = torch.zeros_like(loss)
        if len(self.values) < self.window:
            self.values.append(loss)
            size = len(self.values)
            self.smoothed = (self.smoothed * (size - 1) + loss) / size
        else:
            place = self.count % self.window
            self.smoothed = self.smoothed + (loss - self.values[place]) / self.window
            self.values[place] = loss
        self.count += 1

    def value(self):
        """The smoothed loss as a float."""
        return 0.0 if self.smoothed is None else self.smoothed.item()

    def state(self):
        """For a snapshot; tensors and ints only."""
        return {
            "window": self.window,
            "values": [value.cpu() for value in self.values],
            "smoothed": None if self.smoothed is None else self.smoothed.cpu(),
            "count": self.count,
        }

    def load_state(self, state, device=None):
        """Take back a `state`; a window of another length starts anew."""
        if state["window"] != self.window:
            return
        self.values = [value.to(device) for value in state["values"]]
        self.smoothed = None if state["smoothed"] is None else state["smoothed"].to(device)
        self.count = state["count"]
