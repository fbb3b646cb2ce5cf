"""How the C++ Caffe is built on a machine: Python packages, CMake's definitions, and their key."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from caffe_tools.pycaffe import sdist as pycaffe_sdist
from caffe_tools.pycaffe.system import Machine
from netgen.errors import CaffeError

#: What its pycaffe imports; it knows neither NumPy 2 nor protobuf 5.
PACKAGES = ("numpy<2", "protobuf>=4.21,<5", "scikit-image", "six")
CUDA_PACKAGES = ("nvidia-cublas==13.*", "nvidia-curand==10.4.*")

TARGETS = ("caffe.bin", "pycaffe")


@dataclass(frozen=True)
class BuildRecipe:
    """A way to build on `machine`; cuda: a GPU architecture such as "90", or "" for the CPU."""

    machine: Machine
    cuda: str = ""

    @property
    def packages(self) -> tuple[str, ...]:
        """What pip installs in the build's own virtual environment."""
        return PACKAGES + (CUDA_PACKAGES if self.cuda else ())

    def name(self) -> str:
        """A folder's name that changes with whatever changes the build."""
        parts = [pycaffe_sdist.SHA256, pycaffe_sdist.STALE, TARGETS, self.packages]
        parts += [[asdict(edit) for edit in pycaffe_sdist.EDITS], self.definitions("", "")]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        return f"{pycaffe_sdist.VERSION}-{f'sm{self.cuda}-' if self.cuda else ''}{digest[:12]}"

    def definitions(self, environment: str | Path, packages: str | Path) -> dict[str, object]:
        """CMake's cache entries.

        environment: the folder of the virtual environment. packages: its site-packages.
        """
        includes = [
            f"{self.machine.prefix}/include/hdf5/serial",
            f"{self.machine.prefix}/include/python{self.machine.version}",
            f"{packages}/numpy/core/include",
        ]
        libraries = list(self.machine.libraries)
        if self.cuda:
            cuda = f"{packages}/nvidia/cu13"
            includes.append(f"{cuda}/include")
            libraries += [f"{cuda}/lib/{name}" for name in ("libcublas.so.13", "libcurand.so.10")]
            libraries.append("CUDA::cudart")
        flags = " ".join(["-w -DUSE_LMDB -DWITH_PYTHON_LAYER", *(f"-I{path}" for path in includes)])
        found = {
            "CMAKE_BUILD_TYPE": "Release",  # -O3 -DNDEBUG
            "CMAKE_CXX_FLAGS": f"-march=native {flags}",
            "CPU_ONLY": "OFF" if self.cuda else "ON",
            "CAFFE_LIBRARIES": ";".join(libraries),
            "ANACONDA_HOME": environment,  # else it looks into /root/miniconda3
        }
        if self.cuda:
            found |= {
                "CMAKE_CUDA_ARCHITECTURES": self.cuda,
                "CMAKE_CUDA_FLAGS": flags,
                "CMAKE_CUDA_RUNTIME_LIBRARY": "Shared",
                "CMAKE_CUDA_STANDARD": "17",
            }
        return found


def architecture(text: str) -> str:
    """The digits of sm_90, 9.0 or 90. Raises CaffeError, also where there is no nvcc."""
    match = re.fullmatch(r"(?:sm_?)?(\d{1,2})\.?(\d[af]?)", text)
    if not match:
        raise CaffeError(f"--cuda {text}: expected a GPU architecture such as 90 or sm_90")
    if not shutil.which("nvcc"):
        raise CaffeError(f"--cuda {text}: there is no nvcc on the PATH (CUDA 13's is needed)")
    return match[1] + match[2]
