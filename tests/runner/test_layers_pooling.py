import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from netgen.graph import NetError

RANDOM = np.random.default_rng(0)
FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
FLT_MAX = np.finfo(np.float32).max


def output_size(size, kernel, stride, pad, any_pad, floor=False):
    """Rounded up (or down); with padding no window may start beyond it."""
    out = (math.floor if floor else math.ceil)((size + 2 * pad - kernel) / stride) + 1
    return out - (any_pad and (out - 1) * stride >= size + pad)


def windows(shape, kernel, stride, pad, out):
    """Of each place of the top: its rows, columns and divisor."""
    (h, w), places = shape, itertools.product(*map(range, out))
    for i, j in places:
        top, left = i * stride[0] - pad[0], j * stride[1] - pad[1]
        bottom, right = min(top + kernel[0], h + pad[0]), min(left + kernel[1], w + pad[1])
        rows = [r for r in range(top, bottom) if 0 <= r < h]
        columns = [c for c in range(left, right) if 0 <= c < w]
        yield i, j, rows, columns, (bottom - top) * (right - left)


def max_pool(x, *geometry):
    """Values, and where in each map the first of the largest lies."""
    kernel, stride, pad, out = geometry
    top = np.full((*x.shape[:2], *out), -FLT_MAX)
    mask = np.full(top.shape, -1)
    for n, c in np.ndindex(*x.shape[:2]):
        for i, j, rows, columns, _ in windows(x.shape[2:], *geometry):
            for r, s in itertools.product(rows, columns):
                if x[n, c, r, s] > top[n, c, i, j]:
                    top[n, c, i, j], mask[n, c, i, j] = x[n, c, r, s], r * x.shape[3] + s
    return top, mask


def ave_pool(x, *geometry):
    top = np.zeros((*x.shape[:2], *geometry[3]))
    with np.errstate(invalid="ignore"):
        for i, j, rows, columns, size in windows(x.shape[2:], *geometry):
            total = x[:, :, rows][:, :, :, columns].sum((2, 3))
            top[:, :, i, j] = total / np.float64(size)
    return top


def pooling(method, kernel, stride, pad, more=""):
    return (
        f'type: "Pooling" pooling_param {{ pool: {method} kernel_h: {kernel[0]} '
        f"kernel_w: {kernel[1]} stride_h: {stride[0]} stride_w: {stride[1]} "
        f"pad_h: {pad[0]} pad_w: {pad[1]} {more} }}"
    )


@st.composite
def geometries(draw):
    """A bottom's height and width, and kernel, stride, pad and out for it."""
    size, kernel, stride, pad = (
        tuple(draw(st.integers(low, high)) for _ in range(2))
        for low, high in ((1, 7), (1, 4), (1, 4), (0, 3))
    )
    assume(not any(pad) or all(p < k for p, k in zip(pad, kernel, strict=True)))
    floor = draw(st.booleans())
    out = tuple(
        output_size(*axis, any(pad), floor) for axis in zip(size, kernel, stride, pad, strict=True)
    )
    assume(min(out) > 0)
    return size, (kernel, stride, pad, out), "round_mode: FLOOR" if floor else ""


@FEW
@given(geometries())
def test_max(one_layer, drawn):
    size, geometry, more = drawn
    # Few distinct values: ties are common, and the first of them must win.
    random = np.random.default_rng(0)  # the example alone decides
    x = random.integers(-3, 3, size=(2, 2, *size)).astype(float)
    layer = one_layer(pooling("MAX", *geometry[:3], more), x, tops=2)
    top, mask = layer.forward()
    expected, where = max_pool(x, *geometry)
    np.testing.assert_array_equal(top, expected.astype(np.float32))
    np.testing.assert_array_equal(mask, where)

    gradient = random.normal(size=top.shape)
    routed = np.zeros(x.shape)
    for (n, c, i, j), place in np.ndenumerate(where):
        if place >= 0:
            routed[n, c].flat[place] += gradient[n, c, i, j]
    alone = one_layer(pooling("MAX", *geometry[:3], more), x)
    np.testing.assert_array_equal(alone.forward()[0], top)
    for pool, upstream in ((alone, [gradient]), (layer, [gradient, mask])):
        np.testing.assert_allclose(pool.gradients(*upstream)[0], routed, atol=1e-12)


@FEW
@given(geometries())
def test_ave(one_layer, drawn):
    size, geometry, more = drawn
    random = np.random.default_rng(0)  # the example alone decides
    x = random.normal(size=(2, 2, *size))
    layer = one_layer(pooling("AVE", *geometry[:3], more), x)
    (top,) = layer.forward()
    np.testing.assert_allclose(top, ave_pool(x, *geometry), rtol=1e-4, atol=1e-6)

    gradient = random.normal(size=top.shape)
    spread = np.zeros(x.shape)
    for i, j, rows, columns, divisor in windows(size, *geometry):
        for r, c in itertools.product(rows, columns):
            spread[:, :, r, c] += gradient[:, :, i, j] / divisor
    np.testing.assert_allclose(layer.gradients(gradient)[0], spread, atol=1e-12)


def test_a_window_beyond_the_edge_is_empty(one_layer):
    # 4 wide, kernel 1, stride 4: the second window starts where the map has ended.
    x = RANDOM.normal(size=(1, 1, 1, 4))
    top, mask = one_layer(pooling("MAX", (1, 1), (1, 2), (0, 0)), x, tops=2).forward()
    assert top.shape == (1, 1, 1, 3)
    np.testing.assert_array_equal(top[..., 2], -FLT_MAX)
    np.testing.assert_array_equal(mask, [[[[0, 2, -1]]]])
    (top,) = one_layer(pooling("AVE", (1, 1), (1, 2), (0, 0)), x).forward()
    assert np.isnan(top[..., 2]).all()  # nothing over nothing


def test_padding_counts_in_the_divisor_but_not_what_hangs_over_it(one_layer):
    x = np.ones((1, 1, 3, 3))
    (top,) = one_layer(pooling("AVE", (3, 3), (2, 2), (1, 1)), x).forward()
    np.testing.assert_allclose(top[0, 0], [[4 / 9, 4 / 9], [4 / 9, 4 / 9]], rtol=1e-6)
    (top,) = one_layer(pooling("AVE", (2, 2), (2, 2), (0, 0)), x).forward()
    np.testing.assert_allclose(top[0, 0], np.ones((2, 2)))
    # a kernel as large as the map, but not on it
    (top,) = one_layer(pooling("AVE", (3, 3), (9, 9), (1, 1)), x).forward()
    np.testing.assert_allclose(top, [[[[4 / 9]]]], rtol=1e-6)


@pytest.mark.parametrize("method, reference", [("MAX", np.max), ("AVE", np.mean)])
def test_global(one_layer, method, reference):
    x = RANDOM.normal(size=(2, 3, 4, 5))
    layer = one_layer(f'type: "Pooling" pooling_param {{ pool: {method} global_pooling: true }}', x)
    np.testing.assert_allclose(
        layer.forward()[0], reference(x, axis=(2, 3), keepdims=True), rtol=1e-5, atol=1e-7
    )
    layer.check_gradients()


@pytest.mark.parametrize("height, width", [(8, 8), (7, 11), (6, 9)])
@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_spp(one_layer, method, height, width):
    x = RANDOM.normal(size=(2, 3, height, width))
    layer = one_layer(f'type: "SPP" spp_param {{ pool: {method} pyramid_height: 3 }}', x)
    parts = []
    for bins in (1, 2, 4):
        kernel = [math.ceil(n / bins) for n in (height, width)]
        pad = [(k * bins - n + 1) // 2 for k, n in zip(kernel, (height, width), strict=True)]
        out = tuple(
            output_size(n, k, k, p, any(pad))
            for n, k, p in zip((height, width), kernel, pad, strict=True)
        )
        pool = (lambda *a: max_pool(*a)[0]) if method == "MAX" else ave_pool
        parts.append(pool(x, kernel, kernel, pad, out).reshape(2, -1))
    np.testing.assert_allclose(layer.forward()[0], np.concatenate(parts, 1), rtol=1e-5, atol=1e-6)
    layer.check_gradients()


def test_spp_of_one_level_is_the_pooling_itself(one_layer):
    x = RANDOM.normal(size=(2, 3, 4, 5))
    (top,) = one_layer('type: "SPP" spp_param { pyramid_height: 1 }', x).forward()
    np.testing.assert_allclose(top, x.max((2, 3), keepdims=True), rtol=1e-6)


@pytest.mark.parametrize(
    "param, words",
    [
        ("pool: STOCHASTIC kernel_size: 2", "STOCHASTIC pooling is not implemented"),
        ("", "Filter size is kernel_size OR kernel_h and kernel_w"),
        ("global_pooling: true kernel_size: 2", "With Global_pooling: true Filter size cannot"),
        ("global_pooling: true stride: 2", "With Global_pooling: true; only pad = 0 and stride"),
        ("kernel_size: 2 pad: 2", "pad 2 2 must be smaller than kernel 2 2"),
        ("kernel_size: 7 stride: 2", "output would be empty"),
    ],
)
def test_refused(one_layer, param, words):
    with pytest.raises(NetError, match=f"layer 'l': {words}"):
        one_layer(f'type: "Pooling" pooling_param {{ {param} }}', np.zeros((1, 1, 4, 4)))


@pytest.mark.parametrize(
    "param, words",
    [
        ("pool: STOCHASTIC pyramid_height: 1", "STOCHASTIC pooling is not implemented"),
        ("pyramid_height: 3", "pad 2 2 must be smaller than kernel 2 2"),  # 5 into 4 bins
    ],
)
def test_spp_refused(one_layer, param, words):
    with pytest.raises(NetError, match=f"layer 'l': {words}"):
        one_layer(f'type: "SPP" spp_param {{ {param} }}', np.zeros((1, 1, 5, 5)))


def test_only_four_axes(one_layer):
    with pytest.raises(NetError, match="Input must have 4 axes"):
        one_layer('type: "Pooling" pooling_param { kernel_size: 2 }', np.zeros((1, 4, 4)))


@FEW
@given(geometries())
def test_ave_without_the_padding(one_layer, drawn):
    size, geometry, more = drawn
    x = np.random.default_rng(0).normal(size=(2, 2, *size))
    expected = np.zeros((2, 2, *geometry[3]))
    for i, j, rows, columns, _ in windows(size, *geometry):
        if rows and columns:
            expected[:, :, i, j] = x[:, :, rows][:, :, :, columns].mean((2, 3))
    layer = one_layer(pooling("AVE_EXC_PAD", *geometry[:3], more), x)
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["MAX", "AVE"])
@pytest.mark.parametrize(
    "more, size",
    [
        ("ceil_mode: false", 3),
        ("ceil_mode: true", 4),
        ("ceil_mode: true round_mode: FLOOR", 4),  # a fork's field counts more than Caffe's
        ("ceil_mode: false round_mode: CEIL", 3),
    ],
)
def test_ceil_mode_rounds_the_output_size(one_layer, method, more, size):
    x = RANDOM.normal(size=(1, 2, 8, 8))
    pool = max_pool if method == "MAX" else ave_pool
    expected = pool(x, (3, 3), (2, 2), (0, 0), (size, size))
    layer = one_layer(pooling(method, (3, 3), (2, 2), (0, 0), more), x)
    np.testing.assert_allclose(
        layer.forward()[0], expected[0] if method == "MAX" else expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("pads", [(0, 1, 0, 1), (1, 0, 2, 0), (2, 1, 0, 0)])
@pytest.mark.parametrize("floor", [False, True])
@pytest.mark.parametrize("method", ["MAX", "AVE", "AVE_EXC_PAD"])
def test_each_side_has_its_padding(one_layer, method, floor, pads):
    """By brute force, as Synopsys's pooling_layer.cpp: pad_l, pad_r, pad_t, pad_b."""
    left, right, above, below = pads
    x, kernel, stride = RANDOM.normal(size=(2, 2, 6, 7)), 3, 2
    sides = [(above, below), (left, right)]
    out = []
    for size, (before, after) in zip(x.shape[2:], sides, strict=True):
        count = (math.floor if floor else math.ceil)((size + before + after - kernel) / stride) + 1
        out.append(count - ((count - 1) * stride >= size + before))
    top, mask = np.zeros((2, 2, *out)), np.full((2, 2, *out), -1)
    gradient, spread = RANDOM.normal(size=top.shape), np.zeros(x.shape)
    for n, c, i, j in np.ndindex(*top.shape):
        low = [i * stride - above, j * stride - left]
        high = [min(low[0] + kernel, 6 + below), min(low[1] + kernel, 7 + right)]
        inside = [
            (r, s)
            for r in range(max(low[0], 0), min(high[0], 6))
            for s in range(max(low[1], 0), min(high[1], 7))
        ]
        values = [x[n, c, r, s] for r, s in inside]
        if method == "MAX":
            r, s = inside[int(np.argmax(values))]
            top[n, c, i, j], mask[n, c, i, j] = max(values), r * 7 + s
            spread[n, c, r, s] += gradient[n, c, i, j]
            continue
        divisor = (high[0] - low[0]) * (high[1] - low[1]) if method == "AVE" else len(inside)
        top[n, c, i, j] = sum(values) / divisor
        for r, s in inside:
            spread[n, c, r, s] += gradient[n, c, i, j] / divisor
    text = (
        f'type: "Pooling" pooling_param {{ pool: {method} kernel_size: 3 stride: 2 pad_l: {left} '
        f"pad_r: {right} pad_t: {above} pad_b: {below} ceil_mode: {'false' if floor else 'true'} }}"
    )
    layer = one_layer(text, x)
    np.testing.assert_allclose(layer.forward()[0], top, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.gradients(gradient)[0], spread, atol=1e-12)
    if method == "MAX":
        np.testing.assert_array_equal(one_layer(text, x, tops=2).forward()[1], mask)


def test_padding_is_given_in_one_way(one_layer):
    text = 'type: "Pooling" pooling_param { kernel_size: 2 pad: 1 pad_l: 1 }'
    with pytest.raises(NetError, match="Either pad or pad_l/r/t/b should be specified; not both"):
        one_layer(text, np.zeros((1, 1, 4, 4)))


def test_ave_tf_is_ave_exc_pad(one_layer):
    x = np.ones((1, 1, 3, 3))
    text = 'type: "Pooling" pooling_param { pool: AVE_TF kernel_size: 2 pad_r: 1 pad_b: 1 }'
    np.testing.assert_allclose(one_layer(text, x).forward()[0], np.ones((1, 1, 3, 3)), rtol=1e-6)
