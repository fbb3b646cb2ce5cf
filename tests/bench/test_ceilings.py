"""Multiply-adds of a training step, and the ceilings that follow."""

import pytest

from bench.ceilings import gflops, images_per_second, training_multiply_adds
from netgen import nets
from netgen.describe import describe
from netgen.schema import caffe_pb


def layer(macs, bottoms, tops, params=True):
    return {
        "multiply_adds": macs,
        "bottoms": bottoms,
        "tops": tops,
        "params": [{}] if params else [],
    }


def test_the_first_layer_needs_no_gradient_of_its_input():
    layers = [layer(0, [], ["data"], False), layer(10, ["data"], ["a"]), layer(5, ["a"], ["b"])]
    assert training_multiply_adds({"layers": layers}) == 10 * 2 + 5 * 3


def test_branches_in_place_layers_and_what_learns_nothing():
    layers = [
        layer(0, [], ["data"], False),
        layer(0, ["data"], ["data"], False),
        layer(10, ["data"], ["a"]),
        layer(20, ["data"], ["b"]),  # two first layers
        layer(0, ["a"], ["a"], False),
        layer(0, ["a", "b"], ["sum"], False),
        layer(7, ["sum"], ["c"]),
        layer(1, ["data"], ["a"]),
    ]
    assert training_multiply_adds({"layers": layers}) == 2 * (10 + 20) + 3 * 7 + 2 * 1


def test_all_cnn_c_needs_1_62_gflop_an_image():
    described = describe(nets.build_net("allcnn-c", nets.NetOptions(batch_size=1)), caffe_pb.TRAIN)
    forward, first = 270_798_336, 96 * 27 * 1024
    assert training_multiply_adds(described) == 3 * forward - first
    assert images_per_second(139, 3 * forward - first) == pytest.approx(86, abs=0.5)


def test_gflops():
    assert gflops(1000, 0.5) == 4  # 1e9 multiply-adds, two operations each
