"""The command as a whole: exit statuses, and one clear line for whatever is wrong."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from netgen import __version__
from runner.commands import cli

CAFFE = Path(sys.executable).with_name("caffe")


def process(*words, **options):
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=120, **options
    )


# --- processes ---


@pytest.mark.parametrize("command", [[CAFFE], [sys.executable, "-m", "runner"]])
def test_usage(command, tmp_path):
    cwd = tmp_path if command == [CAFFE] else Path(cli.__file__).parent.parent
    done = process(*command, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("caffe: command line brew\nusage: caffe <command> <args>\n")


def test_a_failing_process_says_one_line(tmp_path, read_result):
    (tmp_path / "s.prototxt").write_text('net: "n.prototxt"\nbase_lrr: 1\n')
    done = process(CAFFE, "train", "--solver=s.prototxt", cwd=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    ((severity, where, message),) = read_result(1, "", done.stderr).lines
    assert severity == "F" and where.startswith("caffe.cpp:")
    assert message == (
        's.prototxt:2:1: Message type "caffe.SolverParameter" has no field named "base_lrr"'
    )


def test_an_interrupted_command_has_no_traceback(work, tiny_lmdbs, read_result):
    """Only a solver listens to SIGINT; `test` and `time` are ended by it, as Caffe's are."""
    command = [str(CAFFE), "time", "-model=net.prototxt", "-iterations=1000000"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        for line in child.stderr:
            if "Iteration: 3 " in line:
                child.send_signal(signal.SIGINT)
                break
        rest = child.communicate(timeout=60)[1]
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == 130
    assert "Traceback" not in rest and rest.count("\n") == len(read_result(0, "", rest).lines)


# --- flags ---


@pytest.mark.parametrize("word", ["-version", "--version"])
def test_version(caffe, word):
    result = caffe(word)
    assert (result.status, result.err) == (0, "")
    assert result.out == f"caffe version 1.0.0\ncaffe-split {__version__}\n"


@pytest.mark.parametrize("word", ["-help", "--help", "-h"])
def test_help(caffe, word):
    result = caffe("train", word)
    assert result.status == 1  # as gflags does it
    assert "  -sigint_effect (" in result.out and "  train " in result.out


@pytest.mark.parametrize("words", [[], ["train", "test"], ["-solver=x"]])
def test_no_or_several_commands_give_the_usage(caffe, words):
    result = caffe(*words)
    assert (result.status, result.err) == (0, "")
    assert "usage: caffe <command> <args>" in result.out


@pytest.mark.parametrize(
    "words, line",
    [
        (["train", "-sover=x"], "ERROR: unknown command line flag 'sover'\n"),
        (["test", "-iterations", "many"],
         "ERROR: illegal value 'many' specified for int32 flag 'iterations'\n"),
        (["train", "-level=99999999999"],
         "ERROR: illegal value '99999999999' specified for int32 flag 'level'\n"),
    ],
)  # fmt: skip
def test_bad_flags(caffe, words, line):
    result = caffe(*words)
    assert (result.status, result.err) == (1, line)


def test_an_unknown_command(caffe):
    result = caffe("fly")
    assert result.status == 1
    assert [line[:1] for line in result.lines] == [("E",)] * (len(cli.COMMANDS) + 1) + [("F",)]
    assert result.messages == [
        "Available caffe actions:", *(f"\t{name}" for name in cli.COMMANDS), "Unknown action: fly",
    ]  # fmt: skip


@pytest.mark.parametrize("spelling", ["-solver {}", "--solver {}", "-solver={}", "--solver={}"])
def test_a_command_in_every_spelling(caffe, write_solver, spelling):
    path = write_solver(max_iter=1, display=0, test_iter=None, test_interval=None)
    result = caffe(*spelling.format(path).split(), "train")
    assert result.status == 0
    assert result.messages[-1] == "Optimization Done."


# --- one clear line for bad input ---


def failure(result):
    """The F line, which must be the only one and the last."""
    assert result.status == 1
    assert "Traceback" not in result.err
    assert [line[0] for line in result.lines].index("F") == len(result.lines) - 1
    message = result.messages[-1]
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "words, message",
    [
        ("train", "Need a solver definition to train."),
        ("test", "Need a model definition to score."),
        ("test -model net.prototxt", "Need model weights to score."),
        ("time", "Need a model definition to time."),
        ("train -solver s -snapshot a -weights b",
         "Give a snapshot to resume training or weights to finetune but not both."),
        ("time -model net.prototxt -phase test", 'phase must be "TRAIN" or "TEST"'),
        ("train -solver solver.prototxt -sigint_effect quit",
         'Invalid signal effect "quit" was specified'),
        ("train -solver solver.prototxt -sighup_effect=",
         'Invalid signal effect "" was specified'),
        ("train -solver no.prototxt", "File not found: no.prototxt"),
        ("test -model no.prototxt -weights w", "File not found: no.prototxt"),
        ("test -model net.prototxt -weights no.caffemodel",
         "Check failed: fd != -1 (-1 vs. -1) File not found: no.caffemodel"),
        ("test -model net.prototxt -weights a,b",  # one name: only train splits it
         "Check failed: fd != -1 (-1 vs. -1) File not found: a,b"),
        ("train -solver solver.prototxt -weights no.caffemodel",
         "Check failed: fd != -1 (-1 vs. -1) File not found: no.caffemodel"),
        ("train -solver solver.prototxt -snapshot no.solverstate",
         "Check failed: fd != -1 (-1 vs. -1) File not found: no.solverstate"),
        ("train -solver .", ".: cannot be read: Is a directory"),
        ("test -model net.prototxt -weights .", ".: Is a directory"),
        ("test -model net.prototxt -weights net.prototxt",
         "net.prototxt: not a whole caffe.NetParameter (truncated, or another kind of file)"),
        ("time -model net.prototxt -iterations 0",
         "-iterations 0: at least one is needed to time"),
    ],
)  # fmt: skip
def test_bad_words(caffe, write_solver, words, message):
    write_solver()
    assert failure(caffe(*words.split())) == message


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"net": '"no.prototxt"'}, "File not found: no.prototxt"),
        ({"net": None}, "SolverParameter must specify a train net using one of these fields: "
                        "net, net_param, train_net, train_net_param"),
        ({"train_net": '"x"'},
         "SolverParameter must not contain more than one of these fields specifying a "
         "train_net: net, net_param, train_net, train_net_param (it has net, train_net)"),
        ({"net": None, "train_net": '"net.prototxt"'},
         "test_iter must be specified for each test network. (1 test_iter, 0 test nets)"),
        ({"test_net": ['"net.prototxt"'] * 2},
         "test_iter must be specified for each test network. (1 test_iter, 2 test nets)"),
        ({"test_state": ["{ level: 0 }"] * 2},
         "test_state must be unspecified or specified once per test net. "
         "(2 test_state, 1 test nets)"),
        ({"test_iter": [2] * 1001},
         "test_iter is given 1,001 times, and as many test nets would be made; 1,000 are the most"),
        ({"test_interval": None}, "Check failed: param_.test_interval() > 0 (0 vs. 0)"),
        ({"type": '"Sgd"'}, "Unknown solver type: Sgd (known types: AdaDelta, AdaGrad, Adam, "
                            "Nesterov, RMSProp, SGD)"),
        ({"lr_policy": '"setp"'}, "Unknown learning rate policy: setp"),
        ({"lr_policy": None}, "Unknown learning rate policy: "),
        ({"lr_policy": '"step"', "gamma": 0.1},
         "Check failed: param_.stepsize() > 0 (0 vs. 0) (lr_policy: step)"),
        ({"regularization_type": '"L0"'}, "Unknown regularization type: L0"),
        ({"type": '"AdaGrad"'}, "Momentum cannot be used with AdaGrad. (momentum: 0.9)"),
        ({"average_loss": 0}, "average_loss should be non-negative."),
        ({"iter_size": 0}, "iter_size should be at least 1, not 0"),
        ({"snapshot_prefix": '"no/s"', "snapshot": 5},
         "Cannot write to snapshot prefix 'no/s'.  Make sure that the directory exists and is "
         "writable."),
        ({"snapshot_prefix": '"no/s"'},  # told now, not after the training
         "Cannot write to snapshot prefix 'no/s'.  Make sure that the directory exists and is "
         "writable."),
        ({"weights": '"no.caffemodel"'},
         "Check failed: fd != -1 (-1 vs. -1) File not found: no.caffemodel"),
        ({"max_iter": '"8"'}, 'solver.prototxt:9:11: max_iter: Couldn\'t parse integer: "8"'),
        ({"solver_type": "SGD", "type": '"SGD"'},
         "solver.prototxt: Failed to upgrade solver: old solver_type field (enum) and new type "
         "field (string) are both given"),
    ],
)  # fmt: skip
def test_bad_solvers(caffe, write_solver, fields, message):
    assert failure(caffe("train", "-solver", write_solver(**fields))) == message


DATA = 'layer { name: "d" type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 dim: 2 dim: 3 dim: 4 } } } '
TWO = 'layer { name: "d" type: "DummyData" top: "x" top: "y" dummy_data_param { shape { dim: 1 dim: 2 dim: 3 dim: 4 } shape { dim: 2 dim: 2 dim: 3 dim: 4 } } } '
IP = "inner_product_param { num_output: 2 } "


@pytest.mark.parametrize(
    "net, words",
    [
        ('layer { name: "l" type: "Convolutoin" }',
         ["layer 'l'", "Unknown layer type: Convolutoin (known types: AbsLoss, AbsVal, Accuracy, "]),
        ('layer { name: "l" tpye: "ReLU" }',
         ['net.prototxt:1:19: Message type "caffe.LayerParameter" has no field named "tpye"']),
        (DATA + 'layer { name: "l" type: "InnerProduct" bottom: "x" top: "y" inner_product_param '
         '{ num_output: 2 weight_filler { type: "xaver" } } }',
         ["layer 'l'", "Unknown filler name: xaver"]),
        (DATA + 'layer { name: "l" type: "ReLU" bottom: "z" top: "z" }',
         ["Unknown bottom blob 'z' (layer 'l', bottom index 0)"]),
        (DATA + 'layer { name: "l" type: "ReLU" bottom: "x" top: "y" } '
         'layer { name: "m" type: "DummyData" top: "y" dummy_data_param { shape { dim: 1 } } }',
         ["Top blob 'y' produced by multiple sources.", "'m'"]),
        (DATA + 'layer { name: "l" type: "InnerProduct" bottom: "x" top: "y" param { } param { } '
         f"param {{ }} {IP} }}", ["Too many params specified for layer l"]),
        (DATA + 'layer { name: "l" type: "InnerProduct" bottom: "x" top: "y" '
         f"propagate_down: true propagate_down: true {IP} }}",
         ["propagate_down param must be specified either 0 or bottom_size times", "'l'"]),
        (DATA + 'layer { name: "l" type: "ReLU" bottom: "x" top: "y" include { phase: TEST } '
         'exclude { phase: TRAIN } }',
         ["Specify either include rules or exclude rules; not both.", "'l'"]),
        (DATA + 'layer { name: "l" type: "InnerProduct" top: "y" }',
         ["InnerProduct Layer takes 1 bottom blob(s) as input.", "'l'"]),
        (DATA + 'layer { name: "l" type: "Concat" top: "y" }',
         ["Concat Layer takes at least 1 bottom blob(s) as input.", "'l'"]),
        (DATA + 'layer { name: "l" type: "ReLU" bottom: "x" top: "y" top: "z" }',
         ["ReLU Layer produces 1 top blob(s) as output.", "'l'"]),
        (DATA + 'layer { name: "l" type: "ReLU" bottom: "x" top: "y" loss_weight: 1 '
         "loss_weight: 1 }",
         ["loss_weight must be unspecified or specified once per top blob.", "'l'"]),
        (TWO + 'layer { name: "l" type: "Eltwise" bottom: "x" bottom: "y" top: "z" }',
         ["bottom[0]: 1 2 3 4 (24), bottom[1]: 2 2 3 4 (48)", "'l'"]),
        (DATA + 'layer { name: "e" type: "DummyData" top: "y" dummy_data_param { shape { dim: 1 '
         'dim: 2 } } } '
         'layer { name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "y" top: "z" }',
         ["Number of labels must match number of predictions; ", "'l'"]),
        (TWO + 'layer { name: "l" type: "EuclideanLoss" bottom: "x" bottom: "y" top: "z" }',
         ["The data and label should have the same first dimension.", "'l'"]),
        ('layer { name: "l" type: "Data" top: "x" data_param { source: "no_lmdb" batch_size: 1 '
         "backend: LMDB } }",
         ["mdb_status == 0 (2 vs. 0) No such file or directory", "'l'", "no_lmdb"]),
        ('layer { name: "l" type: "Data" top: "x" data_param { source: "no_lmdb" batch_size: 1 } }',
         ["LEVELDB", "write `backend: LMDB`", "'l'"]),
        ("", ["net.prototxt: the file is empty"]),
    ],
)  # fmt: skip
def test_bad_nets(caffe, work, net, words):
    (work / "net.prototxt").write_text(net)
    message = failure(caffe("time", "-model", "net.prototxt", "-iterations", 1))
    assert [word for word in words if word not in message] == [], message


@pytest.mark.skipif(torch.cuda.is_available(), reason="tells what happens without a GPU")
@pytest.mark.parametrize(
    "words, fields, asked",
    [
        (["-gpu", "0"], {}, "-gpu 0"),
        (["-gpu", "all"], {"solver_mode": "CPU"}, "-gpu all"),
        ([], {"solver_mode": "GPU"}, "solver_mode: GPU, device_id: 0"),
        ([], {"solver_mode": "GPU", "device_id": 2}, "solver_mode: GPU, device_id: 2"),
    ],
)
def test_no_gpu(caffe, write_solver, words, fields, asked):
    message = failure(caffe("train", "-solver", write_solver(**fields), *words))
    assert message.startswith(f"Cannot use GPU in CPU-only Caffe: check mode. ({asked}: PyTorch ")


def test_an_explicit_cpu_mode_and_none_mean_the_cpu(caffe, write_solver):
    for fields in ({}, {"solver_mode": "CPU"}):
        result = caffe("train", "-solver", write_solver(max_iter=1, **fields))
        assert result.status == 0 and result.messages[0] == "Use CPU."


# --- log files ---


def log_files(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_log_dir(caffe, work, write_solver):
    path = write_solver(max_iter=1)
    result = caffe("train", "-solver", path, "-log_dir", "some/logs")
    (name,) = log_files(work / "some" / "logs")
    assert name.startswith("solver.") and name.endswith(f".{os.getpid()}.log")
    written = (work / "some" / "logs" / name).read_text()
    assert written.endswith(result.err) and written.startswith("Log file created at: ")


@pytest.mark.parametrize(
    "environment, words, files",
    [
        ({}, "train", 1),
        ({"GLOG_logtostderr": "1"}, "train", 0),
        ({"GLOG_logtostderr": "1"}, "train -log_dir logs", 0),
        ({"GLOG_log_dir": "logs"}, "test", 1),
        ({}, "test", 0),
    ],
)
def test_a_folder_named_logs_gets_the_log_of_training(
    caffe, work, monkeypatch, environment, words, files
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (work / "logs").mkdir()
    assert caffe(*words.split(), "-solver", "no.prototxt", "-model", "no.prototxt").status == 1
    assert len(log_files(work / "logs")) == files


def test_an_unusable_log_dir(caffe, work):
    (work / "file").write_text("")
    message = failure(caffe("train", "-solver", "x", "-log_dir", "file/logs"))
    assert message.startswith("file")


class ClosedPipe:
    """A stderr whose reader has gone."""

    def write(self, text):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_nobody_reads_the_log(work, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", ClosedPipe())
        status = cli.main(["time", "-model", "net.prototxt"])
    assert status == 128 + signal.SIGPIPE


# --- where the log goes may fail ---


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full", "<&- >&- 2>&-"])
def test_training_needs_no_stderr(work, write_solver, closed):
    command = f'"{sys.executable}" -m runner train -solver {write_solver(max_iter=3)} {closed}'
    assert subprocess.run(["sh", "-c", command]).returncode == 0
    assert (work / "s_iter_3.caffemodel").exists()


def test_a_log_on_a_full_disk_ends_and_the_training_goes_on(work, write_solver):
    """No file may grow beyond the log's first lines; the snapshots are smaller, so they fit."""
    code = """
import os, resource, signal, sys
from runner.commands.cli import main
from runner.log import glog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
line = glog.LogSink.line
def once(self, *words):
    if "Solving" in words[1]:
        size = os.path.getsize(self._file.name)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, size + 10))
    line(self, *words)
glog.LogSink.line = once
sys.exit(main(sys.argv[1:]))
"""
    words = ["train", "-solver", write_solver(max_iter=3), "-log_dir", "log"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(": File too large: the log ends there") == 1
    assert done.stderr.endswith("Optimization Done.\n")
    assert (work / "s_iter_3.solverstate.resume").exists()


def test_a_log_that_cannot_be_made_is_told_and_the_training_goes_on(work, write_solver):
    (work / "log").mkdir()
    done = subprocess.run(
        ["sh", "-c", f'ulimit -f 0; "{sys.executable}" -m runner train -solver '
         f"{write_solver(max_iter=1, snapshot_after_train='false')} -log_dir log"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr.count("COULD NOT CREATE") == 1, done.stderr


@pytest.mark.parametrize("field", ["net", "snapshot_prefix"])
def test_a_null_byte_in_a_path_is_one_line(caffe, work, write_solver, field):
    told = caffe("train", "-solver", write_solver(**{field: '"a\\000b"'}))
    assert told.status == 1 and told.lines[-1][0] == "F" and "Traceback" not in told.err


def test_a_current_folder_that_was_removed_is_one_line(work, write_solver):
    solver = work / write_solver(max_iter=1)
    gone = work / "gone"
    gone.mkdir()
    command = f'cd gone && rmdir ../gone && "{sys.executable}" -m runner train -solver {solver}'
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert done.stderr.endswith("] the current folder was removed: go to another one\n")
