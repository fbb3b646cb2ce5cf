"""Data parallel training: one process a device, connected by torch.distributed.

As in Caffe (parallel.cpp) every worker trains the whole net on its own batches, whose size is
the prototxt's; records are dealt one by one, and gradients are averaged before each update. So
n workers train as one does whose batch is n times as large, but for what depends on the batch
itself: each worker has its own statistics of BatchNorm and its own normalization of a loss.
"""

from runner.parallel.launch import launch
from runner.parallel.workers import ToldElsewhere, join

__all__ = ["ToldElsewhere", "join", "launch"]
