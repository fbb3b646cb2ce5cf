import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from netgen.graph import NetError

RANDOM = np.random.default_rng(0)
FEW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def conv(x, weight, bias, stride, pad, dilation, group):
    """A plain loop over the window's cells; any number of spatial axes."""
    n, outputs, kernel = x.shape[0], weight.shape[0], weight.shape[2:]
    out = [
        int((size + 2 * p - d * (k - 1) - 1) / s) + 1
        for size, k, s, p, d in zip(x.shape[2:], kernel, stride, pad, dilation, strict=True)
    ]
    top = np.zeros((n, outputs, *out))
    ins, outs = x.shape[1] // group, outputs // group
    for place in itertools.product(*map(range, out)):
        for cell in itertools.product(*map(range, kernel)):
            at = tuple(
                i * s - p + c * d
                for i, s, p, c, d in zip(place, stride, pad, cell, dilation, strict=True)
            )
            if any(not 0 <= i < size for i, size in zip(at, x.shape[2:], strict=True)):
                continue
            for g in range(group):
                part = x[(slice(None), slice(g * ins, (g + 1) * ins), *at)]
                w = weight[(slice(g * outs, (g + 1) * outs), slice(None), *cell)]
                top[(slice(None), slice(g * outs, (g + 1) * outs), *place)] += part @ w.T
    return top if bias is None else top + bias.reshape(-1, *[1] * len(kernel))


def deconv(x, weight, bias, stride, pad, dilation, group):
    """Every value spread over its window of the top."""
    kernel, outs = weight.shape[2:], weight.shape[1]
    geometry = list(zip(x.shape[2:], kernel, stride, pad, dilation, strict=True))
    wide = [s * (size - 1) + d * (k - 1) + 1 for size, k, s, p, d in geometry]
    top = np.zeros((x.shape[0], outs * group, *wide))
    ins = x.shape[1] // group
    for place in itertools.product(*map(range, x.shape[2:])):
        for cell in itertools.product(*map(range, kernel)):
            steps = zip(place, stride, cell, dilation, strict=True)
            at = tuple(i * s + c * d for i, s, c, d in steps)
            for g in range(group):
                part = x[(slice(None), slice(g * ins, (g + 1) * ins), *place)]
                w = weight[(slice(g * ins, (g + 1) * ins), slice(None), *cell)]
                top[(slice(None), slice(g * outs, (g + 1) * outs), *at)] += part @ w
    kept = (slice(p, size - p) for size, p in zip(wide, pad, strict=True))
    top = top[(slice(None), slice(None), *kept)]
    return top if bias is None else top + bias.reshape(-1, *[1] * len(kernel))


def param(outputs, kernel, stride=(), pad=(), dilation=(), group=1, bias=True, extra=""):
    fields = [f"num_output: {outputs} group: {group} bias_term: {str(bias).lower()} {extra}"]
    for name, values in (
        ("kernel_size", kernel),
        ("stride", stride),
        ("pad", pad),
        ("dilation", dilation),
    ):
        fields += [f"{name}: {value}" for value in values]
    return (
        f'convolution_param {{ {" ".join(fields)} weight_filler {{ type: "gaussian" }} '
        'bias_filler { type: "gaussian" } }'
    )


@st.composite
def geometries(draw):
    pair = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(2))  # noqa: E731
    group = draw(st.integers(1, 2))
    return {
        "channels": group * draw(st.integers(1, 2)),
        "outputs": group * draw(st.integers(1, 2)),
        "size": pair(1, 6),
        "kernel": pair(1, 3),
        "how": {
            "stride": pair(1, 3),
            "pad": pair(0, 2),
            "dilation": pair(1, 2),
            "group": group,
        },
    }


@FEW
@given(geometries())
def test_convolution(one_layer, g):
    stride, pad, dilation = (g["how"][name] for name in ("stride", "pad", "dilation"))
    for n, k, s, p, d in zip(g["size"], g["kernel"], stride, pad, dilation, strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        assume(room > -s)
    random = np.random.default_rng(0)  # the example alone decides
    x = random.normal(size=(2, g["channels"], *g["size"]))
    layer = one_layer('type: "Convolution" ' + param(g["outputs"], g["kernel"], **g["how"]), x)
    (top,) = layer.forward()
    np.testing.assert_allclose(top, conv(x, *layer.blobs, **g["how"]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "kernel", "how", "channels", "outputs"),
    [
        ((6, 1), (3, 1), ((7, 5), (6, 3), (4, 5), 2), 16, 6),
        ((4, 1), (3, 1), ((8, 2), (8, 3), (5, 3), 3), 6, 3),
        ((1, 2), (2, 1), ((5, 7), (5, 4), (4, 5), 3), 6, 9),
        ((3, 3), (3, 1), ((3, 4), (9, 5), (4, 5), 2), 6, 16),
        ((3, 3), (2, 2), ((8, 8), (4, 4), (1, 1), 1), 2, 3),
        ((1, 1), (1, 1), ((2, 2), (1, 1), (1, 1), 1), 1, 1),
    ],
)
def test_windows_that_touch_no_input(one_layer, size, kernel, how, channels, outputs):
    """All windows of an axis lie in the padding: tops are the bias, and only it has a gradient.

    oneDNN ends the process with SIGSEGV at the first four of these.
    """
    how = dict(zip(("stride", "pad", "dilation", "group"), how, strict=True))
    x = RANDOM.normal(size=(2, channels, *size))
    layer = one_layer('type: "Convolution" ' + param(outputs, kernel, **how), x)
    (top,) = layer.forward()
    bias = np.asarray(layer.blobs[1])
    np.testing.assert_array_equal(top, np.broadcast_to(bias[None, :, None, None], top.shape))
    np.testing.assert_allclose(top, conv(x, *layer.blobs, **how), rtol=1e-6)
    layer.check_gradients()


@FEW
@given(geometries())
def test_deconvolution(one_layer, g):
    stride, pad, dilation = (g["how"][name] for name in ("stride", "pad", "dilation"))
    for n, k, s, p, d in zip(g["size"], g["kernel"], stride, pad, dilation, strict=True):
        assume(s * (n - 1) + d * (k - 1) + 1 - 2 * p > 0)
    random = np.random.default_rng(0)  # the example alone decides
    x = random.normal(size=(2, g["channels"], *g["size"]))
    layer = one_layer('type: "Deconvolution" ' + param(g["outputs"], g["kernel"], **g["how"]), x)
    (top,) = layer.forward()
    np.testing.assert_allclose(top, deconv(x, *layer.blobs, **g["how"]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind, reference", [("Convolution", conv), ("Deconvolution", deconv)])
@pytest.mark.parametrize("axes", [1, 3])
def test_other_numbers_of_spatial_axes(one_layer, kind, reference, axes):
    x = RANDOM.normal(size=(2, 2, *[5, 4, 3][:axes]))
    layer = one_layer(f'type: "{kind}" ' + param(3, [2], [2], [1], bias=False), x)
    how = {name: [value] * axes for name, value in (("stride", 2), ("pad", 1), ("dilation", 1))}
    (weight,) = layer.blobs
    np.testing.assert_allclose(
        layer.forward()[0], reference(x, weight, None, group=1, **how), rtol=1e-4, atol=1e-5
    )


def test_convolution_without_spatial_axes_is_an_inner_product(one_layer):
    x = RANDOM.normal(size=(3, 4))
    layer = one_layer('type: "Convolution" ' + param(2, [1]), x)
    weight, bias = layer.blobs
    assert weight.shape == (2, 4)
    np.testing.assert_allclose(layer.forward()[0], x @ weight.T + bias, rtol=1e-5)


def test_four_spatial_axes_are_refused(one_layer):
    with pytest.raises(NetError, match="layer 'l': 4 spatial axes"):
        one_layer('type: "Convolution" ' + param(2, [1]), np.zeros((1, 2, 3, 3, 3, 3)))


@pytest.mark.parametrize("axis, batch", [(0, ()), (2, (2, 3)), (-3, (3,))])
def test_axes_before_axis_are_batch_axes(one_layer, axis, batch):
    x = RANDOM.normal(size=(*batch, 2, 5, 4))
    layer = one_layer('type: "Convolution" ' + param(3, [3], extra=f"axis: {axis}"), x)
    flat = x.reshape(-1, *x.shape[-3:])
    expected = conv(flat, *layer.blobs, (1, 1), (0, 0), (1, 1), 1)
    np.testing.assert_allclose(
        layer.forward()[0],
        expected.reshape(*batch, *expected.shape[1:]),
        rtol=1e-4,
        atol=1e-5,
    )


def test_every_bottom_goes_through_the_same_weights(one_layer):
    a, b = RANDOM.normal(size=(2, 2, 3, 5, 5))
    layer = one_layer('type: "Convolution" ' + param(4, [3]), a, b, tops=2)
    one, other = layer.forward()
    alone = one_layer('type: "Convolution" ' + param(4, [3]), b).set_blobs(*layer.blobs)
    np.testing.assert_allclose(other, alone.forward()[0], rtol=1e-5)
    assert np.abs(one - other).max() > 0.1
    layer.check_gradients(bottoms=(0, 1))


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
def test_gradients_with_group_stride_pad_and_dilation(one_layer, kind):
    x = RANDOM.normal(size=(2, 2, 4, 3))
    text = param(4, [2], [2, 1], [1, 0], [1, 2], group=2)
    one_layer(f'type: "{kind}" {text}', x).check_gradients()


def test_kernel_h_and_w(one_layer):
    x = RANDOM.normal(size=(1, 1, 6, 6))
    layer = one_layer(
        'type: "Convolution" convolution_param { num_output: 1 kernel_h: 3 kernel_w: 1 '
        'stride_h: 2 stride_w: 3 pad_h: 0 pad_w: 1 weight_filler { type: "xavier" } }',
        x,
    )
    np.testing.assert_allclose(
        layer.forward()[0], conv(x, *layer.blobs, (2, 3), (0, 1), (1, 1), 1), rtol=1e-5, atol=1e-6
    )


def test_weights_start_at_zero_without_a_filler(one_layer):
    text = 'type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 }'
    layer = one_layer(text, RANDOM.normal(size=(1, 3, 2, 2)))
    assert not layer.forward()[0].any()


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_inner_product(one_layer, axis, transpose, bias):
    x = RANDOM.normal(size=(2, 3, 4))
    layer = one_layer(
        f'type: "InnerProduct" inner_product_param {{ num_output: 5 axis: {axis} '
        f"transpose: {str(transpose).lower()} bias_term: {str(bias).lower()} "
        'weight_filler { type: "gaussian" } bias_filler { type: "gaussian" } }',
        x,
    )
    batch = x.shape[: axis % 3]
    weight = layer.blobs[0] if transpose else layer.blobs[0].T
    expected = x.reshape(*batch, -1) @ weight + (layer.blobs[1] if bias else 0)
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-5, atol=1e-5)
    if axis == 1:
        layer.check_gradients()


EMBED = (
    'type: "Embed" embed_param { num_output: 3 input_dim: 4 bias_term: %s '
    'weight_filler { type: "gaussian" } bias_filler { type: "gaussian" } }'
)


@pytest.mark.parametrize("bias", ["false", "true"])
def test_embed(one_layer, bias):
    index = np.array([[0, 3], [3, 1]])
    layer = one_layer(EMBED % bias, index)
    weight, shift = layer.blobs if bias == "true" else (layer.blobs[0], 0)
    np.testing.assert_allclose(layer.forward()[0], weight[index] + shift, rtol=1e-6)
    layer.check_gradients(bottoms=())


@pytest.mark.parametrize("index", [4, -1])
def test_embed_index_out_of_range(one_layer, index):
    with pytest.raises(NetError, match=f"layer 'l': index {index} is outside input_dim 4"):
        one_layer(EMBED % "true", np.array([0, index, 2])).forward()


@pytest.mark.parametrize("axis, size", [(1, (4, 5)), (0, (4, 5)), (1, (2, 4))])
def test_im2col(one_layer, axis, size):
    x = RANDOM.normal(size=(2, 2, *size)) if axis else RANDOM.normal(size=(2, *size))
    layer = one_layer(
        f'type: "Im2col" convolution_param {{ axis: {axis} kernel_size: 3 stride: 2 }}', x
    )
    # One filter for each cell of the window copies that cell.
    cells = np.eye(2 * 9).reshape(18, 2, 3, 3)
    expected = conv(x.reshape(-1, 2, *size), cells, None, (2, 2), (0, 0), (1, 1), 1)
    np.testing.assert_allclose(
        layer.forward()[0], expected.reshape(*x.shape[:axis], *expected.shape[1:]), rtol=1e-6
    )
    layer.check_gradients()


def test_im2col_of_one_spatial_axis_is_refused(one_layer):
    with pytest.raises(NetError, match="layer 'l': Im2col is supported with 2 spatial axes"):
        one_layer('type: "Im2col" convolution_param { kernel_size: 2 }', np.zeros((1, 2, 5)))


def test_parameter_is_its_blob(one_layer):
    layer = one_layer('type: "Parameter" parameter_param { shape { dim: 2 dim: 3 } }')
    value = RANDOM.normal(size=(2, 3)).astype(np.float32)
    layer.set_blobs(value)
    np.testing.assert_array_equal(layer.forward()[0], value)
    layer.check_gradients(bottoms=())


@pytest.mark.parametrize(
    "text, shape, words",
    [
        (
            'type: "InnerProduct" inner_product_param { num_output: 2 axis: 3 }',
            (2, 3),
            "layer 'l': axis 3 out of range for 2-D Blob",
        ),
        (
            'type: "Convolution" ' + param(3, [2], group=2),
            (1, 2, 4, 4),
            "layer 'l': Number of output should be multiples of group",
        ),
        ('type: "Convolution" ' + param(3, [5]), (1, 2, 3, 3), "layer 'l': output would be empty"),
    ],
)
def test_what_does_not_fit(one_layer, text, shape, words):
    with pytest.raises(NetError, match=words):
        one_layer(text, np.zeros(shape))


def test_no_bottom_at_all(one_layer):
    with pytest.raises(NetError, match="InnerProduct Layer takes 1 bottom blob"):
        one_layer('type: "InnerProduct" inner_product_param { num_output: 2 }')


def test_inner_product_with_rows_of_length_1(one_layer):
    """NormFace's: every forward scales the blob's rows, and backward is the plain product's."""
    x = np.random.default_rng(5).normal(size=(4, 3))
    layer = one_layer(
        'type: "InnerProduct" inner_product_param { num_output: 2 normalize: true '
        'bias_term: false weight_filler { type: "gaussian" std: 3 } }',
        x,
    )
    weights = np.array(layer.blobs[0], float)
    weights /= np.sqrt((weights**2).sum(1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(layer.forward()[0], x @ weights.T, rtol=1e-5)
    np.testing.assert_allclose(layer.blobs[0], weights, rtol=1e-5)
    weights /= np.sqrt((weights**2).sum(1, keepdims=True) + 1e-6)  # again, by gradients
    upstream = np.random.default_rng(6).normal(size=(4, 2))
    to_x, to_weights = layer.gradients(upstream)
    np.testing.assert_allclose(to_x, upstream @ weights, rtol=1e-5)
    np.testing.assert_allclose(to_weights, upstream.T @ x, rtol=1e-5)
    with pytest.raises(NetError, match="normalize is not implemented with transpose"):
        one_layer(
            'type: "InnerProduct" inner_product_param '
            "{ num_output: 2 normalize: true transpose: true }",
            x,
        )
