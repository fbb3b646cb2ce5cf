import math

import numpy as np
import pytest
import torch

from netgen.graph import NetError

RANDOM = np.random.default_rng(0)


def sigmoid(v):
    return 1 / (1 + math.exp(-v))


def overlap(a, b):
    sides = []
    for k in (0, 1):
        low = max(a[k] - a[k + 2] / 2, b[k] - b[k + 2] / 2)
        high = min(a[k] + a[k + 2] / 2, b[k] + b[k + 2] / 2)
        sides.append(max(high - low, 0))
    common = sides[0] * sides[1]
    return common / (a[2] * a[3] + b[2] * b[3] - common)


# --- RegionLoss ---

ANCHORS = [(1.0, 1.2), (2.5, 2.0)]
CLASSES, HEIGHT, WIDTH = 3, 4, 5
LABELS = np.zeros((2, 6, 5))
LABELS[0, 0] = [2, 0.31, 0.62, 0.4, 0.5]
LABELS[0, 1] = [0, 0.9, 0.1, 0.15, 0.3]
LABELS[1, 0] = [1, 0.5, 0.5, 0.9, 0.2]


def region_gradient(x, labels, p, warming_up):
    """MobileNet-YOLO's loop over values; x (A, 5 + classes, H, W)."""
    out = np.zeros(x.shape)

    def box(a, j, i):
        v = x[a, :, j, i]
        return [
            (i + sigmoid(v[0])) / WIDTH,
            (j + sigmoid(v[1])) / HEIGHT,
            math.exp(v[2]) * ANCHORS[a][0] / WIDTH,
            math.exp(v[3]) * ANCHORS[a][1] / HEIGHT,
        ]

    def teach(a, j, i, truth, scale):
        v, wanted = x[a, :, j, i], (truth[0] * WIDTH - i, truth[1] * HEIGHT - j)
        for k in (0, 1):
            s = sigmoid(v[k])
            out[a, k, j, i] = -scale * (wanted[k] - s) * s * (1 - s)
        for k, n in ((2, WIDTH), (3, HEIGHT)):
            out[a, k, j, i] = -scale * (math.log(truth[k] * n / ANCHORS[a][k - 2]) - v[k])

    truths = [row for row in labels if row[1]]
    for a, j, i in np.ndindex(len(ANCHORS), HEIGHT, WIDTH):
        s = sigmoid(x[a, 4, j, i])
        if max(overlap(box(a, j, i), t[1:]) for t in truths) <= p["thresh"]:
            out[a, 4, j, i] = p["noobject_scale"] * s * s * (1 - s)
        if warming_up:
            w, h = ANCHORS[a]
            own = ((i + 0.5) / WIDTH, (j + 0.5) / HEIGHT, w / WIDTH, h / HEIGHT)
            teach(a, j, i, own, 0.01)
    for label, *truth in truths:
        i, j = int(truth[0] * WIDTH), int(truth[1] * HEIGHT)
        shapes = [
            (w / WIDTH, h / HEIGHT) if p["bias_match"] else box(a, j, i)[2:]
            for a, (w, h) in enumerate(ANCHORS)
        ]
        scores = [overlap([0, 0, *shape], [0, 0, *truth[2:]]) for shape in shapes]
        a = int(np.argmax(scores))
        scale = p["coord_scale"] * (1 if p["rescore"] else 2 - truth[2] * truth[3])
        teach(a, j, i, truth, scale)
        s = sigmoid(x[a, 4, j, i])
        goal = overlap(box(a, j, i), truth) if p["rescore"] else 1
        out[a, 4, j, i] = -p["object_scale"] * (goal - s) * s * (1 - s)
        said = np.exp(x[a, 5:, j, i])
        said /= said.sum()
        for c in range(CLASSES):
            out[a, 5 + c, j, i] = -p["class_scale"] * ((c == label) - said[c])
    return out


@pytest.mark.parametrize("rescore, bias_match", [(1, 1), (0, 0)])
@pytest.mark.parametrize("warming_up", [True, False])
def test_region_loss(one_layer, rescore, bias_match, warming_up):
    p = {
        "thresh": 0.3, "noobject_scale": 0.7, "object_scale": 5, "class_scale": 1.5,
        "coord_scale": 2, "rescore": rescore, "bias_match": bias_match,
    }  # fmt: skip
    words = " ".join(f"{name}: {value}" for name, value in p.items())
    biases = " ".join(f"biases: {v}" for pair in ANCHORS for v in pair)
    x = RANDOM.normal(size=(2, 2 * (5 + CLASSES), HEIGHT, WIDTH))
    layer = one_layer(
        f'type: "RegionLoss" region_loss_param {{ num: 2 num_class: {CLASSES} {words} {biases} }}',
        x,
        LABELS,
    )
    if not warming_up:
        layer.layer.load_state(6400)
    maps = x.reshape(2, 2, 5 + CLASSES, HEIGHT, WIDTH)
    expected = np.stack(
        [region_gradient(m, rows, p, warming_up) for m, rows in zip(maps, LABELS, strict=True)]
    )
    np.testing.assert_allclose(layer.forward()[0], (expected**2).sum() / 2, rtol=1e-4)
    found, of_labels = layer.gradients(np.float64(3))
    np.testing.assert_allclose(found, 1.5 * expected.reshape(x.shape), rtol=1e-5, atol=1e-9)
    assert of_labels is None
    assert layer.layer.state() == (0 if warming_up else 6400) + 2


def test_region_loss_of_images_without_objects(one_layer):
    x = RANDOM.normal(size=(1, 6, 2, 2))
    layer = one_layer(
        'type: "RegionLoss" region_loss_param { num: 1 num_class: 1 biases: 1 biases: 1 }',
        x,
        np.zeros((1, 10)),
    )
    layer.layer.load_state(12800)
    said = 1 / (1 + np.exp(-x[:, 4]))
    expected = np.zeros(x.shape)
    expected[:, 4] = 0.5 * said**2 * (1 - said)
    np.testing.assert_allclose(layer.gradients(np.float64(1))[0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    "text", ['type: "RegionLoss" region_loss_param', 'type: "Yolov3" yolov3_param']
)
def test_a_label_that_is_no_class(one_layer, text):
    labels = np.array([[[3, 0.5, 0.5, 0.2, 0.2]]])
    more = "mask: 0 " if "Yolov3" in text else ""
    layer = one_layer(
        f"{text} {{ num: 1 num_class: 3 {more} biases: 1 biases: 1 }}",
        np.zeros((1, 8, 2, 2)),
        labels,
    )
    with pytest.raises(NetError, match="layer 'l': label 3 of blob 'bottom1' is outside the 3"):
        layer.forward()


# --- Yolov3 ---

ALL = [(10, 14), (23, 27), (37, 58), (60, 50), (40, 30)]


def yolov3_deltas(x, labels, mask, p):
    """MobileNet-YOLO's loop over values; x (A, 5 + classes, H, W)."""
    out, eps = np.zeros(x.shape), p["label_smooth_eps"]
    width, height = WIDTH * 16, HEIGHT * 16
    for a, j, i in np.ndindex(len(mask), HEIGHT, WIDTH):
        v, (w, h) = x[a, :, j, i], ALL[mask[a]]
        box = [
            (i + sigmoid(v[0])) / WIDTH,
            (j + sigmoid(v[1])) / HEIGHT,
            math.exp(v[2]) * w / width,
            math.exp(v[3]) * h / height,
        ]
        if all(overlap(box, row[1:]) <= p["thresh"] for row in labels if row[1]):
            out[a, 4, j, i] = sigmoid(v[4])
    for label, *truth in [row for row in labels if row[3]]:
        i, j = int(truth[0] * WIDTH), int(truth[1] * HEIGHT)
        alike = [overlap([0, 0, w / width, h / height], [0, 0, *truth[2:]]) for w, h in ALL]
        best = int(np.argmax(alike))
        taught = []
        if best in mask:
            best = mask.index(best)
            taught = [best]
        for n in range(len(ALL)):
            if n in mask and n != best and p["iou_thresh"] < 1 and alike[n] > p["iou_thresh"]:
                taught.append(mask.index(n))
        scale = p["coord_scale"] * (2 - truth[2] * truth[3])
        for a in taught:
            v, o, (w, h) = x[a, :, j, i], out[a, :, j, i], ALL[mask[a]]
            o[0] = -scale * (truth[0] * WIDTH - i - sigmoid(v[0]))
            o[1] = -scale * (truth[1] * HEIGHT - j - sigmoid(v[1]))
            o[2] = -scale * (math.log(truth[2] * width / w) - v[2])
            o[3] = -scale * (math.log(truth[3] * height / h) - v[3])
            o[4] = -(1 - sigmoid(v[4])) * (p["object_scale"] if p["use_logic_gradient"] else 1)
            known = o[5 + int(label)] != 0
            for c in range(CLASSES):
                if c == label or not known:
                    goal = (c == label) * (1 - eps) + eps / 2
                    o[5 + c] = -p["class_scale"] * (goal - sigmoid(v[5 + c]))
    return out


@pytest.mark.parametrize("mask", [(0, 1, 2), (1, 2, 3)])
@pytest.mark.parametrize("logic", [0, 1])
@pytest.mark.parametrize("iou_thresh, eps", [(0.5, 0.1), (1, 0)])
def test_yolov3_loss(one_layer, mask, logic, iou_thresh, eps):
    p = {
        "thresh": 0.3, "object_scale": 5, "class_scale": 1.5, "coord_scale": 2,
        "use_logic_gradient": logic, "iou_thresh": iou_thresh, "label_smooth_eps": eps,
    }  # fmt: skip
    words = " ".join(f"{name}: {value}" for name, value in p.items())
    words += "".join(f" biases: {v}" for pair in ALL for v in pair)
    words += "".join(f" mask: {n}" for n in mask)
    x = RANDOM.normal(size=(2, 3 * (5 + CLASSES), HEIGHT, WIDTH))
    labels = np.concatenate([LABELS, np.zeros((2, 3, 5))], 1)
    labels[1, 1] = [0, 0.5, 0.5, 0.8, 0.25]  # at the place of another, and alike
    labels[1, 2] = [2, 0.1, 0.3, 0.45, 0.9]
    layer = one_layer(
        f'type: "Yolov3" yolov3_param {{ num: 3 num_class: {CLASSES} anchors_scale: 16 {words} }}',
        x,
        labels,
    )
    maps = x.reshape(2, 3, 5 + CLASSES, HEIGHT, WIDTH)
    pairs = zip(maps, labels, strict=True)
    expected = np.stack([yolov3_deltas(m, rows, list(mask), p) for m, rows in pairs])
    assert (expected[:, :, 0] != 0).any()
    np.testing.assert_allclose(layer.forward()[0], (expected**2).sum() / 2, rtol=1e-4)
    if logic:
        said = 1 / (1 + np.exp(-maps))
        slope = said * (1 - said)
        slope[:, :, 2:4] = 1
        expected = expected * slope
    found, of_labels = layer.gradients(np.float64(3))
    np.testing.assert_allclose(found, 1.5 * expected.reshape(x.shape), rtol=1e-5, atol=1e-9)
    assert of_labels is None


# --- Yolov3DetectionOutput ---

YOLO = (
    'type: "Yolov3DetectionOutput" yolov3_detection_output_param {{ num_classes: 3 '
    "confidence_threshold: {} nms_threshold: 0.3 anchors_scale: 32 anchors_scale: 16 "
    "mask: 2 mask: 1 mask: 0 mask: 1 biases: 20 biases: 37 biases: 49 biases: 94 biases: 73 "
    "biases: 201 }}"
)
YOLO2 = (
    'type: "YoloDetectionOutput" yolo_detection_output_param {{ num_classes: 3 num_box: 2 '
    "confidence_threshold: {} nms_threshold: 0.3 biases: 1 biases: 2 biases: 3 biases: 1.5 }}"
)
SIZES = [(20, 37), (49, 94), (73, 201)]


def detections(maps, threshold):
    found = []
    for x, mask, scale in zip(maps, ((2, 1), (0, 1)), (32, 16), strict=True):
        _, height, width = x[0].shape
        for j, i, a in np.ndindex(height, width, 2):
            v = x[0, a * 8 : a * 8 + 8, j, i]
            w, h = SIZES[mask[a]]
            box = [
                (i + sigmoid(v[0])) / width,
                (j + sigmoid(v[1])) / height,
                math.exp(v[2]) * w / (width * scale),
                math.exp(v[3]) * h / (height * scale),
            ]
            for c in range(3):
                confidence = sigmoid(v[5 + c]) * sigmoid(v[4])
                if confidence > threshold:
                    found.append((confidence, c, box))
    kept = []
    for one in sorted(found, key=lambda row: -row[0]):
        if all(overlap(one[2], other[2]) < 0.3 for other in kept):
            kept.append(one)
    return [
        [0, c + 1, s, x - w / 2, y - h / 2, x + w / 2, y + h / 2] for s, c, (x, y, w, h) in kept
    ]


def test_yolov3_detection_output(one_layer):
    maps = [RANDOM.normal(0, 1.5, size=(1, 16, n, n)) for n in (4, 8)]
    layer = one_layer(YOLO.format(0.5), *maps)
    tensors = [torch.tensor(m, dtype=torch.float32) for m in maps]
    (top,) = layer.layer.forward(tensors, [])
    expected = detections(maps, 0.5)
    assert top.shape == (1, 1, len(expected), 7) and len(expected) > 5
    np.testing.assert_allclose(top.numpy()[0, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("text", [YOLO, YOLO2], ids=["v3", "v2"])
@pytest.mark.parametrize("size", [1e3, -1e3])
def test_maps_of_a_net_that_knows_nothing_yet(one_layer, text, size):
    """Values whose exponentials overflow give no warning."""
    maps = np.full((1, 16, 2, 2), size)
    (top,) = one_layer(text.format(0.5), *([maps] * (2 if text is YOLO else 1))).forward()
    assert top.shape[-1] == 7 and (top[..., 2] <= 1).all()


def test_no_detection_is_one_row_of_minus_ones(one_layer):
    maps = [np.zeros((1, 16, n, n)) for n in (4, 8)]
    (top,) = one_layer(YOLO.format(0.5), *maps).forward()
    np.testing.assert_array_equal(top, [[[[0, -1, -1, -1, -1, -1, -1]]]])


# --- YoloDetectionOutput ---


def test_yolo_detection_output(one_layer):
    """Each anchor of each place shows its best class, of a softmax; all maps together."""
    maps = [RANDOM.normal(0, 1.5, size=(1, 16, n, n)) for n in (4, 5)]
    found, kept = [], []
    for x in maps:
        _, height, width = x[0].shape
        for j, i, a in np.ndindex(height, width, 2):
            v = x[0, a * 8 : a * 8 + 8, j, i]
            classes = np.exp(v[5:]) / np.exp(v[5:]).sum()
            confidence = sigmoid(v[4]) * classes.max()
            w, h = ((1, 2), (3, 1.5))[a]
            box = [
                (i + sigmoid(v[0])) / width,
                (j + sigmoid(v[1])) / height,
                math.exp(v[2]) * w / width,
                math.exp(v[3]) * h / height,
            ]
            if confidence >= 0.3:
                found.append((confidence, classes.argmax(), box))
    for one in sorted(found, key=lambda row: -row[0]):
        if all(overlap(one[2], other[2]) < 0.3 for other in kept):
            kept.append(one)
    expected = [
        [0, c + 1, s, x - w / 2, y - h / 2, x + w / 2, y + h / 2] for s, c, (x, y, w, h) in kept
    ]
    layer = one_layer(YOLO2.format(0.3), *maps).layer
    (top,) = layer.forward([torch.tensor(m, dtype=torch.float32) for m in maps], [])
    assert 5 < len(expected) < len(found)
    np.testing.assert_allclose(top.numpy()[0, 0], expected, rtol=1e-4, atol=1e-5)
    (none,) = one_layer(YOLO2.format(1), maps[0]).forward()
    np.testing.assert_array_equal(none, [[[[0, -1, -1, -1, -1, -1, -1]]]])


@pytest.mark.parametrize(
    "text, shapes, words",
    [
        (
            'type: "Yolov3" yolov3_param { iou_loss: GIOU }',
            [(1, 1), (1, 5)],
            "iou_loss is supported",
        ),
        ('type: "Yolov3" yolov3_param { use_focal_loss: true }', [(1, 1), (1, 5)], "use_focal"),
        (
            'type: "Yolov3" yolov3_param { num: 1 num_class: 1 mask: 1 biases: 2 biases: 2 }',
            [(1, 6, 2, 2), (1, 5)],
            "mask names anchor 1, of which biases have 1",
        ),
        (YOLO2.format(0.5), [(1, 14, 4, 4)], r"bottom\[0\] must have 2 anchors"),
        (YOLO2.format(0.5), [(2, 16, 4, 4)], "YoloDetectionOutput takes one image"),
        (YOLO2.format("0.5 biases: 1"), [(1, 16, 4, 4)], "biases must have two values an anchor"),
        (YOLO.format(0.5), [(1, 16, 4, 4), (1, 14, 8, 8)], r"bottom\[1\] must have 2 anchors"),
        (YOLO.format(0.5), [(2, 16, 4, 4), (2, 16, 8, 8)], "Yolov3DetectionOutput takes one image"),
        (YOLO.format(0.5), [(1, 16, 4, 4)], "there must be mask_group_num bottoms"),
        ('type: "RegionLoss"', [(1, 125, 2, 2), (1, 5)], "biases must have two values an anchor"),
        (
            'type: "RegionLoss" region_loss_param { class_map: "x" }',
            [(1, 1), (1, 5)],
            "softmax_tree",
        ),
    ],
)
def test_refused(one_layer, text, shapes, words):
    with pytest.raises(NetError, match=f"layer 'l': {words}"):
        one_layer(text, *map(np.zeros, shapes))
