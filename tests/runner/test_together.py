"""Several trainings in one process: each is what it would be alone."""

import os
import signal
from pathlib import Path

import pytest

FIELDS = {"max_iter": 12, "test_interval": 5, "snapshot": 6}


@pytest.fixture
def pair(work, write_solver):
    """Paths of two solvers: another seed and another rule."""
    return [
        write_solver("one", **FIELDS, snapshot_prefix='"one"', random_seed=1),
        write_solver("two", **FIELDS, snapshot_prefix='"two"', random_seed=2, type='"Nesterov"'),
    ]


def snapshots(name, iteration=12):
    return [
        Path(f"{name}_iter_{iteration}.{kind}").read_bytes()
        for kind in ("caffemodel", "solverstate")
    ]


def test_trainings_at_once_are_the_trainings_alone(caffe, pair, read_result):
    alone, printed = {}, {}
    for path in pair:
        result = caffe("train", "-solver", path)
        name = path.removesuffix(".prototxt")
        alone[name], printed[name] = snapshots(name), result.trained()
        for file in Path().glob("*_iter_*"):
            file.unlink()
    os.mkdir("logs")
    result = caffe("train", "-solver", ",".join(pair))
    assert result.status == 0, result.err
    for name, expected in alone.items():
        assert snapshots(name) == expected
        (log,) = Path("logs").glob(f"{name}.*.log")
        assert read_result(0, "", log.read_text()).trained() == printed[name]
        assert any(message.startswith(f"{name}: Iteration 0") for message in result.messages)


def test_they_are_resumed_at_once(caffe, pair):
    both = ",".join(pair)
    caffe("train", "-solver", both)
    whole = {name: snapshots(name) for name in ("one", "two")}
    for name in whole:
        os.remove(f"{name}_iter_12.caffemodel")
    states = "one_iter_6.solverstate,two_iter_6.solverstate"
    assert caffe("train", "-solver", both, "-snapshot", states).status == 0
    assert {name: snapshots(name) for name in whole} == whole
    result = caffe("train", "-solver", both, "-snapshot", "one_iter_6.solverstate")
    assert result.status == 1
    assert result.messages[-1] == "-snapshot names 1 states for 2 solvers"


def test_one_that_fails_leaves_the_others_alone(caffe, pair, write_solver):
    bad = write_solver("bad", net='"net.prototxt"', snapshot_prefix='"bad"', type='"Sgd"')
    result = caffe("train", "-solver", ",".join([bad, *pair]))
    assert result.status == 1
    fatal = [message for severity, _, message in result.lines if severity == "F"]
    assert len(fatal) == 1 and fatal[0].startswith("bad: Unknown solver type: Sgd")
    assert all(os.path.exists(f"{name}_iter_12.caffemodel") for name in ("one", "two"))


def test_the_same_snapshots_are_refused(caffe, pair, write_solver):
    again = write_solver("again", snapshot_prefix='"./one"')
    result = caffe("train", "-solver", f"{pair[0]},{again}")
    assert result.status == 1
    assert result.messages[-1] == (
        "one.prototxt and again.prototxt have the same snapshot_prefix './one': "
        "they would overwrite each other's snapshots"
    )
    assert not list(Path().glob("*_iter_*"))


def test_ctrl_c_stops_them_all(caffe, write_solver, on_line):
    paths = [
        write_solver(name, max_iter=100_000, display=1, test_interval=0, test_iter=None,
                     snapshot_prefix=f'"{name}"')
        for name in ("one", "two")
    ]  # fmt: skip
    on_line("Iteration 20 ", lambda: os.kill(os.getpid(), signal.SIGINT))
    result = caffe("train", "-solver", ",".join(paths))
    assert result.status == 0
    stopped = [m for m in result.messages if m.endswith("Optimization stopped early.")]
    assert len(stopped) == 2
    assert len(list(Path().glob("*.solverstate"))) == 2


def test_names_of_solvers_in_folders_stay_apart():
    from runner.commands.together import titles

    assert titles(["a/solver.prototxt", "b/solver.prototxt"]) == ["a_solver", "b_solver"]
    assert titles(["a/one.prototxt", "b/two.prototxt"]) == ["one", "two"]
