"""insert_splits and connections: names, order, loss weights, in-place chains."""

import pytest

from netgen import graph, schema
from netgen.schema import caffe_pb


def parse(*layers):
    """A net of 'type name bottoms > tops' lines, with loss_weight after `*`."""
    net = caffe_pb.NetParameter(name="n")
    for line in layers:
        line, _, weights = line.partition("*")
        left, _, tops = line.partition(">")
        kind, name, *bottoms = left.split()
        net.layer.add(
            type=kind,
            name=name,
            bottom=bottoms,
            top=tops.split(),
            loss_weight=[float(weight) for weight in weights.split()],
        )
    return net


def lines(net):
    """The inverse of parse."""
    result = []
    for layer in net.layer:
        line = f"{' '.join([layer.type, layer.name, *layer.bottom])} > {' '.join(layer.top)}"
        if layer.loss_weight:
            line += " * " + " ".join(f"{weight:g}" for weight in layer.loss_weight)
        result.append(line.strip())
    return result


def test_nothing_to_split():
    net = parse("Data data > data label", "InnerProduct ip data > ip", "HingeLoss l ip label > l")
    assert graph.insert_splits(net) == net


def test_several_consumers():
    net = parse(
        "Data d > d label",
        "InnerProduct a d > a",
        "InnerProduct b d > b",
        "InnerProduct c d > c",
        "EuclideanLoss l a b > l",
        "Silence s c label >",
    )
    before = net.SerializeToString()
    assert lines(graph.insert_splits(net)) == [
        "Data d > d label",
        "Split d_d_0_split d > d_d_0_split_0 d_d_0_split_1 d_d_0_split_2",
        "InnerProduct a d_d_0_split_0 > a",
        "InnerProduct b d_d_0_split_1 > b",
        "InnerProduct c d_d_0_split_2 > c",
        "EuclideanLoss l a b > l",
        "Silence s c label >",
    ]
    assert net.SerializeToString() == before


def test_one_layer_reading_a_blob_twice():
    net = parse("Input in > x y", "Eltwise e y y > e")
    assert lines(graph.insert_splits(net)) == [
        "Input in > x y",
        "Split y_in_1_split y > y_in_1_split_0 y_in_1_split_1",
        "Eltwise e y_in_1_split_0 y_in_1_split_1 > e",
    ]


def test_in_place_chain_splits_after_its_last_layer():
    net = parse("Input in > x", "Convolution conv x > c", "ReLU relu c > c", "Dropout drop c > c",
                "Pooling p c > p", "Pooling q c > q")  # fmt: skip
    assert lines(graph.insert_splits(net))[3:] == [
        "Dropout drop c > c",
        "Split c_drop_0_split c > c_drop_0_split_0 c_drop_0_split_1",
        "Pooling p c_drop_0_split_0 > p",
        "Pooling q c_drop_0_split_1 > q",
    ]


def test_a_loss_weight_is_a_consumer_and_moves_to_the_split():
    net = parse("Input in > x y", "EuclideanLoss l x y > l * 0.5", "Power p l > p")
    assert lines(graph.insert_splits(net))[1:] == [
        "EuclideanLoss l x y > l",
        "Split l_l_0_split l > l_l_0_split_0 l_l_0_split_1 * 0.5 0",
        "Power p l_l_0_split_1 > p",
    ]


def test_a_zero_loss_weight_is_none():
    net = parse("Input in > x y", "EuclideanLoss l x y > l * 0", "Power p l > p")
    assert graph.insert_splits(net) == net


def test_a_loss_weight_without_another_consumer_stays():
    net = parse("Input in > x y", "EuclideanLoss l x y > l * 2")
    assert graph.insert_splits(net) == net


def test_moving_one_loss_weight_clears_the_layers_others():
    # Caffe clears the whole field when it moves one of its values
    net = parse("Input in > x", "Slice s x > a b * 2 3", "Power p a > p")
    assert lines(graph.insert_splits(net))[1:3] == [
        "Slice s x > a b",
        "Split a_s_0_split a > a_s_0_split_0 a_s_0_split_1 * 2 0",
    ]


def test_splitting_twice_changes_nothing():
    net = parse("Input in > x", "Power a x > a", "Power b x > b", "Eltwise e a b > e")
    once = graph.insert_splits(net)
    assert graph.insert_splits(once) == once


def test_unknown_bottom():
    net = parse("Input in > x", "Eltwise l x b > l")
    for function in (graph.insert_splits, graph.connections):
        with pytest.raises(graph.NetError) as caught:
            function(net)
        assert str(caught.value) == "Unknown bottom blob 'b' (layer 'l', bottom index 1)"


def test_other_fields_are_kept():
    net = schema.parse_text(
        'force_backward: true layer { name: "in" type: "Input" top: "x" } '
        'layer { name: "p" type: "Power" bottom: "x" top: "p" power_param { scale: 2 } } '
        'layer { name: "q" type: "Power" bottom: "x" top: "q" }',
        caffe_pb.NetParameter,
    )
    split = graph.insert_splits(net)
    assert split.force_backward
    assert split.layer[2].power_param.scale == 2


def test_connections():
    net = parse("Input in > x y", "ReLU relu x > x", "Eltwise e x y > e", "Power p x > p")
    edges = graph.connections(net)
    assert edges.producer == {
        (1, 0): (0, 0),
        (2, 0): (1, 0),
        (2, 1): (0, 1),
        (3, 0): (1, 0),
    }
    assert edges.consumers == {
        (0, 0): [(1, 0)],
        (0, 1): [(2, 1)],
        (1, 0): [(2, 0), (3, 0)],
        (2, 0): [],
        (3, 0): [],
    }
