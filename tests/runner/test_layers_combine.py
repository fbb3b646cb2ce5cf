import numpy as np
import pytest

from netgen.graph import NetError

RANDOM = np.random.default_rng(0)
A, B, C = RANDOM.normal(size=(3, 2, 3, 4))


def test_split_adds_the_gradients(one_layer):
    layer = one_layer('type: "Split"', A, tops=3)
    for top in layer.forward():
        np.testing.assert_allclose(top, A, rtol=1e-6)
    np.testing.assert_allclose(layer.gradients(A, B, C)[0], A + B + C)


@pytest.mark.parametrize(
    "param, axis", [("", 1), ("axis: 0", 0), ("axis: -1", 2), ("concat_dim: 2", 2)]
)
def test_concat(one_layer, param, axis):
    bottoms = [A, np.concatenate([B, C], axis), C]
    layer = one_layer(f'type: "Concat" concat_param {{ {param} }}', *bottoms)
    np.testing.assert_allclose(layer.forward()[0], np.concatenate(bottoms, axis), rtol=1e-6)
    layer.check_gradients(bottoms=(0, 1, 2))


@pytest.mark.parametrize(
    "param, axis, sizes",
    [
        ("axis: 0", 0, [1, 1]),
        ("axis: -1", 2, [2, 2]),
        ("slice_dim: 2", 2, [1, 1, 1, 1]),
        ("slice_point: 1", 1, [1, 2]),
        ("axis: 2 slice_point: 1 slice_point: 3", 2, [1, 2, 1]),
        ("", 1, [3]),
    ],
)
def test_slice(one_layer, param, axis, sizes):
    layer = one_layer(f'type: "Slice" slice_param {{ {param} }}', A, tops=len(sizes))
    expected = np.split(A, np.cumsum(sizes)[:-1], axis)
    for top, part in zip(layer.forward(), expected, strict=True):
        np.testing.assert_allclose(top, part, rtol=1e-6)
    np.testing.assert_allclose(layer.gradients(*expected)[0], A)


@pytest.mark.parametrize(
    "param, reference",
    [
        ("", lambda a, b, c: a + b + c),
        ("coeff: 1 coeff: -1 coeff: 0.5", lambda a, b, c: a - b + 0.5 * c),
        ("coeff: 2 coeff: 0 coeff: 1", lambda a, b, c: 2 * a + c),
        ("operation: PROD", lambda a, b, c: a * b * c),
        ("operation: MAX", lambda a, b, c: np.maximum(np.maximum(a, b), c)),
    ],
)
def test_eltwise(one_layer, param, reference):
    layer = one_layer(f'type: "Eltwise" eltwise_param {{ {param} }}', A, B, C)
    np.testing.assert_allclose(layer.forward()[0], reference(A, B, C), rtol=1e-5, atol=1e-6)
    layer.check_gradients(bottoms=(0, 1, 2))


def test_product_with_a_zero_factor_has_a_gradient(one_layer):
    layer = one_layer('type: "Eltwise" eltwise_param { operation: PROD }', A * 0, B)
    np.testing.assert_allclose(layer.gradients()[0], B)


def test_a_tie_of_the_maximum_goes_to_one_bottom(one_layer):
    # The three values of each place; the winner of a tie: of the first two the second, then
    # whoever led.
    places = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1], [2, 2, 2], [0, 0, 1], [3, 1, 2]]).T
    layer = one_layer('type: "Eltwise" eltwise_param { operation: MAX }', *places)
    np.testing.assert_array_equal(layer.forward()[0], places.max(0))
    winners = np.array([1, 0, 1, 1, 2, 0])
    np.testing.assert_array_equal(layer.gradients(), np.eye(3)[winners].T)


def test_eltwise_in_place_has_lost_its_first_bottom(one_layer, capfd):
    layer = one_layer(
        'type: "Eltwise" eltwise_param { coeff: 3 coeff: 2 coeff: -1 }', A, B, C, in_place=True
    )
    assert "Eltwise in place loses its first bottom 'bottom0'" in capfd.readouterr().err
    np.testing.assert_allclose(layer.forward()[0], 2 * B - C, rtol=1e-5, atol=1e-6)
    # bottom 0's gradient lies where the top's was, so the others are scaled by both
    for gradient, factor in zip(layer.gradients(A), (3, 6, -3), strict=True):
        np.testing.assert_allclose(gradient, factor * A)
    layer = one_layer('type: "Eltwise" eltwise_param { operation: MAX }', A, B, C, in_place=True)
    np.testing.assert_allclose(layer.forward()[0], np.maximum(B, C), rtol=1e-6)


@pytest.mark.parametrize("stable", ["true", "false"])
def test_eltwise_product_in_place_has_overwritten_a_factor_and_the_gradient(one_layer, stable):
    layer = one_layer(
        f'type: "Eltwise" eltwise_param {{ operation: PROD stable_prod_grad: {stable} }}',
        A,
        B,
        C,
        in_place=True,
    )
    (top,) = layer.forward()
    np.testing.assert_allclose(top, A * B * C, rtol=1e-5)
    if stable == "true":
        expected = (B * C) ** 2, top * C * (B * C) ** 2, top * B * (B * C) ** 2
    else:
        expected = np.ones(A.shape), top / B, top / C
    for gradient, value in zip(layer.gradients(A), expected, strict=True):
        np.testing.assert_allclose(gradient, value, rtol=1e-5)


@pytest.mark.parametrize(
    "param, shape",
    [
        ("", (2, 12)),
        ("axis: 0", (24,)),
        ("axis: 0 end_axis: 1", (6, 4)),
        ("axis: -1", (2, 3, 4)),
        ("axis: -2 end_axis: -1", (2, 12)),
    ],
)
def test_flatten(one_layer, param, shape):
    layer = one_layer(f'type: "Flatten" flatten_param {{ {param} }}', A)
    np.testing.assert_allclose(layer.forward()[0], A.reshape(shape), rtol=1e-6)
    np.testing.assert_allclose(layer.gradients(A.reshape(shape))[0], A)


@pytest.mark.parametrize(
    "param, shape",
    [
        ("shape { dim: 0 dim: -1 }", (2, 12)),
        ("shape { dim: 0 dim: 0 dim: 2 dim: 2 }", (2, 3, 2, 2)),
        ("shape { dim: -1 dim: 6 } axis: 1", (2, 2, 6)),
        ("shape { dim: 2 dim: -1 } axis: 2", (2, 3, 2, 2)),
        ("shape { dim: 1 } axis: 0 num_axes: 0", (1, 2, 3, 4)),
        ("shape { dim: 1 } axis: -1 num_axes: 0", (2, 3, 4, 1)),
        ("shape { dim: 6 } axis: 0 num_axes: 2", (6, 4)),
        ("shape { dim: 24 }", (24,)),
    ],
)
def test_reshape(one_layer, param, shape):
    layer = one_layer(f'type: "Reshape" reshape_param {{ {param} }}', A)
    np.testing.assert_allclose(layer.forward()[0], A.reshape(shape), rtol=1e-6)
    np.testing.assert_allclose(layer.gradients(A.reshape(shape))[0], A)


@pytest.mark.parametrize(
    "param, size, cut",
    [
        ("", (1, 1, 2, 2), np.s_[:, :, :2, :2]),
        ("offset: 1", (1, 1, 2, 3), np.s_[:, :, 1:3, 1:4]),
        ("axis: 1 offset: 1 offset: 0 offset: 2", (1, 2, 3, 2), np.s_[:, 1:3, :3, 2:4]),
        ("axis: -1 offset: 2", (1, 1, 1, 2), np.s_[..., 2:4]),
        ("axis: 0", (1, 2, 3, 4), np.s_[:1, :2, :3, :4]),
    ],
)
def test_crop(one_layer, param, size, cut):
    x = RANDOM.normal(size=(2, 3, 4, 5))
    layer = one_layer(f'type: "Crop" crop_param {{ {param} }}', x, np.zeros(size))
    np.testing.assert_allclose(layer.forward()[0], x[cut], rtol=1e-6)
    expected = np.zeros(x.shape)
    expected[cut] = x[cut]
    np.testing.assert_allclose(layer.gradients(x[cut])[0], expected)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_tile(one_layer, axis):
    layer = one_layer(f'type: "Tile" tile_param {{ axis: {axis} tiles: 3 }}', A)
    np.testing.assert_allclose(layer.forward()[0], np.concatenate([A] * 3, axis), rtol=1e-6)
    layer.check_gradients()


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize(
    "operation, reference",
    [
        ("SUM", lambda rows: rows.sum(-1)),
        ("ASUM", lambda rows: np.abs(rows).sum(-1)),
        ("SUMSQ", lambda rows: (rows**2).sum(-1)),
        ("MEAN", lambda rows: rows.mean(-1)),
    ],
)
def test_reduction(one_layer, axis, operation, reference):
    text = f'type: "Reduction" reduction_param {{ operation: {operation} axis: {axis} coeff: %s }}'
    rows = A.reshape(*A.shape[: axis % 3], -1)
    for coeff in (1, -2.5):
        layer = one_layer(text % coeff, A)
        np.testing.assert_allclose(layer.forward()[0], coeff * reference(rows), rtol=1e-5)
    layer.check_gradients()


def test_batch_reindex(one_layer):
    layer = one_layer('type: "BatchReindex"', A, np.array([1, 0, 1, 1]))
    np.testing.assert_allclose(layer.forward()[0], A[[1, 0, 1, 1]], rtol=1e-6)
    layer.check_gradients()


@pytest.mark.parametrize("index", [-1, 2])
def test_batch_reindex_out_of_range(one_layer, index):
    with pytest.raises(NetError, match="layer 'l': an index is outside the 2 records of 'bottom0'"):
        one_layer('type: "BatchReindex"', A, np.array([0, index])).forward()


def test_filter(one_layer):
    x = RANDOM.normal(size=(4, 2))
    layer = one_layer('type: "Filter"', x, np.arange(4.0), np.array([[0], [1], [0], [-2]]), tops=2)
    _, outputs = layer.net.forward()
    np.testing.assert_allclose(outputs["top0"], x[[1, 3]], rtol=1e-6)
    np.testing.assert_array_equal(outputs["top1"], [1, 3])
    gradient, ones, selector = layer.gradients(x[:2], np.ones(2))
    np.testing.assert_allclose(gradient[[1, 3]], x[:2])
    assert not gradient[[0, 2]].any() and selector is None
    np.testing.assert_array_equal(ones, [0, 1, 0, 1])


# --- ArgMax ---

SCORES = np.array([[[1, 3], [3, 0]], [[5, 5], [-1, 5]]], dtype=float)


@pytest.mark.parametrize(
    "param, expected",
    [
        # of equal values the last index comes first
        ("", [[[2]], [[3]]]),
        ("top_k: 2", [[[2, 1]], [[3, 1]]]),
        ("top_k: 3 out_max_val: true", [[[2, 1, 0], [3, 3, 1]], [[3, 1, 0], [5, 5, 5]]]),
        ("axis: 1", [[[1, 0]], [[0, 1]]]),
        ("axis: -1 out_max_val: true", [[[3], [3]], [[5], [5]]]),
        ("axis: 0 top_k: 2", [[[1, 1], [0, 1]], [[0, 0], [1, 0]]]),
    ],
)
def test_argmax(one_layer, param, expected):
    layer = one_layer(f'type: "ArgMax" argmax_param {{ {param} }}', SCORES)
    np.testing.assert_array_equal(layer.forward()[0], expected)


@pytest.mark.parametrize("shape, top", [((3,), (3, 1, 1)), ((2, 3, 2, 2), (2, 1, 1, 1))])
def test_argmax_has_at_least_three_axes(one_layer, shape, top):
    x = RANDOM.normal(size=shape)
    (found,) = one_layer('type: "ArgMax"', x).forward()
    np.testing.assert_array_equal(found, x.reshape(shape[0], -1).argmax(1).reshape(top))


def test_silence_takes_its_bottoms_out_of_the_outputs(one_layer):
    layer = one_layer('type: "Silence"', A, B, tops=0)
    assert layer.forward() == [] and layer.net.outputs == []


TWO = (np.zeros((2, 3)), np.zeros((2, 4)))


@pytest.mark.parametrize(
    "text, bottoms, tops, words",
    [
        ('type: "Concat"', (), 1, "Concat Layer takes at least 1 bottom"),
        ('type: "Slice"', (), 1, "Slice Layer takes 1 bottom"),
        ('type: "Crop"', (), 1, "Crop Layer takes 2 bottom"),
        (
            'type: "Concat" concat_param { axis: 0 }',
            TWO,
            1,
            "All inputs must have the same shape, except at concat_axis",
        ),
        ('type: "Concat" concat_param { axis: 2 }', TWO, 1, "axis 2 out of range for 2-D Blob"),
        ('type: "Slice" slice_param { slice_dim: 2 }', TWO[:1], 1, "slice_dim out of range"),
        ('type: "Slice"', TWO[:1], 2, "Number of top blobs .2. should evenly divide"),
        ('type: "Eltwise"', TWO, 1, r"bottom\[0\]: 2 3 \(6\), bottom\[1\]: 2 4 \(8\)"),
        ('type: "Eltwise" eltwise_param { coeff: 1 }', TWO, 1, "takes one coefficient per bottom"),
        ('type: "Crop"', TWO, 1, "axis 2 out of range"),
        ('type: "Tile" tile_param { axis: 1 }', TWO[:1], 1, "Number of tiles must be specified"),
        (
            'type: "Reshape" reshape_param { shape { dim: 5 dim: -1 } }',
            TWO[:1],
            1,
            r"bottom count \(6\) must be divisible",
        ),
        ('type: "ArgMax" argmax_param { top_k: 4 }', TWO[:1], 1, "top_k must be less than"),
        ('type: "Filter"', TWO, 1, "Selector blob dimensions must be singletons"),
    ],
)
def test_what_does_not_fit(one_layer, text, bottoms, tops, words):
    with pytest.raises(NetError, match=f"layer 'l': .*{words}"):
        one_layer(text, *bottoms, tops=tops)


LEARNED = """
  layer { name: "in" type: "Input" top: "x" top: "i"
          input_param { shape { dim: 1 dim: 3 } shape { dim: 2 } } }
  layer { name: "ip" type: "InnerProduct" bottom: "i" top: "y"
          inner_product_param { num_output: 1 axis: 0 } }
"""


@pytest.mark.parametrize(
    "text, bottom",
    [
        ('type: "ArgMax" bottom: "y"', "y"),
        ('type: "Filter" bottom: "x" bottom: "y"', "y"),
        ('type: "BatchReindex" bottom: "x" bottom: "y"', "y"),
        ('type: "Embed" bottom: "y" embed_param { num_output: 1 input_dim: 1 }', "y"),
    ],
)
def test_gradients_that_no_layer_gives(build, text, bottom):
    net = LEARNED + f'layer {{ name: "l" {text} top: "t" loss_weight: 1 }}'
    with pytest.raises(NetError, match=f"layer 'l': .* Layer cannot backpropagate .*'{bottom}'"):
        build(net)
    assert "t" in build(net, phase="TEST").outputs  # to run it forward is fine
