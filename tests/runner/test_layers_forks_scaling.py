import numpy as np
import pytest
import torch

from netgen.graph import NetError

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(0, 6, size=(2, 3, 4, 2))


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("slope", [0, 0.25])
@pytest.mark.parametrize("kind", ["ReLU6", "ReLU"])
def test_relu6(one_layer, kind, slope, in_place):
    more = f"relu6_param {{ negative_slope: {slope} }}"
    if kind == "ReLU":  # with a field instead of a type of its own
        more = f"relu_param {{ negative_slope: {slope} relu6: true }}"
    layer = one_layer(f'type: "{kind}" {more}', X, in_place=in_place)
    expected = np.minimum(np.where(X > 0, X, slope * X), 6)
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-6)
    layer.check_gradients()


@pytest.mark.parametrize("text", ['type: "ReLU6"', 'type: "ReLU" relu_param { relu6: true }'])
def test_relu6_has_no_gradient_at_its_ends(one_layer, text):
    layer = one_layer(text, np.array([0.0, 6.0, 3.0]))
    np.testing.assert_array_equal(layer.gradients()[0], [0, 0, 1])


def test_relu6_reads_what_a_dropout_over_it_left(one_layer):
    x = np.array([-1.0, 5.0, 2.0])
    plain, relu6 = (
        one_layer(f'type: "ReLU" {more}', x, in_place=True)
        for more in ("", "relu_param { relu6: true }")
    )
    doubled = torch.tensor([0.0, 10.0, 4.0], dtype=torch.float64)  # 5 let through is above 6 now
    assert not plain.layer.overwritten_by({"Dropout"}, lambda: doubled)
    assert relu6.layer.overwritten_by({"Dropout"}, lambda: doubled)
    np.testing.assert_array_equal(relu6.gradients()[0], [0, 0, 1])


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1, 1)])
def test_axpy(one_layer, shape):
    factors, y = RANDOM.normal(size=shape), RANDOM.normal(size=X.shape)
    layer = one_layer('type: "Axpy"', factors, X, y)
    expected = factors.reshape(2, 3, 1, 1) * X + y
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-4, atol=1e-5)
    layer.check_gradients(bottoms=(0, 1, 2))


@pytest.mark.parametrize(
    "shapes, words",
    [
        (((2, 3, 4, 2), X.shape, X.shape), r"bottom\[0\] must be"),
        (((2, 4), X.shape, X.shape), r"bottom\[0\] must have one factor for each map"),
        (((2, 3), X.shape, (2, 3, 4, 1)), r"bottom\[1\] and bottom\[2\] must have one shape"),
    ],
)
def test_axpy_refused(one_layer, shapes, words):
    with pytest.raises(NetError, match=f"layer 'l': {words}"):
        one_layer('type: "Axpy"', *map(np.zeros, shapes))


@pytest.mark.parametrize("shape", [(2, 1, 4, 2), (2, 4, 2)])
def test_channel_scale(one_layer, shape):
    factors = RANDOM.normal(size=shape)
    layer = one_layer('type: "ChannelScale"', X, factors)
    expected = X * factors.reshape(2, 1, 4, 2)
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-5)
    layer.check_gradients(bottoms=(0, 1))


def test_mask_pooling(one_layer):
    masks = RANDOM.uniform(size=(2, 1, 4, 2))
    layer = one_layer('type: "MaskPooling"', X, masks)
    np.testing.assert_allclose(layer.forward()[0], X * masks, rtol=1e-5)
    layer.check_gradients(bottoms=(0, 1))


@pytest.mark.parametrize(
    "kind, shape, words",
    [
        ("ChannelScale", (2, 3, 4, 2), r"bottom\[1\] must have one factor for each place"),
        ("ChannelScale", (1, 16), "both bottoms must have one batch size"),
        ("MaskPooling", (2, 3, 4, 2), "the masks must be 2 1 4 2"),
    ],
)
def test_factors_of_other_shapes_are_refused(one_layer, kind, shape, words):
    with pytest.raises(NetError, match=f"layer 'l': {words}"):
        one_layer(f'type: "{kind}"', X, np.zeros(shape))
