"""-engine pycaffe: which external Caffe is taken, and what passes to and from its process."""

import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from netgen.errors import CaffeError
from runner import external
from runner.commands.cli import main
from runner.commands.flags import FlagError, parse, take_own

OURS = Path(sys.executable).with_name("caffe")

#: Stands for a C++ Caffe: shows its words and Python path, or does as its first word says.
STAND_IN = f"""#!{sys.executable} -SE
import os, signal, sys
what = sys.argv[1]
if what == "die":
    os.kill(os.getpid(), int(sys.argv[2]))
elif what == "exit":
    sys.exit(int(sys.argv[2]))
elif what == "listen":
    heard = [signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT]
    for number in list(heard):
        if signal.getsignal(number) is signal.SIG_IGN:
            print("ignored", number.name)
            heard.remove(number)
    signal.pthread_sigmask(signal.SIG_BLOCK, heard)
    print("ready", flush=True)
    while (number := signal.Signals(signal.sigwait(heard))) != signal.SIGTERM:
        print(number.name, flush=True)
    sys.exit(5)
else:
    sys.stdout.write("\\n".join(sys.argv[1:]) + "\\n")
    sys.stderr.write("I1122 a log line \\xb5\\r of its own\\n    and another")
    print("PYTHONPATH", os.environ["PYTHONPATH"])
"""


def add_caffe(root, place="build/tools/caffe"):
    """A Caffe in the folder root; returns its command."""
    tool = root / place
    tool.parent.mkdir(parents=True)
    tool.write_text(STAND_IN)
    tool.chmod(0o755)
    return tool


def add_pycaffe(folder):
    """What makes `import caffe` find a C++ pycaffe in this folder."""
    (folder / "caffe").mkdir(parents=True)
    (folder / "caffe" / "__init__.py").touch()
    (folder / "caffe" / "_caffe.so").touch()


@pytest.fixture(autouse=True)
def bare(tmp_path, monkeypatch):
    """No external Caffe, whatever this machine has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CAFFE_ROOT", raising=False)
    monkeypatch.setenv("PYCAFFE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not Path(p, "caffe").is_dir()])


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The folder of an external Caffe that CAFFE_ROOT names."""
    monkeypatch.setenv("CAFFE_ROOT", str(tmp_path / "root"))
    add_caffe(tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def caffe(capfd, read_result):
    """caffe("train", ...) -> its status, stdout and log, in this process."""

    def call(*words):
        status = main([str(word) for word in words])
        return read_result(status, *capfd.readouterr())

    return call


# --- flags ---


def test_the_engine_is_torch_by_default():
    assert parse(["train"]).engine == "torch"
    assert parse(["-engine", "torch", "train"]).words == ["train"]


def test_own_flags_are_taken_out_and_no_others_looked_at():
    words = ["train", "-solver", "-engine", "--level=x", "-engine", "pycaffe", "-v=2", "-new", "3"]
    assert take_own(words) == (
        {"engine": "pycaffe"}, ["train", "-solver", "-engine", "--level=x", "-v=2", "-new", "3"]
    )  # fmt: skip
    assert take_own(["--engine=pycaffe", "--", "-engine"]) == (
        {"engine": "pycaffe"}, ["--", "-engine"]
    )  # fmt: skip


def test_no_such_engine(caffe):
    result = caffe("train", "-engine=theano")
    line = "illegal value 'theano' specified for flag 'engine': torch or pycaffe"
    assert (result.status, result.out, result.err) == (1, "", f"ERROR: {line}\n")
    with pytest.raises(FlagError, match="^flag '--engine' is missing its argument; "):
        take_own(["train", "-engine"])


# --- its process ---


def test_words_and_output_pass_unchanged(caffe, root):
    words = ["train", "-solver", "a b", "--gpu=0,1", "-stage=", "-unknown", "x"]
    result = caffe("-engine", "pycaffe", *words)
    assert result.status == 0
    assert result.out.splitlines()[: len(words)] == words
    first, _, log = result.err.partition("\n")
    assert first.endswith(
        f"] Engine: {root}/build/tools/caffe (CAFFE_ROOT); only -engine torch has the log file "
        "in ./logs, the progress bar, resuming with data cursors and random states"
    )
    assert log == "I1122 a log line µ\r of its own\n    and another"


def test_what_is_not_of_training_is_not_said(caffe, root):
    assert caffe("time", "-engine=pycaffe").err.splitlines()[0].endswith("(CAFFE_ROOT)")


def test_its_python_layers_find_its_python(caffe, root, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert caffe("-engine=pycaffe", "train").out.endswith("PYTHONPATH \n")
    monkeypatch.setenv("PYTHONPATH", "mine")
    packages = root / "venv" / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    (root / "python").mkdir()
    result = caffe("-engine=pycaffe", "train")
    assert result.out.endswith(f"PYTHONPATH {root}/python:{packages}:mine\n")


@pytest.mark.parametrize(
    "words, status",
    [
        (["exit", "0"], 0),
        (["exit", "3"], 3),
        (["die", signal.SIGABRT], 134),
        (["die", signal.SIGKILL], 137),
    ],
)
def test_the_exit_status(caffe, root, words, status):
    assert caffe(*words, "-engine=pycaffe").status == status


def listener(**options):
    """The caffe command, its Caffe listening to signals."""
    child = subprocess.Popen(
        [OURS, "listen", "-engine=pycaffe"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, **options,
    )  # fmt: skip
    said = []
    while not said or said[-1] != "ready":
        said.append(child.stdout.readline().strip())
        assert said[-1], child.communicate()
    return child, said[:-1]


def test_signals_are_forwarded(root):
    child, ignored = listener()
    assert ignored == []
    for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGINT"):
        child.send_signal(getattr(signal, name))
        assert child.stdout.readline() == f"{name}\n"
    child.send_signal(signal.SIGTERM)
    rest = child.communicate(timeout=60)
    assert (child.returncode, rest[0], rest[1].count("\n")) == (5, "", 1)


def test_nohup_holds_for_both(root):
    child, ignored = listener(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert ignored == ["ignored SIGHUP"]
    child.send_signal(signal.SIGHUP)
    child.send_signal(signal.SIGTERM)
    assert child.communicate(timeout=60)[0] == "" and child.returncode == 5


def test_handlers_are_put_back(caffe, root):
    before = signal.getsignal(signal.SIGINT)
    caffe("exit", "0", "-engine=pycaffe")
    assert signal.getsignal(signal.SIGINT) is before


# --- which Caffe ---


def test_none_at_all(caffe):
    result = caffe("train", "-engine", "pycaffe")
    assert (result.status, result.out) == (1, "")
    assert result.messages == [
        "-engine pycaffe: no external Caffe found; `build_pycaffe` builds one, or set CAFFE_ROOT to "
        "the folder of yours"
    ]


@pytest.mark.parametrize("state", ["no folder", "not executable", "our own"])
def test_none_at_caffe_root(caffe, tmp_path, monkeypatch, state):
    monkeypatch.setenv("CAFFE_ROOT", "there")
    add_caffe(tmp_path / "cache" / "current")  # is not what was asked for
    if state == "not executable":
        add_caffe(tmp_path / "there").chmod(0o644)
    if state == "our own":
        (tmp_path / "there" / "bin").mkdir(parents=True)
        shutil.copy(OURS, tmp_path / "there" / "bin" / "caffe")
    result = caffe("train", "-engine", "pycaffe")
    assert result.status == 1
    assert result.messages == [
        "CAFFE_ROOT=there: no Caffe there (neither build/tools/caffe nor bin/caffe is a command)"
    ]


def test_one_that_does_not_start(caffe, root):
    (root / "build" / "tools" / "caffe").write_bytes(b"\x7fELF is not all of a program")
    result = caffe("train", "-engine", "pycaffe")
    assert result.status == 1
    assert result.messages[1:] == [f"{root}/build/tools/caffe: Exec format error"]


def test_the_order(tmp_path, monkeypatch):
    """CAFFE_ROOT, an importable pycaffe, our build."""
    add_caffe(tmp_path / "cache" / "1.0-abc")
    (tmp_path / "cache" / "current").symlink_to("1.0-abc")
    built = external.find()
    assert (built.root, built.source) == (tmp_path / "cache" / "current", "built by build_pycaffe")

    tool = add_caffe(tmp_path / "theirs")
    monkeypatch.syspath_prepend(str(tmp_path / "theirs" / "python"))
    assert external.find() == built
    add_pycaffe(tmp_path / "theirs" / "python")
    importlib.invalidate_caches()
    importable = external.find()
    assert (importable.root, importable.tool) == (tmp_path / "theirs", tool)
    assert importable.source == "its pycaffe is importable"

    tool = add_caffe(tmp_path / "installed", "bin/caffe")
    monkeypatch.setenv("CAFFE_ROOT", "installed")
    assert external.find() == external.External(tmp_path / "installed", tool, "CAFFE_ROOT")
    monkeypatch.setenv("CAFFE_ROOT", "")
    assert external.find() == importable


def test_a_pycaffe_behind_our_own(tmp_path, monkeypatch):
    tool = add_caffe(tmp_path / "theirs")
    add_pycaffe(tmp_path / "theirs" / "python")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "theirs" / "python")])
    ours = tmp_path / "ours" / "caffe"
    ours.mkdir(parents=True)
    (ours / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(ours.parent))
    assert external.find().tool == tool


def test_a_pycaffe_installed_in_a_prefix(tmp_path, monkeypatch):
    tool = add_caffe(tmp_path / "usr", "bin/caffe")
    packages = tmp_path / "usr" / "lib" / "python3" / "dist-packages"
    monkeypatch.syspath_prepend(str(packages))
    add_pycaffe(packages)
    assert external.find().tool == tool


def test_a_module_named_caffe_that_is_not_caffes(tmp_path, monkeypatch):
    add_caffe(tmp_path)
    (tmp_path / "python" / "caffe").mkdir(parents=True)
    (tmp_path / "python" / "caffe" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "python"))
    with pytest.raises(CaffeError, match="no external Caffe found"):
        external.find()


def test_where_builds_are(monkeypatch, tmp_path):
    assert external.build_folder() == tmp_path / "cache"
    monkeypatch.delenv("PYCAFFE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert external.build_folder() == Path("/x/caffe-split/pycaffe")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert external.build_folder() == Path("/h/.cache/caffe-split/pycaffe")


# --- a real one, where there is one ---

THEIRS = {name: os.environ.get(name) for name in ("CAFFE_ROOT", "PYCAFFE_CACHE")}


@pytest.fixture
def real(monkeypatch, tmp_path):
    """The external Caffe of the user's environment; skips without one."""
    monkeypatch.setenv("GLOG_log_dir", str(tmp_path))  # else it writes into /tmp
    for name, value in THEIRS.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    try:
        return external.find()
    except CaffeError as error:
        pytest.skip(str(error))


def test_a_real_caffe_trains_resumes_tests_and_times(caffe, real, write_solver):
    solver = write_solver(snapshot="4", snapshot_prefix='"s"')
    trained = caffe("train", "-engine=pycaffe", "-solver", solver)
    assert trained.status == 0, trained.err
    # glog 0.5 and later write the year
    done = re.compile(r"^I(?:\d{4})?\d{4} .*\] Optimization Done\.$", re.MULTILINE)
    assert len(done.findall(trained.err)) == 2
    resumed = caffe("train", "-engine=pycaffe", "-solver", solver, "-snapshot=s_iter_4.solverstate")
    assert resumed.status == 0 and "Resuming from s_iter_4." in resumed.err
    tested = caffe(
        "test", "-engine=pycaffe", "-model=net.prototxt", "-weights=s_iter_8.caffemodel",
        "-iterations=2",
    )  # fmt: skip
    assert tested.status == 0 and re.search(r"\] accuracy = [01]\.?\d*\n", tested.err)
    timed = caffe("time", "-engine=pycaffe", "-model=net.prototxt", "-iterations=2")
    assert timed.status == 0 and "Average Forward-Backward: " in timed.err


@pytest.mark.parametrize("usual", [signal.default_int_handler, signal.SIG_IGN])
def test_a_real_caffe_is_stopped(real, write_solver, tmp_path, usual):
    """Also where SIGINT was ignored, as it is in a script's background job."""
    solver = write_solver(max_iter="100000000", test_iter=None, test_interval=None)
    child = subprocess.Popen(
        [OURS, "train", "-engine=pycaffe", f"-solver={solver}"], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, usual),
    )  # fmt: skip
    try:
        for line in child.stderr:
            if "Iteration 1" in line:
                child.send_signal(signal.SIGINT)
                break
        rest = child.communicate(timeout=60)[1]
    finally:
        child.kill()
    assert child.returncode == 0 and "Optimization stopped early." in rest
    assert len(list(tmp_path.glob("s_iter_*.solverstate"))) == 1


def test_a_real_caffes_abort(caffe, real):
    result = caffe("train", "-engine=pycaffe")
    assert result.status == 134
    assert "Need a solver definition to train." in result.err
