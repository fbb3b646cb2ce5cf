"""What every layer type is: parameters with their fillers, and a forward.

The shape rule is the graph's (netgen.graph), and backward is autograd's. `setup` tells a layer
the shapes of its bottoms; after that it computes on tensors of any batch size.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from netgen import graph
from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from netgen.schema.own import OwnParameters, own_parameters
from runner.layers.blob import Blob
from runner.layers.fillers import fill

#: What flows through a net: the bottoms, tops or blobs of one layer.
Tensors = list[torch.Tensor]


@dataclass
class Context:
    """What the layers of one net share: where they compute, and where randomness comes from.

    fillers: the generator of the initial weights, on the CPU, so that these do not depend on the
    device. random: the device's generator of what is drawn while running (dropout, noise); None
    is torch's own. seed: an int >= 0, from which, and from its name, each data layer derives a
    stream of its own. precision: the number format, one of runner.process.precision's names.
    rank, count: the number of this worker, and how many train together.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    fillers: torch.Generator = field(default_factory=torch.Generator)
    random: torch.Generator | None = None
    seed: int = 0
    precision: str = "fp32"
    rank: int = 0
    count: int = 1


def refuse_outside(index: torch.Tensor, count: int, told: Callable[[int], str]) -> None:
    """Raise NetError, in the words of `told(value)`, for a value of `index` outside 0..count - 1.

    index: whole numbers of any shape. Looking at the values would mean waiting for a GPU, which
    refuses them by itself; where a net is traced there are none.
    """
    if index.device.type != "cpu" or torch.compiler.is_compiling() or not index.numel():
        return
    low, high = (int(value) for value in torch.aminmax(index))
    if low < 0 or high >= count:
        raise graph.NetError(told(low if low < 0 else high))


class Layer:
    """Base of all layer types.

    `class ReLU(Layer, type="ReLU")` registers the class under Caffe's name; a tuple of names
    registers it under each. param: the LayerParameter, with its phase set. context: the Context
    of the net. After `setup`, `shapes` is what the shape rule said of the bottoms.
    """

    #: The class of each layer type, by Caffe's name.
    TYPES: dict[str, type["Layer"]] = {}

    #: The bottoms that `force_backward` must leave alone, such as labels.
    no_force_backward: tuple[int, ...] = ()
    #: Whether the first top weighs 1 in the objective where loss_weight does not say.
    is_loss = False
    #: The blobs whose gradients do not add up over the batches of iter_size: the last one counts.
    rewrites: tuple[int, ...] = ()
    #: The bottoms whose gradient the layer cannot give, so that asking for it is refused.
    refuses_backward_to: tuple[int, ...] = ()
    #: Whether its backward, as Caffe's, writes every bottom's diff, needed or not.
    ignores_propagate_down = False
    #: Whether forward is work for the device alone, and the same each time.
    replayable = True
    #: Whether the layer reads batches, with `fetch` and `finish`.
    reads = False
    #: Whether its bottoms may be bfloat16; those of other layers are float32.
    takes_bfloat16 = False
    #: Why no other program can be told what forward does, in a few words; "" where it can.
    untraceable = ""

    def __init_subclass__(cls, type: str | tuple[str, ...] | None = None, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        for name in (type,) if isinstance(type, str) else type or ():
            Layer.TYPES[name] = cls

    shapes: graph.LayerShapes

    def __init__(self, param: caffe_pb.LayerParameter, context: Context) -> None:
        self.param = param
        self.context = context
        self.name = param.name
        self.phase = param.phase
        self._shapes: dict[tuple[graph.Shape, ...], graph.LayerShapes] = {}

    def attach(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> None:
        """Take the net's Blobs, before `setup`; for layers that work on blobs themselves.

        Such a layer has `reshape_blobs`, `forward_blobs` and `backward_blobs(needs)`, which
        nets that are run layer by layer call instead of `forward`.
        """

    @functools.cached_property
    def own(self) -> OwnParameters:
        """The fields that no caffe.proto has, by name, of a layer of people's own."""
        return own_parameters(self.param)

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        """Check the shapes of the bottoms, and return what the shape rule says of them.

        Raises NetError for what Caffe refuses. Subclasses that prepare something do it here.
        """
        self.shapes = self.shapes_for(bottoms)
        return self.shapes

    def shapes_for(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        """What the graph's shape rule says of bottoms of these shapes; it is asked once."""
        key = tuple(bottoms)
        try:
            known = key in self._shapes
        except TypeError:  # sizes that torch.export traces have no hash
            return self._traced_shapes(key)
        if not known:
            self._shapes[key] = graph.layer_shapes(self.param, list(key), self.phase)
        return self._shapes[key]

    def _traced_shapes(self, bottoms: tuple[graph.Shape, ...]) -> graph.LayerShapes:
        """The shapes for bottoms whose batch axis stands for a batch of any size.

        The rule is asked for the batch of the set-up and for one twice as large: what doubles
        is a multiple of the batch. Raises NetError for what grows and is none.
        """
        first = next(iter(self._shapes))
        which, axis = next(
            (i, j)
            for i, shape in enumerate(bottoms)
            for j, size in enumerate(shape)
            if not isinstance(size, int)
        )
        batch, size = first[which][axis], bottoms[which][axis]
        twice = tuple(
            tuple(
                given if isinstance(now, int) else 2 * given
                for given, now in zip(before, shape, strict=True)
            )
            for before, shape in zip(first, bottoms, strict=True)
        )
        one, two = self.shapes_for(first), self.shapes_for(twice)
        sizes = zip(sum(one.tops, ()), sum(two.tops, ()), strict=True)
        if any(a != b and (a % batch or b != 2 * a) for a, b in sizes):
            raise graph.NetError(
                f"layer '{self.name}' ({self.param.type}) wants one size of the first axis"
            )
        tops = [
            tuple(a if a == b else a // batch * size for a, b in zip(*shapes, strict=True))
            for shapes in zip(one.tops, two.tops, strict=True)
        ]
        return replace(one, tops=tops)

    def shapes_of(self, *bottoms: torch.Tensor) -> graph.LayerShapes:
        """What the graph's shape rule says of these bottoms."""
        return self.shapes_for([x.shape for x in bottoms])

    def holds_a_layer(self) -> bool:
        """Whether Caffe sets up a second layer inside this one, and logs that."""
        return False

    def fillers(self) -> list[caffe_pb.FillerParameter]:
        """One FillerParameter a blob. Blobs beyond the end of the list start at zero."""
        return []

    def fill(
        self,
        tensor: torch.Tensor,
        filler: caffe_pb.FillerParameter,
        generator: torch.Generator | None = None,
    ) -> None:
        """Draw the values of a blob, in place. Raises NetError, which names the layer."""
        try:
            fill(tensor, filler, generator)
        except CaffeError as error:
            raise graph.NetError(f"layer '{self.name}': {error}") from None

    def specs(self) -> list[caffe_pb.ParamSpec]:
        """The layer's ParamSpecs. Blobs beyond the end of the list have the defaults."""
        return list(self.param.param)

    def loss_weights(self, count: int) -> list[float]:
        """The weight of each of `count` tops in the objective."""
        given = list(self.param.loss_weight)  # as many as tops: the shape rule checked
        return given or [float(self.is_loss and i == 0) for i in range(count)]

    def take_parameters(self, node: Any, gradients: Tensors) -> None:
        """Take the layer as it is wired and the gradients of its blobs, once these are filled."""

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        """The tops, from the bottoms and the layer's blobs. It must not write to the bottoms."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def overwritten_by(self, types: set[str], left: Callable[[], torch.Tensor]) -> bool:
        """Take note that layers of these `types` write over the first top, in place.

        left: a function that gives what they left there when backward runs. Returns whether
        that makes a difference.
        """
        return False

    def state(self) -> object:
        """What the layer needs beside its blobs to go on from here, or None if nothing."""
        return None

    def load_state(self, state: Any) -> None:
        """Go on from what `state` returned."""


class Elementwise(Layer):
    """A layer of one bottom and one top of the same shape."""

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """The top of the bottom x."""
        raise NotImplementedError(f"{type(self).__name__} has no apply")

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        return [self.apply(bottoms[0])]


def constant_filler(value: float) -> caffe_pb.FillerParameter:
    """The FillerParameter that fills a blob with one value."""
    return caffe_pb.FillerParameter(type="constant", value=value)
