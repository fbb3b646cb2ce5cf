"""build_pycaffe: the package it fetches, what it asks of the machine, and that it goes on.

The package here is a small one of the same name whose files have just the lines that the edits
change; the compiler is a stand-in. A finished real build is tried where there is one.
"""

import hashlib
import io
import os
import subprocess
import tarfile

import pytest

from caffe_tools.pycaffe import build as build_pycaffe
from caffe_tools.pycaffe import sdist as pycaffe_sdist
from caffe_tools.pycaffe.recipe import BuildRecipe, architecture
from caffe_tools.pycaffe.sdist import CaffeError, Edit
from caffe_tools.pycaffe.system import LIBRARIES, Machine, look
from runner import External, external_folder

FILES = {
    "setup.py": "open({marker!r}, 'w')\n",
    ".git/config": "[core]\n",
    ".github/workflows/ci.yml": "",
    "python/caffe/.git": "gitdir: elsewhere\n",
    "CMakeLists.txt": "add_definitions( -DCPU_ONLY=1 )\ninclude(cmake/Dependencies.cmake)\n"
                      "# add_subdirectory(matlab)\n# add_subdirectory(tools)\n",
    "src/caffe/CMakeLists.txt": "add_library(proto STATIC x)\n# add_library(caffe ${srcs})\n"
                                "# target_link_libraries(caffe proto -lx)\n"
                                "# caffe_default_properties(caffe)\n",
    "python/CMakeLists.txt": "add_library(pycaffe SHARED ${python_srcs} ${srcs})\n"
                             "target_link_libraries(pycaffe proto -lx)\n",
    "tools/CMakeLists.txt": "  target_link_libraries(${name} caffe -lx)\n",
    "src/caffe/net.cpp": '#include "caffe/net.hpp"\n#include "caffe/test/test_caffe_main.hpp"\n',
    "src/caffe/common.cpp": "a\n  rate << prop.clockRate;\nb\n"
                            "  overlap\n    (prop.deviceOverlap ?)\n"
                            "  timeout\n    (prop.kernelExecTimeoutEnabled ?)\nc\n",
    "tools/caffe.cpp": '  LOG(INFO) << "Starting Optimization";\n',
    "src/caffe/proto/caffe.pb.cc": "",
    "include/caffe/proto/caffe.pb.h": "",
}  # fmt: skip

EDITED = {
    "CMakeLists.txt": "\ninclude(cmake/Dependencies.cmake)\nif(CPU_ONLY)\n"
                      "  add_definitions(-DCPU_ONLY)\nelse()\n  enable_language(CUDA)\n"
                      "  find_package(CUDAToolkit REQUIRED)\nendif()\n"
                      "# add_subdirectory(matlab)\nadd_subdirectory(tools)\n",
    "src/caffe/CMakeLists.txt": "add_library(proto STATIC x)\n"
                                "if(NOT CPU_ONLY)\n  list(APPEND srcs ${cuda})\n"
                                "  list(FILTER srcs EXCLUDE REGEX \"/(hardsigmoid|hardswish|"
                                "maxunpool|pixelshuffle|proposal|relu6|upsample)_layer[.]c\")\n"
                                "endif()\n"
                                "add_library(caffe ${srcs})\n"
                                "target_include_directories(caffe PUBLIC ${Caffe_INCLUDE_DIR})\n"
                                "target_link_libraries(caffe proto ${CAFFE_LIBRARIES})\n"
                                "caffe_default_properties(caffe)\n",
    "python/CMakeLists.txt": "add_library(pycaffe SHARED ${python_srcs})\n"
                             "target_link_libraries(pycaffe caffe)\n",
    "tools/CMakeLists.txt": "  target_link_libraries(${name} caffe)\n",
    "src/caffe/net.cpp": '#include "caffe/net.hpp"\n',
    "src/caffe/common.cpp": "a\nb\nc\n",
    "tools/caffe.cpp": """\
  vector<shared_ptr<Net<float> > > nets(solver->test_nets());
  nets.insert(nets.begin(), solver->net());
  std::istringstream names(FLAGS_weights);
  for (std::string name; std::getline(names, name, ',');) {
    for (auto& net : nets) {
      LOG(INFO) << "Finetuning from " << name;
      net->CopyTrainedLayersFrom(name);
    }
  }

  LOG(INFO) << "Starting Optimization";
""",
}  # fmt: skip

MACHINE = Machine("3.11", "/usr")


# --- the package ---


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes the small package where pip looks, alone; returns the file that setup.py makes."""
    marker = tmp_path / "setup.py was run"
    folder = tmp_path / "packages"
    folder.mkdir()
    path = folder / "brocolli-caffe-9.0.2.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in FILES.items():
            data = text.format(marker=str(marker)) if name == "setup.py" else text
            member = tarfile.TarInfo(f"brocolli-caffe-9.0.2/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data.encode()))
        link = tarfile.TarInfo("brocolli-caffe-9.0.2/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(pycaffe_sdist, "SHA256", digest)
    return marker


def test_the_source_is_fetched_and_edited(package, tmp_path):
    root = tmp_path / "cache" / "root"
    pycaffe_sdist.source(root)
    written = {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}
    assert written == EDITED | {"setup.py": (root / "setup.py").read_text()}
    assert not package.exists()
    assert os.listdir(root.parent) == ["root"]


def test_another_package_of_that_name_is_refused(package, tmp_path, monkeypatch):
    monkeypatch.setattr(pycaffe_sdist, "SHA256", "0" * 64)
    with pytest.raises(CaffeError, match=r"^pip cannot fetch brocolli-caffe 9\.0\.2: .*HASHES"):
        pycaffe_sdist.source(tmp_path / "cache" / "root")
    assert os.listdir(tmp_path / "cache") == [] and not package.exists()


def test_no_package(package, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(CaffeError, match="^pip cannot fetch .*: ERROR: .*version that satisfies"):
        pycaffe_sdist.source(tmp_path / "root")


@pytest.mark.parametrize("text, count", [("b\n", 0), ("a\na\n", 2)])
def test_an_edit_that_does_not_fit(tmp_path, text, count):
    (tmp_path / "f").write_text(text)
    with pytest.raises(CaffeError) as failure:
        Edit("f", "^a$", "c").apply(tmp_path)
    assert str(failure.value) == f"f: expected '^a$' once, found it {count} times"
    assert (tmp_path / "f").read_text() == text


# --- the machine ---


def test_everything_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CaffeError) as failure:
        look(str(tmp_path))
    assert str(failure.value) == (
        "system packages are missing: apt-get install g++ make cmake protobuf-compiler "
        "libboost-system-dev libboost-thread-dev libboost-filesystem-dev libboost-regex-dev "
        "libprotobuf-dev libgflags-dev libgoogle-glog-dev libhdf5-dev liblmdb-dev libopenblas-dev "
        "libboost-python-dev python3-dev python3-venv"
    )


def test_the_python_is_the_one_of_boost(tmp_path, monkeypatch):
    programs, libraries = tmp_path / "bin", tmp_path / "lib" / "x86_64-linux-gnu"
    programs.mkdir()
    libraries.mkdir(parents=True)
    for name in ("g++", "make", "cmake", "protoc"):
        (programs / name).touch(0o755)
    for name in (*LIBRARIES, "boost_python39", "boost_python310", "python3.9"):
        (libraries / f"lib{name}.so").touch()
    (tmp_path / "lib" / "python3.10" / "ensurepip").mkdir(parents=True)
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(CaffeError, match="^system packages are missing: .* python3-dev$"):
        look(str(tmp_path))
    (libraries / "libpython3.10.so").touch()
    machine = look(str(tmp_path))
    assert machine == Machine("3.10", str(tmp_path))
    assert machine.python == str(programs / "python3.10")
    assert machine.libraries[-3:] == ["boost_python310", "python3.10", "pthread"]


# --- the recipe ---


def test_a_name_for_each_build(monkeypatch):
    names = [
        BuildRecipe(MACHINE).name(),
        BuildRecipe(MACHINE, "90").name(),
        BuildRecipe(MACHINE, "80").name(),
    ]
    names.append(BuildRecipe(Machine("3.12", "/usr")).name())
    assert names[0] == BuildRecipe(Machine("3.11", "/usr")).name()
    monkeypatch.setattr(pycaffe_sdist, "EDITS", pycaffe_sdist.EDITS[1:])
    names.append(BuildRecipe(MACHINE).name())
    assert len(set(names)) == 5
    assert names[0].startswith("9.0.2-") and names[1].startswith("9.0.2-sm90-")


def test_definitions():
    cpu = BuildRecipe(MACHINE).definitions("/v", "/p")
    assert cpu["CPU_ONLY"] == "ON" and "CMAKE_CUDA_ARCHITECTURES" not in cpu
    assert "-DWITH_PYTHON_LAYER" in cpu["CMAKE_CXX_FLAGS"]
    assert "-I/usr/include/python3.11 -I/p/numpy/core/include" in cpu["CMAKE_CXX_FLAGS"]
    cuda = BuildRecipe(MACHINE, "90").definitions("/v", "/p")
    assert (cuda["CPU_ONLY"], cuda["CMAKE_CUDA_ARCHITECTURES"]) == ("OFF", "90")
    assert "/p/nvidia/cu13/lib/libcublas.so.13" in cuda["CAFFE_LIBRARIES"].split(";")


def test_architectures(tmp_path, monkeypatch):
    (tmp_path / "nvcc").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    asked = {"90": "90", "sm_90": "90", "9.0": "90", "sm_90a": "90a", "12.0": "120", "75": "75"}
    assert {text: architecture(text) for text in asked} == asked
    for text in ("hopper", "9", "sm_", "1.2.3"):
        with pytest.raises(CaffeError, match="expected a GPU architecture such as 90 or sm_90$"):
            architecture(text)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CaffeError, match="there is no nvcc on the PATH"):
        architecture("90")


# --- the command ---


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """command() -> its output, on a machine that has everything, but a cmake as scripted."""
    monkeypatch.setenv("PYCAFFE_CACHE", str(tmp_path / "cache"))
    for name in ("CAFFE_ROOT", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(build_pycaffe.pycaffe_system, "look", lambda: MACHINE)
    monkeypatch.setattr(build_pycaffe, "CLONE", tmp_path / "clone")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "setup.py").touch()

    def call(cmake=None):
        if cmake is not None:
            script(tmp_path / "bin" / "cmake", cmake)
        assert build_pycaffe.main(["--jobs", "2"]) == 0
        return capsys.readouterr().out

    return call


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_build_goes_on_and_is_kept(command, tmp_path):
    root = tmp_path / "cache" / BuildRecipe(MACHINE).name()
    script(root / "venv" / "bin" / "python", f'echo "$PYTHONPATH" >> {tmp_path}/checked')
    (root / "venv" / "ready").touch()
    (root / "python").mkdir()
    with pytest.raises(CaffeError) as failure:
        command('echo "[ 50%] Building"; echo "a.cpp:1: fatal error: no b.h"; echo end >&2; exit 2')
    assert str(failure.value) == (
        f"cmake failed: a.cpp:1: fatal error: no b.h (see {root}/build.log)"
    )
    assert not (tmp_path / "cache" / "current").is_symlink()

    tools = root / "build" / "tools"
    tools.mkdir(parents=True)
    done = command(f'echo "cmake $*"; cp /bin/true {tools}/caffe')
    assert f"{root}: built\n" in done
    assert done.endswith(
        f"-engine pycaffe runs {root.parent}/current/build/tools/caffe (built by build_pycaffe)\n"
    )
    assert (tmp_path / "checked").read_text() == f"{root}/python\n"  # where pycaffe was tried
    log = (root / "build.log").read_text()
    assert log.count("fatal error") == 1
    assert f"cmake --build {root}/build --target caffe.bin --target pycaffe --parallel 2\n" in log
    assert (root.parent / "current").resolve() == root
    assert (tmp_path / "clone" / "build" / "pycaffe").resolve() == root

    again = command("exit 1")
    assert again.startswith(f"{root}: already built\n")


def test_bad_options(tool, tmp_path):
    line = "build_pycaffe: --jobs is at least 1 (--help tells more)\n"
    assert tool("build_pycaffe", "--jobs", "0") == (1, "", line)
    cache = {"PYCAFFE_CACHE": str(tmp_path / "cache"), "PATH": str(tmp_path)}
    status, out, err = tool("build_pycaffe", **cache)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(
        "build_pycaffe: system packages are missing: apt-get install g++ make cmake protobuf-comp"
    )
    assert not (tmp_path / "cache").exists()


# --- a real build, where there is one ---


@pytest.fixture
def real():
    root = external_folder() / "current"
    if not (root / "ready").exists():
        pytest.skip(f"no build by `make pycaffe` in {root.parent}")
    return External(root, root / "build" / "tools" / "caffe", "built")


DOUBLE = """
import caffe

class Double(caffe.Layer):
    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = 2 * bottom[0].data

    def backward(self, top, down, bottom):
        bottom[0].diff[...] = 2 * top[0].diff
"""

NET = """
layer { name: "x" type: "DummyData" top: "x"
        dummy_data_param { shape { dim: 2 } data_filler { value: 4 } } }
layer { name: "y" type: "Python" bottom: "x" top: "y"
        python_param { module: "double" layer: "Double" } }
"""


def test_a_real_build_runs_python_layers(real, tmp_path, monkeypatch):
    """In its command, where Python is embedded, and in its pycaffe."""
    (tmp_path / "double.py").write_text(DOUBLE)
    (tmp_path / "net.prototxt").write_text(NET)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("GLOG_log_dir", str(tmp_path))
    timed = [real.tool, "time", "-model=net.prototxt", "-iterations=1"]
    doubled = "import caffe; print(caffe.Net('net.prototxt', caffe.TEST).forward()['y'].tolist())"
    called = [real.root / "venv" / "bin" / "python", "-c", doubled]
    for command, out in ((timed, ""), (called, "[8.0, 8.0]")):
        done = subprocess.run(
            [str(word) for word in command], cwd=tmp_path, env=real.environment(), timeout=60,
            capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode, done.stdout.strip()) == (0, out), done.stderr


def test_a_real_build_keeps_no_version_control(real):
    assert not (real.root / ".git").exists()
    assert (real.root / "CMakeLists.txt").is_file()


def test_an_installed_command_puts_no_link_beside_the_packages(command, tmp_path):
    root = tmp_path / "cache" / BuildRecipe(MACHINE).name()
    script(root / "build" / "tools" / "caffe", "exit 0")
    (root / "ready").touch()
    (tmp_path / "clone" / "setup.py").unlink()
    assert command("exit 1").startswith(f"{root}: already built\n")
    assert list((tmp_path / "clone").iterdir()) == []
