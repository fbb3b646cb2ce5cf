"""The convolutions of a net that TPM measures, and what it has to know of them."""

from collections import Counter
from dataclasses import dataclass

from netgen import graph
from netgen.schema import caffe_pb

# Layers whose every output is a learned mixture of many inputs.
_MIXERS = {"Convolution", "Deconvolution", "Embed", "InnerProduct", "LSTM", "RNN"}


@dataclass(frozen=True)
class Convolutions:
    """layers: {name: LayerParameter} in the order of the net. classifiers: names of those whose
    outputs reach a loss through no other learned mixture (in a net without a loss: its end).
    sharing: names of those that share a blob with another layer. fixed: convolutions left out
    because their lr_mult is 0; elsewhere: {one left out: the layer in `layers` with its kernels}.
    """

    layers: dict
    classifiers: set
    sharing: set
    fixed: list
    elsewhere: dict


def convolutions(net):
    """The Convolutions of a NetParameter (current format) in its train phase. Raises NetError.

    A shared kernel belongs to the first layer that has it.
    """
    net = graph.in_phase(net, caffe_pb.TRAIN)
    edges = graph.connections(net)
    any_loss = any(map(_is_loss, net.layer))
    found = Convolutions({}, set(), set(), [], {})
    users = Counter(name for layer in net.layer for name in {spec.name for spec in layer.param})
    owners = {}
    for i, layer in enumerate(net.layer):
        if layer.type != "Convolution":
            continue
        spec = layer.param[0] if layer.param else caffe_pb.ParamSpec()
        owner = owners.setdefault(spec.name, layer.name) if spec.name else layer.name
        if spec.lr_mult == 0:
            found.fixed.append(layer.name)
        elif owner != layer.name:
            found.elsewhere[layer.name] = owner
        else:
            found.layers[layer.name] = layer
            if _reaches_end(net, edges, i, any_loss):
                found.classifiers.add(layer.name)
            if any(users[spec.name] > 1 for spec in layer.param if spec.name):
                found.sharing.add(layer.name)
    return found


def _is_loss(layer):
    return layer.type.endswith("Loss") or any(layer.loss_weight)


def _reaches_end(net, edges, start, any_loss):
    seen, waiting = set(), [start]
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
