"""Data parallel training: real processes, connected by gloo, on the tiny data set."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch

from netgen import schema
from netgen.schema import caffe_pb
from runner.data import DataFeed, memory
from runner.process.place import Place, place

PYTHON = sys.executable
MODULE = [PYTHON, "-m", "runner"]
DROPOUT = 'layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }\n'
NOISE = (
    DROPOUT
    + """
layer { name: "noise" type: "DummyData" top: "noise" dummy_data_param {
  shape { dim: 4 dim: 4 dim: 4 dim: 4 } data_filler { type: "gaussian" std: 0.2 } }
  include { phase: TRAIN } }
layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "noise" top: "noisy"
  include { phase: TRAIN } }
layer { name: "use" type: "Silence" bottom: "noisy" include { phase: TRAIN } }
"""
)


class Run:
    """Processes that were started: their log lines as they come, and in the end their Result."""

    def __init__(self, commands, environments):
        self.seen, self.heard, self.texts = {}, threading.Condition(), [[] for _ in commands]
        self.processes = [
            subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
            for command, environment in zip(commands, environments, strict=True)
        ]
        self.readers = [
            threading.Thread(target=self._read, args=(i,)) for i in range(len(commands))
        ]
        for reader in self.readers:
            reader.start()

    def _read(self, number):
        for line in self.processes[number].stderr:
            with self.heard:
                self.texts[number].append(line)
                self.heard.notify_all()

    def wait_for(self, text):
        """Until one of the processes has logged a line with `text`."""
        with self.heard:
            assert self.heard.wait_for(
                lambda: any(text in line for lines in self.texts for line in lines), 120
            ), self.texts

    def results(self, read_result):
        for process in self.processes:
            process.wait(120)
        for reader in self.readers:
            reader.join()
        return [
            read_result(process.returncode, "", "".join(lines))
            for process, lines in zip(self.processes, self.texts, strict=True)
        ]

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()
        for reader in self.readers:
            reader.join()
        for process in self.processes:
            process.stderr.close()


@pytest.fixture
def started(work):
    """started(commands, environments): a Run, ended with the test."""
    runs = []

    def start(*arguments):
        runs.append(Run(*arguments))
        return runs[-1]

    yield start
    for run in runs:
        run.end()


@pytest.fixture
def environment(monkeypatch):
    """What every process is started with."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return os.environ


def free_port():
    return torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False).port


@pytest.fixture
def workers(started, environment):
    """workers(words of rank 0, words of rank 1): two processes, as srun or a shell start them."""

    def start(*words, command=MODULE):
        port = str(free_port())
        return started(
            [[*command, *map(str, given)] for given in words],
            [
                {**environment, "RANK": str(rank), "WORLD_SIZE": str(len(words)),
                 "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
                for rank in range(len(words))
            ],
        )  # fmt: skip

    return start


@pytest.fixture
def train(workers, read_result):
    """train(words): rank 0's Result of two processes that come to their end."""

    def call(*words):
        first, second = workers(["train", *words], ["train", *words]).results(read_result)
        assert (first.status, second.status) == (0, 0), first.err + second.err
        assert second.err == ""
        return first

    return call


@pytest.fixture
def torchrun(started, environment):
    """torchrun(words, count=2): one process that starts so many."""

    def start(*words, count=2):
        launcher = [PYTHON, "-m", "torch.distributed.run", f"--nproc-per-node={count}"]
        return started([[*launcher, "-m", "runner", *map(str, words)]], [environment])

    return start


def replace(path, *pairs):
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def weights(path):
    net = schema.read_caffemodel(path)
    return np.concatenate([schema.blob_to_array(b).ravel() for x in net.layer for b in x.blobs])


def resume_file(path):
    return torch.load(f"{path}.resume", weights_only=True)


def numbers(lines):
    return [float(number) for line in lines for number in re.findall(r"= ([\d.e+-]+)", line)]


# --- the same training ---


def test_two_workers_train_as_one_whose_batch_is_doubled(
    torchrun, caffe, work, write_solver, monkeypatch, read_result
):
    """Weights, tests and clipped norms; records are streamed here and resident there."""
    fields = {
        "iter_size": 2, "clip_gradients": 0.25, "max_iter": 9, "snapshot": 5, "display": 2,
        "test_interval": 5,
    }  # fmt: skip
    net = work / "net.prototxt"
    replace(net, (DROPOUT, ""))
    write_solver("two", snapshot_prefix='"two"', **fields)
    monkeypatch.setenv(memory.VARIABLE, "0")
    (two,) = torchrun("train", "-solver", "two.prototxt").results(read_result)
    assert two.status == 0, two.err
    monkeypatch.delenv(memory.VARIABLE)

    replace(net, ("batch_size: 4", "batch_size: 8"))
    write_solver("one", snapshot_prefix='"one"', **fields)
    one = caffe("train", "-solver", "one.prototxt")

    for at in (5, 9):
        np.testing.assert_allclose(
            weights(f"two_iter_{at}.caffemodel"), weights(f"one_iter_{at}.caffemodel"),
            rtol=1e-5, atol=1e-7,
        )  # fmt: skip
    for words in ("    Test net output", "Gradient clipping", "Restarting data"):
        assert len(one.starting(words)) == len(two.starting(words)) > 0
        np.testing.assert_allclose(
            numbers(two.starting(words)), numbers(one.starting(words)), rtol=1e-4
        )
    # What is displayed while training is of rank 0's half of the batch.
    assert [line[:12] for line in two.trained()] == [line[:12] for line in one.trained()]
    shown = [numbers(run.starting("    Train net output"))[0] for run in (one, two)]
    assert shown[0] != shown[1] == pytest.approx(shown[0], rel=0.2)

    # Either can go on from the other's snapshot, with the record that is next.
    resumed = caffe("train", "-solver", "one.prototxt", "-snapshot", "two_iter_5.solverstate")
    assert (
        "two_iter_5.solverstate.resume: of a run of 2 workers, now 1: data go on with the record "
        "that was next" in resumed.messages
    )
    np.testing.assert_allclose(
        weights("one_iter_9.caffemodel"), weights("two_iter_9.caffemodel"), rtol=1e-5, atol=1e-7
    )


def test_a_run_that_was_interrupted_goes_on_bit_for_bit(
    started, environment, train, work, write_solver, read_result
):
    """Ctrl-C on what -gpu 0,1 starts; dropout and noise are each worker's own."""
    replace(work / "net.prototxt", (DROPOUT, NOISE))
    write_solver("two", snapshot_prefix='"two"', max_iter=10**6)
    run = started(
        [[PYTHON, "-c", "import sys; from runner.parallel import launch; "
          "sys.exit(launch(['train', '-solver', 'two.prototxt'], 2))"]],
        [environment],
    )  # fmt: skip
    run.wait_for("Iteration 6, lr")
    run.processes[0].send_signal(signal.SIGINT)
    (stopped,) = run.results(read_result)
    assert stopped.status == 0, stopped.err
    assert stopped.messages[-2:] == ["Optimization stopped early.", "Optimization Done."]
    (state,) = work.glob("two_iter_*.solverstate")
    at = int(state.stem.rpartition("_")[2])
    assert resume_file(state)["train"]["data"]["image"] == at * 2 * 4

    write_solver("two", snapshot_prefix='"two"', max_iter=at + 5)
    write_solver("one", snapshot_prefix='"one"', max_iter=at + 5)
    resumed = train("-solver", "two.prototxt", "-snapshot", state)
    whole = train("-solver", "one.prototxt")
    assert resumed.trained() == whole.trained()[-len(resumed.trained()) :]
    assert stopped.trained() == whole.trained()[: len(stopped.trained())]
    one, two = (Path(f"{name}_iter_{at + 5}.caffemodel") for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


LAUNCH = [PYTHON, "-c", "import sys; from runner.parallel import launch; "
          "sys.exit(launch(['train', '-solver', 'two.prototxt'], 2))"]  # fmt: skip
TORCHRUN = [PYTHON, "-m", "torch.distributed.run", "--nproc-per-node", "2",
            *MODULE[1:], "train", "-solver", "two.prototxt"]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "number"),
    [(LAUNCH, signal.SIGTERM), (TORCHRUN, signal.SIGTERM), (TORCHRUN, signal.SIGKILL)],
    ids=["launch, SIGTERM", "torchrun, SIGTERM", "torchrun, SIGKILL"],
)
def test_a_signal_to_the_launcher_stops_all_workers_with_a_snapshot(
    command, number, started, environment, work, write_solver, read_result
):
    write_solver("two", snapshot_prefix='"two"', max_iter=10**6)
    run = started([command], [environment])
    run.wait_for("Iteration 6, lr")
    launcher = run.processes[0]
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    assert len(children) >= 2
    launcher.send_signal(number)
    (stopped,) = run.results(read_result)  # once nobody has its stderr any more
    wait_for_end(children)
    assert stopped.messages.count("Optimization stopped early.") == 1
    assert not [line for line in stopped.lines if line[0] in "EF"]
    if command is LAUNCH:  # torchrun's own status is of the signal
        assert stopped.status == 0
    (state,) = work.glob("two_iter_*.solverstate")
    assert resume_file(state)["iter"] == int(state.stem.rpartition("_")[2]) >= 6
    assert not list(work.glob(".*"))


def wait_for_end(processes):
    """Return when all have ended: a process lets go of stderr a moment before that."""
    end = time.monotonic() + 60
    while any(map(is_running, processes)):
        assert time.monotonic() < end, f"{processes}: not all have ended"
        time.sleep(0.01)


def is_running(process):
    """Whether a process is there and has not ended."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


# --- the end of a worker ---


def lost(results):
    """The one line that says so; torchrun has a page of its own to say behind it."""
    lines = [line for result in results for line in result.lines if line[0] == "F"]
    assert len(lines) == 1, lines
    return lines[0][2].partition("\n")[0]


def check_snapshot(caffe, line, write_solver, work, count=2):
    """What the line names is a snapshot of whole iterations, and training goes on from it."""
    told = re.fullmatch(
        r"rank (\d): a worker was lost in iteration (\d+) \(.+\); snapshot: (\S+)", line
    )
    assert told, line
    at, state = int(told[2]), told[3]
    assert state == f"two_iter_{at}.solverstate"
    kept = resume_file(state)
    assert (kept["iter"], kept["train"]["data"]["image"]) == (at, at * count * 4)
    write_solver("one", snapshot_prefix='"one"', max_iter=at + 3)
    resumed = caffe("train", "-solver", "one.prototxt", "-snapshot", state)
    assert resumed.status == 0, resumed.err
    assert resumed.starting(f"Iteration {at} ")
    assert not list(work.glob("*.tmp*"))
    return int(told[1])


def process_of(rank, parent):
    """The id of the worker that torchrun, process `parent`, started with this rank."""
    for entry in Path("/proc").iterdir():
        try:
            about, variables = (entry / "stat").read_text(), (entry / "environ").read_bytes()
        except (OSError, ValueError):
            continue
        is_child = about.rpartition(") ")[2].split()[1] == str(parent)
        if is_child and b"RANK=%d" % rank in variables.split(b"\0"):
            return int(entry.name)
    raise AssertionError(f"no rank {rank}")


def test_a_lost_worker_ends_the_run_with_a_line_and_a_snapshot(
    torchrun, caffe, work, write_solver, read_result
):
    """Both others see it, and the root does what there is to do."""
    write_solver("two", snapshot_prefix='"two"', max_iter=10**6, test_interval=100)
    run = torchrun("train", "-solver", "two.prototxt", count=3)
    run.wait_for("Iteration 50, lr")
    os.kill(process_of(1, run.processes[0].pid), signal.SIGKILL)
    (result,) = run.results(read_result)
    assert result.status == 1
    assert check_snapshot(caffe, lost([result]), write_solver, work, count=3) == 0


def test_a_lost_root(workers, caffe, work, write_solver, read_result):
    """With it goes the place where workers meet; the other one still knows what to do."""
    words = ["train", "-solver", write_solver("two", snapshot_prefix='"two"', max_iter=10**6)]
    run = workers(words, words)
    run.wait_for("Iteration 50, lr")
    run.processes[0].kill()
    results = run.results(read_result)
    assert [result.status for result in results] == [-signal.SIGKILL, 1]
    assert results[1].err.count("\n") == 1
    assert check_snapshot(caffe, lost(results), write_solver, work) == 1


WAITING = """
import os, sys, time
import torch, torch.distributed as dist
from runner.parallel import exchange, join

exchange.GRACE = 0.3
with join() as workers:
    for late in (0.3, 3):  # the second time for too long
        if workers.rank:
            time.sleep(late)
        number = torch.ones(1)
        asked, summed = (dist.all_reduce(x, async_op=True) for x in (torch.ones(1), number))
        if workers.rank == 0:
            told = time.monotonic() if late == 3 else None
            try:
                exchange.wait_for_device(asked, summed, summed.is_completed, lambda: told)
                print("sum", number.item(), file=sys.stderr)
            except exchange.WorkerLost as lost:
                print("lost:", lost, file=sys.stderr)
    os._exit(0)
"""


def test_waiting_for_a_device_ends_when_the_process_is_told_to(workers, read_result):
    """As on GPUs, where a sum that a lost worker does not join never ends by itself."""
    results = workers([], [], command=[PYTHON, "-c", WAITING]).results(read_result)
    assert results[0].err == "sum 2.0\nlost: told to end, and no sum for 0.3 s\n"


def test_a_worker_that_fails_says_why_itself(
    workers, work, write_solver, tiny_lmdbs, monkeypatch, read_result
):
    """Here by a broken record, of number 9; the other one only writes the snapshot."""
    shutil.copytree(tiny_lmdbs / "train_lmdb", work / "broken_lmdb")
    with lmdb.open("broken_lmdb") as env, env.begin(write=True) as txn:
        txn.put(b"%05d" % 9, b"nothing")
    replace(work / "net.prototxt", (str(tiny_lmdbs / "train_lmdb"), "broken_lmdb"))
    monkeypatch.setenv(memory.VARIABLE, "0")
    words = ["train", "-solver", write_solver("two", snapshot_prefix='"two"')]
    results = workers(words, words).results(read_result)
    assert [result.status for result in results] == [1, 1]
    assert lost(results) == (
        "rank 1: record '00009': it is not a Datum (layer 'data', source 'broken_lmdb')"
    )
    # Record 9 is of the second batch.
    assert results[0].messages[-1].endswith("two_iter_1.solverstate")
    assert resume_file("two_iter_1.solverstate")["train"]["data"]["image"] == 8


# --- what is wrong ---


def test_an_error_that_all_meet_is_told_once(workers, write_solver, read_result):
    words = ["train", "-solver", write_solver("two", net='"none.prototxt"')]
    results = workers(words, words).results(read_result)
    assert [result.status for result in results] == [1, 1]
    assert "File not found: none.prototxt" in lost(results)
    assert results[1].err == ""


def test_workers_that_train_different_things(workers, write_solver, read_result):
    one = write_solver("one", max_iter=4)
    two = write_solver("two", base_lr=0.2, max_iter=4)
    results = workers(["train", "-solver", one], ["train", "-solver", two]).results(read_result)
    assert [result.status for result in results] == [1, 1]
    assert lost(results) == (
        "rank 1 does not train what rank 0 trains: its solver, net, number of records, snapshot "
        "or precision is another"
    )


def test_workers_that_cannot_meet(caffe, write_solver, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    result = caffe("train", "-solver", write_solver())
    assert result.status == 1
    assert result.messages[-1] == (
        "rank 0 of 2 workers cannot join the others: Error initializing torch.distributed using "
        "env:// rendezvous: environment variable MASTER_ADDR expected, but not set"
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("gpu", ["0,1", "all"])
def test_several_devices_where_there_is_none(caffe, write_solver, gpu):
    result = caffe("train", "-solver", write_solver(), "-gpu", gpu)
    assert result.status == 1
    assert result.messages[-1].startswith(
        f"Cannot use GPU in CPU-only Caffe: check mode. (-gpu {gpu}: "
    )


@pytest.mark.parametrize(
    "words, what",
    [
        (["test", "-model=net.prototxt"], "caffe test"),
        (["train", "-engine=pycaffe"], "-engine pycaffe"),
        (["train", "-solver=a.prototxt,b.prototxt"], "-solver a.prototxt,b.prototxt"),
    ],
)
@pytest.mark.parametrize("rank", [0, 1])
def test_what_is_for_one_process(caffe, monkeypatch, words, what, rank):
    monkeypatch.setattr("runner.log.glog.log.minimum", "IWEF")
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = caffe(*words)
    assert result.status == 1
    assert [message.startswith(what) for message in result.messages] == [True] * (rank == 0)
    assert rank or "runs in one process, and WORLD_SIZE=2 were started" in result.messages[0]


@pytest.mark.parametrize(
    "variables, expected",
    [
        ({}, Place()),
        ({"RANK": "5"}, Place()),
        ({"RANK": "1", "WORLD_SIZE": "4"}, Place(1, 4, 1, 4)),
        (
            {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"},
            Place(5, 8, 1, 4),
        ),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK=2 of WORLD_SIZE=2: ranks are 0 to 1"),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, "RANK=-1: not a number"),
        (
            {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"},
            "LOCAL_RANK=1 of LOCAL_WORLD_SIZE=1: ranks are 0 to 0",
        ),
    ],
)
def test_the_place(monkeypatch, variables, expected):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if isinstance(expected, Place):
        assert place() == expected
    else:
        with pytest.raises(ValueError, match=re.escape(expected)):
            place()


# --- records dealt ---


@pytest.mark.parametrize("budget", ["", "0"])  # resident, streamed
@pytest.mark.parametrize("count", [2, 3])
def test_records_are_dealt_one_by_one(tiny_lmdbs, monkeypatch, budget, count):
    """As DataLayer::Skip: rank r takes records r, r + n, ...; their crops are the image's own."""
    monkeypatch.setenv(memory.VARIABLE, budget)

    def feed(batch, *dealt):
        layer = caffe_pb.LayerParameter(name="data", type="Data", top=["data", "label"])
        layer.data_param.source = str(tiny_lmdbs / "train_lmdb")
        layer.data_param.backend = caffe_pb.DataParameter.LMDB
        layer.data_param.batch_size = batch
        layer.transform_param.crop_size, layer.transform_param.mirror = 6, True
        lines = []
        made = DataFeed(layer, caffe_pb.TRAIN, 7, "cpu", lambda text, where: lines.append(text),
                        *dealt)  # fmt: skip
        return made, lines

    (whole, told), parts = feed(4 * count), [feed(4, rank, count) for rank in range(count)]
    for _ in range(6):  # over the end of the 22 records, and more than once
        data, labels = whole.next()
        for rank, (part, _) in enumerate(parts):
            own_data, own_labels = part.next()
            assert torch.equal(own_data, data[rank::count])
            assert torch.equal(own_labels, labels[rank::count])
    for part, own_told in parts:
        assert own_told == [line.replace(f"size: {4 * count},", "size: 4,") for line in told]
        assert part.state() == whole.state()
        part.close()
    whole.close()
