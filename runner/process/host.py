"""What a process that computes asks of the host: memory that is kept, threads that sleep.

`prepare` must run before torch is loaded, since OpenMP reads its settings then.
"""

import ctypes
import os

from netgen.errors import CaffeError

# glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def prepare() -> None:
    """Settings of this process; what the user has set in the environment stays.

    Raises CaffeError where the current folder was removed, in which PyTorch cannot be loaded.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        raise CaffeError("the current folder was removed: go to another one") from None
    # On a shared machine threads that spin while they wait take the cores from those that work:
    # three times the time at twice the load.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _keep_freed_memory()


def _keep_freed_memory():
    """Let malloc reuse large blocks instead of giving them back to the kernel.

    By default every activation is mapped anew, and each of its pages is faulted in and zeroed,
    each iteration: 140,000 faults and a tenth of the CPU time of an All-CNN-C step of 128 images.
    Without glibc, or where the user tunes it, things stay as they are.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_ARENA_MAX, 1)  # a thread's own arena has no room for blocks over 64 MB
