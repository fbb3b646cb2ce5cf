"""Pictures of nets by pydot and Graphviz: boxes are layers, octagons blobs.

pydot and the program `dot` are needed where a picture is made; `draw_net FILE.prototxt` of this
project needs neither pydot nor a blob for each arrow.
"""

from __future__ import annotations

from typing import Any

from caffe.extras import extra
from caffe.proto import caffe_pb2
from netgen.schema import write_bytes

LAYER_STYLE_DEFAULT = {"shape": "record", "fillcolor": "#6495ED", "style": "filled"}
NEURON_LAYER_STYLE = {"shape": "record", "fillcolor": "#90EE90", "style": "filled"}
BLOB_STYLE = {"shape": "octagon", "fillcolor": "#E0E0E0", "style": "filled"}

_COLORS = {
    "Convolution": "#FF5050",
    "Deconvolution": "#FF5050",
    "Pooling": "#FF9900",
    "InnerProduct": "#CC33FF",
}
_LEARNING = ("Convolution", "Deconvolution", "InnerProduct")
_UNLABELLED = '""'


def get_pooling_types_dict() -> dict[int, str]:
    """{number: name} of the kinds of pooling."""
    return {number: name for name, number in caffe_pb2.PoolingParameter.PoolMethod.items()}


def get_edge_label(layer: Any) -> str:
    """What is written at a layer's tops: the batch size or the number of outputs."""
    if layer.type == "Data":
        return f"Batch {layer.data_param.batch_size}"
    if layer.type in ("Convolution", "Deconvolution"):
        return str(layer.convolution_param.num_output)
    if layer.type == "InnerProduct":
        return str(layer.inner_product_param.num_output)
    return _UNLABELLED


def get_layer_lr_mult(layer: Any) -> tuple[float, float]:
    """The lr_mult of weights and bias; ValueError for a layer of another type than those three."""
    if layer.type not in _LEARNING:
        raise ValueError(f"{layer.type} layers do not have a learning rate multiplier")
    if len(layer.param) > 2:
        raise ValueError("Could not parse the learning rate multiplier")
    weight, bias = ([spec.lr_mult for spec in layer.param] + [1.0, 1.0])[:2]
    return weight, bias


def get_layer_label(layer: Any, rankdir: str, display_lrm: bool = False) -> str:
    """What is written in a layer's box, in quotes: name, type, window, learning rates.

    rankdir: TB or BT write it in one line, LR and RL line by line.
    """
    parts = [layer.name, f"({layer.type})"]
    if layer.type == "Pooling":
        p = layer.pooling_param
        parts[1] = f"({layer.type} {get_pooling_types_dict()[p.pool]})"
        parts += _window(p.kernel_size, p.stride, p.pad)
    elif layer.type in ("Convolution", "Deconvolution"):
        p = layer.convolution_param
        parts += _window(
            *((list(v) + [d])[0] for v, d in ((p.kernel_size, 1), (p.stride, 1), (p.pad, 0)))
        )
    if display_lrm and layer.type in _LEARNING and any(rates := get_layer_lr_mult(layer)):
        parts.append("lr mult: {:.1f}, {:.1f}".format(*rates))
    return '"{}"'.format((" " if rankdir in ("TB", "BT") else r"\n").join(parts))


def _window(kernel: int, stride: int, pad: int) -> list[str]:
    return [f"kernel size: {kernel}", f"stride: {stride}", f"pad: {pad}"]


def choose_color_by_layertype(layertype: str) -> str:
    """The colour of a layer's box."""
    return _COLORS.get(layertype, LAYER_STYLE_DEFAULT["fillcolor"])


def get_pydot_graph(
    caffe_net: Any,
    rankdir: str,
    label_edges: bool = True,
    phase: int | None = None,
    display_lrm: bool = False,
) -> Any:
    """The pydot graph of a NetParameter in the current format.

    phase: caffe_pb2.TRAIN or TEST keeps the layers of that phase, None keeps all. Raises
    ImportError without pydot, ValueError for a layer that has both include and exclude rules.
    """
    pydot = extra("pydot", "pydot", "caffe.draw")
    graph = pydot.Dot(caffe_net.name or "Net", graph_type="digraph", rankdir=rankdir)
    nodes, edges = {}, []
    for layer in caffe_net.layer:
        if not _in_phase(layer, phase):
            continue
        box = f"{layer.name}_{layer.type}"
        label = get_layer_label(layer, rankdir, display_lrm=display_lrm)
        if len(layer.bottom) == 1 and list(layer.bottom) == list(layer.top):
            style = NEURON_LAYER_STYLE
        else:
            style = LAYER_STYLE_DEFAULT | {"fillcolor": choose_color_by_layertype(layer.type)}
        nodes[box] = pydot.Node(label, **style)
        for blob in layer.bottom:
            nodes[f"{blob}_blob"] = pydot.Node(_quoted(blob), **BLOB_STYLE)
            edges.append((f"{blob}_blob", box, _UNLABELLED))
        for blob in layer.top:
            nodes.setdefault(f"{blob}_blob", pydot.Node(_quoted(blob)))
            edges.append((box, f"{blob}_blob", get_edge_label(layer) if label_edges else '""'))
    for node in nodes.values():
        graph.add_node(node)
    for source, target, label in edges:
        graph.add_edge(pydot.Edge(nodes[source], nodes[target], label=label))
    return graph


def _in_phase(layer: Any, phase: int | None) -> bool:
    if phase is None:
        return True
    if layer.include and layer.exclude:
        raise ValueError(f"layer {layer.name} has both include and exclude specified.")
    if layer.include:
        return any(rule.phase == phase for rule in layer.include)
    return not any(rule.phase == phase for rule in layer.exclude)


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', r"\""))


def draw_net(
    caffe_net: Any,
    rankdir: str,
    ext: str = "png",
    phase: int | None = None,
    display_lrm: bool = False,
) -> bytes:
    """The picture of a net as bytes in a format that Graphviz knows; see get_pydot_graph."""
    graph = get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm)
    return graph.create(format=ext)


def draw_net_to_file(
    caffe_net: Any,
    filename: str,
    rankdir: str = "LR",
    phase: int | None = None,
    display_lrm: bool = False,
) -> None:
    """Write the picture of a net to a file, whose ending names the format."""
    ext = filename.rpartition(".")[2]
    picture = draw_net(caffe_net, rankdir, ext, phase, display_lrm)
    write_bytes(picture, filename)
