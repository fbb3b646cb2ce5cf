"""What a run ran on: hardware and versions."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "protobuf", "lmdb")


def machine(gpu: str | None = None) -> dict[str, Any]:
    """What this process runs on, as plain JSON values.

    device: the GPU of the name `gpu`, or else the processor. cores: those the process may use.
    threads: what OMP_NUM_THREADS asks for, else all cores. system, versions: of the system, and
    of Python and PACKAGES. commit: the project's, None where it has none.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "device": gpu or processor(),
        "cores": cores,
        "threads": int(os.environ.get("OMP_NUM_THREADS", "").partition(",")[0] or cores),
        "system": platform.platform(terse=True),
        "commit": commit(),
        "versions": versions,
    }


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def commit() -> str | None:
    """The project's git commit, with `+` where files were changed since; None without git."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
        )
    except OSError:
        return None
    return done.stdout.strip() or None
