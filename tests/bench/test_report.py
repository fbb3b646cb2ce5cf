"""Ratios, targets and tables of the page."""

import pytest

from bench.interleave import alternate, summary, times_faster
from bench.parts import Stopwatch
from bench.report import report, spread, table
from bench.targets import targets


def row(net, **seconds):
    names = {"hand": "by hand", "caffe": "C++ Caffe"}
    return {
        "net": net,
        "batch": 100,
        "width": 1,
        "steps": 3,
        "training": 1e9,
        "forward": 3e8,
        "differences": {"loss": 1e-7},
        "product": [2 * 2048**3 / 100e9],
        "parts": {"net": 0.096, "data": 0.002, "update": 0.001, "log": 0.0, "solver": 0.001},
        "seconds": {names.get(name, name): value for name, value in seconds.items()},
    }


def test_candidates_take_turns():
    turns = []

    def candidate(name, seconds):
        return lambda: turns.append(name) or seconds

    found = alternate({"a": candidate("a", 1), "b": candidate("b", 2)}, 3)
    assert turns == ["a", "b"] * 3 and found == {"a": [1, 1, 1], "b": [2, 2, 2]}


def test_ratios_are_taken_round_by_round():
    assert times_faster([1, 2, 10], [2, 4, 5]) == {"median": 2, "min": 0.5, "max": 2, "n": 3}
    assert summary([3, 1, 2]) == {"median": 2, "min": 1, "max": 3, "n": 3}


@pytest.mark.parametrize(
    ("hand", "caffe", "words"),
    [
        (0.1, 0.2, ["reached", "reached", "1.0 over"]),
        (0.09, 0.09, ["50 % short", "7 % short", "1.0 over"]),
    ],
)
def test_targets_of_all_cnn(hand, caffe, words):
    found = targets({"training": [row("allcnn-c", ours=[0.1], hand=[hand], caffe=[caffe])]})
    assert [line[-1] for line in found] == words
    assert found[0][0] == "allcnn-c: 1.8 x C++ Caffe"


def test_targets_of_small_steps():
    quick = {
        "training": [
            row("lenet", ours=[0.01], hand=[0.0081]),
            row("resnet20", ours=[0.01], hand=[0.005]),
        ]
    }
    (line,) = targets(quick)  # a step under 50 ms has no target beside LeNet's
    assert line == ["lenet: 0.8 x the hand-written loop (by hand)", "0.81", "reached"]


def test_the_faster_hand_written_loop_counts():
    found = targets({"training": [row("msplit1", ours=[0.1], hand=[0.2], compiled=[0.05])]})
    assert found[0] == ["msplit1: 0.97 x the hand-written loop (compiled)", "0.50", "48 % short"]


def test_page():
    page = report(
        {
            "about": {
                "machine": {
                    "device": "a processor",
                    "cores": 2,
                    "threads": 2,
                    "system": "s",
                    "commit": "c",
                    "versions": {"torch": "2"},
                },
                "date": "2026-01-02",
                "minutes": 3.2,
                "load": 0.1,
                "quick": False,
            },
            "ceilings": {"gemm": {1024: [100.0]}, "copy": [10.0], "threads": 2},
            "training": [row("allcnn-c", ours=[0.1, 0.1], hand=[0.2, 0.1])],
        }
    )
    # 100 GFLOP/s and 1e9 multiply-adds an image: 50 images/s at best; 1000 are measured
    assert "| All-CNN-C | 1.50 (1.00 to 2.00) | - | - | 100 (100 to 100) | 2000 % | 50.0 |" in page
    assert "| All-CNN-C | 96.0 | 2.00 | 1.00 | 0 | 1.00 |" in page
    assert "## Scaling" not in page and "--quick" not in page


def test_table_and_spread():
    assert table(["a", "b"], [[1, 2]]) == ["| a | b |", "| --- | ---: |", "| 1 | 2 |"]
    assert spread([0.001234, 0.002, 0.003], 1000) == "2.00 (1.23 to 3.00)"


def test_stopwatch_gives_each_function_its_own_time():
    watch = Stopwatch()

    class Owner:
        def outer(self):
            return self.inner() + 1

        def inner(self):
            return 1

    owner = Owner()
    ticks = iter(range(100))
    undo = [watch.watch(owner, "outer", "outer"), watch.watch(owner, "inner", "inner")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.perf_counter", lambda: float(next(ticks)))
        assert owner.outer() == 2
    for function in undo:
        function()
    assert watch.seconds == {"outer": 2.0, "inner": 1.0}
    owner.outer()
    assert watch.seconds == {"outer": 2.0, "inner": 1.0}
