"""What Caffe's backward makes of layers used in place.

A layer used in place (its top and its bottom are one blob) has overwritten its input by the time
backward runs, and the gradient of its bottom shares memory with that of its top. The layer below
may find its output overwritten too. Caffe wrote most layers with that in mind, but not those
here, which train differently in place than elsewhere. We follow Caffe to its numbers, and say so
in the log when the net is set up.
"""

from collections.abc import Callable, Sequence

import torch

from netgen import graph
from netgen.schema import caffe_pb
from runner.layers.base import Elementwise, Tensors
from runner.layers.gradient import custom_gradient
from runner.log import glog

#: Caffe's formula for the gradient: a function of what the memory of the bottom, of the top and
#: of the top's gradient holds.
Gradient = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def warn_in_place(layer_param: caffe_pb.LayerParameter, what: str) -> None:
    """Log a warning of what the user of a layer in place probably does not expect."""
    glog.warning(
        f"layer '{layer_param.name}': {layer_param.type} in place {what}, in Caffe and "
        "therefore here; give its top a name of its own to avoid that",
        "net.cpp:369",
    )


class Rereading(Elementwise):
    """A layer whose backward reads its bottom, its top or both again, whatever they hold by then.

    Subclasses define `apply(x)` and `gradient(x, y, upstream)`, Caffe's formula on what lies in
    the memory of bottom and top. It is used only where forward left something else there, so
    that autograd's derivative would differ.
    """

    reads_bottom, reads_top = True, False
    #: What the user of such a layer in place does not expect.
    what = "computes its gradient from its output"
    #: A function that gives what the top's memory holds when backward runs, or None where that
    #: is what forward left; `overwritten_by` sets it.
    left: Callable[[], torch.Tensor] | None = None

    def surprising(self) -> bool:
        """Whether the gradient differs in place, where the bottom's memory holds the top."""
        return self.reads_bottom

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        self.in_place = graph.in_place(self.param)
        self.by_hand = self.in_place and self.surprising()
        if self.by_hand:
            warn_in_place(self.param, self.what)
        return super().setup(bottoms)

    def overwritten_by(self, types: set[str], left: Callable[[], torch.Tensor]) -> bool:
        if self.reads_top or (self.reads_bottom and self.in_place):
            self.by_hand, self.left = True, left
        return self.left is not None

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        (x,) = bottoms
        if not self.by_hand or not x.requires_grad:
            return [self.apply(x)]
        x = x.detach()
        top, gradient = self.value_and_gradient(x)

        def backward(upstream):
            y = top if self.left is None else self.left()
            return [gradient(y if self.in_place else x, y, upstream)]

        return [custom_gradient(top, bottoms, backward)]

    def gradient(self, x: torch.Tensor, y: torch.Tensor, upstream: torch.Tensor) -> torch.Tensor:
        """The gradient of the bottom, from the memory of bottom, top and the top's gradient."""
        raise NotImplementedError(f"{type(self).__name__} has no gradient")

    def value_and_gradient(self, x: torch.Tensor) -> tuple[torch.Tensor, Gradient]:
        """The top of x, and the function that gives its gradient."""
        return self.apply(x), self.gradient
