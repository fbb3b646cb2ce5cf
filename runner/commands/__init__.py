"""The subcommands of `caffe`, one a file; each takes Flags and returns an exit status."""

from runner.commands.device_query import device_query
from runner.commands.test import test
from runner.commands.time import time
from runner.commands.train import train

__all__ = ["device_query", "test", "time", "train"]
