import numpy as np
import pytest

from netgen.graph import NetError

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 12, 4, 6))


@pytest.mark.parametrize(
    "order, axes", [([0, 2, 3, 1], (0, 2, 3, 1)), ([2, 0], (2, 0, 1, 3)), ([], (0, 1, 2, 3))]
)
def test_permute(one_layer, order, axes):
    words = " ".join(f"order: {axis}" for axis in order)
    layer = one_layer(f'type: "Permute" permute_param {{ {words} }}', X[:, :3])
    expected = np.transpose(X[:, :3], axes).astype(np.float32)
    np.testing.assert_array_equal(layer.forward()[0], expected)
    upstream = RANDOM.normal(size=expected.shape)
    np.testing.assert_array_equal(
        layer.gradients(upstream)[0], np.transpose(upstream, np.argsort(axes))
    )


def test_permute_then_flatten_has_the_new_order(build):
    net = build(
        'layer { name: "in" type: "Input" top: "x" '
        "input_param { shape { dim: 1 dim: 2 dim: 1 dim: 3 } } } "
        'layer { name: "p" type: "Permute" bottom: "x" top: "p" '
        "permute_param { order: 0 order: 2 order: 3 order: 1 } } "
        'layer { name: "f" type: "Flatten" bottom: "p" top: "f" }'
    )
    x = RANDOM.normal(size=(1, 2, 1, 3)).astype(np.float32)
    import torch

    net.nodes[0].layer.values = [torch.from_numpy(x)]
    _, outputs = net.forward()
    np.testing.assert_array_equal(outputs["f"].numpy()[0], x[0, :, 0].T.reshape(-1))


def darknet_reorg(x, stride):
    """darknet's reorg_cpu: x's memory is read as if it had fewer channels and more pixels."""
    num, channels, height, width = x.shape
    fewer = channels // stride**2
    flat, out = x.reshape(num, -1), np.zeros((num, x[0].size))
    for n, c, i, j in np.ndindex(*x.shape):
        row = i * stride + c // fewer // stride
        column = j * stride + c // fewer % stride
        place = column + width * stride * (row + height * stride * (c % fewer))
        out[n, j + width * (i + height * c)] = flat[n, place]
    return out.reshape(num, channels * stride**2, height // stride, width // stride)


def depth_to_space(x, stride):
    num, channels, height, width = x.shape
    fewer = channels // stride**2
    out = np.zeros((num, fewer, height * stride, width * stride))
    for n, c, i, j in np.ndindex(*x.shape):
        block = c // fewer
        out[n, c % fewer, i * stride + block // stride, j * stride + block % stride] = x[n, c, i, j]
    return out


@pytest.mark.parametrize(
    "more, reference", [("", darknet_reorg), ("reverse: true", depth_to_space)]
)
def test_reorg(one_layer, more, reference):
    layer = one_layer(f'type: "Reorg" reorg_param {{ stride: 2 {more} }}', X)
    np.testing.assert_array_equal(layer.forward()[0], reference(X, 2).astype(np.float32))
    layer.check_gradients()


@pytest.mark.parametrize("axis", [0, 2])
def test_reverse(one_layer, axis):
    layer = one_layer(f'type: "Reverse" reverse_param {{ axis: {axis} }}', X[:, :2])
    np.testing.assert_array_equal(layer.forward()[0], np.flip(X[:, :2], axis).astype(np.float32))
    layer.check_gradients()


@pytest.mark.parametrize("shape", [(2, 12, 2, 3), (2, 12)])
def test_shuffle_channel(one_layer, shape):
    x = RANDOM.normal(size=shape)
    expected = np.zeros(shape)
    for group in range(3):
        for i in range(4):
            expected[:, i * 3 + group] = x[:, group * 4 + i]
    layer = one_layer('type: "ShuffleChannel" shuffle_channel_param { group: 3 }', x)
    np.testing.assert_array_equal(layer.forward()[0], expected.astype(np.float32))
    layer.check_gradients()


@pytest.mark.parametrize(
    "text, words",
    [
        ('type: "Permute" permute_param { order: 4 }', "order should be less than the input dim"),
        ('type: "Permute" permute_param { order: 1 order: 1 }', "there are duplicate orders"),
        ('type: "Reorg"', "Reorg Layer need stride param"),
        ('type: "Reorg" reorg_param { stride: 5 }', "12 channels are not a multiple of 5 x 5"),
        ('type: "Reverse" reverse_param { axis: -1 }', "axis must be one of bottom's"),
        ('type: "ShuffleChannel" shuffle_channel_param { group: 5 }', "Wrong group size"),
    ],
)
def test_refused(one_layer, text, words):
    with pytest.raises(NetError, match=f"layer 'l': {words}"):
        one_layer(text, X)


@pytest.mark.parametrize("kind", ["Permute", "Reverse"])
def test_not_in_place(one_layer, kind):
    with pytest.raises(NetError, match="does not allow in-place computation"):
        one_layer(f'type: "{kind}"', X, in_place=True)


@pytest.mark.parametrize(
    "more, axes", [("", (3,)), ("flip_height: true", (2, 3)), ("flip_width: false", ())]
)
def test_flip(one_layer, more, axes):
    x = RANDOM.normal(size=(2, 3, 4, 5))
    layer = one_layer(f'type: "Flip" flip_param {{ {more} }}', x)
    np.testing.assert_allclose(layer.forward()[0], np.flip(x, axes), rtol=1e-6)
    layer.check_gradients()


def test_transpose(one_layer):
    x = RANDOM.normal(size=(2, 3, 4, 5))
    text = 'type: "Transpose" transpose_param { dim: 3 dim: 2 dim: 0 dim: 1 }'
    layer = one_layer(text, x)
    np.testing.assert_allclose(layer.forward()[0], x.transpose(3, 2, 0, 1), rtol=1e-6)
    layer.check_gradients()
    with pytest.raises(NetError, match="must name each of the 3 axes once, not .3, 2, 0, 1."):
        one_layer(text, x[0])
