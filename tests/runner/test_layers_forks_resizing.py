import numpy as np
import pytest

from netgen.graph import NetError

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 3, 5, 4))


def bilinear(x, height, width):
    """The corners of both maps lie on each other."""
    out = np.zeros((*x.shape[:2], height, width))
    for i, j in np.ndindex(height, width):
        y = i * (x.shape[2] - 1) / (height - 1) if height > 1 else 0
        z = j * (x.shape[3] - 1) / (width - 1) if width > 1 else 0
        top, left = int(y), int(z)
        for r, s in ((0, 0), (0, 1), (1, 0), (1, 1)):
            share = (1 - abs(y - top - r)) * (1 - abs(z - left - s))
            if share > 1e-9:
                out[:, :, i, j] += share * x[:, :, top + r, left + s]
    return out


@pytest.mark.parametrize(
    "param, size, cut",
    [
        ("height: 9 width: 7", (9, 7), 0),
        ("height: 1 width: 3", (1, 3), 0),
        ("zoom_factor: 3", (13, 10), 0),
        ("shrink_factor: 2", (3, 2), 0),
        ("shrink_factor: 2 zoom_factor: 4", (9, 5), 0),
        ("zoom_factor: 2 height: 99 width: 99", (9, 7), 0),  # one factor alone counts first
        ("zoom_factor: 2 pad_beg: -1 pad_end: -1", (5, 3), 1),
    ],
)
def test_interp(one_layer, param, size, cut):
    layer = one_layer(f'type: "Interp" interp_param {{ {param} }}', X)
    x = X[:, :, cut:-cut, cut:-cut] if cut else X
    np.testing.assert_allclose(layer.forward()[0], bilinear(x, *size), rtol=1e-5, atol=1e-6)
    layer.check_gradients()


def test_interp_to_the_size_of_a_second_bottom(one_layer):
    layer = one_layer('type: "Interp"', X, np.zeros((2, 1, 8, 3)))
    np.testing.assert_allclose(layer.forward()[0], bilinear(X, 8, 3), rtol=1e-5, atol=1e-6)


def test_upsample_without_a_mask_repeats(one_layer):
    layer = one_layer('type: "Upsample" upsample_param { scale: 3 }', X)
    np.testing.assert_array_equal(
        layer.forward()[0], X.repeat(3, 2).repeat(3, 3).astype(np.float32)
    )
    layer.check_gradients()
    np.testing.assert_array_equal(
        one_layer('type: "Upsample"', X).forward()[0], X.astype(np.float32)
    )


@pytest.mark.parametrize(
    "param, size",
    [
        ("", (10, 8)),
        ("scale: 3", (15, 12)),
        ("scale_h: 2 scale_w: 3", (10, 12)),
        ("scale: 2 pad_out_h: true", (9, 8)),
        ("upsample_h: 7 upsample_w: 11", (7, 11)),
    ],
)
def test_upsample_with_a_mask_unpools(one_layer, param, size):
    places = [[RANDOM.permutation(size[0] * size[1])[:20] for _ in range(3)] for _ in range(2)]
    mask = np.array(places).reshape(X.shape)
    expected = np.zeros((2, 3, size[0] * size[1]))
    for n, c, i, j in np.ndindex(*X.shape):
        expected[n, c, mask[n, c, i, j]] = X[n, c, i, j]
    layer = one_layer(f'type: "Upsample" upsample_param {{ {param} }}', X, mask)
    np.testing.assert_array_equal(
        layer.forward()[0], expected.reshape(2, 3, *size).astype(np.float32)
    )
    layer.check_gradients()


def test_upsample_undoes_the_pooling_whose_mask_it_has(build):
    import torch

    net = build(
        'layer { name: "in" type: "Input" top: "x" '
        "input_param { shape { dim: 1 dim: 2 dim: 4 dim: 6 } } } "
        'layer { name: "pool" type: "Pooling" bottom: "x" top: "p" top: "mask" '
        "pooling_param { kernel_size: 2 stride: 2 } } "
        'layer { name: "up" type: "Upsample" bottom: "p" bottom: "mask" top: "up" '
        "upsample_param { scale: 2 } }"
    )
    x = RANDOM.normal(size=(1, 2, 4, 6)).astype(np.float32)
    net.nodes[0].layer.values = [torch.from_numpy(x)]
    _, outputs = net.forward()
    up = outputs["up"].numpy()
    kept = up != 0
    np.testing.assert_array_equal(up[kept], x[kept])
    assert kept.sum() == 2 * 2 * 3


@pytest.mark.parametrize(
    "text, words",
    [
        ('type: "Interp"', "Interp layer parameters are unspecified"),
        ('type: "Interp" interp_param { zoom_factor: 0 }', "Zoom factor must be positive"),
        ('type: "Interp" interp_param { zoom_factor: 1 pad_beg: 1 }', "Only supports non-pos"),
        ('type: "Interp" interp_param { zoom_factor: 1 pad_beg: -5 }', "nothing is left"),
        ('type: "Interp" interp_param { height: 0 width: 4 }', "height and width should be pos"),
        ('type: "Upsample" upsample_param { scale: 0 }', "scale must be positive"),
    ],
)
def test_refused(one_layer, text, words):
    with pytest.raises(NetError, match=f"layer 'l': {words}"):
        one_layer(text, X)


@pytest.mark.parametrize(
    "param, words",
    [
        ("scale: 1", "scale must be above 1"),
        ("scale_h: 2", "upsample_h & upsample_w are required, else"),
        ("scale: 3 pad_out_w: true", "Output width padding compensation requires a scale of 2"),
        ("upsample_h: 1 upsample_w: 8", "upsample_h and upsample_w must be above 1"),
    ],
)
def test_unpooling_refused(one_layer, param, words):
    with pytest.raises(NetError, match=f"layer 'l': {words}"):
        one_layer(f'type: "Upsample" upsample_param {{ {param} }}', X, np.zeros(X.shape))


def test_a_mask_that_points_outside_is_refused(one_layer):
    layer = one_layer('type: "Upsample"', X, np.full(X.shape, 80))
    with pytest.raises(NetError, match="layer 'l': upsample top index 80 out of range 80"):
        layer.forward()
