"""How much of a machine's memory decoded records may take."""

import os

import torch

from runner.data.errors import DataLayerError
from runner.process.place import place

#: MiB that one source may take decoded; 0 streams everything.
VARIABLE = "CAFFE_DATA_MEMORY"
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


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
    if device.type == "cuda":
        available = min(available, torch.cuda.mem_get_info(device)[0])
    return available // 2


def _host_memory() -> int:
    """Bytes this process can still get: the machine's, or its container's limit."""
    try:
        with open("/proc/meminfo") as file:
            fields = dict(line.split(":") for line in file)
        sizes = [int(fields["MemAvailable"].split()[0]) * 1024]
    except OSError:  # not Linux
        sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2]
    for path in _CGROUP_LIMITS:
        try:
            with open(path) as file:
                sizes.append(int(file.read()))
        except (OSError, ValueError):  # no such cgroup, or "max"
            continue
    return min(sizes)
