"""What every layer type is: parameters with their fillers, and a forward.

The shape rule is the graph's (netgen.graph); backward is autograd's. A layer is told its
bottoms' shapes once, by `setup`, and computes on tensors of any batch size after that.
"""

from dataclasses import dataclass, field

import torch

from netgen import graph
from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner.layers.fillers import fill


@dataclass
class Context:
    """What layers of one net share: where they compute and what their randomness starts from.

    fillers: CPU generator of the initial weights, so that they do not depend on the device.
    random: the device's generator of what is drawn while running (dropout, noise); by default
    torch's own. seed: an int >= 0; data layers derive their own streams from it and their name.
    precision: of -precision. rank of count: which of the workers that train together this is.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    fillers: torch.Generator = field(default_factory=torch.Generator)
    random: torch.Generator | None = None
    seed: int = 0
    precision: str = "fp32"
    rank: int = 0
    count: int = 1


class Layer:
    """Base of all layer types. Subclasses are registered by Caffe's type name.

    param: its LayerParameter (phase set). forward takes the bottoms and the layer's blobs,
    as tensors, and returns the tops; it must not write to its bottoms.
    """

    TYPES = {}  # Caffe's type name -> class

    #: bottoms that `force_backward` must leave alone (labels)
    no_force_backward = ()
    #: a loss layer's first top weighs 1 unless loss_weight says otherwise
    is_loss = False
    #: its blobs whose gradients do not add up over the batches of iter_size: the last one's count
    rewrites = ()
    #: bottoms whose gradient the layer cannot give; asking for it is refused
    refuses_backward_to = ()
    #: is forward work for the device alone, the same each time?
    replayable = True
    #: does it read batches (`fetch`, `finish`)?
    reads = False
    #: may its bottoms be bfloat16? Others get float32.
    takes_bfloat16 = False

    def __init_subclass__(cls, type=None, **kwargs):
        super().__init_subclass__(**kwargs)
        for name in (type,) if isinstance(type, str) else type or ():
            Layer.TYPES[name] = cls

    def __init__(self, param, context):
        self.param = param
        self.context = context
        self.name = param.name
        self.phase = param.phase
        self._shapes = {}

    def attach(self, bottoms, tops):
        """Told, before `setup`, the net's Blobs: for layers that work on blobs themselves.

        Such a layer has `reshape_blobs`, `forward_blobs` and `backward_blobs(needs)`, which
        nets that are run layer by layer call instead of `forward`.
        """

    def setup(self, bottoms):
        """Check the bottoms' shapes (tuples); returns the LayerShapes of tops and blobs."""
        self.shapes = self.shapes_for(bottoms)
        return self.shapes

    def shapes_for(self, bottoms):
        """What the graph's shape rule says of bottoms of these shapes; it is asked once."""
        key = tuple(bottoms)
        if key not in self._shapes:
            self._shapes[key] = graph.layer_shapes(self.param, list(key), self.phase)
        return self._shapes[key]

    def shapes_of(self, *bottoms):
        """The same of the bottoms themselves, tensors."""
        return self.shapes_for([x.shape for x in bottoms])

    def holds_a_layer(self):
        """Does Caffe set up a second layer inside this one, and log it?"""
        return False

    def fillers(self):
        """One FillerParameter a blob; a missing one leaves the blob zero."""
        return []

    def fill(self, tensor, filler, generator=None):
        """Draw a blob's values (CPU tensor, in place); names the layer on failure."""
        try:
            fill(tensor, filler, generator)
        except CaffeError as error:
            raise graph.NetError(f"layer '{self.name}': {error}") from None

    def specs(self):
        """The layer's ParamSpecs; fewer than blobs mean defaults."""
        return list(self.param.param)

    def loss_weights(self, count):
        """The weight of each of `count` tops in the objective."""
        given = list(self.param.loss_weight)  # as many as tops: the shape rule checked
        return given or [float(self.is_loss and i == 0) for i in range(count)]

    def take_parameters(self, node, gradients):
        """Told, when the net has filled it, the layer as wired and its blobs' gradients."""

    def forward(self, bottoms, blobs):
        """Tops (list of tensors) from bottoms and blobs (lists of tensors)."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def overwritten_by(self, types, left):
        """Told that layers of these `types` write over its first top, in place.

        left: a function giving what they leave there for backward. Returns whether that
        makes a difference.
        """
        return False

    def state(self):
        """What the layer needs, beside its blobs, to go on where it is; None for nothing."""
        return None

    def load_state(self, state):
        """Take back what `state` gave."""


class Elementwise(Layer):
    """One bottom, one top of the same shape: subclasses give `apply(x)`."""

    def forward(self, bottoms, blobs):
        return [self.apply(bottoms[0])]


def constant_filler(value):
    """A constant FillerParameter."""
    return caffe_pb.FillerParameter(type="constant", value=value)
