import math

import numpy as np
import pytest

from netgen.graph import NetError

X = np.array([[-3.0, -1.0, -0.25, 0.3], [0.5, 1.0, 2.0, 7.0]])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


FORMULAS = {
    'type: "ReLU"': lambda x: np.maximum(x, 0),
    'type: "ReLU" relu_param { negative_slope: 0.1 }': lambda x: np.where(x > 0, x, 0.1 * x),
    'type: "ReLU" relu_param { negative_slope: -2 }': lambda x: np.where(x > 0, x, -2 * x),
    'type: "Sigmoid"': sigmoid,
    'type: "TanH"': np.tanh,
    'type: "AbsVal"': np.abs,
    'type: "BNLL"': lambda x: np.log(1 + np.exp(x)),
    'type: "ELU"': lambda x: np.where(x > 0, x, np.exp(x) - 1),
    'type: "ELU" elu_param { alpha: 0.5 }': lambda x: np.where(x > 0, x, 0.5 * np.exp(x) - 0.5),
    'type: "Swish"': lambda x: x * sigmoid(x),
    'type: "Swish" swish_param { beta: 1.7 }': lambda x: x * sigmoid(1.7 * x),
    'type: "Clip" clip_param { min: -0.5 max: 1.5 }': lambda x: np.clip(x, -0.5, 1.5),
    'type: "Power"': lambda x: x,
    'type: "Power" power_param { power: 2 scale: 0.5 shift: 1 }': lambda x: (1 + 0.5 * x) ** 2,
    'type: "Power" power_param { power: 3 scale: 2 }': lambda x: (2 * x) ** 3,
    'type: "Power" power_param { power: 0.5 shift: 4 }': lambda x: (4 + x) ** 0.5,
    'type: "Power" power_param { power: -1 shift: 5 }': lambda x: 1 / (5 + x),
    'type: "Power" power_param { scale: -3 shift: 1 }': lambda x: 1 - 3 * x,
    'type: "Exp"': np.exp,
    'type: "Exp" exp_param { base: 2 scale: 0.5 shift: 3 }': lambda x: 2 ** (3 + 0.5 * x),
    'type: "Exp" exp_param { scale: -1 shift: 0.5 }': lambda x: np.exp(0.5 - x),
    'type: "Log" log_param { shift: 4 }': lambda x: np.log(4 + x),
    'type: "Log" log_param { base: 10 scale: 2 shift: 7 }': lambda x: np.log10(7 + 2 * x),
}


@pytest.mark.parametrize("text", FORMULAS)
def test_formula_and_gradient(one_layer, text):
    layer = one_layer(text, X)
    np.testing.assert_allclose(layer.forward()[0], FORMULAS[text](X), rtol=2e-6, atol=1e-7)
    layer.check_gradients()


def test_extreme_values_stay_finite(one_layer):
    x = np.array([-1e4, -100, 100, 1e4])
    (bnll,) = one_layer('type: "BNLL"', x).forward()
    np.testing.assert_allclose(bnll, [0, 0, 100, 1e4], atol=1e-40)
    np.testing.assert_array_equal(one_layer('type: "Sigmoid"', x).forward()[0][[0, 3]], [0, 1])
    (slope,) = one_layer('type: "BNLL"', x).gradients()
    np.testing.assert_allclose(slope, [0, 0, 1, 1], atol=1e-40)
    np.testing.assert_array_equal(one_layer('type: "ELU"', x).forward()[0][:1], [-1])


@pytest.mark.parametrize(
    "text, x, slope",
    [
        ('type: "ReLU"', 0, 0),
        ('type: "ReLU" relu_param { negative_slope: 0.2 }', 0, 0.2),
        ('type: "AbsVal"', 0, 0),
        ('type: "ELU" elu_param { alpha: 0.3 }', 0, 0.3),
        ('type: "Clip" clip_param { min: -1 max: 2 }', -1, 1),
        ('type: "Clip" clip_param { min: -1 max: 2 }', 2, 1),
    ],
)
def test_gradient_at_the_kink_is_caffes(one_layer, text, x, slope):
    np.testing.assert_allclose(one_layer(text, np.array([x])).gradients()[0], [slope], rtol=1e-6)


@pytest.mark.parametrize(
    "param, value",
    [
        ("power: 0", 1),
        ("power: 0 shift: -2", 1),
        ("scale: 0 shift: 3 power: 2", 9),
        ("scale: 0 power: -1", math.inf),
        ("scale: 0 shift: -1 power: 0.5", math.nan),
    ],
)
def test_power_that_ignores_its_input(one_layer, param, value):
    layer = one_layer(f'type: "Power" power_param {{ {param} }}', X * np.nan)
    np.testing.assert_array_equal(layer.forward()[0], np.full(X.shape, value))


def test_threshold_is_strict_and_has_no_gradient(one_layer, build):
    layer = one_layer('type: "Threshold" threshold_param { threshold: 0.5 }', X)
    np.testing.assert_array_equal(layer.forward()[0], X > 0.5)
    net = """layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
      layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
              inner_product_param { num_output: 2 } }
      layer { name: "t" type: "Threshold" bottom: "y" top: "t" loss_weight: 1 }"""
    with pytest.raises(NetError, match="layer 't': Threshold Layer cannot backpropagate"):
        build(net)
    build(net, phase="TEST")  # a net that is only run forward is fine


@pytest.mark.parametrize("ratio", [0.5, 0.2])
def test_dropout_in_training(one_layer, ratio):
    layer = one_layer(
        f'type: "Dropout" dropout_param {{ dropout_ratio: {ratio} }}', np.ones((50, 80))
    )
    (top,) = layer.forward()
    np.testing.assert_allclose(np.unique(top), [0, 1 / (1 - ratio)], rtol=1e-6)
    # 4000 draws: five standard deviations of the share kept
    assert abs((top > 0).mean() - (1 - ratio)) < 5 * math.sqrt(ratio * (1 - ratio) / 4000)
    assert (layer.forward()[0] != top).any()


def test_dropout_masks_the_gradient_as_the_values(build):
    net = build("""force_backward: true
      layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 8 dim: 8 } } }
      layer { name: "d" type: "Dropout" bottom: "x" top: "y" loss_weight: 1 }""")
    (x,) = net.nodes[0].layer.values
    x.fill_(1).requires_grad_()
    net.nodes[0].layer.forward = lambda bottoms, blobs: [x]
    _, outputs = net.forward_backward()
    np.testing.assert_array_equal(x.grad.numpy(), outputs["y"].numpy())


def test_dropout_leaves_testing_alone(one_layer):
    np.testing.assert_array_equal(
        one_layer('type: "Dropout"', X, phase="TEST").forward()[0], X.astype(np.float32)
    )


def test_dropout_that_samples_in_testing(one_layer):
    """SegNet's sample_weights_test."""
    text = 'type: "Dropout" dropout_param { dropout_ratio: 0.2 sample_weights_test: true }'
    (top,) = one_layer(text, np.ones((50, 80)), phase="TEST").forward()
    np.testing.assert_allclose(np.unique(top), [0, 1.25], rtol=1e-6)


def test_dropout_that_scales_in_testing(one_layer):
    """Faster R-CNN's scale_train: false, the dropout of the paper."""
    text = 'type: "Dropout" dropout_param { dropout_ratio: 0.2 scale_train: false }'
    (top,) = one_layer(text, np.full((50, 80), 3.0)).forward()
    np.testing.assert_array_equal(np.unique(top), [0, 3])
    tested = one_layer(text, X, phase="TEST")
    np.testing.assert_allclose(tested.forward()[0], 0.8 * X, rtol=1e-6)
    tested.check_gradients()


@pytest.mark.parametrize("ratio", [-0.1, 1, 1.5])
def test_dropout_ratio_out_of_range(one_layer, ratio):
    with pytest.raises(NetError, match=r"layer 'l': dropout_ratio must be at least 0 and below 1"):
        one_layer(f'type: "Dropout" dropout_param {{ dropout_ratio: {ratio} }}', X)


@pytest.mark.parametrize(
    "text, words",
    [
        ('type: "Exp" exp_param { base: 0 }', "base must be strictly positive"),
        ('type: "Log" log_param { base: -2 }', "base must be strictly positive"),
        ('type: "Log" log_param { base: 1 }', "Inf result"),
    ],
)
def test_bases_that_have_no_logarithm(one_layer, text, words):
    with pytest.raises(NetError, match=f"layer 'l': {words}"):
        one_layer(text, X)


# In place, top and bottom are one memory, and their gradients another. What Caffe's backward
# leaves there, written out for arrays that are the same in both roles.


def power_in_place(power, scale, shift):
    def backward(y, g):
        factor = power * scale
        if power == 1:
            g[:] = factor
        elif power == 2:
            g[:] = factor * scale * y + factor * shift
        elif shift == 0:
            g[:] = power * (y / y)
        else:
            g[:] = factor * (y / (scale * y + shift))
        g *= g

    return backward


def log_in_place(y, g):
    g[:] = 0.5 / (0.5 * y + 4) / math.log(2)
    g *= g


def clip_in_place(y, g):
    g *= (y >= -0.5) & (y <= 1.5)


def bnll_in_place(y, g):
    g *= sigmoid(y)


def relu_in_place(y, g):
    g *= np.where(y > 0, 1, -2)


IN_PLACE = [
    ('type: "Power" power_param { shift: 2 }', power_in_place(1, 1, 2)),
    ('type: "Power" power_param { scale: 3 }', power_in_place(1, 3, 0)),
    ('type: "Power" power_param { power: 2 scale: 0.5 shift: 1 }', power_in_place(2, 0.5, 1)),
    ('type: "Power" power_param { power: 3 scale: 2 }', power_in_place(3, 2, 0)),
    ('type: "Power" power_param { power: 0.5 shift: 4 }', power_in_place(0.5, 1, 4)),
    ('type: "Log" log_param { base: 2 scale: 0.5 shift: 4 }', log_in_place),
    ('type: "Clip" clip_param { min: -0.5 max: 1.5 }', clip_in_place),
    ('type: "BNLL"', bnll_in_place),
    ('type: "ReLU" relu_param { negative_slope: -2 }', relu_in_place),
]


@pytest.mark.parametrize("text, backward", IN_PLACE, ids=[text for text, _ in IN_PLACE])
def test_in_place_gradient_is_what_caffe_computes(one_layer, capfd, text, backward):
    layer = one_layer(text, X, in_place=True)
    assert "in place" in capfd.readouterr().err
    (top,) = layer.forward()
    np.testing.assert_array_equal(top, one_layer(text, X).forward()[0])
    gradient = np.linspace(-1, 1, X.size).reshape(X.shape)
    expected = gradient.copy()
    backward(np.asarray(top, np.float64), expected)
    np.testing.assert_allclose(layer.gradients(gradient)[0], expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    "text",
    [
        'type: "ReLU"',
        'type: "Sigmoid"',
        'type: "TanH"',
        'type: "ELU"',
        'type: "Swish"',
        'type: "Exp" exp_param { base: 2 }',
        'type: "ReLU" relu_param { negative_slope: 0.1 }',
    ],
)
def test_in_place_makes_no_difference_to_the_others(one_layer, text):
    apart, in_place = one_layer(text, X), one_layer(text, X, in_place=True)
    np.testing.assert_array_equal(in_place.forward()[0], apart.forward()[0])
    np.testing.assert_array_equal(in_place.gradients()[0], apart.gradients()[0])
