"""Where our step's time goes: data, net, log, update, and the solver's own loop."""

import contextlib
import time

from runner.log import glog


class Stopwatch:
    """Adds up the seconds inside functions, each without those that it calls.

    `watch(owner, name, label)` puts a clock around a function in the place where it is looked up.
    """

    def __init__(self):
        self.seconds = {}
        self._stack, self._since = [], 0.0

    @contextlib.contextmanager
    def inside(self, label):
        self._lap()
        self._stack.append(label)
        try:
            yield
        finally:
            self._lap()
            self._stack.pop()

    def _lap(self):
        now = time.perf_counter()
        if self._stack:
            label = self._stack[-1]
            self.seconds[label] = self.seconds.get(label, 0.0) + now - self._since
        self._since = now

    def watch(self, owner, name, label):
        """Watch owner.name; returns a function that takes the clock away again."""
        function = getattr(owner, name)

        def watched(*args, **kwargs):
            with self.inside(label):
                return function(*args, **kwargs)

        setattr(owner, name, watched)
        return lambda: setattr(owner, name, function)


def parts(solver, steps):
    """{"data", "net", "log", "update", "solver": seconds of a step}, over `steps` steps.

    data: fetching and transforming batches; net: forward and backward; log: writing lines;
    solver: what is left, such as clearing gradients, losses and the loop. On a CPU only, where
    work is done when a function returns.
    """
    watch = Stopwatch()
    watched = [
        (solver, "train_pass", "net"),
        (solver.updater, "apply", "update"),
        (glog.log, "line", "log"),
    ]
    for node in solver.net.nodes:
        if node.param.type == "Data":
            watched += [(node.layer, "fetch", "data"), (node.layer, "finish", "data")]
    undo = [watch.watch(*place) for place in watched]
    try:
        with watch.inside("solver"):
            solver.step(steps)
    finally:
        for function in undo:
            function()
    return {
        label: watch.seconds[label] / steps for label in ("data", "net", "log", "update", "solver")
    }
