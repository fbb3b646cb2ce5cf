import numpy as np
import pytest

from netgen.graph import NetError

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(0, 6, size=(2, 3, 4, 2))


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("slope", [0, 0.25])
def test_relu6(one_layer, slope, in_place):
    more = f"relu6_param {{ negative_slope: {slope} }}" if slope else ""
    layer = one_layer(f'type: "ReLU6" {more}', X, in_place=in_place)
    expected = np.minimum(np.where(X > 0, X, slope * X), 6)
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-6)
    layer.check_gradients()


def test_relu6_has_no_gradient_at_its_ends(one_layer):
    layer = one_layer('type: "ReLU6"', np.array([0.0, 6.0, 3.0]))
    np.testing.assert_array_equal(layer.gradients()[0], [0, 0, 1])


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
