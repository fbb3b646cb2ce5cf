"""Automatic Split layers (insert_splits.cpp)."""

from netgen.graph.connections import Place, connections
from netgen.schema import caffe_pb


def insert_splits(net: caffe_pb.NetParameter) -> caffe_pb.NetParameter:
    """A new NetParameter in which every blob has at most one consumer.

    Top i, named B, of layer L with several consumers is followed by a Split layer
    `B_L_i_split` with tops `B_L_i_split_0`, ...; a non-zero loss_weight counts as a consumer and
    moves to top 0 of the split. net: filtered NetParameter, unchanged.
    Raises NetError on a bottom that nothing produces.
    """
    split = type(net)()
    split.CopyFrom(net)
    del split.layer[:]
    split.layer.extend(layer for layer, _ in split_layers(net))
    return split


def split_layers(
    net: caffe_pb.NetParameter,
) -> list[tuple[caffe_pb.LayerParameter, caffe_pb.LayerParameter | None]]:
    """The layers of insert_splits(net) as (layer, original); original is None for a new Split."""
    edges = connections(net)
    weights = {
        (i, j): weight
        for i, layer in enumerate(net.layer)
        for j, weight in zip(range(len(layer.top)), layer.loss_weight, strict=False)
        if weight
    }
    needed = {top: len(readers) + (top in weights) for top, readers in edges.consumers.items()}
    names: dict[Place, str] = {}  # of the bottoms that read a Split instead
    layers: list[tuple[caffe_pb.LayerParameter, caffe_pb.LayerParameter | None]] = []
    for i, original in enumerate(net.layer):
        layer = caffe_pb.LayerParameter()
        layer.CopyFrom(original)
        for j in range(len(layer.bottom)):
            layer.bottom[j] = names.get((i, j), layer.bottom[j])
        layers.append((layer, original))
        for j, blob in enumerate(original.top):
            if needed[i, j] < 2:
                continue
            new = caffe_pb.LayerParameter(
                name=f"{blob}_{original.name}_{j}_split", type="Split", bottom=[blob]
            )
            new.top.extend(f"{new.name}_{k}" for k in range(needed[i, j]))
            readers = list(new.top)
            if (i, j) in weights:
                new.loss_weight.extend([weights[i, j]] + [0] * (needed[i, j] - 1))
                layer.ClearField("loss_weight")  # all of them: Caffe does so too
                readers = readers[1:]
            names.update(zip(edges.consumers[i, j], readers, strict=True))
            layers.append((new, None))
    return layers
