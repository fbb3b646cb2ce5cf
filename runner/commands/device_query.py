"""`caffe device_query`: what the GPUs named by -gpu are."""

import torch

from runner.commands.flags import Flags
from runner.log import glog
from runner.process.device import gpu_ids


def device_query(flags: Flags) -> int:
    """Log the properties of each device, in the order of Caffe's DeviceQuery."""
    glog.info(f"Querying GPUs {flags.gpu}", "caffe.cpp:138")
    for number in gpu_ids(flags.gpu):
        p = torch.cuda.get_device_properties(number)
        rows = [
            ("Device id", number),
            ("Major revision number", p.major),
            ("Minor revision number", p.minor),
            ("Name", p.name),
            ("Total global memory", p.total_memory),
            ("Total shared memory per block", getattr(p, "shared_memory_per_block", "unknown")),
            ("Total registers per block", getattr(p, "regs_per_multiprocessor", "unknown")),
            ("Warp size", getattr(p, "warp_size", "unknown")),
            ("Number of multiprocessors", p.multi_processor_count),
            ("CUDA version", torch.version.cuda),
        ]
        for label, value in rows:
            glog.info(f"{label + ':':<31}{value}", "common.cpp:178")
    return 0
