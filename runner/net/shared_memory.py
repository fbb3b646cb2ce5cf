"""Memory that blobs share in Caffe: backward may not find there what forward left.

A layer in place writes over the top of those below it, which may need it for their gradients.
And Flatten's backward does not write a gradient: it lends its bottom the memory of its top's.
Where the bottom's gradient was lent before, the owner's stays empty.
"""

from netgen import graph
from runner.log import glog


class Memory:
    """Tells the layers of wired steps what becomes of their tops; keeps it for backward."""

    def __init__(self, steps):
        self._left = {}
        self._overwritten(steps)
        self._lent(steps)

    def keep(self, blobs):
        """Remember what forward left in the blobs that backward reads again."""
        for name in self._left:
            self._left[name] = blobs[name].detach()

    def _overwritten(self, steps):
        writers = {}  # of each blob the layers in place, the last first
        for step in reversed(steps):
            name = step.tops[0] if step.tops else None
            if step.needs_backward and name in writers:
                types = {writer.param.type for writer in writers[name]}
                if step.layer.overwritten_by(types, lambda name=name: self._left[name]):
                    self._left[name] = None
                    _warn(
                        step,
                        f"computes its gradient from what layer '{writers[name][0].name}' "
                        "left in its top",
                    )
            for i, name in enumerate(step.param.top):
                if graph.in_place(step.param, i):
                    writers.setdefault(name, []).append(step)

    def _lent(self, steps):
        makers = {}
        for step in steps:
            if step.param.type == "Flatten" and step.needs_backward and step.bottom_needs[0]:
                maker = makers[step.bottoms[0]]
                if _lends(maker):
                    step.layer.loses_gradient = True
                    _warn(step, f"behind {maker.param.type} ends the gradient")
            for name in step.tops:
                makers.setdefault(name, step)


def _lends(step):
    """Is the memory of its top's gradient also that of a bottom's, a parameter's, or its own?"""
    kind = step.param.type
    return (
        kind in ("Reshape", "Parameter", "LSTM", "RNN")
        or (kind == "Slice" and len(step.tops) == 1)
        or (kind == "Concat" and len(step.bottoms) == 1)
    )


def _warn(step, what):
    glog.warning(
        f"layer '{step.name}': {step.param.type} {what}, in Caffe and therefore here",
        "net.cpp:369",
    )
