import threading
import time

import pytest

from data_prep import workers


@pytest.mark.parametrize("memory", [1, 1000, 1 << 30])
def test_every_result_once_and_in_order_whatever_takes_how_long(monkeypatch, memory):
    monkeypatch.setattr(workers, "MEMORY", memory)

    def slow_now_and_then(item):
        time.sleep(0.002 * (item % 7 == 0))
        return item * item

    found = list(workers.in_order(slow_now_and_then, iter(range(150)), lambda result: 100))
    assert found == [item * item for item in range(150)]
    assert list(workers.in_order(slow_now_and_then, [], lambda result: 1)) == []


def test_no_more_is_begun_than_fits(monkeypatch):
    monkeypatch.setattr(workers, "MEMORY", 1)
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda process: {0, 1})
    begun = []
    results = workers.in_order(lambda item: begun.append(item), range(1000), lambda result: 100)
    next(results)
    assert len(begun) <= 3 * workers.CHUNK
    results.close()
    assert len(begun) <= 3 * workers.CHUNK


def test_an_error_comes_at_its_turn_and_ends_all():
    before = threading.active_count()

    def fail(item):
        if item == 40:
            raise ValueError("the fortieth")
        return item

    found = []
    with pytest.raises(ValueError, match="the fortieth"):
        found.extend(workers.in_order(fail, range(10_000), lambda result: 1))
    assert threading.active_count() == before
    results = workers.in_order(fail, range(10_000), lambda result: 1)
    assert [next(results) for _ in range(36)] == list(range(36))
    results.close()
