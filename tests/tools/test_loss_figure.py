"""The drawing itself: what is on the axes, and that odd values do no harm."""

from math import nan

import numpy as np
import pytest
from matplotlib.figure import Figure

from caffe_tools.figures.loss import draw, running_mean, thin
from runner.log import Log, LogError


@pytest.fixture
def drawn(tmp_path):
    """drawn({label: log}, ...): the axes of a figure that was also rendered."""

    def drawn(logs, **options):
        trainings = {}
        for label, log in logs.items():
            read = Log(log.write(tmp_path / "a.log"))
            read.read()
            trainings[label] = read.training()
        figure = Figure(layout="constrained")
        draw(figure, trainings, **options)
        figure.savefig(tmp_path / "a.png")
        return figure.axes

    return drawn


def texts(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_curves_labels_and_best(drawn, example):
    losses, accuracies = drawn({"net": example().done()})
    train, test = losses.get_lines()
    assert list(train.get_xdata()) == list(test.get_xdata()) == [0, 100, 200]
    assert list(train.get_ydata()) == [2.3, 1.15, 0.766667]
    curve, star = accuracies.get_lines()
    assert list(curve.get_ydata()) == [0.1, 0.8, 0.7]
    assert (star.get_xdata()[0], star.get_ydata()[0], star.get_marker()) == (100, 0.8, "*")
    assert (losses.get_ylabel(), accuracies.get_ylabel()) == ("loss", "test accuracy")
    assert accuracies.get_xlabel() == "iteration"
    assert texts(losses) == ["net", "train", "test"]
    assert texts(accuracies) == ["net: best accuracy 0.8 at 100"]


def test_state_of_unfinished_and_diverged_runs(drawn, writer, example):
    log = writer().solving()
    for iteration, loss in ((0, "2"), (100, "nan"), (200, "3"), (300, "nan"), (400, "inf")):
        log.display(iteration, loss)
    (losses,) = drawn({"a": example(), "b": log.line("Optimization stopped early.")})[:1]
    assert texts(losses)[:2] == [
        "a, now at iteration 200",
        "b, inf from 300 on, stopped at iteration 400",
    ]


def test_a_chain_goes_on_where_the_one_before_ended(drawn, example):
    logs = {"parent": example().done(), "child": example(("0.7", "0.9")).done()}
    losses, accuracies = drawn(logs, chain=True)
    parent, _, child, _, join = losses.get_lines()
    assert list(parent.get_xdata()) == [0, 100, 200] and list(child.get_xdata()) == [200, 300]
    assert list(join.get_xdata()) == [200, 200]
    assert texts(accuracies)[1] == "child: best accuracy 0.9 at 100 of its own"
    losses = drawn(logs, chain=True, x="seconds")[0]
    parent, _, child, _, _ = losses.get_lines()
    assert child.get_xdata()[0] == pytest.approx(parent.get_xdata()[-1], abs=5)
    assert child.get_xdata()[0] >= parent.get_xdata()[-1]


def test_two_test_nets_are_told_apart_and_the_legend_covers_no_curve(drawn, writer):
    log = writer().solving()
    for iteration in (0, 100):
        for net in (0, 1):
            log.test(iteration, ("acc", f"0.{net + 1}"), ("loss", "2", 1), net=net)
    losses, accuracies = drawn({"a": log.done()})
    assert len({line.get_linestyle() for line in losses.get_lines()}) == 2
    assert texts(losses) == ["a", "train", "test", "net1/test"]
    for axes in (losses, accuracies):
        assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1


def test_seconds_in_a_fitting_unit(drawn, writer):
    for pause, unit, last in ((20, "seconds", 22), (3600, "minutes", 60), (36000, "hours", 10)):
        log = writer().solving().display(0, "1").wait(pause).display(1, "1")
        (axes,) = drawn({"a": log}, x="seconds")
        assert axes.get_xlabel() == f"training time in {unit}"
        assert axes.get_lines()[0].get_xdata()[-1] == pytest.approx(last, rel=0.2)


def test_seconds_need_time_stamps(drawn, writer):
    log = writer(prefix=False).solving().display(0, "1")
    assert len(drawn({"a": log})) == 1
    with pytest.raises(LogError, match="^a: a log without time stamps; leave out --x seconds$"):
        drawn({"a": log}, x="seconds")


def test_logarithmic_only_where_losses_span_decades(drawn, writer):
    def scale(*losses):
        log = writer().solving()
        for iteration, loss in enumerate(losses):
            log.display(iteration, loss)
        return drawn({"a": log})[0].get_yscale()

    assert scale("2.3", "1.0", "0.5") == "linear"
    assert scale("2.3", "1.0", "0.01") == "log"
    assert scale("2.3", "1e30", "inf") == "log"
    assert scale("2.3", "-0.5", "0.01") == "linear"
    assert scale("nan", "nan") == "linear"


@pytest.mark.parametrize("count", [1, 9, 30])
def test_many_logs_and_single_points(drawn, example, count):
    logs = {f"net {index}": example(accuracies=("0.5",)) for index in range(count)}
    losses, accuracies = drawn(logs, average=3)
    assert len({line.get_color() for line in accuracies.get_lines()}) == count
    assert losses.get_xlim()[1] - losses.get_xlim()[0] > 1  # no fractions of an iteration
    legend = losses.get_legend() or losses.figure.legends[0]
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown[-2:] == ["train, mean of 3", "test"]
    assert len(shown) == count + 2


def test_running_mean():
    values = np.array([1.0, 3.0, 5.0, nan, 7.0])
    assert running_mean(values, 1) is values
    assert running_mean(values, 2).tolist()[:3] == [1, 2, 4]
    assert np.isnan(running_mean(values, 2)[3])
    assert running_mean(values, 2)[4] == 7
    assert running_mean(values, 99)[2] == 3
    assert running_mean(np.array([np.inf, 2.0]), 2)[1] == 2


def test_thinned_curves_keep_their_spikes():
    at = np.arange(100_003.0)
    values = np.sin(at / 1000)
    values[50_000], values[70_000] = 9, -9
    values[20_000:21_000] = nan
    kept_at, kept = thin(at, values, most=1000)
    assert len(kept) <= 1300
    assert (np.nanmax(kept), np.nanmin(kept)) == (9, -9)
    assert np.isnan(kept).any()
    assert (np.diff(kept_at) > 0).all()
    assert thin(at[:500], values[:500], most=1000)[1] is not None
    assert len(thin(at[:500], values[:500], most=1000)[1]) == 500
