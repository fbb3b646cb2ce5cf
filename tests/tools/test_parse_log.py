"""Logs as CSV, which is Caffe's own, and as JSON."""

import json

import pytest

from caffe_tools.parse_log import COLUMNS

CAFFES = ("NumIters", "Seconds", "LearningRate")  # the columns that Caffe's own tables begin with


def rows(path, delimiter=","):
    """The lines of a table, with Caffe's columns alone of those that every table has."""
    lines = path.read_bytes().decode().split("\r\n")
    assert lines.pop() == ""  # every line ends as Caffe's do
    cells = [line.split(delimiter) for line in lines]
    assert tuple(cells[0][: len(COLUMNS)]) == tuple(COLUMNS)
    kept = [i for i, name in enumerate(cells[0]) if name in CAFFES or name not in COLUMNS]
    return [",".join(row[i] for i in kept) for row in cells]


HEADER = ",".join(CAFFES)


@pytest.fixture
def log(tmp_path, writer):
    log = writer().solving("AlexNet")
    log.test(0, ("accuracy", "0.1"), ("loss", "2.30314", 1))
    log.display(0, "2.3", ("loss", "2.3049", 1), rate="0.05")
    log.display(100, "1.7", ("loss", "nan", 1), rate="1e-05")
    log.test(200, ("accuracy", "0.9028"), ("loss", "-inf", 1))
    return log.done().write(tmp_path / "alex.log")


def test_csv_as_caffes_own(tool, log, tmp_path):
    assert tool("parse_log", log, tmp_path) == (0, "", "")
    train, test = tmp_path / "alex.log.train", tmp_path / "alex.log.test"
    assert rows(train) == [
        f"{HEADER},loss",
        "0.0,3.006,0.05,2.3049",
        "100.0,5.009,1e-05,nan",
    ]
    assert rows(test) == [
        f"{HEADER},accuracy,loss",
        "0.0,1.003,0.05,0.1,2.30314",
        "200.0,6.012,1e-05,0.9028,-inf",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "alex.log", "alex.log.test", "alex.log.train"
    ]  # fmt: skip


def test_goes_beside_the_log_or_into_a_new_folder(tool, log, tmp_path):
    status, out, _ = tool("parse_log", log, "--verbose", "--delimiter", r"\t")
    assert (status, out) == (0, f"Wrote {log}.train\nWrote {log}.test\n")
    assert rows(tmp_path / "alex.log.train", "\t")[0].startswith(HEADER)
    assert tool("parse_log", log, tmp_path / "new" / "folder")[0] == 0
    assert (tmp_path / "new" / "folder" / "alex.log.test").exists()


def test_json(tool, log, tmp_path):
    status, out, _ = tool("parse_log", "--json", log)
    assert status == 0
    (document,) = json.loads(out, parse_constant=pytest.fail)  # strict: no bare NaN
    assert (document["log"], document["net"], document["ended"]) == (str(log), "AlexNet", "done")
    (run,) = document["runs"]
    shown = {"NumIters": 200, "Seconds": 6.012, "LearningRate": 1e-05}
    shown |= {"accuracy": 0.9028, "loss": "-Infinity"}
    assert run["test"]["0"][1].items() >= shown.items()
    assert run["test"]["0"][1].keys() == {*COLUMNS, "accuracy", "loss"}
    assert run["train"][1]["loss"] == "NaN"
    assert [row["loss"] for row in run["loss"]] == [2.3, 1.7]
    assert tool("parse_log", "--json", log, tmp_path) == (0, "", "")
    assert json.loads((tmp_path / "alex.log.json").read_text()) == document


def test_runs_are_joined_in_csv_and_apart_in_json(tool, example, tmp_path):
    path = tmp_path / "twice.log"
    path.write_text(example().text() + example(accuracies=("0.5", "0.6")).text())
    status, out, err = tool("parse_log", path)
    assert (status, out) == (0, "")
    assert err == (
        f"{path}: 9 rows of earlier runs were repeated by later ones"
        " and are left out (--json has them)\n"
    )
    shown = rows(tmp_path / "twice.log.test")
    assert [row.split(",")[len(CAFFES)] for row in shown] == ["accuracy", "0.5", "0.6"]
    (document,) = json.loads(tool("parse_log", path, "--json")[1])
    assert [len(run["train"]) for run in document["runs"]] == [3, 2]


def test_several_test_nets_lie_side_by_side(tool, writer, tmp_path):
    log = writer().solving()
    log.test(0, ("acc", "0.1"), ("cls", "1"), ("cls", "2")).test(0, ("acc", "0.2"), net=1)
    log.test(100, ("acc", "0.3"), net=1)
    path = log.write(tmp_path / "two.log")
    assert tool("parse_log", path)[0] == 0
    assert rows(tmp_path / "two.log.test") == [
        f"{HEADER},acc,cls[0],cls[1],net1/acc",
        "0.0,1.003,nan,0.1,1.0,2.0,0.2",
        "100.0,3.009,nan,,,,0.3",
    ]
    assert not (tmp_path / "two.log.train").exists()


def test_without_train_outputs_the_displayed_loss_is_the_train_table(tool, writer, tmp_path):
    writer().solving().display(0, "2.3").write(tmp_path / "bare.log")
    assert tool("parse_log", tmp_path / "bare.log")[0] == 0
    assert rows(tmp_path / "bare.log.train") == [f"{HEADER},loss", "0.0,2.002,0.01,2.3"]


def test_bad_input_is_one_line_and_writes_nothing(tool, log, tmp_path):
    (tmp_path / "no.log").write_text("hello\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "alex.log").write_bytes(log.read_bytes())
    before = sorted(tmp_path.rglob("*"))
    for arguments, message in [
        ([tmp_path / "no.log", tmp_path], "no.log: no iterations found; is it a Caffe"),
        ([log, "absent.log"], "absent.log: No such file or directory"),
        ([tmp_path], "is a folder; which log is to be read?"),
        ([log, tmp_path / "folder" / "alex.log", tmp_path], "two logs named alex.log cannot go"),
        ([log, "--delimiter", "--"], "--delimiter"),
        ([log, "/dev/null/x"], "Not a directory"),
        ([], "LOG"),
    ]:
        status, out, err = tool("parse_log", *arguments)
        assert (status, out) == (1, "")
        assert err.startswith("parse_log: ")
        assert message in err
        assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_of_several_logs_one_without_iterations_is_left_out(tool, log, tmp_path, form):
    """It is said which, and the others are there; so for best_accuracy."""
    (tmp_path / "no.log").write_text("hello\n")
    (tmp_path / "empty.log").write_text("")
    (tmp_path / "out").mkdir()
    names = [tmp_path / "no.log", log, tmp_path / "empty.log"]
    status, out, err = tool("parse_log", *names, tmp_path / "out", *form)
    assert (status, out) == (0, "")
    told = [f"{name}: no iterations found, left out" for name in (names[0], names[2])]
    assert err.splitlines() == told
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == ({f"{log.name}.json"} if form else {f"{log.name}.train", f"{log.name}.test"})
    status, out, err = tool("best_accuracy", *names, *form)
    assert status == 0 and err.splitlines() == told and str(log) in out
    assert str(names[0]) not in out
