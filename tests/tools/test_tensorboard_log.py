"""Logs as TensorBoard reads them back."""

import numpy as np
import pytest

from caffe_tools.tensorboard_log import Board
from netgen import growth
from runner.log import Log

event_accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator",
    reason="tensorboard, an extra, is not installed",
)


def read(folder):
    """The accumulator of a run's folder, and {tag: [(iteration, value)]} of its scalars."""
    events = event_accumulator.EventAccumulator(str(folder))
    events.Reload()
    scalars = {
        tag: [(event.step, pytest.approx(event.value)) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }
    return events, scalars


def test_every_curve_of_every_log_is_a_scalar(tool, example, writer, tmp_path):
    example(net="A").done().write(tmp_path / "a.log")
    two = writer(prefix=False).solving("B").test(0, ("top-1", "0.5"), net=0)
    two.test(0, ("top-1", "0.25"), net=1).display(0, "7", ("x", "1"), ("x", "nan"))
    two.write(tmp_path / "b.log")
    status, out, err = tool("tensorboard_log", "a.log", "b.log", "-o", "board", cwd=tmp_path)
    assert (status, out, err) == (0, "Wrote board: tensorboard --logdir board\n", "")
    events, scalars = read(tmp_path / "board" / "a")
    assert scalars["loss"] == scalars["train/loss"] == [(0, 2.3), (100, 1.15), (200, 0.766667)]
    assert scalars["test/accuracy"] == [(0, 0.1), (100, 0.8), (200, 0.7)]
    assert scalars["learning_rate"] == [(0, 0.01), (100, 0.01), (200, 0.01)]
    lapse = [event.wall_time for event in events.Scalars("loss")]
    assert lapse[1] - lapse[0] == pytest.approx(3, abs=0.1)  # a test of 1 s, then 2 s
    _, scalars = read(tmp_path / "board" / "b")
    assert scalars == {
        "loss": [(0, 7)],
        "learning_rate": [(0, 0.01)],
        "train/x[0]": [(0, 1)],
        "test/top-1": [(0, 0.5)],
        "test/net1/top-1": [(0, 0.25)],
    }


def test_a_log_that_grows_adds_and_one_that_goes_back_replaces(example, writer, tmp_path):
    path, board = tmp_path / "a.log", Board(str(tmp_path / "board"))
    text = example(("0.1", "0.2", "0.3")).text()
    again = writer(start="2016-11-22 11:00:00").solving().display(100, "9").text()
    log = Log(path)
    for content in (text[: len(text) // 2], text, text + again):
        path.write_text(content)
        log.read()
        board.write("a", log.training())
    board.close()
    _, scalars = read(tmp_path / "board" / "a")
    assert scalars["loss"] == [(0, 2.3), (100, 9)]
    assert scalars["test/accuracy"] == [(0, 0.1)]


def test_measurements_are_histograms(tmp_path):
    layer = growth.LayerMeasurement(
        name="conv1", num_output=3, entropy=1.0, histogram=(1, 0, 2), tpm=(0.1, 0.8, 0.9),
        group=1, classifier=False, shared=False, dead=(False,) * 3,
    )  # fmt: skip
    measured = growth.Measurement(
        net="n", window=(100, 200), bins=3, rate_drops=(), layers=(layer,)
    )
    (tmp_path / "tpm.json").write_text(measured.to_json())
    board = Board(str(tmp_path / "board"))
    board.write_tpm(str(tmp_path / "tpm.json"))
    board.close()
    events, _ = read(tmp_path / "board" / "tpm")
    (event,) = events.Histograms("tpm/conv1")
    value = event.histogram_value
    assert event.step == 200 and (value.min, value.max, value.num) == (0.1, 0.9, 3)
    assert value.sum == pytest.approx(np.sum([0.1, 0.8, 0.9]))


def test_a_log_without_iterations_is_left_out(tool, example, tmp_path):
    example(net="A").done().write(tmp_path / "a.log")
    (tmp_path / "b.log").write_text("nothing\n")
    status, out, err = tool("tensorboard_log", "b.log", "a.log", "-o", "board", cwd=tmp_path)
    assert (status, out.count("\n")) == (0, 1)
    assert err == "b.log: no iterations found, left out\n"
    assert (tmp_path / "board" / "a").is_dir() and not (tmp_path / "board" / "b").exists()


def test_nothing_to_read_is_one_line(tool, tmp_path):
    (tmp_path / "a.log").write_text("nothing\n")
    status, out, err = tool("tensorboard_log", "a.log", "-o", "board", cwd=tmp_path)
    assert (status, out) == (1, "") and err.count("\n") == 1
    assert "a.log: no iterations found" in err
