"""How much of a machine's memory decoded records may take."""

import contextlib
import os
import resource
from collections.abc import Iterator

import torch

from runner.data.errors import DataLayerError
from runner.process.place import place

#: MiB that one source may take decoded; 0 streams everything.
VARIABLE = "CAFFE_DATA_MEMORY"
#: a cgroup's files: what it may take, and what it takes; v2's and v1's
_CGROUP_FILES = (
    ("memory.max", "memory.current"),
    ("memory.high", "memory.current"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
)


def budget(device: torch.device) -> int:
    """Bytes that one source's decoded records may take on `device` (torch.device).

    Half of what is available there, the host's shared among the workers of this machine; or
    $CAFFE_DATA_MEMORY MiB; raises DataLayerError if that is not a number >= 0.
    """
    setting = os.environ.get(VARIABLE)
    if setting:
        try:
            size = int(float(setting) * 2**20)
        except (ValueError, OverflowError):
            size = -1
        if size < 0:
            raise DataLayerError(f"{VARIABLE} must be a number of MiB, not '{setting}'")
        return size
    available = _host_memory() // place().local_count
    if device.type != "cpu":
        available = min(available, torch.cuda.mem_get_info(device)[0])
    return available // 2


def _host_memory(root: str = "/") -> int:
    """Bytes this process can still get: the machine's, its cgroups' and its own limits'.

    root: the folder that /proc and /sys lie in.
    """
    try:
        with open(os.path.join(root, "proc/meminfo")) as file:
            fields = dict(line.split(":") for line in file)
        sizes = [int(fields["MemAvailable"].split()[0]) * 1024]
    except OSError:  # not Linux
        sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2]
    for folder in _cgroups(root):
        for most, taken in _CGROUP_FILES:
            limit = _number(os.path.join(folder, most))
            if limit is not None and limit < 1 << 60:  # v1 has a huge number where v2 says "max"
                sizes.append(limit - (_number(os.path.join(folder, taken)) or 0))
    return max(0, min(sizes + _of_process(root)))


def _cgroups(root: str) -> Iterator[str]:
    """The folders of the cgroups that this process is in, each with those around it."""
    mounts = os.path.join(root, "sys/fs/cgroup")
    try:
        with open(os.path.join(root, "proc/self/cgroup")) as file:
            entries = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        entries = []
    paths = {mounts: "/", os.path.join(mounts, "memory"): "/"}
    for entry in entries:
        if len(entry) == 3 and entry[1] in ("", "memory"):
            paths[os.path.join(mounts, entry[1])] = entry[2]
    for mount, path in paths.items():
        # Inside a container the path may be that outside of it: what is not there is left out.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for count in range(len(parts) + 1):
            yield os.path.join(mount, *parts[:count])


def _of_process(root: str) -> list[int]:
    """What RLIMIT_AS and RLIMIT_DATA leave (ulimit -v, ulimit -d)."""
    left = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open(os.path.join(root, "proc/self/statm")) as file:
            pages = [int(word) for word in file.read().split()]
        taken = {resource.RLIMIT_AS: pages[0], resource.RLIMIT_DATA: pages[5]}
        for limit, count in taken.items():
            most = resource.getrlimit(limit)[0]
            if most != resource.RLIM_INFINITY:
                left.append(most - count * resource.getpagesize())
    return left


def _number(path: str) -> int | None:
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):  # no such cgroup, or "max"
        return None
