"""Which layer owns a learnable blob when `param { name }` shares it (net.cpp: AppendParam)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import prod

from netgen.graph.connections import Place
from netgen.graph.errors import NetError, require
from netgen.graph.shape import Shape, shape_string
from netgen.schema import caffe_pb


@dataclass
class Learnable:
    """A learnable blob: the name of the layer that owns it, its index there, and its shape.

    given: the multipliers that the layers using the blob spell out, by name.
    """

    layer: str
    index: int
    shape: Shape
    given: dict[str, float] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return prod(self.shape)

    @property
    def lr_mult(self) -> float:
        return self.given.get("lr_mult", 1.0)

    @property
    def decay_mult(self) -> float:
        return self.given.get("decay_mult", 1.0)

    @property
    def multipliers(self) -> tuple[float, float]:
        return self.lr_mult, self.decay_mult


class Learnables(list[Learnable]):
    """The learnable blobs of a net, in the order in which its layers bring them along."""

    def __init__(self) -> None:
        super().__init__()
        self._named: dict[str, int] = {}

    def bring(
        self,
        layer: str,
        index: int,
        shape: Sequence[int],
        spec: caffe_pb.ParamSpec | None = None,
        log: Callable[[str, str], object] | None = None,
    ) -> int:
        """The position of the blob that is blob `index` of `layer`: a new one or an earlier one.

        spec: its ParamSpec, if it has one. A name that was met before shares the earlier blob.
        log(message, where) is called with Caffe's line on that. Raises NetError when the shape
        (share_mode STRICT), the count (PERMISSIVE), lr_mult or decay_mult disagree with those
        of the earlier blob.
        """
        spec = spec or caffe_pb.ParamSpec()
        position = self._named.get(spec.name, len(self))
        if position == len(self):
            self.append(Learnable(layer, index, tuple(shape)))
            if spec.name:
                self._named[spec.name] = position
        else:
            owner = self[position]
            if log:
                log(
                    f"Sharing parameters '{spec.name}' owned by layer '{owner.layer}', "
                    f"param index {owner.index}",
                    "net.cpp:467",
                )
            _check_shape(spec, layer, shape, owner)
        _note_multipliers(spec, self[position].given)
        return position


def param_owners(
    layers: Iterable[tuple[caffe_pb.LayerParameter, Sequence[Sequence[int]]]],
) -> list[list[Place]]:
    """For every layer the list of owners of its learnable blobs, as (layer, param) indices.

    layers: (LayerParameter, shapes of its learnable blobs) in the order of the net. The first
    layer that uses a name owns the blob; a blob without a name owns itself, so weights are
    counted once by counting where owner == (layer, param). Raises NetError as Learnables does.
    """
    blobs, places = Learnables(), list[Place]()
    owners = []
    for i, (layer, shapes) in enumerate(layers):
        row = []
        for j, shape in enumerate(shapes):
            spec = layer.param[j] if j < len(layer.param) else None
            position = blobs.bring(layer.name, j, shape, spec)
            if position == len(places):
                places.append((i, j))
            row.append(places[position])
        owners.append(row)
    return owners


def _check_shape(
    spec: caffe_pb.ParamSpec, layer: str, shape: Sequence[int], owner: Learnable
) -> None:
    if spec.share_mode == caffe_pb.ParamSpec.PERMISSIVE:
        what, verb, same = "count", "shape is", prod(shape) == owner.count
    else:
        what, verb, same = "shape", "expects shape", tuple(shape) == owner.shape
    if not same:
        raise NetError(
            f"Cannot share param '{spec.name}' owned by layer '{owner.layer}' with layer "
            f"'{layer}'; {what} mismatch.  Owner layer param shape is "
            f"{shape_string(owner.shape)}; sharing layer {verb} {shape_string(shape)}"
        )


def _note_multipliers(spec: caffe_pb.ParamSpec, given: dict[str, float]) -> None:
    for name in ("lr_mult", "decay_mult"):
        if spec.HasField(name):
            value = getattr(spec, name)
            require(
                given.setdefault(name, value) == value,
                f"Shared param '{spec.name}' has mismatched {name}. "
                f"({value:g} vs. {given[name]:g})",
            )
