"""The C++ Caffe's source package: fetched by pip, checked, unpacked, edited to build here."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from netgen.errors import CaffeError
from netgen.schema.files import host

NAME, VERSION = "brocolli-caffe", "9.0.2"
SHA256 = "c6410cc60bdd6db685d441b66be7df05410f8850ac88d6b75d48ef9b2315c08a"

# pip asks even of a package that is only downloaded what it depends on, which would run its
# setup.py. This build backend, put before setuptools' on Python's path, answers in its place.
BACKEND = f"""
import pathlib, sys
__legacy__ = sys.modules[__name__]
def prepare_metadata_for_build_wheel(directory, config_settings=None):
    folder = pathlib.Path(directory, "{NAME.replace("-", "_")}-{VERSION}.dist-info")
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\\nName: {NAME}\\nVersion: {VERSION}\\n")
    return folder.name
"""


@dataclass(frozen=True)
class Edit:
    """A small change of one line of a file: what `pattern` finds once becomes `new`."""

    path: str
    pattern: str
    new: str

    def apply(self, root: Path) -> None:
        """Edit the file under root. Raises CaffeError unless the pattern is found just once."""
        file = root / self.path
        text, count = re.subn(self.pattern, self.new, file.read_text(), flags=re.MULTILINE)
        if count != 1:
            raise CaffeError(f"{self.path}: expected {self.pattern!r} once, found it {count} times")
        file.write_text(text)


#: The libraries come as CAFFE_LIBRARIES from the cmake command, as they differ by machine.
EDITS = (
    # The caffe command is wanted.
    Edit("CMakeLists.txt", r"^# (add_subdirectory\(tools\))", r"\1"),
    # CUDA comes by CMake's own means, unless CPU_ONLY is set.
    Edit("CMakeLists.txt", r"^(add_definitions\( ?-DCPU_ONLY=1 ?\))", ""),
    Edit(
        "CMakeLists.txt", r"^(include\(cmake/Dependencies\.cmake\))",
        r"\1\nif(CPU_ONLY)\n  add_definitions(-DCPU_ONLY)\nelse()\n"
        r"  enable_language(CUDA)\n  find_package(CUDAToolkit REQUIRED)\nendif()",
    ),
    # The command and pycaffe share one libcaffe. With CUDA it lacks the layers whose GPU code
    # was never written; none of them is Caffe 1.0's.
    Edit(
        "src/caffe/CMakeLists.txt", r"^# (add_library\(caffe \$\{srcs\})\)",
        r"if(NOT CPU_ONLY)\n  list(APPEND srcs ${cuda})\n"
        r'  list(FILTER srcs EXCLUDE REGEX "/(hardsigmoid|hardswish|maxunpool|pixelshuffle|'
        r'proposal|relu6|upsample)_layer[.]c")\nendif()\n\1)',
    ),
    Edit(
        "src/caffe/CMakeLists.txt", r"^# target_link_libraries\(caffe .*\)",
        "target_include_directories(caffe PUBLIC ${Caffe_INCLUDE_DIR})\n"
        "target_link_libraries(caffe proto ${CAFFE_LIBRARIES})",
    ),
    Edit("src/caffe/CMakeLists.txt", r"^# (caffe_default_properties\(caffe\))", r"\1"),
    Edit("python/CMakeLists.txt", r"^(add_library\(pycaffe .*) \$\{srcs\}\)", r"\1)"),
    Edit(
        "python/CMakeLists.txt", r"^target_link_libraries\(pycaffe .*\)",
        "target_link_libraries(pycaffe caffe)",
    ),
    Edit(
        "tools/CMakeLists.txt", r"target_link_libraries\(\$\{name\} .*\)",
        "target_link_libraries(${name} caffe)",
    ),
    # The library needs nothing of its tests.
    Edit("src/caffe/net.cpp", r'^#include "caffe/test/test_caffe_main\.hpp"\n', ""),
    # The command accepts -weights, but loads none in a training.
    Edit(
        "tools/caffe.cpp", r'^(  LOG\(INFO\) << "Starting Optimization";)',
        "  vector<shared_ptr<Net<float> > > nets(solver->test_nets());\n"
        "  nets.insert(nets.begin(), solver->net());\n"
        "  std::istringstream names(FLAGS_weights);\n"
        "  for (std::string name; std::getline(names, name, ',');) {\n"
        "    for (auto& net : nets) {\n"
        '      LOG(INFO) << "Finetuning from " << name;\n'
        "      net->CopyTrainedLayersFrom(name);\n"
        r"    }\n  }\n\n\1",
    ),
    # The device query prints fields that CUDA 13 no longer has.
    Edit("src/caffe/common.cpp", r"^.*prop\.clockRate;\n", ""),
    Edit("src/caffe/common.cpp", r"^.*\n.*prop\.deviceOverlap .*\n", ""),
    Edit("src/caffe/common.cpp", r"^.*\n.*prop\.kernelExecTimeoutEnabled .*\n", ""),
)  # fmt: skip

#: Made by another protoc; they would be found before the ones made here.
STALE = ("src/caffe/proto/caffe.pb.cc", "include/caffe/proto/caffe.pb.h")


def source(root: Path) -> None:
    """Put the edited source into the folder `root`, which is not there until all of it is.

    Raises CaffeError.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    of_this_machine = f".{root.name}.{host()}."
    for left in root.parent.glob(
        f"{glob.escape(of_this_machine)}*.tmp"
    ):  # by runs that were killed
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(".tmp", of_this_machine, root.parent))
    try:
        tree = folder / "tree"
        unpack(download(folder), tree)
        for path in STALE:
            (tree / path).unlink()
        for edit in EDITS:
            edit.apply(tree)
        tree.rename(root)
    finally:
        shutil.rmtree(folder)


def download(folder: Path) -> Path:
    """The path of the package, fetched into `folder` by pip, which checks the SHA-256.

    pip also unpacks it, for a moment, in a temporary folder: here one inside `folder`, which
    the caller removes. Raises CaffeError.
    """
    backend, scratch = folder / "backend" / "setuptools", folder / "scratch"
    backend.mkdir(parents=True)
    scratch.mkdir()
    (backend / "__init__.py").touch()
    (backend / "build_meta.py").write_text(BACKEND)
    (folder / "wanted.txt").write_text(f"{NAME}=={VERSION} --hash=sha256:{SHA256}\n")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--require-hashes", "--no-deps", "--no-binary=:all:", "--no-build-isolation",
        "--no-cache-dir", f"--dest={folder}", f"--requirement={folder / 'wanted.txt'}",
    ]  # fmt: skip
    environment = {
        **os.environ, "PYTHONPATH": str(backend.parent), "TMPDIR": str(scratch),
        "PIP_USE_PEP517": "1",
    }  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise CaffeError(f"pip cannot fetch {NAME} {VERSION}: {reason(done.stderr)}")
    return folder / f"{NAME}-{VERSION}.tar.gz"


def reason(output: str) -> str:
    """The line of pip's error output that tells most."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["it gives no reason"])[0]


def unpack(path: Path, folder: Path) -> None:
    """Unpack into `folder` without the archive's top folder and without version control."""
    with tarfile.open(path) as archive:
        for member in archive:
            _, _, name = member.name.partition("/")
            hidden = any(part.startswith(".") for part in name.split("/"))
            if name and not hidden and (member.isfile() or member.isdir()):
                member.name = name
                archive.extract(member, folder, **SAFE)


# Python 3.12 warns without a filter; early 3.10 and 3.11 releases know none.
SAFE = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
