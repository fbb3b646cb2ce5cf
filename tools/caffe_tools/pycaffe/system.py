"""What the C++ Caffe needs of the machine: programs, libraries, the Python that boost knows."""

from __future__ import annotations

import glob
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from netgen.errors import CaffeError

#: program -> the Debian package that has it
PROGRAMS = {"g++": "g++", "make": "make", "cmake": "cmake", "protoc": "protobuf-compiler"}

#: library -> the Debian package that has it for linking, and its headers
LIBRARIES = {
    "boost_system": "libboost-system-dev",
    "boost_thread": "libboost-thread-dev",
    "boost_filesystem": "libboost-filesystem-dev",
    "boost_regex": "libboost-regex-dev",
    "protobuf": "libprotobuf-dev",
    "gflags": "libgflags-dev",
    "glog": "libgoogle-glog-dev",
    "hdf5_serial": "libhdf5-dev",
    "hdf5_serial_hl": "libhdf5-dev",
    "lmdb": "liblmdb-dev",
    "openblas": "libopenblas-dev",
}


@dataclass(frozen=True)
class Machine:
    """The system below `prefix`; version: of the Python that boost was built for, as "3.11"."""

    version: str
    prefix: str

    @property
    def python(self) -> str:
        """The system's interpreter; another of the same version may lack the shared library."""
        return f"{self.prefix}/bin/python{self.version}"

    @property
    def libraries(self) -> list[str]:
        """The names of the libraries to link."""
        boost = f"boost_python{self.version.replace('.', '')}"
        return [*LIBRARIES, boost, f"python{self.version}", "pthread"]


def look(prefix: str = "/usr") -> Machine:
    """The Machine. Raises CaffeError with the apt command for all that is missing."""
    missing = [package for name, package in PROGRAMS.items() if not shutil.which(name)]
    missing += [package for name, package in LIBRARIES.items() if not libraries(prefix, name)]
    minors = [
        int(match[1])
        for path in libraries(prefix, "boost_python3*")
        if (match := re.search(r"boost_python3(\d+)\.so$", path))
    ]
    missing += [] if minors else ["libboost-python-dev"]
    machine = Machine(f"3.{max(minors, default='')}", prefix)
    if not libraries(prefix, f"python{machine.version}"):
        missing.append("python3-dev")
    if not Path(f"{prefix}/lib/python{machine.version}/ensurepip").is_dir():
        missing.append("python3-venv")
    if missing:
        packages = " ".join(dict.fromkeys(missing))
        raise CaffeError(f"system packages are missing: apt-get install {packages}")
    return machine


def libraries(prefix: str, name: str) -> list[str]:
    """The paths of libraries of this name (a glob) as they are linked: lib<name>.so."""
    folders = (f"{prefix}/lib/*-linux-gnu*", f"{prefix}/lib", f"{prefix}/local/lib")
    return [path for folder in folders for path in glob.glob(f"{folder}/lib{name}.so")]
