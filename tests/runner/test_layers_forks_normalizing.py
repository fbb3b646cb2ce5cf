import numpy as np
import pytest

from netgen.graph import NetError

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(1, 2, size=(3, 4, 3, 2))
SLOPE, BIAS = RANDOM.uniform(0.5, 2, 4), RANDOM.normal(size=4)
A_CHANNEL = (1, 4, 1, 1)


# --- Normalize ---


@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_normalize(one_layer, across, shared):
    layer = one_layer(
        f'type: "Normalize" norm_param {{ across_spatial: {str(across).lower()} '
        f"channel_shared: {str(shared).lower()} eps: 0.5 }}",
        X,
    )
    scale = np.float64(1.5) if shared else SLOPE
    layer.set_blobs(scale)
    norm = np.zeros((3, 1, 3, 2))
    for n, _, i, j in np.ndindex(*norm.shape):
        values = X[n] if across else X[n, :, i, j]
        norm[n, 0, i, j] = np.sqrt((values**2).sum() + 0.5)
    factors = np.broadcast_to(scale, 4).reshape(A_CHANNEL)
    np.testing.assert_allclose(layer.forward()[0], X / norm * factors, rtol=1e-5)
    if shared:
        layer.check_gradients()
        return
    # SSD's gradient: the projection is that of the gradient before the scale.
    upstream = RANDOM.normal(size=X.shape)
    along = (X * upstream).sum((1, 2, 3) if across else 1, keepdims=True) / norm**2
    of_x, of_scale = layer.gradients(upstream)
    factors = layer.blobs[0].astype(np.float64).reshape(A_CHANNEL)
    np.testing.assert_allclose(of_x, (upstream - X * along) / norm * factors, rtol=1e-9)
    np.testing.assert_allclose(of_scale, (X / norm * upstream).sum((0, 2, 3)), rtol=1e-9)


def test_normalize_starts_at_its_filler(one_layer):
    layer = one_layer(
        'type: "Normalize" norm_param { channel_shared: false '
        'scale_filler { type: "constant" value: 20 } }',
        X,
    )
    np.testing.assert_array_equal(layer.blobs[0], np.full(4, 20))
    np.testing.assert_array_equal(one_layer('type: "Normalize" norm_param { }', X).blobs[0], 1)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 3, 2)])
def test_normalize_of_face_forks(one_layer, shape):
    x = RANDOM.normal(size=shape)
    layer = one_layer('type: "Normalize"', x)
    assert not layer.blobs
    expected = x / np.sqrt((x**2).sum(1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-5)
    layer.check_gradients()


# --- BN ---


def normalized(x, eps):
    mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    return (x - mean) / np.sqrt(variance + eps), mean, variance


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_segnets_bn_learns_from_the_batch_in_both_phases(one_layer, phase):
    layer = one_layer('type: "BN" bn_param { bn_mode: LEARN }', X, tops=3, phase=phase)
    layer.set_blobs(SLOPE.reshape(A_CHANNEL), BIAS.reshape(A_CHANNEL))
    top, mean, variance = layer.forward()
    unit, expected_mean, expected_variance = normalized(X, 1e-9)
    expected = unit * SLOPE.reshape(A_CHANNEL) + BIAS.reshape(A_CHANNEL)
    np.testing.assert_allclose(top, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-5)
    np.testing.assert_allclose(variance, expected_variance, rtol=1e-5)
    alone = one_layer('type: "BN" bn_param { bn_mode: LEARN }', X, phase=phase)
    alone.set_blobs(*layer.blobs).check_gradients()
    assert alone.layer.rewrites == (0, 1)


def test_segnets_bn_for_inference_only_scales_and_shifts(one_layer):
    layer = one_layer('type: "BN" bn_param { bn_mode: INFERENCE }', X)
    layer.set_blobs(SLOPE.reshape(A_CHANNEL), BIAS.reshape(A_CHANNEL))
    expected = X * SLOPE.reshape(A_CHANNEL) + BIAS.reshape(A_CHANNEL)
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-5, atol=1e-6)
    layer.check_gradients()


PSPNET = 'type: "BN" bn_param {{ momentum: 0.8 eps: 0.01 {} }}'


def test_pspnets_bn_in_training(one_layer):
    layer = one_layer(PSPNET.format(""), X)
    assert [blob.shape for blob in layer.blobs] == [A_CHANNEL] * 4
    np.testing.assert_array_equal(layer.blobs[3], 0)
    running = RANDOM.normal(size=A_CHANNEL), RANDOM.uniform(1, 2, A_CHANNEL)
    layer.set_blobs(SLOPE.reshape(A_CHANNEL), BIAS.reshape(A_CHANNEL), *running)
    unit, *of_batch = normalized(X, 0.01)
    expected = unit * SLOPE.reshape(A_CHANNEL) + BIAS.reshape(A_CHANNEL)
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-4, atol=1e-5)
    for found, before, new in zip(layer.blobs[2:], running, of_batch, strict=True):
        np.testing.assert_allclose(found, 0.8 * before + 0.2 * new, rtol=1e-5)
    of_x, of_slope, of_bias, *of_statistics = layer.gradients(X)
    np.testing.assert_allclose(of_slope, (unit * X).sum((0, 2, 3), keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(of_bias, X.sum((0, 2, 3), keepdims=True), rtol=1e-5)
    assert of_statistics == [None, None]
    upstream = X * SLOPE.reshape(A_CHANNEL)
    mean = upstream.mean((0, 2, 3), keepdims=True)
    along = (upstream * unit).mean((0, 2, 3), keepdims=True)
    by_hand = (upstream - mean - unit * along) / np.sqrt(of_batch[1] + 0.01)
    np.testing.assert_allclose(of_x, by_hand, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("phase, more", [("TEST", ""), ("TRAIN", "frozen: true")])
def test_pspnets_bn_with_running_statistics(one_layer, phase, more):
    layer = one_layer(PSPNET.format(more), X, phase=phase)
    mean, variance = RANDOM.normal(size=A_CHANNEL), RANDOM.uniform(1, 2, A_CHANNEL)
    layer.set_blobs(SLOPE.reshape(A_CHANNEL), BIAS.reshape(A_CHANNEL), mean, variance)
    factor = SLOPE.reshape(A_CHANNEL) / np.sqrt(variance + 0.01)
    expected = (X - mean) * factor + BIAS.reshape(A_CHANNEL)
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layer.blobs[2], mean.astype(np.float32))
    gradients = layer.gradients(X)
    np.testing.assert_allclose(gradients[0], X * factor, rtol=1e-5)
    assert [g is None for g in gradients[1:]] == [bool(more)] * 2 + [True] * 2


def test_pspnets_statistics_do_not_learn_and_frozen_ones_nothing(one_layer):
    spec = "param { lr_mult: 3 } "
    learning, frozen = (
        one_layer(PSPNET.format(more) + spec * count, X).layer.specs()
        for more, count in (("", 4), ("frozen: true", 0))
    )
    assert [(s.lr_mult, s.decay_mult) for s in learning] == [(3, 1), (3, 1), (0, 0), (0, 0)]
    assert [(s.lr_mult, s.decay_mult) for s in frozen] == [(0, 0)] * 4


@pytest.mark.parametrize("param", ["bn_mode: LEARN", "eps: 1e-2"])
def test_bn_of_one_value_a_channel_gives_the_shift(one_layer, param):
    layer = one_layer(f'type: "BN" bn_param {{ {param} }}', X[:1, :, :1, :1])
    blobs = [SLOPE.reshape(A_CHANNEL), BIAS.reshape(A_CHANNEL), np.zeros(A_CHANNEL)]
    layer.set_blobs(*[*blobs, blobs[2]][: len(layer.blobs)])
    np.testing.assert_allclose(layer.forward()[0], BIAS.reshape(A_CHANNEL), rtol=1e-6)


@pytest.mark.parametrize(
    "text, words",
    [
        ('type: "BN"', "BN is the name of two layers: choose SegNet's with bn_param"),
        ('type: "BN" bn_param { bn_mode: LEARN eps: 1 }', "bn_param mixes two layers: bn_mode is"),
        ('type: "Normalize" norm_param { scale_filler { type: "x" } }', "Unknown filler name: x"),
    ],
)
def test_refused(one_layer, text, words):
    with pytest.raises(NetError, match=f"layer 'l': {words}"):
        one_layer(text, X)


def test_bn_without_fields_goes_by_tops_and_params(one_layer):
    assert len(one_layer('type: "BN"', X, tops=3).blobs) == 2
    assert len(one_layer('type: "BN" param { } param { } param { } param { }', X).blobs) == 4
    with pytest.raises(NetError, match="PSPNet's BN has one top"):
        one_layer('type: "BN" bn_param { eps: 1 }', X, tops=2)


@pytest.mark.parametrize("kind", ["L2", "L1"])
@pytest.mark.parametrize("bp_norm", ["true", "false"])
def test_face_forks_normalize_with_norms(one_layer, kind, bp_norm):
    x = np.random.default_rng(3).normal(size=(2, 4, 3, 2))
    layer = one_layer(
        f'type: "Normalize" normalize_param {{ normalize_type: "{kind}" bp_norm: {bp_norm} }}',
        x,
        tops=2,
    )
    sums = np.abs(x) if kind == "L1" else x**2
    norm = sums.sum(1, keepdims=True) + 1e-6
    norm = norm if kind == "L1" else np.sqrt(norm)
    top, norms = layer.forward()
    np.testing.assert_allclose(top, x / norm, rtol=1e-5)
    np.testing.assert_allclose(norms, norm, rtol=1e-5)
    if bp_norm == "true":
        layer.check_gradients()
        return
    upstream = np.random.default_rng(4).normal(size=x.shape)
    along = np.sign(x) if kind == "L1" else x / norm
    expected = (upstream - along * (x / norm * upstream).sum(1, keepdims=True)) / norm
    found = layer.gradients(upstream, np.ones(norm.shape))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_a_gradient_that_is_not_divided_by_the_norm(one_layer):
    x = np.random.default_rng(3).normal(size=(2, 4))
    upstream = np.random.default_rng(4).normal(size=x.shape)
    layer = one_layer('type: "Normalize" normalize_param { fix_gradient: true }', x)
    unit = x / np.sqrt((x**2).sum(1, keepdims=True) + 1e-6)
    expected = upstream - unit * (unit * upstream).sum(1, keepdims=True)
    np.testing.assert_allclose(layer.gradients(upstream)[0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    "more, tops, words",
    [
        ('normalize_param { normalize_type: "L3" }', 1, "normalize_type is L1 or L2, not L3"),
        ("norm_param { } normalize_param { }", 1, "norm_param and normalize_param are two layers"),
        ("norm_param { }", 2, "Normalize with norm_param has one top"),
    ],
)
def test_normalize_refused(one_layer, more, tops, words):
    with pytest.raises(NetError, match=words):
        one_layer(f'type: "Normalize" {more}', np.zeros((1, 2, 1, 1)), tops=tops)
