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
