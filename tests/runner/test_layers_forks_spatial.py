"""NdConvolution and NdPooling against loops over places."""

import itertools

import numpy as np
import pytest

from netgen.graph import NetError

RANDOM = np.random.default_rng(0)
SIZES = {1: (7,), 2: (5, 6), 3: (4, 5, 6)}


def dims(name, sizes):
    return f"{name} {{ {' '.join(f'dim: {size}' for size in sizes)} }}"


def shapes(kernel, stride, pad):
    named = ("kernel_shape", kernel), ("stride_shape", stride), ("pad_shape", pad)
    return " ".join(dims(name, sizes) for name, sizes in named)


def windows(x, kernel, stride, pad, out, outside):
    """(place, the values of its window) for each place of the top."""
    after = [
        max(0, (o - 1) * s + k - n - p)
        for n, k, s, p, o in zip(x.shape, kernel, stride, pad, out, strict=True)
    ]
    wide = np.pad(x, list(zip(pad, after, strict=True)), constant_values=outside)
    for place in itertools.product(*map(range, out)):
        yield (
            place,
            wide[
                tuple(
                    slice(i * s, i * s + k) for i, s, k in zip(place, stride, kernel, strict=True)
                )
            ],
        )


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_nd_convolution(one_layer, axes):
    kernel, stride, pad = (3, 2, 3)[:axes], (2, 1, 2)[:axes], (1, 0, 1)[:axes]
    x = RANDOM.normal(size=(2, 4, *SIZES[axes]))
    layer = one_layer(
        'type: "NdConvolution" convolution_param { num_output: 6 group: 2 '
        f'{shapes(kernel, stride, pad)} weight_filler {{ type: "gaussian" std: 1 }} '
        'bias_filler { type: "uniform" } }',
        x,
    )
    weight, bias = layer.blobs
    assert weight.shape == (6, 2, *kernel)
    out = [
        (n + 2 * p - k) // s + 1
        for n, k, s, p in zip(SIZES[axes], kernel, stride, pad, strict=True)
    ]
    expected = np.zeros((2, 6, *out))
    for n, o in np.ndindex(2, 6):
        for c in range(2):
            channel = x[n, 2 * (o // 3) + c]
            for place, values in windows(channel, kernel, stride, pad, out, 0):
                expected[(n, o, *place)] += (values * weight[o, c]).sum()
        expected[n, o] += bias[o]
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-4, atol=1e-5)
    layer.check_gradients()


def test_axes_of_size_1_are_left_out(one_layer):
    x = RANDOM.normal(size=(2, 1, 3, 4, 5))
    layer = one_layer(
        f'type: "NdConvolution" convolution_param {{ num_output: 2 {dims("kernel_shape", (3, 3, 3))} '
        'weight_filler { type: "gaussian" } }',
        x,
    )
    (top,) = layer.forward()
    assert top.shape == (2, 2, 2, 3)
    wanted = (x[1, 0, :, 1:4, 2:5] * layer.blobs[0][1, 0]).sum()
    np.testing.assert_allclose(top[1, 1, 1, 2], wanted, rtol=1e-4)


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("padded", [False, True])
def test_nd_pooling(one_layer, pool, axes, padded):
    kernel, stride, pad = (
        (2, 3, 2)[:axes],
        (2, 2, 2)[:axes],
        ((1, 1, 0) if padded else (0, 0, 0))[:axes],
    )
    x = RANDOM.normal(size=(2, 2, *SIZES[axes]))
    layer = one_layer(
        f'type: "NdPooling" pooling_param {{ pool: {pool} {shapes(kernel, stride, pad)} }}', x
    )
    out = []
    for n, k, s, p in zip(SIZES[axes], kernel, stride, pad, strict=True):
        count = int(np.ceil((n + 2 * p - k) / s)) + 1
        out.append(count - 1 if p and (count - 1) * s >= n + p else count)
    expected = np.zeros((2, 2, *out))
    for n, c in np.ndindex(2, 2):
        for place, values in windows(
            x[n, c], kernel, stride, pad, out, -np.inf if pool == "MAX" else 0
        ):
            expected[(n, c, *place)] = (
                values.max() if pool == "MAX" else values.sum() / np.prod(kernel)
            )
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-4, atol=1e-5)
    layer.check_gradients()


def test_global_nd_pooling(one_layer):
    x = RANDOM.normal(size=(2, 3, 2, 3, 4))
    layer = one_layer(
        'type: "NdPooling" pooling_param { pool: AVE global_pooling: true '
        f"{dims('kernel_shape', (1, 1, 1))} }}",
        x,
    )
    np.testing.assert_allclose(
        layer.forward()[0], x.mean((2, 3, 4), keepdims=True), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    "text, words",
    [
        ('type: "NdPooling" pooling_param { pool: MAX }', "Kernel shape is required."),
        (
            f'type: "NdPooling" pooling_param {{ {dims("kernel_shape", (2, 2))} }}',
            r"kernel_shape must have one size for each axis of 1 2 3 4 5 \(120\) behind the second",
        ),
        (
            'type: "NdConvolution" convolution_param { num_output: 1 '
            f"{dims('kernel_shape', (1, 1, 1))} {dims('pad_shape', (1,))} }}",
            "Kernel and Pad shape don't match !",
        ),
        (
            f'type: "NdPooling" pooling_param {{ pool: STOCHASTIC {dims("kernel_shape", (1, 1, 1))} }}',
            "Unknown pooling method.",
        ),
    ],
)
def test_refused(one_layer, text, words):
    with pytest.raises(NetError, match=f"layer 'l': {words}"):
        one_layer(text, np.zeros((1, 2, 3, 4, 5)))
