"""Backward reads what layers in place left in a top; Flatten lends its gradient's memory."""

import numpy as np
import pytest

from netgen import schema
from netgen.schema import caffe_pb

X = np.array([[[[0.5]], [[-1.0]], [[2.0]], [[-0.25]]]])
SHAPE = "shape { dim: 1 dim: 4 dim: 1 dim: 1 }"
PARAMETER = f'layer {{ name: "p" type: "Parameter" top: "p" parameter_param {{ {SHAPE} }} }}'
DOUBLE = """ layer { name: "double" type: "Scale" bottom: "t" top: "t" param { lr_mult: 0 }
  scale_param { filler { value: 2 } } }"""
COST = ' layer { name: "c" type: "Power" bottom: "t" top: "c" loss_weight: 1 }'


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


#: layer -> its values y of x, and its gradient for an upstream of 2, y found doubled
READ_THE_TOP = {
    'type: "TanH"': (np.tanh, lambda x, y: 2 * (1 - y**2)),
    'type: "Sigmoid"': (sigmoid, lambda x, y: 2 * y * (1 - y)),
    'type: "Softmax"': (softmax, lambda x, y: (2 - (2 * y).sum()) * y),
    'type: "Exp"': (np.exp, lambda x, y: 2 * y),
    'type: "ELU"': (
        lambda x: np.where(x > 0, x, np.exp(x) - 1),
        lambda x, y: 2 * np.where(x > 0, 1, y + 1),
    ),
    'type: "Swish"': (lambda x: x * sigmoid(x), lambda x, y: 2 * (y + sigmoid(x) * (1 - y))),
    'type: "Power" power_param { power: 3 }': (lambda x: x**3, lambda x, y: 2 * 3 * y / x),
    'type: "Power" power_param { power: 3 shift: 4 }': (
        lambda x: (x + 4) ** 3,
        lambda x, y: 2 * 3 * y / (x + 4),
    ),
}
#: those whose backward reads only the bottom
READ_THE_BOTTOM = {
    'type: "ReLU"': (lambda x: np.maximum(x, 0), lambda x, y: 2 * (x > 0)),
    'type: "Power" power_param { power: 2 }': (np.square, lambda x, y: 2 * 2 * x),
    'type: "BNLL"': (lambda x: np.log(1 + np.exp(x)), lambda x, y: 2 * sigmoid(x)),
}


@pytest.fixture
def made(build):
    """The net of a text behind PARAMETER, which holds X."""

    def make(text, phase="TRAIN"):
        net = build(PARAMETER + text, phase=phase)
        net.nodes[0].blobs[0].copy_(net.parameters.data.new_tensor(X))
        return net

    return make


def gradient(net):
    """p's gradient from one pass."""
    net.parameters.grad.zero_()
    net.forward_backward()
    return net.parameters.blobs[0].grad.numpy().copy()


@pytest.mark.parametrize("text", {**READ_THE_TOP, **READ_THE_BOTTOM})
def test_what_a_layer_in_place_left_in_the_top_counts(made, capfd, text):
    value, slope = {**READ_THE_TOP, **READ_THE_BOTTOM}[text]
    net = made(f' layer {{ name: "l" bottom: "p" top: "t" {text} }}' + DOUBLE + COST)
    told = "computes its gradient from what layer 'double' left" in capfd.readouterr().err
    assert told == (text in READ_THE_TOP)
    np.testing.assert_allclose(net.forward()[1]["c"], 2 * value(X), rtol=1e-6)
    for _ in range(2):
        np.testing.assert_allclose(gradient(net), slope(X, 2 * value(X)), rtol=1e-5)


def test_lrn_and_mvn_read_the_top_as_well(made):
    lrn = made(
        ' layer { name: "l" type: "LRN" bottom: "p" top: "t" '
        "lrn_param { local_size: 1 alpha: 2 beta: 0.5 k: 3 } }" + DOUBLE + COST
    )
    scale = 3 + 2 * X**2
    expected = 2 * scale**-0.5 - 2 * 2 * 0.5 * X * 2 * (2 * X * scale**-0.5) / scale
    np.testing.assert_allclose(gradient(lrn), expected, rtol=1e-5)
    mvn = made(
        ' layer { name: "l" type: "MVN" bottom: "p" top: "t" '
        "mvn_param { across_channels: true eps: 0 } }" + DOUBLE + COST
    )
    y = (X - X.mean()) / X.std()
    np.testing.assert_allclose(
        gradient(mvn), (2 - 2 - 2 * y * (2 * 2 * y).mean()) / X.std(), atol=1e-6
    )


def test_an_unstable_product_divides_what_is_left_of_it(made):
    net = made(
        ' layer { name: "q" type: "Power" bottom: "p" top: "q" power_param { shift: 3 } }'
        ' layer { name: "r" type: "Power" bottom: "p" top: "r" power_param { scale: 2 } }'
        ' layer { name: "l" type: "Eltwise" bottom: "q" bottom: "r" top: "t" '
        "eltwise_param { operation: PROD stable_prod_grad: false } }" + DOUBLE + COST
    )
    y = 2 * (X + 3) * 2 * X
    np.testing.assert_allclose(gradient(net), 2 * (y / (X + 3) + 2 * y / (2 * X)), rtol=1e-5)


@pytest.mark.parametrize("below", ["BNLL", "ReLU"])
def test_in_place_below_another_in_place(made, below):
    net = made(
        f""" layer {{ name: "a" type: "Power" bottom: "p" top: "t" }}
      layer {{ name: "l" type: "{below}" bottom: "t" top: "t" relu_param {{ negative_slope: 0.1 }}
      }} layer {{ name: "minus" type: "Scale" bottom: "t" top: "t" param {{ lr_mult: 0 }}
      scale_param {{ filler {{ value: -2 }} }} }}"""
        + COST
    )
    if below == "BNLL":
        expected = -2 * sigmoid(-2 * np.log(1 + np.exp(X)))
    else:
        expected = -2 * np.where(X < 0, 1, 0.1)
    np.testing.assert_allclose(gradient(net), expected, rtol=1e-5)


def test_dropout_above_relu_changes_nothing_in_it(made, capfd):
    text = """ layer { name: "a" type: "Power" bottom: "p" top: "t" }
      layer { name: "l" type: "ReLU" bottom: "t" top: "t" }
      layer { name: "d" type: "Dropout" bottom: "t" top: "t" }"""
    net = made(text + COST)
    assert "therefore here" not in capfd.readouterr().err
    assert set(gradient(net)[X < 0]) == {0} and set(gradient(net)[X > 0]) <= {0, 2}


MAKERS = {
    'type: "Reshape" reshape_param { shape { dim: 2 dim: -1 } }': True,
    'type: "Slice"': True,
    'type: "Concat"': True,
    'type: "Flatten"': False,
    'type: "Power"': False,
}


@pytest.mark.parametrize("maker", MAKERS)
def test_flatten_lends_only_what_is_its_bottoms_own(made, capfd, maker):
    net = made(
        f""" layer {{ name: "a" type: "Power" bottom: "p" top: "a" }}
      layer {{ name: "m" bottom: "a" top: "m" {maker} }}
      layer {{ name: "f" type: "Flatten" bottom: "m" top: "t" }}"""
        + COST
    )
    kind = schema.parse_text(maker, caffe_pb.LayerParameter).type
    told = f"layer 'f': Flatten behind {kind} ends the gradient" in capfd.readouterr().err
    assert told == MAKERS[maker]
    np.testing.assert_array_equal(gradient(net), 0 if MAKERS[maker] else 1)


def test_flatten_behind_a_parameter(made):
    net = made(' layer { name: "f" type: "Flatten" bottom: "p" top: "t" }' + COST)
    np.testing.assert_array_equal(gradient(net), 0)


def test_nothing_is_kept_or_said_where_nothing_is_trained(made, capfd):
    text = ' layer { name: "l" type: "TanH" bottom: "p" top: "t" }' + DOUBLE
    net = made(text, phase="TEST")
    assert "therefore here" not in capfd.readouterr().err
    np.testing.assert_allclose(net.forward()[1]["t"], 2 * np.tanh(X), rtol=1e-6)
