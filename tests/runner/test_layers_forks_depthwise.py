import numpy as np
import pytest

from netgen.graph import NetError

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 4, 5, 6))


def depthwise(x, weight, bias, stride, pad):
    """Each channel is convolved with kernels of its own."""
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    outputs, size = weight.shape[0], weight.shape[2]
    height, width = ((n - size) // stride + 1 for n in padded.shape[2:])
    top = np.zeros((x.shape[0], outputs, height, width))
    for n, o, i, j in np.ndindex(*top.shape):
        rows, columns = (slice(k * stride, k * stride + size) for k in (i, j))
        window = padded[n, o * x.shape[1] // outputs, rows, columns]
        top[n, o, i, j] = (window * weight[o, 0]).sum() + bias[o]
    return top


@pytest.mark.parametrize(
    "kind, group", [("DepthwiseConvolution", "group: 4"), ("ConvolutionDepthwise", "")]
)
@pytest.mark.parametrize("outputs, stride", [(4, 1), (8, 2)])
def test_depthwise(one_layer, kind, group, outputs, stride):
    layer = one_layer(
        f'type: "{kind}" convolution_param {{ num_output: {outputs} kernel_size: 3 pad: 1 '
        f"stride: {stride} {group} }}",
        X,
    )
    assert [blob.shape for blob in layer.blobs] == [(outputs, 1, 3, 3), (outputs,)]
    weight, bias = RANDOM.normal(size=(outputs, 1, 3, 3)), RANDOM.normal(size=outputs)
    layer.set_blobs(weight, bias)
    np.testing.assert_allclose(
        layer.forward()[0], depthwise(X, weight, bias, stride, 1), rtol=1e-4, atol=1e-5
    )
    layer.check_gradients()


def test_depthwise_convolution_has_the_groups_that_it_says(one_layer):
    text = (
        'type: "DepthwiseConvolution" convolution_param { num_output: 4 kernel_size: 1 group: 2 }'
    )
    assert one_layer(text, X).blobs[0].shape == (4, 2, 1, 1)


def test_outputs_must_be_a_multiple_of_the_channels(one_layer):
    text = 'type: "ConvolutionDepthwise" convolution_param { num_output: 6 kernel_size: 1 }'
    with pytest.raises(NetError, match="layer 'l': Number of output should be multiples of group"):
        one_layer(text, X)


@pytest.mark.parametrize("kernel, stride", [(3, 2), (9, 3)])
def test_one_sided_padding(one_layer, kernel, stride):
    """pad_l, pad_r, pad_t and pad_b of a fork are zeros on each single side."""
    param = f"num_output: 2 kernel_size: {kernel} stride: {stride}"
    weight, bias = RANDOM.normal(size=(2, 4, kernel, kernel)), RANDOM.normal(size=2)
    padded = np.pad(X, ((0, 0), (0, 0), (0, 3), (2, 1)))
    alone, whole = (
        one_layer(f'type: "Convolution" convolution_param {{ {param} {more} }}', x)
        for more, x in (("pad_l: 2 pad_r: 1 pad_b: 3", X), ("", padded))
    )
    np.testing.assert_allclose(
        alone.set_blobs(weight, bias).forward()[0],
        whole.set_blobs(weight, bias).forward()[0],
        rtol=1e-5,
        atol=1e-5,
    )
    if kernel == 3:
        alone.check_gradients()


@pytest.mark.parametrize(
    "kind, more, words",
    [
        ("Convolution", "pad_l: 1 pad: 1", "Either pad or pad_l/r/t/b should be specified"),
        ("Deconvolution", "pad_t: 1", "pad_l, pad_r, pad_t & pad_b are a Convolution's alone"),
        ("Im2col", "pad_t: 1", "pad_l, pad_r, pad_t & pad_b are a Convolution's alone"),
    ],
)
def test_one_sided_padding_refused(one_layer, kind, more, words):
    text = f'type: "{kind}" convolution_param {{ num_output: 2 kernel_size: 1 {more} }}'
    with pytest.raises(NetError, match=f"layer 'l': {words}"):
        one_layer(text, X)
