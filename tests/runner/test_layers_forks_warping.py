"""FlowWarp, MaskResize and ROIWarping against loops over places, as the authors' kernels have them."""

import math

import numpy as np
import pytest

from netgen.graph import NetError

RANDOM = np.random.default_rng(0)


def bilinear(image, x, y):
    """The value of an (H, W) image at x, y inside it, corner by corner."""
    height, width = image.shape
    left, above = int(x), int(y)
    right, below = min(left + 1, width - 1), min(above + 1, height - 1)
    a, b = x - left, y - above
    return (
        (1 - a) * (1 - b) * image[above, left]
        + a * (1 - b) * image[above, right]
        + (1 - a) * b * image[below, left]
        + a * b * image[below, right]
    )


def test_flow_warp(one_layer):
    image = RANDOM.normal(size=(2, 3, 4, 5))
    flow = RANDOM.uniform(-2.5, 2.5, (2, 2, 4, 5))
    expected = np.zeros(image.shape)
    outside = 0
    for n, c, row, column in np.ndindex(*image.shape):
        x, y = column + flow[n, 0, row, column], row + flow[n, 1, row, column]
        if 0 <= x < 5 and 0 <= y < 4:
            expected[n, c, row, column] = bilinear(image[n, c], x, y)
        else:
            outside += 1
    assert 0 < outside < image.size
    layer = one_layer('type: "FlowWarp"', image, flow)
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-4, atol=1e-5)
    layer.check_gradients(bottoms=(0, 1))


@pytest.mark.parametrize("out", [(4, 3), (6, 8), (13, 20)])
def test_mask_resize(one_layer, out):
    """Sampled at row * H / out; beyond half a place outside it is 0."""
    x = RANDOM.normal(size=(2, 1, 6, 8))
    expected = np.zeros((2, 1, *out))
    gradient = np.zeros(x.shape)
    upstream = RANDOM.normal(size=expected.shape)
    ratio = 6 / out[0], 8 / out[1]
    for n, _, row, column in np.ndindex(*expected.shape):
        at, across = row * ratio[0], column * ratio[1]
        if at > 5.5 or across > 7.5:
            continue
        expected[n, 0, row, column] = bilinear(x[n, 0], min(across, 7), min(at, 5))
    layer = one_layer(
        f'type: "MaskResize" mask_resize_param {{ output_height: {out[0]} '
        f"output_width: {out[1]} }}",
        x,
    )
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-4, atol=1e-5)
    for n, _, h, w in np.ndindex(*x.shape):
        for row in range(2):
            for column in range(2):
                row_of, column_of = (int(h / ratio[0]) + row, int(w / ratio[1]) + column)
                at, across = row_of * ratio[0], column_of * ratio[1]
                if abs(at - h) >= 1 or abs(across - w) >= 1 or at > 5.5 or across > 7.5:
                    continue
                near = (1 - abs(min(at, 5) - h)) * (1 - abs(min(across, 7) - w))
                if near > 0 and row_of < out[0] and column_of < out[1]:
                    gradient[n, 0, h, w] += near * upstream[n, 0, row_of, column_of]
    np.testing.assert_allclose(layer.gradients(upstream)[0], gradient, rtol=1e-6, atol=1e-9)
    if out == (4, 3):  # smaller: nothing is left out
        layer.check_gradients()


def warped(x, rois, scale, pooled, upstream):
    """Top and both gradients of ROIWarping, sample by sample (MNC's roi_warping_layer.cu)."""
    top = np.zeros((len(rois), x.shape[1], *pooled))
    to_x, to_rois = np.zeros(x.shape), np.zeros(rois.shape)
    height, width = x.shape[2:]
    for r, c, p, q in np.ndindex(*top.shape):
        image = int(rois[r, 0])
        left, up, right, down = (math.floor(abs(v) * scale + 0.5) * np.sign(v) for v in rois[r, 1:])
        y = up + p * max(down - up, 0) / pooled[0]
        along = left + q * max(right - left, 0) / pooled[1]
        if y < -0.5 or y > height - 0.5 or along < -0.5 or along > width - 0.5:
            continue
        y, along = min(max(y, 0), height - 1), min(max(along, 0), width - 1)
        top[r, c, p, q] = bilinear(x[image, c], along, y)
        given = upstream[r, c, p, q]
        tall, wide = max(down - up + 1, 1), max(right - left + 1, 1)
        for h in range(height):
            for w in range(width):
                if not (up <= h <= down and left <= w <= right):
                    continue
                begin = math.floor((h - up - 1) / (tall / pooled[0]) - 1)
                end = math.ceil((h - up + 1) / (tall / pooled[0]))
                first = math.floor((w - left - 1) / (wide / pooled[1]) - 1)
                last = math.ceil((w - left + 1) / (wide / pooled[1]))
                if begin <= p < end and first <= q < last:
                    near = max(0, 1 - abs(y - h)) * max(0, 1 - abs(along - w))
                    to_x[image, c, h, w] += near * given
        row, column = int(y), int(along)
        if row + 1 > height - 1 or column + 1 > width - 1:
            continue
        a, b = along - column, y - row
        one, two, three, four = x[image, c, row : row + 2, column : column + 2].ravel()
        slope_x = (1 - b) * (two - one) + b * (four - three)
        slope_y = (1 - a) * (three - one) + a * (four - two)
        share_x, share_y = (along - left) / wide, (y - up) / tall
        to_rois[r, 1] += scale * given * (1 - share_x) * slope_x
        to_rois[r, 2] += scale * given * (1 - share_y) * slope_y
        to_rois[r, 3] += scale * given * share_x * slope_x
        to_rois[r, 4] += scale * given * share_y * slope_y
    return top, to_x, to_rois


def test_roi_warping(one_layer):
    x = RANDOM.normal(size=(2, 2, 6, 7))
    rois = np.array(
        [
            [0, 3, 1, 11, 9],
            [1, 0, 0, 13, 11],  # to the borders
            [1, -6, -3, 5, 6],  # over them
            [0, 8, 8, 2, 2],  # no region: one place
            [1, 40, 40, 50, 50],  # outside
            [0, 2.9, 5.2, 6.4, 9.1],
        ]
    )
    layer = one_layer(
        'type: "ROIWarping" roi_warping_param { pooled_h: 3 pooled_w: 5 spatial_scale: 0.5 }',
        x,
        rois,
    )
    upstream = RANDOM.normal(size=(6, 2, 3, 5))
    top, to_x, to_rois = warped(x, rois, 0.5, (3, 5), upstream)
    np.testing.assert_allclose(layer.forward()[0], top, rtol=1e-4, atol=1e-5)
    found = layer.gradients(upstream)
    np.testing.assert_allclose(found[0], to_x, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found[1], to_rois, rtol=1e-6, atol=1e-9)
    assert np.abs(to_rois[:, 1:]).sum(1).astype(bool).tolist() == [True] * 4 + [False, True]


@pytest.mark.parametrize(
    "text, shapes, words",
    [
        ('type: "FlowWarp"', ((1, 3, 4, 5), (1, 3, 4, 5)), "the flow must be 1 2 4 5"),
        ('type: "MaskResize"', ((1, 1, 4, 5),), "output_height must be > 0"),
        ('type: "ROIWarping"', ((1, 3, 4, 5), (2, 5)), "pooled_h must be > 0"),
    ],
)
def test_refused(one_layer, text, shapes, words):
    with pytest.raises(NetError, match=f"layer 'l': {words}"):
        one_layer(text, *map(np.zeros, shapes))


def test_a_region_of_no_image_is_refused(one_layer):
    layer = one_layer(
        'type: "ROIWarping" roi_warping_param { pooled_h: 1 pooled_w: 1 }',
        np.zeros((1, 1, 2, 2)),
        np.array([[3, 0, 0, 1, 1]]),
    )
    with pytest.raises(NetError, match="region 0 is in image 3, outside the batch of 1"):
        layer.forward()
