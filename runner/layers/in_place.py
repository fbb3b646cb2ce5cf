"""What Caffe's backward makes of layers used in place.

A layer used in place (top and bottom are one blob) has overwritten its input by the time
backward runs, and its bottom's gradient shares memory with its top's. The layer below it may
find its output overwritten too. Most layers are written with that in mind; those here are not,
and train differently in place than not. To give the numbers Caffe gives, we follow it, and say
so in the log when the net is set up.
"""

from netgen import graph
from runner.layers.base import Elementwise
from runner.layers.gradient import custom_gradient
from runner.log import glog


def warn_in_place(layer_param, what):
    """Say once, at setup, what the layer's user probably does not expect."""
    glog.warning(
        f"layer '{layer_param.name}': {layer_param.type} in place {what}, in Caffe and "
        "therefore here; give its top a name of its own to avoid that",
        "net.cpp:369",
    )


class Rereading(Elementwise):
    """Backward reads the bottom or the top once more, or both: whatever is there by then.

    Subclasses give `apply(x)` and `gradient(x, y, upstream)`, Caffe's formula for what lies in
    the memory of bottom and top. It is used only where that is not what forward left there, so
    that autograd's derivative would be another.
    """

    reads_bottom, reads_top = True, False
    #: what the user of such a layer in place does not expect
    what = "computes its gradient from its output"
    #: set by `overwritten_by`: gives what the top's memory holds when backward runs
    left = None

    def surprising(self):
        """Is its gradient another in place, where the bottom's memory holds the top?"""
        return self.reads_bottom

    def setup(self, bottoms):
        self.in_place = graph.in_place(self.param)
        self.by_hand = self.in_place and self.surprising()
        if self.by_hand:
            warn_in_place(self.param, self.what)
        return super().setup(bottoms)

    def overwritten_by(self, types, left):
        if self.reads_top or (self.reads_bottom and self.in_place):
            self.by_hand, self.left = True, left
        return self.left is not None

    def forward(self, bottoms, blobs):
        (x,) = bottoms
        if not self.by_hand or not x.requires_grad:
            return [self.apply(x)]
        x = x.detach()
        top, gradient = self.value_and_gradient(x)

        def backward(upstream):
            y = top if self.left is None else self.left()
            return [gradient(y if self.in_place else x, y, upstream)]

        return [custom_gradient(top, bottoms, backward)]

    def value_and_gradient(self, x):
        """The top, and the function `gradient` for this x."""
        return self.apply(x), self.gradient
