import math

import numpy as np
import pytest
import torch

from netgen.graph import NetError

RANDOM = np.random.default_rng(0)
# inside, one place, partly outside on each side, wholly outside, upside down
ROIS = np.array(
    [
        [0, 2, 4, 21, 17],
        [1, 8, 8, 9, 9],
        [1, -9, 3, 12, 40],
        [0, 15, -20, 60, 11],
        [0, 100, 100, 120, 120],
        [1, 20, 18, 4, 2],
        [0, 3, 5, 3, 29],
    ],
    float,
)
X = RANDOM.normal(size=(2, 3, 8, 7))


def c_round(v):
    return int(math.copysign(math.floor(abs(v) + 0.5), v))


def roi_pool(x, rois, out_h, out_w, scale):
    """Values, and where in each map they lie; -1 for parts without a place."""
    top = np.zeros((len(rois), x.shape[1], out_h, out_w))
    where = np.full(top.shape, -1)
    for n, (image, *corners) in enumerate(rois):
        x1, y1, x2, y2 = (c_round(v * scale) for v in corners)
        height, width = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
        for c, i, j in np.ndindex(*top.shape[1:]):
            best = -math.inf
            rows = range(i * height // out_h, -(-(i + 1) * height // out_h))
            columns = range(j * width // out_w, -(-(j + 1) * width // out_w))
            for r in (y1 + r for r in rows if 0 <= y1 + r < x.shape[2]):
                for s in (x1 + s for s in columns if 0 <= x1 + s < x.shape[3]):
                    if x[int(image), c, r, s] > best:
                        best = top[n, c, i, j] = x[int(image), c, r, s]
                        where[n, c, i, j] = r * x.shape[3] + s
    return top, where


@pytest.mark.parametrize("scale", [0.25, 1 / 3])
@pytest.mark.parametrize("out_h, out_w", [(2, 3), (7, 7)])
def test_roi_pooling(one_layer, out_h, out_w, scale):
    param = f"pooled_h: {out_h} pooled_w: {out_w} spatial_scale: {scale}"
    layer = one_layer(f'type: "ROIPooling" roi_pooling_param {{ {param} }}', X, ROIS)
    expected, where = roi_pool(X, ROIS, out_h, out_w, scale)
    np.testing.assert_array_equal(layer.forward()[0], expected.astype(np.float32))
    upstream, routed = RANDOM.normal(size=expected.shape), np.zeros(X.shape)
    for (n, c, i, j), place in np.ndenumerate(where):
        if place >= 0:
            routed[int(ROIS[n, 0]), c].flat[place] += upstream[n, c, i, j]
    of_x, of_rois = layer.gradients(upstream)
    np.testing.assert_allclose(of_x, routed, atol=1e-12)
    assert of_rois is None


def test_roi_pooling_takes_the_first_of_equal_values(one_layer):
    param = "pooled_h: 2 pooled_w: 2 spatial_scale: 0.25"
    layer = one_layer(
        f'type: "ROIPooling" roi_pooling_param {{ {param} }}', np.ones((1, 1, 4, 4)),
        np.array([[0, 0, 0, 15, 15]]),
    )  # fmt: skip
    expected = np.zeros((4, 4))
    expected[::2, ::2] = 1
    np.testing.assert_array_equal(layer.gradients()[0][0, 0], expected)


def test_a_region_in_no_image_is_refused(one_layer):
    text = 'type: "ROIPooling" roi_pooling_param { pooled_h: 1 pooled_w: 1 }'
    with pytest.raises(NetError, match="layer 'l': region 0 is in image 2, outside the batch of 2"):
        one_layer(text, X, np.array([[2, 0, 0, 1, 1]])).forward()


def psroi_pool(x, rois, parts, scale):
    outputs = x.shape[1] // parts**2
    top = np.zeros((len(rois), outputs, parts, parts))
    for n, (image, *corners) in enumerate(rois):
        x1, y1, x2, y2 = map(c_round, corners)
        left, up = x1 * scale, y1 * scale
        width = max((x2 + 1) * scale - left, 0.1) / parts
        height = max((y2 + 1) * scale - up, 0.1) / parts
        for c, i, j in np.ndindex(*top.shape[1:]):
            rows = range(math.floor(i * height + up), math.ceil((i + 1) * height + up))
            columns = range(math.floor(j * width + left), math.ceil((j + 1) * width + left))
            rows = [r for r in rows if 0 <= r < x.shape[2]]
            columns = [s for s in columns if 0 <= s < x.shape[3]]
            if rows and columns:
                own = x[int(image), (c * parts + i) * parts + j]
                top[n, c, i, j] = own[np.ix_(rows, columns)].mean()
    return top


def test_psroi_pooling(one_layer):
    x = RANDOM.normal(size=(2, 2 * 9, 8, 7))
    param = "spatial_scale: 0.25 output_dim: 2 group_size: 3"
    layer = one_layer(f'type: "PSROIPooling" psroi_pooling_param {{ {param} }}', x, ROIS)
    expected = psroi_pool(x, ROIS, 3, 0.25)
    np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-4, atol=1e-5)
    layer.check_gradients()


# --- Proposal ---


def overlap(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    if (high < low).any():
        return 0
    common = (high - low + 1).prod()
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return common / (sum(areas) - common)


def proposals(scores, deltas, size, anchors, stride, smallest, before, after, threshold):
    count, (_, rows, columns) = len(anchors), scores.shape
    found = []
    for i in range(rows):
        for j in range(columns):
            for a, (x1, y1, x2, y2) in enumerate(anchors):
                dx, dy, dw, dh = deltas[4 * a : 4 * a + 4, i, j]
                w, h = x2 - x1 + 1, y2 - y1 + 1
                x, y = x1 + j * stride + 0.5 * w + dx * w, y1 + i * stride + 0.5 * h + dy * h
                w, h = w * math.exp(dw), h * math.exp(dh)
                box = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
                box = box.clip(0, [size[1] - 1, size[0] - 1] * 2)
                large = min(box[2] - box[0], box[3] - box[1]) + 1 >= smallest * size[2]
                found.append((scores[count + a, i, j] * large, box))
    found.sort(key=lambda pair: -pair[0])
    kept = []
    for score, box in found[:before]:
        if len(kept) < after and all(overlap(box, other) <= threshold for _, other in kept):
            kept.append((score, box))
    return kept


# base size 16, ratios 0.5, 1, 2 and scale 8, as Faster R-CNN's generate_anchors.py prints them
ANCHORS = [(-84, -40, 99, 55), (-56, -56, 71, 71), (-36, -80, 51, 95)]


def test_anchors_are_those_of_faster_rcnn():
    from runner.layers.forks.regions import anchors

    np.testing.assert_array_equal(anchors(16, [0.5, 1, 2], [8]), ANCHORS)


def test_proposal(one_layer):
    scores = RANDOM.uniform(size=(2, 6, 5, 6))
    deltas = RANDOM.normal(0, 0.3, size=(2, 12, 5, 6))
    sizes = np.array([[300, 400, 1.5], [280, 300, 2]])
    layer = one_layer(
        'type: "Proposal" proposal_param { ratio: 0.5 ratio: 1 ratio: 2 scale: 8 feat_stride: 50 '
        "min_size: 50 pre_nms_topn: 60 post_nms_topn: 30 nms_thresh: 0.2 }",
        scores,
        deltas,
        sizes,
        tops=2,
    )
    assert layer.net.blob_shapes["top0"] == (60, 5)
    tensors = [torch.tensor(a, dtype=torch.float32) for a in (scores, deltas, sizes)]
    rois, roi_scores = (top.numpy() for top in layer.layer.forward(tensors, []))
    expected = [
        (n, *box, score)
        for n in range(2)
        for score, box in proposals(scores[n], deltas[n], sizes[n], ANCHORS, 50, 50, 60, 30, 0.2)
    ]
    assert 10 < len(expected) < 60
    np.testing.assert_allclose(
        np.concatenate([rois, roi_scores[:, None]], 1), expected, rtol=1e-4, atol=1e-3
    )


# --- BoxAnnotatorOHEM ---


def test_box_annotator_keeps_the_largest_losses_of_each_image(one_layer):
    rois, losses = np.zeros((9, 5)), RANDOM.permutation(9).astype(float)
    rois[:, 0] = [0, 1, 0, 1, 2, 0, 1, 0, 2]
    labels, weights = RANDOM.integers(0, 5, 9), RANDOM.uniform(1, 2, (9, 8))
    layer = one_layer(
        'type: "BoxAnnotatorOHEM" box_annotator_ohem_param { roi_per_img: 2 ignore_label: -1 }',
        rois,
        losses,
        labels,
        weights,
        tops=2,
    )
    expected, kept_weights, left = np.full(9, -1), np.zeros((9, 8)), {0: 2, 1: 2, 2: 2}
    for n in sorted(range(9), key=lambda n: -losses[n]):
        if left[rois[n, 0]]:
            left[rois[n, 0]] -= 1
            expected[n], kept_weights[n] = labels[n], weights[n]
    found, found_weights = layer.forward()
    np.testing.assert_array_equal(found.reshape(9), expected)
    np.testing.assert_allclose(found_weights.reshape(9, 8), kept_weights, rtol=1e-6)


@pytest.mark.parametrize(
    "text, shapes, words",
    [
        ('type: "ROIPooling"', [(1, 2, 4, 4), (3, 5)], "pooled_h must be > 0"),
        (
            'type: "ROIPooling" roi_pooling_param { pooled_h: 1 pooled_w: 1 }',
            [(1, 2, 4, 4), (3, 4)],
            r"regions must be \(R, 5\)",
        ),
        (
            'type: "PSROIPooling" psroi_pooling_param { output_dim: 2 group_size: 2 }',
            [(1, 9, 4, 4), (3, 5)],
            "input channel number does not match",
        ),
        ('type: "Proposal"', [(1, 2, 4, 4), (1, 4, 4, 4), (1, 3)], "ratio and scale must be given"),
        (
            'type: "Proposal" proposal_param { ratio: 1 scale: 1 }',
            [(1, 2, 4, 4), (1, 8, 4, 4), (1, 3)],
            "there must be four deltas an anchor",
        ),
        ('type: "BoxAnnotatorOHEM"', [(2, 5), (2,), (2,), (2, 4)], "bottom blob|roi_per_img must"),
    ],
)
def test_refused(one_layer, text, shapes, words):
    tops = 2 if "Annotator" in text else 1
    with pytest.raises(NetError, match=f"layer 'l': {words}"):
        one_layer(text, *map(np.zeros, shapes), tops=tops)
