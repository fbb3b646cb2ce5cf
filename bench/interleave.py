"""Interleaved rounds: a noisy or throttled machine slows every candidate alike."""

import statistics
import time


def alternate(candidates, rounds):
    """{name: [seconds a step, one for each round]}.

    candidates: {name: function that runs some steps and returns the seconds of one}. They take
    turns, and are warm already.
    """
    seconds = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            seconds[name].append(run())
    return seconds


def timed(run, steps, wait=lambda: None):
    """A candidate of run(steps); wait: for a device that works on its own."""

    def candidate():
        start = time.perf_counter()
        run(steps)
        wait()
        return (time.perf_counter() - start) / steps

    return candidate


def steps_for(run, seconds, wait=lambda: None, most=500):
    """How many steps take about so many seconds, 1 to `most`; two have been run then."""
    run(1)
    wait()
    took = timed(run, 1, wait)()
    return max(1, min(most, round(seconds / took)))


def summary(values):
    """{"median", "min", "max", "n"} of some numbers."""
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "n": len(values),
    }


def times_faster(ours, others):
    """The summary of others / ours, round by round; both lists of seconds."""
    return summary([other / own for own, other in zip(ours, others, strict=True)])
