"""The harness itself: does it see what differs, and excuse only what is known?"""

import numpy as np
import pytest
from harness import fillers, older
from harness.engines import CRASHED, Embedded
from harness.families import families
from harness.judge import Verdict, compare
from harness.judges import Frozen
from harness.outcome import Outcome, last_snapshot, log_lines
from harness.results import Results

from netgen import schema

BLOBS = {"conv/0": np.array([1.0, -2.0, 3.0]), "conv/0.diff": np.array([0.5, 0.25])}
LOG = ["solver.cpp:239] Iteration 1, loss = 1.5", "solver.cpp:414]     loss = 0.25"]


def outcome(status=0, blobs=BLOBS, log=LOG):
    return Outcome(status, blobs, log)


def test_equal_outcomes_agree():
    verdict = compare(outcome(), outcome())
    assert verdict.complaints == [] and verdict.errors == {"weights": 0.0, "backward": 0.0}


@pytest.mark.parametrize(
    "got, complaint",
    [
        (outcome(blobs={**BLOBS, "conv/0": np.array([1, -2, 3.001])}), "conv/0 off by 0.00033"),
        (outcome(blobs={**BLOBS, "conv/0": np.array([1, -2, np.nan])}), "conv/0 off by inf"),
        (outcome(blobs={**BLOBS, "conv/0": np.zeros(2)}), "conv/0 has shape (2,), expected (3,)"),
        (outcome(blobs={"conv/0": BLOBS["conv/0"]}), "conv/0.diff missing"),
        (outcome(log=[LOG[0].replace("1.5", "1.501"), LOG[1]]), "log line 'solver.cpp:239]"),
        (outcome(log=[LOG[0].replace("loss", "lost"), LOG[1]]), "log line 'solver.cpp:239]"),
        (outcome(log=LOG[:1]), "log lacks expected: 'solver.cpp:414]     loss = 0.25'"),
        (outcome(status=1), "refused, unlike Caffe: solver.cpp:414]"),
        (outcome(status=CRASHED), "crashed: "),
    ],
)
def test_what_differs_is_told(got, complaint):
    (told,) = compare(got, outcome()).complaints
    assert told.startswith(complaint)


def test_an_array_is_held_to_be_no_more_exact_than_it_is_by_itself():
    got = outcome(blobs={**BLOBS, "conv/0": np.array([1, -2, 3.001])})  # off by 0.00033
    assert compare(got, outcome(), moved={"conv/0": 2e-4}).complaints == []
    for moved in ({"conv/0": 1e-4}, {"conv/0.diff": 1.0}, {}):
        assert compare(got, outcome(), moved=moved).complaints == ["conv/0 off by 0.00033"]


class Faulty:
    """The embedded engine, but for one blob of its snapshot that is too large by a factor."""

    def __init__(self, blob, factor):
        self.engine = Embedded()
        (self.layer, self.index), self.factor = blob.split("/"), factor

    def call(self, words, folder):
        status, log = self.engine.call(words, folder)
        stem, _ = last_snapshot(folder)
        if self.layer == "history":
            path, message = f"{stem}.solverstate", schema.read_solverstate(f"{stem}.solverstate")
            blob = message.history[int(self.index)]
        else:
            path, message = f"{stem}.caffemodel", schema.read_caffemodel(f"{stem}.caffemodel")
            (layer,) = (layer for layer in message.layer if layer.name == self.layer)
            blob = layer.blobs[int(self.index)]
        schema.array_to_blob(schema.blob_to_array(blob) * np.float32(self.factor), blob)
        schema.write_binary(message, path)
        return status, log


@pytest.mark.parametrize(
    "blob, factor", [("history/1", 1.02), ("history/0", 1.002), ("conv/0", 1.0002)]
)
def test_a_fault_is_seen_beside_what_cancels(blob, factor):
    """history/1 is a sum that cancels; all the same it and the others are not let off."""
    judge = Frozen()
    judge.ours = Faulty(blob, factor)
    (case,) = (c for c in families()["finds"] if c.name == "mvn_in_place_overwritten")
    (told,) = judge.judge(case).complaints
    assert told.startswith(f"{blob} off by ")


def test_a_difference_that_is_meant_must_be_there():
    assert compare(outcome(status=1), outcome(), differs="why").complaints == []
    assert compare(outcome(), outcome(), differs="why").complaints == [
        "no longer differs from Caffe (why)"
    ]


def test_logs_are_compared_without_times():
    lines = [
        f"I1122 18:53:0{i}.699923  576{i} solver.cpp:239] "
        f"Iteration 1 ({i}.5 iter/s, {i}s/1 iters), loss = 1"
        for i in (1, 2)
    ]
    assert log_lines(lines[0]) == log_lines(lines[1]) == ["solver.cpp:239] Iteration 1, loss = 1"]


def test_only_what_is_known_of_the_older_fork_is_excused():
    case = families()["neuron"][0]
    results = Results("a fork", {f"neuron/{case.name}": "why"})
    assert results.add(case, Verdict(["off by 1"])) == "" and results.agree
    assert results.quirks_seen() == {"why": 1}
    assert "0 of 1 agree, 1 more differ as is known" in results.summary()
    assert "no longer differs from the older fork: why" in results.add(case, Verdict())
    assert "crashed" in results.add(case, Verdict(["crashed: []"]))
    assert not results.agree
    assert "off by 1" in Results("a fork", {}).add(case, Verdict(["off by 1"]))


def test_what_is_known_of_the_older_fork_names_cases():
    known = {f"{family}/{case.name}" for family, cases in families().items() for case in cases}
    known |= {f"fillers/{filler.name}" for filler in fillers.entries()}
    assert older.reasons().keys() <= known
