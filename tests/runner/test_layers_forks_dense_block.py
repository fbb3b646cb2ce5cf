"""DenseBlock against NumPy, convolutions written out place by place."""

import numpy as np
import pytest

from netgen.graph import NetError

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(3, 2, 4, 3))
TEXT = """type: "DenseBlock" denseblock_param { numTransition: 2 growthRate: 3 %s
Filter_Filler { type: "gaussian" std: 0.5 } BN_Scaler_Filler { type: "uniform" min: 0.5 max: 2 }
BN_Bias_Filler { type: "uniform" min: -0.5 max: 0.5 } }"""


def convolved(x, filters):
    size = filters.shape[2]
    padded = np.pad(x, ((0, 0), (0, 0), (size // 2,) * 2, (size // 2,) * 2))
    top = np.zeros((len(x), len(filters), *x.shape[2:]))
    for n, o, row, column in np.ndindex(*top.shape):
        top[n, o, row, column] = (
            padded[n, :, row : row + size, column : column + size] * filters[o]
        ).sum()
    return top


def rectified(x, scale, bias, mean, variance):
    return np.maximum((x - mean) / np.sqrt(variance + 1e-5) * scale + bias, 0)


def block(x, blobs, bottleneck, training):
    """The top, and what the running means and variances become, in the order of the blobs."""
    blobs = [np.array(blob, float) for blob in blobs]
    after = [blob.copy() for blob in blobs]

    def normalized(x, place):
        scale, bias, mean, variance = (blobs[place + 2 * kind] for kind in range(4))
        if training:
            mean = x.mean((0, 2, 3), keepdims=True)
            variance = x.var((0, 2, 3), keepdims=True)
            count = x.size / x.shape[1]
            for kind, value in ((2, mean), (3, variance * count / (count - 1))):
                old = after[place + 2 * kind]
                after[place + 2 * kind] = 0.75 * old + 0.25 * value
        return rectified(x, scale, bias, mean, variance)

    for i in range(2):
        y = normalized(x, 2 + i)
        if bottleneck:
            y = normalized(convolved(y, blobs[10 + i]), 12 + i)
        x = np.concatenate([x, convolved(y, blobs[i])], 1)
    return x, after


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_dense_block(one_layer, bottleneck, phase):
    more = f"moving_average_fraction: 0.25 use_BC: {str(bottleneck).lower()}"
    layer = one_layer(TEXT % more, X, phase=phase)
    shapes = [(3, 12 if bottleneck else c, 3, 3) for c in (2, 5)]
    shapes += [(1, c, 1, 1) for c in (2, 5)] * 4
    if bottleneck:
        shapes += [(12, c, 1, 1) for c in (2, 5)] + [(1, 12, 1, 1)] * 8
    assert [blob.shape for blob in layer.blobs] == [*shapes, (1,)]
    assert all((layer.blobs[i] == 0).all() and (layer.blobs[i + 2] == 1).all() for i in (6, 7))
    for i, blob in enumerate(layer.blobs):  # statistics that are not those of the start
        if i >= 6 and shapes[i : i + 1] and shapes[i][0] == 1:
            blob[...] += RANDOM.uniform(0, 0.3, blob.shape)
    expected, after = block(X, layer.blobs, bottleneck, phase == "TRAIN")
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-3, atol=1e-4)
    for got, wanted in zip(layer.blobs, after, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    rates = [spec.lr_mult for spec in layer.layer.specs()]
    assert rates == [1] * 6 + [0] * 4 + ([1] * 6 + [0] * 4 if bottleneck else []) + [0]


def test_dropout_draws_for_what_a_transition_adds(one_layer):
    more = "use_dropout: true dropout_amount: 0.5"
    top = one_layer(TEXT % more, RANDOM.normal(size=(8, 2, 8, 8))).forward()[0]
    assert not (top[:, :2] == 0).any()
    assert 0.4 < (top[:, 2:] == 0).mean() < 0.6


def test_refused(one_layer):
    with pytest.raises(NetError, match="DenseBlock takes no param"):
        one_layer(f"param {{ lr_mult: 1 }} {TEXT % ''}", X)
    with pytest.raises(NetError, match="growthRate must be positive"):
        one_layer(TEXT.replace("growthRate: 3", "growthRate: 0") % "", X)
