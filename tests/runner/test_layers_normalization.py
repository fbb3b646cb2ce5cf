import numpy as np
import pytest
import torch

from netgen.graph import NetError

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(1, 2, size=(3, 4, 3, 2))


def tensor(array):
    return torch.tensor(array, dtype=torch.float32)


def test_lrn_across_channels(one_layer):
    layer = one_layer('type: "LRN" lrn_param { local_size: 3 alpha: 0.6 beta: 0.75 k: 2 }', X)
    expected = np.zeros(X.shape)
    for c in range(4):
        near = X[:, max(0, c - 1) : c + 2]
        expected[:, c] = X[:, c] / (2 + 0.6 / 3 * (near**2).sum(1)) ** 0.75
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-5)
    layer.check_gradients()


def test_lrn_within_channels_ignores_k(one_layer):
    layer = one_layer(
        'type: "LRN" lrn_param { local_size: 3 alpha: 0.6 beta: 0.5 k: 9 '
        "norm_region: WITHIN_CHANNEL }",
        X,
    )
    expected = np.zeros(X.shape)
    for i, j in np.ndindex(*X.shape[2:]):
        near = X[:, :, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
        expected[:, :, i, j] = X[:, :, i, j] * (1 + 0.6 / 9 * (near**2).sum((2, 3))) ** -0.5
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-5)
    layer.check_gradients()


def test_lrn_wants_an_odd_size_and_four_axes(one_layer):
    with pytest.raises(NetError, match="layer 'l': LRN only supports odd values for local_size"):
        one_layer('type: "LRN" lrn_param { local_size: 4 }', X)
    with pytest.raises(NetError, match="layer 'l': Input must have 4 axes"):
        one_layer('type: "LRN"', X[0])


# --- BatchNorm ---


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 2, 2), (2, 3, 4)])
def test_batch_norm_in_training(one_layer, shape):
    x = RANDOM.normal(3, 2, size=shape)
    layer = one_layer('type: "BatchNorm" batch_norm_param { eps: 0.01 }', x)
    axes = tuple(a for a in range(len(shape)) if a != 1)
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    np.testing.assert_allclose(
        layer.forward()[0], (x - mean) / np.sqrt(var + 0.01), rtol=1e-4, atol=1e-5
    )
    layer.check_gradients(blobs=False)


def test_batch_norm_keeps_decayed_sums_of_unbiased_statistics(one_layer):
    layer = one_layer('type: "BatchNorm" batch_norm_param { moving_average_fraction: 0.9 }', X)
    mean_sum, var_sum, weight = np.zeros(4), np.zeros(4), 0
    for scale in (1, 2, 0.5):
        layer.net.nodes[0].layer.values[0].copy_(tensor(scale * X))
        layer.forward()
        mean_sum = 0.9 * mean_sum + (scale * X).mean((0, 2, 3))
        var_sum = 0.9 * var_sum + (scale * X).var((0, 2, 3), ddof=1)
        weight = 0.9 * weight + 1
        for blob, expected in zip(layer.blobs, (mean_sum, var_sum, [weight]), strict=True):
            np.testing.assert_allclose(blob, expected, rtol=1e-5)


@pytest.mark.parametrize("phase, given", [("TEST", ""), ("TRAIN", "use_global_stats: true")])
def test_batch_norm_with_stored_statistics(one_layer, phase, given):
    layer = one_layer(f'type: "BatchNorm" batch_norm_param {{ {given} }}', X, phase=phase)
    mean, var = RANDOM.normal(size=4), RANDOM.uniform(0.5, 2, size=4)
    layer.set_blobs(3 * mean, 3 * var, [3])
    at = (slice(None), None, None)
    np.testing.assert_allclose(
        layer.forward()[0], (X - mean[at]) / np.sqrt(var[at] + 1e-5), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(layer.blobs[2], [3])
    (gradient, *_) = layer.gradients()
    np.testing.assert_allclose(
        gradient, np.broadcast_to(1 / np.sqrt(var[at] + 1e-5), X.shape), rtol=1e-5
    )


def test_batch_norm_in_testing_may_use_the_batch(one_layer):
    layer = one_layer(
        'type: "BatchNorm" batch_norm_param { use_global_stats: false }', X, phase="TEST"
    )
    np.testing.assert_allclose(layer.forward()[0].mean((0, 2, 3)), np.zeros(4), atol=1e-5)
    assert layer.blobs[2] == 1


def test_batch_norm_before_any_statistics(one_layer):
    (top,) = one_layer('type: "BatchNorm"', X, phase="TEST").forward()
    np.testing.assert_allclose(top, X / np.sqrt(1e-5), rtol=1e-4)


def test_batch_norm_of_one_value_a_channel(one_layer):
    layer = one_layer('type: "BatchNorm"', X[:1, :, 0, 0])
    np.testing.assert_array_equal(layer.forward()[0], np.zeros((1, 4)))
    mean, var, weight = layer.blobs
    np.testing.assert_allclose(mean, X[0, :, 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(var, np.zeros(4))
    np.testing.assert_array_equal(layer.gradients()[0], np.zeros((1, 4)))


def test_batch_norm_statistics_are_not_trained(build, one_layer):
    net = build("""
      layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 4 dim: 2 } } }
      layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" }
      layer { name: "scale" type: "Scale" bottom: "y" top: "z" loss_weight: 1 }""")
    net.nodes[0].layer.values[0].copy_(tensor(RANDOM.normal(size=(4, 2))))
    assert [blob.lr_mult for blob in net.parameters.learnable] == [0, 0, 0, 1]
    net.forward_backward()
    assert not net.parameters.grad[:5].any() and net.parameters.data[4] == 1
    with pytest.raises(NetError, match="Cannot configure batch normalization statistics"):
        one_layer('type: "BatchNorm" param { lr_mult: 0 } param { lr_mult: 1 }', X)


# --- MVN ---


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("variance", [False, True])
def test_mvn(one_layer, across, variance):
    layer = one_layer(
        f'type: "MVN" mvn_param {{ across_channels: {str(across).lower()} '
        f"normalize_variance: {str(variance).lower()} }}",
        X,
    )
    axes = (1, 2, 3) if across else (2, 3)
    expected = X - X.mean(axes, keepdims=True)
    if variance:
        expected /= X.std(axes, keepdims=True) + 1e-9
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-4, atol=1e-5)
    layer.check_gradients()


def test_mvn_of_a_constant_map_is_zero_with_a_finite_gradient(one_layer):
    layer = one_layer('type: "MVN" mvn_param { eps: 0.5 }', np.full((1, 1, 2, 2), 3.0))
    assert not layer.forward()[0].any()
    gradient = np.arange(4.0).reshape(1, 1, 2, 2)
    np.testing.assert_allclose(
        layer.gradients(gradient)[0], (gradient - gradient.mean()) / 0.5, rtol=1e-5
    )


def test_mvn_makes_four_axes(one_layer):
    x = X[:, :, 0, 0]
    (top,) = one_layer('type: "MVN" mvn_param { across_channels: true }', x).forward()
    expected = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    np.testing.assert_allclose(top, expected[:, :, None, None], rtol=1e-4, atol=1e-5)


# --- Scale, Bias, PReLU ---

AXES = [  # param, shape of the blob, the same broadcast against X
    ("", (4,), (1, 4, 1, 1)),
    ("axis: 0", (3,), (3, 1, 1, 1)),
    ("axis: -1", (2,), (1, 1, 1, 2)),
    ("axis: 1 num_axes: 2", (4, 3), (1, 4, 3, 1)),
    ("axis: 2 num_axes: -1", (3, 2), (1, 1, 3, 2)),
    ("axis: 0 num_axes: -1", (3, 4, 3, 2), (3, 4, 3, 2)),
    ("num_axes: 0", (), (1, 1, 1, 1)),
]


@pytest.mark.parametrize("param, shape, view", AXES)
def test_scale(one_layer, param, shape, view):
    layer = one_layer(
        f'type: "Scale" scale_param {{ {param} filler {{ type: "gaussian" }} bias_term: true '
        'bias_filler { type: "constant" value: 0.5 } }',
        X,
    )
    scale, bias = layer.blobs
    assert scale.shape == bias.shape == shape and (bias == 0.5).all()
    np.testing.assert_allclose(layer.forward()[0], X * scale.reshape(view) + 0.5, rtol=1e-5)
    layer.check_gradients()


@pytest.mark.parametrize("param, shape, view", AXES)
def test_bias(one_layer, param, shape, view):
    layer = one_layer(f'type: "Bias" bias_param {{ {param} filler {{ type: "gaussian" }} }}', X)
    (bias,) = layer.blobs
    assert bias.shape == shape
    np.testing.assert_allclose(layer.forward()[0], X + bias.reshape(view), rtol=1e-5, atol=1e-6)
    layer.check_gradients()


def test_what_scale_and_bias_start_with(one_layer):
    layer = one_layer('type: "Scale" scale_param { bias_term: true }', X)
    np.testing.assert_array_equal(layer.blobs, [np.ones(4), np.zeros(4)])
    np.testing.assert_array_equal(one_layer('type: "Bias"', X).blobs, [np.zeros(4)])


@pytest.mark.parametrize(
    "axis, shape, view",
    [
        (0, (3, 4), (3, 4, 1, 1)),
        (1, (4,), (1, 4, 1, 1)),
        (-2, (3, 2), (1, 1, 3, 2)),
        (1, (), (1, 1, 1, 1)),
    ],
)
def test_second_bottom(one_layer, axis, shape, view):
    other = RANDOM.normal(size=shape)
    layer = one_layer(f'type: "Scale" scale_param {{ axis: {axis} }}', X, other)
    np.testing.assert_allclose(layer.forward()[0], X * other.reshape(view), rtol=1e-5)
    layer.check_gradients(bottoms=(0, 1))
    layer = one_layer(f'type: "Bias" bias_param {{ axis: {axis} }}', X, other)
    np.testing.assert_allclose(layer.forward()[0], X + other.reshape(view), rtol=1e-5, atol=1e-6)
    layer.check_gradients(bottoms=(0, 1))


def test_second_bottom_with_a_learned_bias(one_layer):
    other = RANDOM.normal(size=(4, 3))
    layer = one_layer(
        'type: "Scale" scale_param { bias_term: true bias_filler { type: "gaussian" } }', X, other
    )
    (bias,) = layer.blobs
    np.testing.assert_allclose(
        layer.forward()[0], X * other[..., None] + bias[..., None], rtol=1e-5, atol=1e-6
    )
    layer.check_gradients(bottoms=(0, 1))


def test_a_scalar_fits_a_bottom_of_one_axis(one_layer):
    x = np.arange(3.0)
    np.testing.assert_allclose(one_layer('type: "Scale"', x, np.array(2.0)).forward()[0], 2 * x)
    np.testing.assert_allclose(one_layer('type: "Bias"', x, np.array(2.0)).forward()[0], 2 + x)


@pytest.mark.parametrize(
    "text, bottoms, words",
    [
        (
            'type: "Scale" scale_param { axis: 2 num_axes: 3 }',
            (X,),
            "scale blob's shape extends past bottom",
        ),
        ('type: "Scale"', (X, np.zeros(3)), "dimension mismatch between bottom"),
        ('type: "Bias" bias_param { axis: 4 }', (X,), "axis 4 out of range for 4-D Blob"),
        ('type: "Scale"', (), "Scale Layer takes at least 1 bottom"),
        ('type: "Bias"', (), "Bias Layer takes at least 1 bottom"),
    ],
)
def test_what_does_not_fit(one_layer, text, bottoms, words):
    with pytest.raises(NetError, match=f"layer 'l': {words}"):
        one_layer(text, *bottoms)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 3, 2)])
def test_prelu(one_layer, shared, shape):
    x = X if len(shape) == 4 else X[:, :, 0, 0]
    layer = one_layer(
        f'type: "PReLU" prelu_param {{ channel_shared: {str(shared).lower()} '
        'filler { type: "uniform" } }',
        x,
    )
    (slope,) = layer.blobs
    assert slope.shape == (() if shared else (4,))
    view = slope if shared else slope.reshape(-1, *[1] * (x.ndim - 2))
    np.testing.assert_allclose(layer.forward()[0], np.where(x > 0, x, view * x), rtol=1e-5)
    layer.check_gradients()


def test_prelu_starts_at_a_quarter_and_counts_zero_as_negative(one_layer):
    layer = one_layer('type: "PReLU"', np.zeros((1, 2)))
    np.testing.assert_array_equal(layer.blobs[0], [0.25, 0.25])
    np.testing.assert_array_equal(layer.gradients()[0], [[0.25, 0.25]])


def test_in_place_lrn_and_mvn_lose_what_they_need(one_layer, capfd):
    x = np.random.default_rng(3).normal(size=(2, 3, 2, 2))
    lrn = one_layer('type: "LRN" lrn_param { local_size: 1 alpha: 2 k: 3 }', x, in_place=True)
    assert "LRN in place loses its bottom" in capfd.readouterr().err
    (top,) = lrn.forward()
    np.testing.assert_allclose(top, (3 + 2 * x**2) ** -1.5, rtol=1e-5)
    scale = 3 + 2 * x**2
    expected = scale**-1.5 - 2 * 2 * 0.75 * top * (scale**-1.5 * top / scale)
    np.testing.assert_allclose(lrn.gradients(x)[0], expected, rtol=1e-5)  # whatever came from above
    mvn = one_layer('type: "MVN" mvn_param { eps: 0.5 }', x, in_place=True)
    assert "MVN in place loses the gradient" in capfd.readouterr().err
    (top,) = mvn.forward()
    np.testing.assert_allclose(top, one_layer('type: "MVN" mvn_param { eps: 0.5 }', x).forward()[0])
    along = top * (x * top).mean((2, 3), keepdims=True)
    expected = -2 * (along + along.sum((2, 3), keepdims=True))
    expected /= x.std((2, 3), keepdims=True) + 0.5
    np.testing.assert_allclose(mvn.gradients(x)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "shape, param, rewrites",
    [
        ((2, 3, 2, 2), "axis: 0 num_axes: -1", (0,)),
        ((2, 3, 2, 2), "", ()),
        ((1, 3, 2, 2), "", (0,)),
        ((1, 3, 2, 2), "num_axes: 0", ()),
        ((1, 1, 1, 1), "num_axes: 0", (0,)),
        ((2, 1, 1, 1), "num_axes: 0", ()),
    ],
)
def test_scale_of_one_record_does_not_add_up_its_gradient(one_layer, shape, param, rewrites):
    layer = one_layer(f'type: "Scale" scale_param {{ {param} }}', np.ones(shape))
    assert layer.layer.rewrites == rewrites
