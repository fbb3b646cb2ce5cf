"""infer and param_owners: whole nets, their shapes and what they are refused for."""

import pytest

from netgen import graph, schema
from netgen.schema import caffe_pb

LENET = """
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 64 dim: 1 dim: 28 dim: 28 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 20 kernel_size: 5 } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
        pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
        convolution_param { num_output: 50 kernel_size: 5 } }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2"
        pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip1" type: "InnerProduct" bottom: "pool2" top: "ip1"
        inner_product_param { num_output: 500 } }
layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
        inner_product_param { num_output: 10 } }
layer { name: "prob" type: "Softmax" bottom: "ip2" top: "prob" }
"""
INPUT = 'layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ {} }} }} }}'
VECTORS = INPUT.format("dim: 4 dim: 5")


def infer(text, **options):
    return graph.infer(schema.parse_text(text, caffe_pb.NetParameter), caffe_pb.TRAIN, **options)


def refusal(text, **options):
    with pytest.raises(graph.NetError) as caught:
        infer(text, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_lenet():
    infos = infer(LENET)
    assert [info.layer.name for info in infos] == [
        "data", "conv1", "pool1", "conv2", "pool2", "ip1", "relu1", "ip2", "prob"]  # fmt: skip
    assert [info.shapes.tops[0][1:] for info in infos] == [
        (1, 28, 28), (20, 24, 24), (20, 12, 12), (50, 8, 8), (50, 4, 4),
        (500,), (500,), (10,), (10,)]  # fmt: skip
    assert infos[5].bottoms == [(64, 50, 4, 4)]
    assert infos[5].shapes.params == [(500, 800), (500,)]
    macs = 24 * 24 * 20 * 25 + 8 * 8 * 50 * 20 * 25 + 500 * 800 + 10 * 500
    assert sum(info.shapes.macs for info in infos) == 64 * macs


def test_splits_are_seen_through():
    text = (
        VECTORS
        + """
        layer { name: "a" type: "ReLU" bottom: "x" top: "a" }
        layer { name: "b" type: "Flatten" bottom: "x" top: "b" }
        layer { name: "e" type: "Eltwise" bottom: "a" bottom: "b" top: "e" }"""
    )
    infos = infer(text)
    assert [info.layer.name for info in infos] == ["in", "a", "b", "e"]
    assert list(infos[1].layer.bottom) == ["x"]
    net = graph.insert_splits(schema.parse_text(text, caffe_pb.NetParameter))
    assert [i.layer.name for i in graph.infer(net, caffe_pb.TRAIN)] == [
        "in", "x_in_0_split", "a", "b", "e"]  # fmt: skip


def test_unknown_bottom():
    text = VECTORS + 'layer { name: "l" type: "ReLU" bottom: "y" top: "l" }'
    assert refusal(text) == "Unknown bottom blob 'y' (layer 'l', bottom index 0)"


@pytest.mark.parametrize(
    "layers",
    [
        # made twice; made twice by one layer; swapped tops; in place where another layer reads
        'layer { name: "l" type: "ReLU" bottom: "x" top: "r" } '
        'layer { name: "l" type: "Input" top: "r" }',
        'layer { name: "l" type: "Input" top: "r" top: "r" }',
        'layer { name: "l" type: "Eltwise" bottom: "x" bottom: "x" top: "r" } '
        'layer { name: "l" type: "Slice" bottom: "r" top: "s" top: "r" }',
        'layer { name: "m" type: "ReLU" bottom: "x" top: "m" } '
        'layer { name: "l" type: "ReLU" bottom: "x" top: "x" }',
    ],
)
def test_several_sources(layers):
    blob = "x" if 'name: "m"' in layers else "r"
    assert refusal(VECTORS + layers) == (
        f"Top blob '{blob}' produced by multiple sources. (layer 'l')"
    )


def test_in_place_must_keep_the_shape():
    text = VECTORS + (
        'layer { name: "l" type: "InnerProduct" bottom: "x" top: "x" '
        "inner_product_param { num_output: 3 } }"
    )
    assert refusal(text) == "layer 'l': InnerProduct Layer does not allow in-place computation."


def test_a_layers_own_refusal_names_it():
    text = VECTORS + 'layer { name: "l" type: "ReLU" bottom: "x" top: "r" param { } }'
    assert refusal(text) == "Too many params specified for layer l (1 vs. 0)"


def test_data_shape_per_layer():
    text = """
        layer { name: "a" type: "Data" top: "a" data_param { batch_size: 2 } }
        layer { name: "b" type: "Data" top: "b" data_param { batch_size: 2 } }"""
    shapes = {"a": (1, 4, 4), "b": (3, 6, 5)}
    infos = infer(text, data_shape=lambda layer: shapes[layer.name])
    assert [info.shapes.tops for info in infos] == [[(2, 1, 4, 4)], [(2, 3, 6, 5)]]
    assert [info.shapes.tops for info in infer(text, data_shape=(3, 7, 7))] == [[(2, 3, 7, 7)]] * 2


def test_known_shapes_stand_in_for_layers_that_must_run():
    text = (
        VECTORS
        + """
        layer { name: "p" type: "Python" bottom: "x" top: "p" top: "q"
                python_param { module: "m" layer: "L" } }
        layer { name: "r" type: "ReLU" bottom: "p" top: "p" }
        layer { name: "e" type: "InnerProduct" bottom: "p" top: "e"
                inner_product_param { num_output: 2 } }"""
    )
    words = "layer 'p': the shape of Python layer m.L is known only when it runs"
    assert refusal(text) == words
    assert refusal(text, known={"p": (4, 9)}) == words
    infos = infer(text, known={"p": [4, 9], "q": ()})
    assert infos[1].shapes.tops == [(4, 9), ()]
    assert infos[3].shapes.tops == [(4, 2)]
    with pytest.raises(graph.NetError, match=r"^no layer produces blob 'z'"):
        infer(text, known={"p": (4, 9), "q": (), "z": ()})


SIAMESE = """
layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 2 dim: 6 }} }} }}
layer {{ name: "y" type: "Input" top: "y" input_param {{ shape {{ dim: 2 dim: {} }} }} }}
layer {{ name: "a" type: "InnerProduct" bottom: "x" top: "a"
         inner_product_param {{ num_output: {} }}
         param {{ name: "w" lr_mult: 1 }} param {{ name: "v" }} }}
layer {{ name: "b" type: "InnerProduct" bottom: "y" top: "b"
         inner_product_param {{ num_output: {} }} param {{ name: "w" {} }} param {{ {} }} }}
"""


def owners(text):
    return graph.param_owners((i.layer, i.shapes.params) for i in infer(text))


def test_owners():
    both = owners(SIAMESE.format(6, 3, 3, "", 'name: "v"'))
    assert both == [[], [], [(2, 0), (2, 1)], [(2, 0), (2, 1)]]
    weight = owners(SIAMESE.format(6, 3, 3, "lr_mult: 1 decay_mult: 0", "lr_mult: 2"))
    assert weight[3] == [(2, 0), (3, 1)]
    permissive = owners(SIAMESE.format(9, 3, 2, "share_mode: PERMISSIVE", ""))
    assert permissive[3] == [(2, 0), (3, 1)]


@pytest.mark.parametrize(
    "values, words",
    [
        ((7, 3, 3, "", ""),
         "Cannot share param 'w' owned by layer 'a' with layer 'b'; shape mismatch.  Owner layer "
         "param shape is 3 6 (18); sharing layer expects shape 3 7 (21)"),
        ((7, 3, 3, "share_mode: PERMISSIVE", ""),
         "Cannot share param 'w' owned by layer 'a' with layer 'b'; count mismatch.  Owner layer "
         "param shape is 3 6 (18); sharing layer shape is 3 7 (21)"),
        ((6, 3, 3, "lr_mult: 2", ""), "Shared param 'w' has mismatched lr_mult. (2 vs. 1)"),
    ],
)  # fmt: skip
def test_params_that_cannot_be_shared(values, words):
    assert refusal(SIAMESE.format(*values)) == words
