import json
import subprocess
import sys
from pathlib import Path

import pytest

from caffe_tools.best_accuracy import COLUMNS


def test_table(tool, example, writer, tmp_path):
    example(net="A").done().write(tmp_path / "a.log")
    example(net="B", accuracies=("0.1", "0.9", "0.9")).wait(7200).done().write(tmp_path / "b.log")
    writer(prefix=False).solving("").display(0, "2.3").write(tmp_path / "none.log")
    paths = [tmp_path / name for name in ("a.log", "b.log", "none.log")]
    status, out, err = tool("best_accuracy", *paths)
    assert (status, err) == (0, "")
    assert [line.split() for line in out.replace(f"{tmp_path}/", "").splitlines()] == [
        list(COLUMNS),
        ["a.log", "A", "accuracy", "0.8", "100", "4", "s", "0.7", "9", "s", "done"],
        ["b.log", "B", "accuracy", "0.9", "100", "4", "s", "0.9", "2", "h", "00", "min", "done"],
        ["none.log", "-", "-", "-", "-", "-", "-", "-", "unfinished"],
    ]


def test_json(tool, writer, tmp_path):
    log = writer().solving("G").test(0, ("top-1", "0.2"), ("top-5", "nan"))
    log.test(0, ("top-1", "0.1"), net=1).test(50, ("top-1", "0.4"), ("top-5", "nan"))
    path = log.write(tmp_path / "g.log")
    status, out, _ = tool("best_accuracy", "--json", path)
    assert status == 0
    rows = json.loads(out, parse_constant=pytest.fail)
    common = {"log": str(path), "net": "G", "time": 3.008, "state": "unfinished"}
    tests = [row.pop("tests") for row in rows]
    assert rows == [
        common | {"output": "top-1", "best": 0.4, "iteration": 50, "after": 3.008, "final": 0.4},
        common
        | {"output": "top-5", "best": None, "iteration": None, "after": None, "final": "NaN"},
        common
        | {"output": "net1/top-1", "best": 0.1, "iteration": 0, "after": 2.006, "final": 0.1},
    ]
    assert [[(t["iteration"], t["seconds"], t["value"]) for t in each] for each in tests] == [
        [(0, 1.003, 0.2), (50, 3.008, 0.4)],
        [(0, 1.003, "NaN"), (50, 3.008, "NaN")],
        [(0, 2.006, 0.1)],
    ]


def test_a_line_for_each_test(tool, writer, tmp_path):
    log = writer().solving("G").test(0, ("acc", "0.2")).wait(7200).test(50, ("acc", "0.4"))
    path = log.write(tmp_path / "g.log")
    status, out, _ = tool("best_accuracy", "--tests", path)
    lines = [line.split() for line in out.replace(f"{tmp_path}/", "").splitlines()]
    assert status == 0 and lines == [
        ["log", "net", "output", "iteration", "seconds", "value"],
        ["g.log", "G", "acc", "0", "1.003000", "0.2"],
        ["g.log", "G", "acc", "50", "7202.005000", "0.4"],
    ]


def test_a_diverged_test_never_wins_and_what_cannot_be_read_is_said(tool, writer, tmp_path):
    log = writer().solving("G").test(0, ("accuracy", "0.44"), ("loss", "1.6", 1))
    log.test(50, ("accuracy", "1"), ("loss", "nan", 1)).test(100, ("accuracy", "?"))
    status, out, err = tool("best_accuracy", "--json", log.write(tmp_path / "g.log"))
    (row,) = json.loads(out)
    assert (status, row["best"], row["iteration"], row["final"]) == (0, 0.44, 0, 1.0)
    assert row["state"] == "unfinished, loss not finite"
    assert "1 line that tells a net output could not be read" in err
    assert err.endswith("Test net output #0: accuracy = ?\n")


def test_bad_input_is_one_line(tool, tmp_path):
    assert tool("best_accuracy", "absent.log") == (
        1, "", "best_accuracy: absent.log: No such file or directory\n"
    )  # fmt: skip
    status, _, err = tool("best_accuracy", "--nonsense", "x.log")
    assert (status, err.count("\n")) == (1, 1)


def test_a_reader_that_stops_early_is_no_error(example, tmp_path):
    path = example().write(tmp_path / "a.log")
    script = Path(__file__).parents[2] / "tools" / "best_accuracy.py"
    command = [sys.executable, script, *[str(path)] * 3000]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    first.stdout.readline()
    first.stdout.close()
    assert first.stderr.read() == ""
    first.stderr.close()
    assert first.wait() == 141
