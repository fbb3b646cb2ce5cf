"""A run that was interrupted and resumed gives, bit for bit, what the uninterrupted run gives.

The net draws random numbers wherever it can: crops and mirrors, dropout, noise in both phases.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.data import memory

NOISE = """
layer { name: "noise" type: "DummyData" top: "noise" include { phase: TRAIN } dummy_data_param {
  shape { dim: 4 dim: 4 dim: 4 dim: 4 } data_filler { type: "gaussian" std: 0.2 } } }
layer { name: "noise" type: "DummyData" top: "noise" include { phase: TEST } dummy_data_param {
  shape { dim: 3 dim: 4 dim: 4 dim: 4 } data_filler { type: "gaussian" std: 0.2 } } }
layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "noise" top: "noisy" }
layer { name: "drop" type: "Dropout" bottom: "noisy" top: "noisy" }
"""
FIELDS = {"test_interval": 3, "max_iter": 12, "average_loss": 3}


@pytest.fixture
def run(caffe, work, write_solver):
    """run(name, *words, solver field=value, ...): a run whose snapshots are called `name`."""
    net = work / "net.prototxt"
    text = net.read_text()
    dropout = 'layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }'
    ip = 'type: "InnerProduct" bottom: '
    assert dropout in text and f'{ip}"conv"' in text
    net.write_text(text.replace(dropout, NOISE).replace(f'{ip}"conv"', f'{ip}"noisy"'))

    def call(name, *words, **fields):
        path = write_solver(name, **{**FIELDS, "snapshot_prefix": f'"{name}"', **fields})
        result = caffe("train", "-solver", path, *words)
        assert result.status == 0, result.err
        return result

    return call


def kill(number):
    return lambda: os.kill(os.getpid(), number)


def files(name, iteration, tail=""):
    """The bytes of a snapshot's caffemodel and history."""
    base = f"{name}_iter_{iteration}"
    model = Path(f"{base}.caffemodel{tail}").read_bytes()
    state = Path(f"{base}.solverstate{tail}").read_bytes()
    return model, state.replace(name.encode(), b"NAME")


def assert_continues(resumed, whole, name="two", reference="one", iteration=12):
    """What `resumed` printed is the end of what `whole` printed, and the weights are the same."""
    lines = resumed.trained()
    assert len(lines) > 6
    assert lines == whole.trained()[-len(lines) :]
    assert files(name, iteration) == files(reference, iteration)


@pytest.mark.parametrize("at", [4, 6])  # 6: a test is due where the run goes on
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_from_a_snapshot(run, kind, at):
    whole = run("one", snapshot=2, type=f'"{kind}"')
    resumed = run("two", "-snapshot", f"one_iter_{at}.solverstate", type=f'"{kind}"')
    assert f"Resuming from one_iter_{at}.solverstate" in resumed.messages
    assert "SGDSolver: restoring history" in resumed.messages
    assert_continues(resumed, whole)


def test_from_an_hdf5_snapshot(run):
    whole = run("one", snapshot=5, snapshot_format="HDF5")
    resumed = run("two", "-snapshot", "one_iter_5.solverstate.h5")
    run("one")  # the same once more, for its binary files
    assert_continues(resumed, whole)


def test_with_streamed_data(run, monkeypatch):
    whole = run("one", snapshot=5)
    monkeypatch.setenv(memory.VARIABLE, "0")
    resumed = run("two", "-snapshot", "one_iter_5.solverstate")
    assert_continues(resumed, whole)


def test_with_accumulated_gradients_and_a_dropping_rate(run):
    fields = {
        "iter_size": 2, "lr_policy": '"multistep"', "gamma": 0.5, "stepvalue": [2, 5, 5, 9],
        "type": '"Nesterov"', "display": 2,
    }  # fmt: skip
    whole = run("one", snapshot=5, **fields)
    resumed = run("two", "-snapshot", "one_iter_5.solverstate", **fields)
    assert resumed.starting("MultiStep") == whole.starting("MultiStep")[-3:]
    assert_continues(resumed, whole)


def test_with_batch_norm(run, work):
    net = work / "net.prototxt"
    norm = 'layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }\nlayer { name: "relu"'
    net.write_text(net.read_text().replace('layer { name: "relu"', norm))
    whole = run("one", snapshot=5)
    assert_continues(run("two", "-snapshot", "one_iter_5.solverstate"), whole)


def test_an_interrupted_run(run, on_line):
    """SIGINT: the iteration is finished, a snapshot written, and that is all."""
    whole = run("one")
    on_line("Iteration 7, lr", kill(signal.SIGINT))
    stopped = run("two")
    assert [line for line in stopped.messages if "ptimiz" in line or "napshot" in line][-5:] == [
        "Starting Optimization",
        "Snapshotting to binary proto file two_iter_8.caffemodel",
        "Snapshotting solver state to binary proto file two_iter_8.solverstate",
        "Optimization stopped early.",
        "Optimization Done.",
    ]
    assert stopped.trained() == whole.trained()[: len(stopped.trained())]
    assert_continues(run("two", "-snapshot", "two_iter_8.solverstate"), whole)


def test_interrupted_twice_and_just_after_a_snapshot(run, on_line):
    whole = run("one")
    on_line("Iteration 3, lr", kill(signal.SIGINT))
    first = run("two", snapshot=4)
    # The one that was due is not written again.
    assert len(first.starting("Snapshotting to")) == 1
    on_line("Iteration 4, lr", kill(signal.SIGINT))
    run("two", "-snapshot", "two_iter_4.solverstate")
    assert_continues(run("two", "-snapshot", "two_iter_5.solverstate"), whole)


def test_interrupted_while_testing(run, on_line):
    """The pass that was broken off is made again, on the same records."""
    whole = run("one", test_iter=[2, 3])
    on_line("Iteration 6, Testing net (#1)", kill(signal.SIGINT))
    stopped = run("two", test_iter=[2, 3])
    at = stopped.messages.index("Iteration 6, Testing net (#1)")
    assert stopped.messages[at + 1 :] == [
        "Test interrupted.",
        "Snapshotting to binary proto file two_iter_6.caffemodel",
        "Snapshotting solver state to binary proto file two_iter_6.solverstate",
        "Optimization stopped early.",
        "Optimization Done.",
    ]
    resumed = run("two", "-snapshot", "two_iter_6.solverstate", test_iter=[2, 3])
    assert_continues(resumed, whole)


def test_a_hangup_snapshots_and_goes_on(run, on_line):
    whole = run("one")
    on_line("Iteration 4, lr", kill(signal.SIGHUP))
    went_on = run("two")
    assert went_on.trained() == whole.trained()
    assert files("one", 12) == files("two", 12)
    assert_continues(run("two", "-snapshot", "two_iter_5.solverstate"), whole)


def test_a_hangup_while_testing(run, on_line):
    whole = run("one", test_iter=[2, 3])
    on_line("Iteration 6, Testing net (#1)", kill(signal.SIGHUP))
    went_on = run("two", test_iter=[2, 3])
    assert went_on.trained() == whole.trained()
    resumed = run("two", "-snapshot", "two_iter_6.solverstate", test_iter=[2, 3])
    assert_continues(resumed, whole)


@pytest.mark.parametrize(
    "flag, number, snapshots, stops",
    [
        ("-sigint_effect=snapshot", signal.SIGINT, [5, 12], False),
        ("-sigint_effect=none", signal.SIGINT, [12], False),
        ("-sighup_effect=stop", signal.SIGHUP, [5], True),
        ("-sighup_effect=none", signal.SIGHUP, [12], False),
        ("-sigterm_effect=stop", signal.SIGTERM, [5], True),
        ("-sigterm_effect=snapshot", signal.SIGTERM, [5, 12], False),
    ],
)
def test_effects_of_signals(run, on_line, flag, number, snapshots, stops):
    on_line("Iteration 4, lr", kill(number))
    result = run("two", flag)
    assert result.starting("Snapshotting to") == [
        f"Snapshotting to binary proto file two_iter_{i}.caffemodel" for i in snapshots
    ]
    assert ("Optimization stopped early." in result.messages) == stops


def test_signals_have_their_old_effect_after_a_run(run):
    numbers = signal.SIGINT, signal.SIGHUP, signal.SIGTERM
    before = [signal.getsignal(number) for number in numbers]
    run("one", max_iter=1)
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_stop_without_a_snapshot(run, on_line, work):
    on_line("Iteration 4, lr", kill(signal.SIGINT))
    result = run("two", snapshot_after_train="false")
    assert "Optimization stopped early." in result.messages
    assert not list(work.glob("two_iter*"))


def test_a_finished_run_goes_on_to_a_larger_max_iter(run):
    """10 iterations and 10 more train as 20 at once do; tests start over, as Caffe's do."""
    whole = run("one", max_iter=20, average_loss=1)
    run("two", max_iter=10, average_loss=1)
    resumed = run("two", "-snapshot", "two_iter_10.solverstate", max_iter=20, average_loss=1)

    def training(result):
        return [line for line in result.trained() if "est" not in line]

    assert len(training(resumed)) == 3 * 10 + 1
    assert training(resumed) == training(whole)[-31:]
    assert files("two", 20) == files("one", 20)


def test_without_the_resume_file_data_starts_over_as_in_caffe(run):
    run("one", snapshot=5)
    os.remove("one_iter_5.solverstate.resume")
    resumed = run("two", "-snapshot", "one_iter_5.solverstate")
    assert any("data starts at its first record, as in Caffe" in m for m in resumed.messages)
    # Its data and random numbers are those of a run that begins with the same weights.
    begun = run("three", "-weights", "one_iter_5.caffemodel", test_initialization="false")
    first = begun.trained()[0]
    assert first.startswith("Iteration 0, loss = ")
    assert resumed.trained()[0] == first.replace("Iteration 0", "Iteration 5")
    assert files("two", 12) != files("one", 12)


def test_other_data_than_then_is_refused(run, caffe, write_solver, work, tiny_lmdbs):
    run("one", snapshot=5)
    net = work / "net.prototxt"
    net.write_text(net.read_text().replace("train_lmdb", "test_lmdb"))
    result = caffe("train", "-solver", "one.prototxt", "-snapshot", "one_iter_5.solverstate")
    assert result.status == 1
    message = result.messages[-1]
    assert message.startswith("one_iter_5.solverstate.resume: cannot go on where the run was: ")
    assert "had 22 records then and has 10 now" in message
    assert message.endswith("; delete it to resume as Caffe does")


def test_a_process_interrupted_from_outside(run, read_result):
    """Ctrl-C on `caffe train`: exit status 0, a snapshot, and the run goes on from there."""
    run("two", max_iter=0)  # writes two.prototxt
    text = Path("two.prototxt").read_text().replace("max_iter: 0", "max_iter: 1000000")
    Path("two.prototxt").write_text(text)
    caffe = Path(sys.executable).with_name("caffe")
    child = subprocess.Popen(
        [caffe, "train", "--solver=two.prototxt"], stderr=subprocess.PIPE, text=True
    )
    log = []
    try:
        for line in child.stderr:
            log.append(line)
            if "Iteration 6, lr" in line:
                child.send_signal(signal.SIGINT)
                break
        log.append(child.communicate(timeout=60)[1])
    finally:
        child.kill()
        child.communicate()
    stopped = read_result(child.returncode, "", "".join(log))
    assert stopped.status == 0 and "\r" not in stopped.err  # no bar in a pipe
    assert stopped.messages[-2:] == ["Optimization stopped early.", "Optimization Done."]
    (state,) = [path for path in Path().glob("two_iter_*.solverstate") if "_0." not in path.name]
    at = int(state.stem.rpartition("_")[2])
    whole = run("one", max_iter=at + 6)
    resumed = run("two", "-snapshot", state, max_iter=at + 6)
    assert stopped.trained() == whole.trained()[: len(stopped.trained())]
    assert_continues(resumed, whole, iteration=at + 6)


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_plateau_goes_on_with_the_loss_that_was_smallest(run, form):
    fields = {
        "lr_policy": '"plateau"', "gamma": 0.5, "plateau_winsize": 2, "snapshot_format": form,
        "snapshot": 5,
    }  # fmt: skip
    whole = run("one", **fields)
    assert "Plateau Status: Iteration" in whole.err
    tail = ".h5" if form == "HDF5" else ""
    run("two", **{**fields, "max_iter": 5})
    resumed = run("two", "-snapshot", f"two_iter_5.solverstate{tail}", **fields)
    assert files("two", 12, tail)[0] == files("one", 12, tail)[0]
    assert [x.split("] ")[1] for x in whole.err.splitlines() if "Plateau" in x][-1:] == [
        x.split("] ")[1] for x in resumed.err.splitlines() if "Plateau" in x
    ][-1:]
