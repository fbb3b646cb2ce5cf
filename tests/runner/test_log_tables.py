"""What is made of the rows: one training of several runs, losses, accuracies, the best."""

from math import inf, nan

import pytest

from runner.log import Log, Series, json_number


@pytest.fixture
def training(tmp_path):
    """training(log, ...): what the file with these logs, one after the other, adds up to."""

    def training(*logs):
        path = tmp_path / "runs.log"
        path.write_text("".join(log.text() for log in logs))
        log = Log(path)
        log.read()
        return log.training()

    return training


def test_a_resumed_run_continues_from_its_first_iteration(training, writer):
    first = writer().solving("A")
    for iteration in (0, 100, 200):  # stopped before its snapshot at 100 was of use at 200
        first.test(iteration, ("accuracy", f"0.{iteration}"))
        first.display(iteration, str(iteration))
    again = writer(start="2016-11-25 10:00:00").solving("A")
    for iteration in (100, 200, 300):
        again.test(iteration, ("accuracy", "0.9"))
        again.display(iteration, f"-{iteration}", rate="0.5")
    run = training(first, again.done())
    assert run.loss.iterations == run.tests[0].iterations == [0, 100, 200, 300]
    assert run.loss.outputs() == {"loss": [0, -100, -200, -300]}
    assert run.tests[0].outputs() == {"accuracy": [0, 0.9, 0.9, 0.9]}
    assert run.loss.rates == [0.01, 0.5, 0.5, 0.5]
    assert run.loss.seconds == sorted(run.loss.seconds)
    assert run.ended == "done"
    # 3 s an iteration: what was abandoned, and three days of pause, do not count
    assert 12 < run.seconds < 12.1


def test_of_a_training_started_over_the_last_attempt_remains(training, example):
    run = training(example(net="old"), example(net="new", accuracies=("0.3",)))
    assert run.net == "new"
    assert run.tests[0].outputs()["accuracy"] == [0.3]
    assert run.tests[0].seconds[0] == 1.003


def test_three_runs_and_outputs_that_come_and_go(training, writer):
    logs = []
    for start, name in ((0, "a"), (20, "b"), (40, "a")):
        log = writer().solving()
        for iteration in (start, start + 10):
            log.display(iteration, "1", (name, "1"))
        logs.append(log)
    run = training(*logs)
    assert run.train.iterations == [0, 10, 20, 30, 40, 50]
    assert run.train.outputs() == {
        "a": [1, 1, None, None, 1, 1],
        "b": [None, None, 1, 1, None, None],
    }


def test_a_run_that_logged_nothing_cuts_nothing_off(training, example, writer):
    assert training(example(), writer().solving("never came far")).net == "LeNet"


def test_losses_are_weighted_and_summed(training, writer):
    log = writer().solving()
    log.test(0, ("loss1", "2", 0.3), ("loss2", "1", 1), ("acc", "0.1"))
    log.test(0, ("loss", "4", 0.5), net=1)
    log.line("Iteration 0, lr = 0.1")
    run = training(log)
    losses = {series.label: series.values for series in run.test_losses()}
    assert losses == {"test loss": [1.6], "net1/test loss": [2.0]}
    assert run.train_loss() is None


def test_train_loss_without_displayed_loss_is_that_of_the_outputs(training, writer):
    log = writer().solving().display(0, "1", ("loss1", "2", 0.3), ("loss2", "1", 1))
    log.lines = [line for line in log.lines if "), loss = " not in line]
    log.lines.insert(4, "I1122 10:00:00.000000 1 s.cpp:1] Iteration 0, lr = 0.1")
    assert training(log).train_loss().values == [1.6]


@pytest.mark.parametrize(
    ("outputs", "labels"),
    [
        ([("accuracy", "0.1"), ("loss", "1", 1)], ["accuracy"]),
        ([("top-1", "0.1"), ("accuracy@5", "0.2")], ["top-1", "accuracy@5"]),
        ([("accuracy", "0.1"), ("all", "0.2")], ["accuracy"]),
        ([("score", "0.1"), ("pairs", "17")], ["score"]),
        ([("detection_eval", "0.7")], ["detection_eval"]),
        ([("accuracy", "0.1"), ("per_class", "0.2"), ("per_class", "0.3")], ["accuracy"]),
        (
            [("loss1/accuracy", "0.1"), ("loss3/top-5", "0.2"), ("loss3/loss", "0.3", 1)],
            ["loss1/accuracy", "loss3/top-5"],
        ),
        ([("loss", "0.5", 1), ("test_error", "0.2"), ("cross_entropy", "0.3")], []),
    ],
)
def test_which_outputs_are_accuracies(training, writer, outputs, labels):
    run = training(writer().solving().test(0, *outputs))
    assert [series.label for series in run.accuracies()] == labels


def test_a_test_without_a_loss_is_judged_by_the_displayed_one(training, writer):
    log = writer().solving().test(0, ("acc", "0.3")).display(0, "2").display(50, "nan")
    (accuracy,) = training(log.test(100, ("acc", "1"))).accuracies()
    assert (accuracy.values, accuracy.best()) == ([0.3, 1.0], 0)


def test_accuracies_of_several_nets(training, writer):
    log = writer().solving().test(0, ("acc", "0.1")).test(0, ("acc", "0.2"), net=1)
    found = {series.label: series.values for series in training(log).accuracies()}
    assert found == {"acc": [0.1], "net1/acc": [0.2]}


@pytest.mark.parametrize(
    ("values", "best", "final"),
    [
        ([0.1, 0.9, 0.9, 0.5], 1, 0.5),
        ([nan, 0.2, None], 1, 0.2),
        ([nan, nan], None, nan),
        ([None], None, None),
        ([], None, None),
        ([-inf, inf], 1, inf),
    ],
)
def test_best_and_final(values, best, final):
    series = Series("accuracy", range(len(values)), range(len(values)), values)
    assert series.best() == best
    assert repr(series.final()) == repr(final)


def test_json_numbers():
    shown = [json_number(value) for value in (nan, inf, -inf, 0.5, 3, None, "text")]
    assert shown == ["NaN", "Infinity", "-Infinity", 0.5, 3, None, "text"]
