"""The shapes of all blobs of a net (net.cpp: Init, AppendTop, AppendBottom)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from netgen.graph.connections import check_source, in_place
from netgen.graph.errors import NetError, UnknownShapeError
from netgen.graph.registry import DataShape, LayerShapes, check_type, layer_shapes
from netgen.graph.shape import Shape
from netgen.graph.sharing import param_owners
from netgen.graph.splits import split_layers
from netgen.schema import caffe_pb


@dataclass(frozen=True)
class LayerInfo:
    """A layer of a net, the shapes of its bottoms, and what its shape rule says."""

    layer: caffe_pb.LayerParameter
    bottoms: list[Shape]
    shapes: LayerShapes


def infer(
    net: caffe_pb.NetParameter,
    phase: int,
    data_shape: DataShape | Callable[[caffe_pb.LayerParameter], DataShape | None] | None = None,
    known: Mapping[str, Sequence[int]] | None = None,
) -> list[LayerInfo]:
    """The LayerInfo of every layer of a filtered net, in its order, Split layers left out.

    net: NetParameter in current format. phase: caffe_pb.TRAIN or TEST. data_shape: what
    layer_shapes takes for a layer that reads records, the same for all of them or a function of
    the LayerParameter. known: {blob name: shape} of tops whose shape only running the net tells
    (Python layers, an Input without shape); the rule of a layer is not asked where all its tops
    are known. Raises NetError for whatever Caffe refuses when it builds the net: unknown
    bottoms, a top with several sources (also an in-place layer on a blob that others read),
    layer_shapes' errors, an in-place layer whose shape changes, shared params that disagree.
    """
    given = {name: tuple(shape) for name, shape in (known or {}).items()}
    blobs: dict[str, Shape] = {}
    produced: set[str] = set()
    infos: list[LayerInfo] = []
    for layer, original in split_layers(net):
        bottoms = [blobs[name] for name in layer.bottom]
        for i, name in enumerate(layer.top):
            check_source(layer, i, produced)
            produced.add(name)
        if layer.top and given.keys() >= set(layer.top) and not blobs.keys() & set(layer.top):
            shapes = LayerShapes([given[name] for name in layer.top], note="shapes as given")
        else:
            if layer.type == "Input" and not layer.input_param.shape:
                raise UnknownShapeError(f"layer '{layer.name}': its input_param gives no shape")
            record = data_shape(layer) if callable(data_shape) else data_shape
            check_type(layer, net)
            shapes = layer_shapes(layer, bottoms, phase, record)
        _check_in_place(layer, bottoms, shapes)
        blobs.update(zip(layer.top, shapes.tops, strict=False))
        if original is not None:
            infos.append(LayerInfo(original, bottoms, shapes))
    for name in given:
        if name not in blobs:
            raise NetError(f"no layer produces blob '{name}', whose shape was given")
    param_owners((info.layer, info.shapes.params) for info in infos)
    return infos


def _check_in_place(
    layer: caffe_pb.LayerParameter, bottoms: list[Shape], shapes: LayerShapes
) -> None:
    for i, top in enumerate(shapes.tops[: len(layer.top)]):
        if in_place(layer, i) and top != bottoms[i]:
            # Caffe would reshape the bottom under the layer's feet and compute on garbage.
            raise NetError(
                f"layer '{layer.name}': {layer.type} Layer does not allow in-place computation."
            )
