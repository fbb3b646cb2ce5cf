"""How much memory decoded records may take: every limit counts, wherever it is set."""

import resource
import subprocess
import sys

import pytest

from runner.data.memory import _host_memory

MB = 1 << 20


@pytest.fixture
def root(tmp_path):
    """root({path: text}): a folder with files as /proc and /sys/fs/cgroup have them."""

    def root(files):
        given = {"proc/meminfo": f"MemTotal: 9 kB\nMemAvailable: {800 * 1024} kB"}
        for path, text in {**given, **files}.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(f"{text}\n")
        return str(tmp_path)

    return root


@pytest.mark.parametrize(
    ("files", "right"),
    [
        ({}, 800),
        # v2, the limit at the top, in the middle, at the group itself; "max" is none
        ({"sys/fs/cgroup/memory.max": 500 * MB}, 500),
        (
            {
                "proc/self/cgroup": "0::/system.slice/slurm/job_1/step_0",
                "sys/fs/cgroup/system.slice/slurm/job_1/memory.max": 480 * MB,
                "sys/fs/cgroup/system.slice/slurm/job_1/memory.current": 80 * MB,
                "sys/fs/cgroup/system.slice/slurm/job_1/step_0/memory.max": "max",
            },
            400,
        ),
        (
            {
                "proc/self/cgroup": "0::/user.slice/run.scope",
                "sys/fs/cgroup/user.slice/run.scope/memory.high": 300 * MB,
                "sys/fs/cgroup/user.slice/run.scope/memory.max": 600 * MB,
            },
            300,
        ),
        # v1, whose number for no limit is huge
        (
            {
                "proc/self/cgroup": "9:memory:/slurm/uid_1/job_2\n8:cpu,cpuacct:/x\n",
                "sys/fs/cgroup/memory/slurm/uid_1/memory.limit_in_bytes": 200 * MB,
                "sys/fs/cgroup/memory/slurm/uid_1/memory.usage_in_bytes": 50 * MB,
                "sys/fs/cgroup/memory/slurm/uid_1/job_2/memory.limit_in_bytes": 2**63 - 4096,
            },
            150,
        ),
        # more is taken than may be
        ({"sys/fs/cgroup/memory.max": MB, "sys/fs/cgroup/memory.current": 2 * MB}, 0),
        # paths that lead out of the mount
        (
            {"proc/self/cgroup": "0::/../../job", "sys/fs/cgroup/job/memory.max": 7 * MB},
            7,
        ),
    ],
)
def test_the_least_of_all_limits(root, files, right):
    assert _host_memory(root(files)) == right * MB


@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_what_the_process_may_have_itself(limit):
    code = f"""
import resource, torch
from runner.data.memory import _host_memory
before = _host_memory()
with open("/proc/self/statm") as file:
    pages = list(map(int, file.read().split()))
taken = resource.getpagesize() * pages[{0 if limit == "RLIMIT_AS" else 5}]
resource.setrlimit(resource.{limit}, (taken + (64 << 20), -1))
after = _host_memory()
print(32 << 20 < after <= 64 << 20 < before)
"""
    assert getattr(resource, limit) is not None
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr
