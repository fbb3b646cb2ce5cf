"""caffe.draw: the graph that pydot is given, and a picture where Graphviz is there."""

import shutil
from pathlib import Path

import pytest

from caffe import draw
from caffe.proto import caffe_pb2
from netgen import schema

pydot = pytest.importorskip("pydot", reason="an extra of caffe.draw")
NET = schema.read_net(Path(__file__).parents[2] / "prototxt/lenet.prototxt")


def test_boxes_blobs_and_arrows():
    graph = draw.get_pydot_graph(NET, "LR", phase=caffe_pb2.TRAIN)
    text = graph.to_string()
    assert r'"conv1\n(Convolution)\nkernel size: 5\nstride: 1\npad: 0"' in text
    assert r'"pool1\n(Pooling MAX)\nkernel size: 2\nstride: 2\npad: 0"' in text
    assert "rankdir=LR" in text and "Accuracy" not in text
    labels = [edge.get_label() for edge in graph.get_edges()]
    assert "20" in labels and "500" in labels and "Batch 64" in labels
    assert "Accuracy" in draw.get_pydot_graph(NET, "TB").to_string()


def test_learning_rates_are_shown_on_request():
    conv = next(layer for layer in NET.layer if layer.name == "conv1")
    assert draw.get_layer_label(conv, "TB", display_lrm=True) == (
        '"conv1 (Convolution) kernel size: 5 stride: 1 pad: 0 lr mult: 1.0, 2.0"'
    )
    with pytest.raises(ValueError, match="ReLU layers do not have a learning rate multiplier"):
        draw.get_layer_lr_mult(caffe_pb2.LayerParameter(type="ReLU"))
    both = caffe_pb2.LayerParameter(name="x", include=[{}], exclude=[{}])
    with pytest.raises(ValueError, match="layer x has both include and exclude"):
        draw.get_pydot_graph(caffe_pb2.NetParameter(layer=[both]), "LR", phase=caffe_pb2.TEST)


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz' program dot")
def test_a_picture(tmp_path):
    draw.draw_net_to_file(NET, str(tmp_path / "net.png"), "TB")
    assert (tmp_path / "net.png").read_bytes().startswith(b"\x89PNG")
