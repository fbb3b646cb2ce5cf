"""Who produces and who reads which blob, in-place chains included (insert_splits.cpp)."""

from collections.abc import Container
from dataclasses import dataclass

from netgen.graph.errors import NetError
from netgen.schema import caffe_pb

#: The index of a layer in its net, and that of one of its bottoms or tops.
Place = tuple[int, int]


def in_place(layer: caffe_pb.LayerParameter, index: int = 0) -> bool:
    """Is top `index` of the layer computed in place, that is, is it bottom `index`'s blob?"""
    return list(layer.top[index : index + 1]) == list(layer.bottom[index : index + 1]) != []


def wholly_in_place(layer: caffe_pb.LayerParameter) -> bool:
    """Does the layer do nothing but change its bottoms in place?"""
    return list(layer.top) == list(layer.bottom) != []


def check_source(layer: caffe_pb.LayerParameter, index: int, produced: Container[str]) -> None:
    """Raise NetError if top `index` of the layer is produced already, and not changed in place."""
    name = layer.top[index]
    if name in produced and not in_place(layer, index):
        raise NetError(f"Top blob '{name}' produced by multiple sources. (layer '{layer.name}')")


@dataclass(frozen=True)
class Connections:
    """The edges of a net. Layers, bottoms and tops are indices into the message.

    producer: {(layer, bottom): (layer, top)}. consumers: {(layer, top): [(layer, bottom), ...]},
    in the order of the net, with an entry for every top. An in-place layer produces a new
    version of its blob, which is the one that the layers after it read.
    """

    producer: dict[Place, Place]
    consumers: dict[Place, list[Place]]


def connections(net: caffe_pb.NetParameter) -> Connections:
    """The Connections of a filtered NetParameter; NetError on a bottom that nothing produces."""
    latest: dict[str, Place] = {}
    producer: dict[Place, Place] = {}
    consumers: dict[Place, list[Place]] = {}
    for i, layer in enumerate(net.layer):
        for j, blob in enumerate(layer.bottom):
            if blob not in latest:
                raise NetError(
                    f"Unknown bottom blob '{blob}' (layer '{layer.name}', bottom index {j})"
                )
            producer[i, j] = latest[blob]
            consumers[latest[blob]].append((i, j))
        for j, blob in enumerate(layer.top):
            latest[blob] = (i, j)
            consumers[i, j] = []
    return Connections(producer, consumers)
