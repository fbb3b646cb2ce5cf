"""Which of several processes this one is, as torchrun and its like say in the environment."""

import os
from dataclasses import dataclass

from netgen.errors import CaffeError
from runner.log import glog


@dataclass(frozen=True)
class Place:
    """Process `rank` of `count`, and of those on this machine `local_rank` of `local_count`."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1


def is_worker() -> bool:
    """Was this process started as a worker? RANK and WORLD_SIZE say so together."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def place() -> Place:
    """This process's Place; raises CaffeError for numbers that cannot be.

    Where LOCAL_RANK and LOCAL_WORLD_SIZE are missing all workers are taken to be on this machine.
    """
    if not is_worker():
        return Place()
    rank, count = _number("RANK"), _number("WORLD_SIZE")
    local_rank, local_count = _number("LOCAL_RANK", rank), _number("LOCAL_WORLD_SIZE", count)
    if rank >= count:
        raise CaffeError(f"RANK={rank} of WORLD_SIZE={count}: ranks are 0 to {count - 1}")
    if local_rank >= local_count:
        raise CaffeError(
            f"LOCAL_RANK={local_rank} of LOCAL_WORLD_SIZE={local_count}: ranks are "
            f"0 to {local_count - 1}"
        )
    return Place(rank, count, local_rank, local_count)


def refuse_workers(what: str) -> None:
    """Raise CaffeError if this is one of several processes; only the first one logs it."""
    here = place()
    if here.count > 1:
        if here.rank:
            glog.log.minimum = ""
        raise CaffeError(
            f"{what} runs in one process, and WORLD_SIZE={here.count} were started; "
            "several are for `caffe train` and one solver"
        )


def _number(name, default=None):
    text = os.environ.get(name)
    if text is None and default is not None:
        return default
    if not text.isdecimal():
        raise CaffeError(f"{name}={text}: not a number")
    return int(text)
