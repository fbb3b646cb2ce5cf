"""Commands run and timed, and steps read from logs of every Caffe."""

import sys

import pytest

from bench.processes import Failed, displayed, run, seconds_a_step

OLD = """I1122 23:59:58.500000 12345 solver.cpp:228] Iteration 0, loss = 2.3
I1122 23:59:58.600000 12345 sgd_solver.cpp:106] Iteration 0, lr = 0.01
I1123 00:00:02.500000 12345 solver.cpp:228] Iteration 8, loss = 1.1
"""
NEW = """I20261122 19:02:47.722875 18686 solver.cpp:239] Iteration 0 (-2.79827e+09 iter/s, \
0.033s/4 iters), loss = 2.32693
I20261122 19:02:47.722900 18686 solver.cpp:258]     Train net output #0: loss = 2.3 (* 1 = 2.3 loss)
I20261122 19:02:48.722875 18686 solver.cpp:239] Iteration 4 (45.4545 iter/s, 0.088s/4 iters), \
loss = nan
I20261122 19:02:50.722875 18686 solver.cpp:239] Iteration 8 (45.4545 iter/s, 0.088s/4 iters), \
loss = 2.2
"""


def test_displays_of_a_log():
    assert [iteration for iteration, _ in displayed(OLD)] == [0, 8]
    assert [iteration for iteration, _ in displayed(NEW)] == [0, 4, 8]


@pytest.mark.parametrize(("text", "seconds"), [(OLD, 0.5), (NEW, 0.375)])
def test_seconds_a_step_also_over_midnight(text, seconds):
    assert seconds_a_step(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", NEW.splitlines()[0], "F1122 10:00:00 1 x.cpp:1] no data"])
def test_a_log_without_two_displays(text):
    with pytest.raises(Failed, match="a log with"):
        seconds_a_step(text)


def python(code):
    return [sys.executable, "-c", code]


def test_run():
    done = run(python("import sys; b = bytearray(64 << 20); print('out'); sys.stderr.write('err')"))
    assert set(done.text.split()) == {"out", "err"} or done.text in ("out\nerr", "errout\n")
    assert 64 << 20 < done.rss < 1 << 30 and done.seconds > 0


def test_time_until_a_line():
    done = run(python("import time; print('ready', flush=True); time.sleep(1)"), until="ready")
    assert done.seconds < 1


def test_a_command_that_fails_shows_its_end():
    with pytest.raises(Failed, match="status 3: no such thing"):
        run(python("import sys; print('no such thing'); sys.exit(3)"))
    with pytest.raises(Failed, match="status 0"):
        run(python("print('something else')"), until="ready")
