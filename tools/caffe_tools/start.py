"""Every tool as a program: `caffe_tools.start.NAME` is the function `command` of its module."""

from netgen import start

start.begin()

from importlib import import_module  # noqa: E402
from typing import Any  # noqa: E402


def __getattr__(name: str) -> Any:
    try:
        return import_module(f"caffe_tools.{name}").command
    except ModuleNotFoundError:
        raise AttributeError(f"there is no tool '{name}'") from None
