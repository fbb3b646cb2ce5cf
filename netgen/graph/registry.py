"""The registry of shape rules, and the checks that every layer must pass beside its rule.

Sources: layer.hpp (SetUp, CheckBlobCounts, SetLossWeights), net.cpp (Init).
"""

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from netgen import own_layers
from netgen.graph.connections import in_place
from netgen.graph.errors import NetError, require, require_equal
from netgen.graph.geometry import Geometry, PoolGeometry
from netgen.graph.shape import Shape, check_blob
from netgen.schema import caffe_pb, forks, own

#: The shape of one record, (C, H, W) after cropping; for HDF5Data one such shape a top.
DataShape = Sequence[Any]

#: How many bottoms or tops a layer takes: exactly that many, or the least and the most, where
#: None is no limit.
Fixed = int | tuple[int | None, int | None]
Count = Fixed | Callable[[caffe_pb.LayerParameter], Fixed]


@dataclass
class LayerShapes:
    """What a layer's shape rule says.

    tops: one shape a top. params: one shape a learnable blob, in the order of Caffe's blobs_.
    macs: multiply-adds of one forward of the whole batch in products with learned weights
    (convolution, deconvolution, inner product, LSTM and RNN); biases, pooling, normalisation
    and elementwise work count 0. note: what had to be assumed, one line, or "".

    The rule also hands over what it resolved on the way, so that nobody resolves it again.
    axis: the axis that the layer's parameters name, counted from 0, or None where they name
    none. geometry: the window of a convolution. margins: what it, or a pooling, adds on the left,
    on the right, above and below, beside the pad of the window. pools: that of a pooling, or of
    each level of a pyramid. offsets: where a crop starts on each axis from `axis` on. order: the
    axes of the bottom in the order in which a permutation has them.
    """

    tops: list[Shape]
    params: list[Shape] = field(default_factory=list)
    macs: int = 0
    note: str = ""
    axis: int | None = None
    geometry: Geometry | None = None
    margins: Shape = ()
    pools: tuple[PoolGeometry, ...] = ()
    offsets: tuple[int, ...] = ()
    order: tuple[int, ...] = ()


@dataclass(frozen=True)
class Setup:
    """What a rule is given: the layer, one shape a bottom, and the rest of layer_shapes' arguments.

    num_tops: how many tops the layer has, one that is made up included.
    """

    layer: caffe_pb.LayerParameter
    bottoms: list[Shape]
    num_tops: int
    phase: int
    data_shape: DataShape | None

    @property
    def own(self) -> own.OwnParameters:
        """The fields that no caffe.proto has, by name, of a layer of people's own."""
        return own.own_parameters(self.layer)

    def refuse_in_place(self) -> None:
        """Raise NetError if the layer is used in place."""
        if in_place(self.layer):
            raise NetError(f"{self.layer.type} Layer does not allow in-place computation.")


@dataclass(frozen=True)
class _Rule:
    shapes: Callable[[Setup], LayerShapes]
    bottoms: Count
    tops: Count
    one_top_per_bottom: bool
    automatic_top: bool


_RULES: dict[str, _Rule] = {}


def rule(
    *types: str,
    bottoms: Count = 1,
    tops: Count = 1,
    one_top_per_bottom: bool = False,
    automatic_top: bool = False,
) -> Callable[[Callable[[Setup], LayerShapes]], Callable[[Setup], LayerShapes]]:
    """Register the decorated function, of a Setup, as the shape rule of layer types.

    bottoms, tops: how many the layer takes: an int for exactly that many, (least, most) where
    either may be None, or a function of the LayerParameter that gives one of these.
    one_top_per_bottom: whether there must be as many tops as bottoms. automatic_top: whether a
    missing top is made up, as for losses (Caffe's AutoTopBlobs).
    """

    def register(shapes: Callable[[Setup], LayerShapes]) -> Callable[[Setup], LayerShapes]:
        for name in types:
            own.KNOWN.add(name)
            if own_layers.are_loading():
                own.TYPES.add(name)
            _RULES[name] = _Rule(shapes, bottoms, tops, one_top_per_bottom, automatic_top)
        return shapes

    return register


def layer_types() -> tuple[str, ...]:
    """The names of the layer types that have a rule, sorted."""
    return tuple(sorted(_RULES))


def unknown_type(type_name: str, known: Iterable[str]) -> str:
    """What is said of a layer type that is not among the `known` ones."""
    return f"Unknown layer type: {type_name} (known types: {', '.join(sorted(known))})"


def check_type(
    layer: caffe_pb.LayerParameter,
    net: caffe_pb.NetParameter | None = None,
    known: Container[str] = _RULES,
) -> None:
    """Raise NetError if nobody knows the type of a layer, and tell what else its net lacks.

    known: the types that there are; by default those with a rule.
    """
    if layer.type in known or (own_layers.load_installed() and layer.type in known):
        return
    types = [other.type for other in (net.layer if net is not None else [layer])]
    more = forks.lacking(name for name in types if name not in known)
    fork = forks.fork_of(layer.type)
    if fork:
        words = f"{layer.type} is a layer type of another Caffe ({fork})"
    elif layer.type in _RULES:
        words = f"{layer.type} has a shape rule, but no class computes it"
    elif more:  # which lists it
        words = f"Unknown layer type: {layer.type}"
    else:
        words = unknown_type(layer.type, layer_types())
    raise NetError(f"layer '{layer.name}': {words}{more}")


def layer_shapes(
    layer: caffe_pb.LayerParameter,
    bottoms: Sequence[Sequence[int]],
    phase: int,
    data_shape: DataShape | None = None,
) -> LayerShapes:
    """What the shape rule of a layer says: the shapes of its tops and blobs, and more.

    layer: LayerParameter; the names of its tops count them, and tell together with those of its
    bottoms whether it is used in place. bottoms: one shape a bottom blob. phase: caffe_pb.TRAIN
    or TEST (no type of Caffe 1.0 has shapes that depend on it). data_shape: for layers that read
    records, the shape of one of them, (C, H, W) after cropping, or for HDF5Data one such shape a
    top. Where it is None it is derived from the layer, and LayerShapes.note says what was
    assumed.

    Raises NetError in Caffe's words, naming the layer, wherever Caffe's SetUp would stop: blob
    counts, parameters, shapes that disagree, in-place use, loss_weight, propagate_down, params.
    Raises UnknownShapeError, a NetError, if only the data or a run can tell.
    """
    check_type(layer)
    try:
        shapes = _shapes(layer, [tuple(map(int, b)) for b in bottoms], phase, data_shape)
    except NetError as error:
        raise type(error)(f"layer '{layer.name}': {error}") from None
    except ValueError as error:  # how the rule of somebody's own layer refuses
        if layer.type not in own.TYPES:
            raise
        raise NetError(f"layer '{layer.name}': {error}") from None
    require(
        len(layer.param) <= len(shapes.params),
        f"Too many params specified for layer {layer.name} "
        f"({len(layer.param)} vs. {len(shapes.params)})",
    )
    return shapes


def _shapes(
    layer: caffe_pb.LayerParameter,
    bottoms: list[Shape],
    phase: int,
    data_shape: DataShape | None,
) -> LayerShapes:
    if layer.propagate_down:
        require_equal(
            len(layer.propagate_down),
            len(bottoms),
            "propagate_down param must be specified either 0 or bottom_size times",
        )
    found = _RULES[layer.type]
    num_tops = len(layer.top)
    if found.automatic_top:
        num_tops = max(num_tops, 1)
    _check_count(layer, found.bottoms, "takes", len(bottoms), "bottom blob(s) as input.")
    _check_count(layer, found.tops, "produces", num_tops, "top blob(s) as output.")
    if found.one_top_per_bottom:
        require_equal(
            len(bottoms),
            num_tops,
            f"{layer.type} Layer produces one top blob as output for each bottom blob input.",
        )
    shapes = found.shapes(Setup(layer, bottoms, num_tops, phase, data_shape))
    for blob in shapes.tops + shapes.params:
        check_blob(blob)
    if layer.loss_weight:
        require_equal(
            num_tops,
            len(layer.loss_weight),
            "loss_weight must be unspecified or specified once per top blob.",
        )
    return shapes


def _check_count(
    layer: caffe_pb.LayerParameter, count: Count, verb: str, actual: int, blobs: str
) -> None:
    wanted = count(layer) if callable(count) else count
    if isinstance(wanted, int):
        require_equal(wanted, actual, f"{layer.type} Layer {verb} {wanted} {blobs}")
        return
    least, most = wanted
    if least is not None and actual < least:
        raise NetError(f"{layer.type} Layer {verb} at least {least} {blobs} ({least} vs. {actual})")
    if most is not None and actual > most:
        raise NetError(f"{layer.type} Layer {verb} at most {most} {blobs} ({most} vs. {actual})")
