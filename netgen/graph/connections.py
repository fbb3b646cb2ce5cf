"""Who produces and who reads which blob, in-place chains included (insert_splits.cpp)."""

from dataclasses import dataclass

from netgen.graph.errors import NetError


@dataclass(frozen=True)
class Connections:
    """The edges of a net. Layers, bottoms and tops are indices into the message.

    producer: {(layer, bottom): (layer, top)}. consumers: {(layer, top): [(layer, bottom), ...]},
    in the order of the net, an entry for every top. An in-place layer produces a new version
    of its blob: what follows reads that one.
    """

    producer: dict
    consumers: dict


def connections(net):
    """The Connections of a filtered NetParameter; NetError on a bottom that nothing produces."""
    latest, producer, consumers = {}, {}, {}
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
