"""The layers of a net that TPM measures, its convolutions and inner products, and what it has to
know of them.
"""

from collections import Counter
from dataclasses import dataclass

from netgen import graph
from netgen.growth.parts import TYPES, is_transposed
from netgen.schema import caffe_pb

# Layers whose every output is a learned mixture of many inputs.
_MIXERS = {"Convolution", "Deconvolution", "Embed", "InnerProduct", "LSTM", "RNN"}


@dataclass(frozen=True)
class Convolutions:
    """The layers that are measured, and those that are left out.

    layers: {name: LayerParameter} in the order of the net. classifiers: the names of those whose
    outputs reach a loss, or in a net without a loss its end, through no other learned mixture.
    sharing: the names of those that share a blob with another layer. fixed: convolutions left out
    because their lr_mult is 0. transposed: those left out because their weights have a column an
    output. elsewhere: {one left out: the layer in `layers` with its kernels}.
    """

    layers: dict[str, caffe_pb.LayerParameter]
    classifiers: set[str]
    sharing: set[str]
    fixed: list[str]
    transposed: list[str]
    elsewhere: dict[str, str]


def convolutions(net: caffe_pb.NetParameter) -> Convolutions:
    """The layers of TYPES of a NetParameter (current format) in its train phase. Raises NetError.

    A shared kernel belongs to the first layer that has it.
    """
    net = graph.in_phase(net, caffe_pb.TRAIN)
    edges = graph.connections(net)
    any_loss = any(map(_is_loss, net.layer))
    found = Convolutions({}, set(), set(), [], [], {})
    users = Counter(name for layer in net.layer for name in {spec.name for spec in layer.param})
    owners: dict[str, str] = {}
    for i, layer in enumerate(net.layer):
        if layer.type not in TYPES:
            continue
        spec = layer.param[0] if layer.param else caffe_pb.ParamSpec()
        owner = owners.setdefault(spec.name, layer.name) if spec.name else layer.name
        if spec.lr_mult == 0:
            found.fixed.append(layer.name)
        elif is_transposed(layer):
            found.transposed.append(layer.name)
        elif owner != layer.name:
            found.elsewhere[layer.name] = owner
        else:
            found.layers[layer.name] = layer
            if _reaches_end(net, edges, i, any_loss):
                found.classifiers.add(layer.name)
            if any(users[spec.name] > 1 for spec in layer.param if spec.name):
                found.sharing.add(layer.name)
    return found


def _is_loss(layer: caffe_pb.LayerParameter) -> bool:
    return layer.type.endswith("Loss") or any(layer.loss_weight)


def _reaches_end(
    net: caffe_pb.NetParameter, edges: graph.Connections, start: int, any_loss: bool
) -> bool:
    seen: set[int] = set()
    waiting = [start]
    while waiting:
        i = waiting.pop()
        if i in seen:
            continue
        seen.add(i)
        layer = net.layer[i]
        if i != start and layer.type in _MIXERS:
            continue
        for top in range(len(layer.top)):
            readers = [reader for reader, _ in edges.consumers[i, top]]
            if not any_loss and not readers:
                return True
            waiting += readers
        if any_loss and _is_loss(layer):
            return True
    return False
