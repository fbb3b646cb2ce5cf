import json

import numpy as np
import pytest

from netgen.graph import NetError

VARIANCE = np.array([0.1, 0.1, 0.2, 0.2])


def some_boxes(random, count):
    center, size = random.uniform(0.2, 0.8, (count, 2)), random.uniform(0.1, 0.5, (count, 2))
    return np.concatenate([center - size / 2, center + size / 2], 1).astype(np.float32)


def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    total = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return width * height / (total - width * height)


# --- DetectionOutput ---


def predictions(seed=0, batch=2, priors=30, classes=4, location_classes=1):
    random = np.random.default_rng(seed)
    boxes = some_boxes(random, priors)
    confidence = random.uniform(size=(batch, priors, classes)).astype(np.float32)
    location = (random.normal(size=(batch, priors, location_classes, 4)) * 0.3).astype(np.float32)
    return location, confidence, boxes


def bottoms_of(location, confidence, boxes):
    priors = np.stack([boxes, np.broadcast_to(VARIANCE, boxes.shape)]).reshape(1, 2, -1)
    return location.reshape(len(location), -1), confidence.reshape(len(confidence), -1), priors


def detected(location, confidence, boxes, nms, threshold, top_k, keep_top_k):
    """Class by class, box by box, for CORNER codes."""
    rows = []
    for image in range(len(confidence)):
        of_image = []
        for label in range(1, confidence.shape[2]):
            own = location[image, :, label if location.shape[2] > 1 else 0]
            own = boxes + VARIANCE * own
            scores = confidence[image, :, label]
            order = sorted(np.flatnonzero(scores > threshold), key=lambda i, s=scores: -s[i])
            kept = []
            for i in order[:top_k]:
                if all(overlap(own[i], own[k]) <= nms for k in kept):
                    kept.append(i)
            of_image += [[image, label, scores[i], *own[i]] for i in kept]
        of_image.sort(key=lambda row: -row[2])
        rows += sorted(of_image[:keep_top_k], key=lambda row: (row[1], -row[2]))
    return rows


@pytest.mark.parametrize("location_classes", [1, 4])
@pytest.mark.parametrize("keep_top_k", [9, 1000])
def test_detection_output(one_layer, location_classes, keep_top_k):
    given = predictions(location_classes=location_classes)
    share = "true" if location_classes == 1 else "false"
    layer = one_layer(
        'type: "DetectionOutput" detection_output_param { num_classes: 4 '
        f"share_location: {share} nms_param {{ nms_threshold: 0.4 top_k: 12 }} "
        f"keep_top_k: {keep_top_k} confidence_threshold: 0.3 }}",
        *bottoms_of(*given),
    )
    _, outputs = layer.net.forward()
    expected = detected(*given, 0.4, 0.3, 12, keep_top_k)
    assert outputs["top0"].shape == (1, 1, len(expected), 7)
    np.testing.assert_allclose(outputs["top0"][0, 0], expected, rtol=1e-4, atol=1e-6)


def test_nothing_detected(one_layer):
    layer = one_layer(
        'type: "DetectionOutput" detection_output_param { num_classes: 4 confidence_threshold: 2 }',
        *bottoms_of(*predictions()),
    )
    _, outputs = layer.net.forward()
    np.testing.assert_array_equal(outputs["top0"][0, 0], [[0, *[-1] * 6], [1, *[-1] * 6]])


@pytest.mark.parametrize(
    "param, words",
    [
        ("", "Must specify num_classes"),
        ("num_classes: 5", "Number of priors must match number of confidence predictions."),
        ("num_classes: 4 share_location: false", "number of location predictions."),
        ("num_classes: 4 nms_param { nms_threshold: -1 }", "must be non negative"),
        ("num_classes: 4 nms_param { eta: 0 }", "eta must be in"),
    ],
)
def test_detection_output_refuses(one_layer, param, words):
    text = f'type: "DetectionOutput" detection_output_param {{ {param} }}'
    with pytest.raises(NetError, match=words):
        one_layer(text, *bottoms_of(*predictions()))


# --- DetectionEvaluate ---

TRUTH = [  # item, label, instance, box, difficult
    [0, 1, 0, 0.1, 0.1, 0.5, 0.5, 0],
    [0, 1, 1, 0.6, 0.6, 0.9, 0.9, 1],
    [0, 2, 0, 0.2, 0.2, 0.4, 0.8, 0],
    [1, 2, 0, 0.0, 0.0, 0.5, 1.0, 0],
]
DETECTIONS = [  # image, label, confidence, box
    [0, 1, 0.5, 0.1, 0.1, 0.5, 0.5],
    [0, 1, 0.9, 0.1, 0.1, 0.5, 0.6],
    [0, 1, 0.8, 0.6, 0.6, 0.9, 0.9],
    [0, 3, 0.7, 0.6, 0.6, 0.9, 0.9],
    [1, 2, 0.6, 0.5, 0.0, 1.0, 1.0],
    [2, 1, 0.4, 0.0, 0.0, 1.0, 1.0],
]


def evaluate(one_layer, param="", detections=DETECTIONS, truth=TRUTH):
    layer = one_layer(
        f'type: "DetectionEvaluate" detection_evaluate_param {{ num_classes: 4 {param} }}',
        np.array(detections)[None, None],
        np.array(truth)[None, None],
    )
    _, outputs = layer.net.forward()
    return outputs["top0"][0, 0].numpy()


def test_right_and_wrong_detections(one_layer):
    np.testing.assert_allclose(
        evaluate(one_layer),
        [
            [-1, 1, 2, -1, -1],
            [-1, 2, 2, -1, -1],
            [-1, 3, 0, -1, -1],
            [0, 1, 0.9, 1, 0],
            [0, 1, 0.8, 1, 0],
            [0, 1, 0.5, 0, 1],  # that box has been found
            [0, 3, 0.7, 0, 1],  # there is none of that class
            [1, 2, 0.6, 0, 1],  # elsewhere
            [2, 1, 0.4, 0, 1],  # an image without boxes
        ],
        rtol=1e-6,
    )


def test_difficult_boxes_need_not_count(one_layer):
    rows = evaluate(one_layer, "evaluate_difficult_gt: false")
    np.testing.assert_allclose(rows[0], [-1, 1, 1, -1, -1])
    np.testing.assert_allclose(rows[4], [0, 1, 0.8, 0, 0], rtol=1e-6)


def test_no_detection_at_all(one_layer):
    rows = evaluate(one_layer, detections=[[0, *[-1] * 6], [1, *[-1] * 6]])
    np.testing.assert_array_equal(
        rows, [[-1, 1, 2, -1, -1], [-1, 2, 2, -1, -1], [-1, 3, 0, -1, -1]]
    )


def test_pixels_of_the_images_of_a_file(one_layer, tmp_path):
    path = tmp_path / "sizes.txt"
    path.write_text("one 9 9\ntwo 100 200\n")
    truth = [[0, 1, 0, 0.0, 0.0, 1.0, 1.0, 0], [1, 1, 0, 0.0, 0.0, 1.0, 1.0, 0]]
    detections = [[0, 1, 0.9, 0.0, 0.0, 1.0, 0.5], [1, 1, 0.9, 0.0, 0.0, 1.0, 0.5]]
    # (9 + 1)(4.5 + 1) of (9 + 1)^2 is 0.55, while 51 of 101 is less than that
    param = f'overlap_threshold: 0.52 name_size_file: "{path}"'
    rows = evaluate(one_layer, param, detections, truth)
    np.testing.assert_array_equal(rows[3:, 3], [1, 0])
    np.testing.assert_array_equal(
        evaluate(one_layer, "overlap_threshold: 0.52", detections, truth)[3:, 3], [0, 0]
    )


def test_the_place_among_the_sizes_is_state(one_layer, tmp_path):
    path = tmp_path / "sizes.txt"
    path.write_text("a 10 10\nb 20 20\nc 30 30\n")
    layer = (
        one_layer(
            'type: "DetectionEvaluate" detection_evaluate_param '
            f'{{ num_classes: 4 name_size_file: "{path}" }}',
            np.array(DETECTIONS)[None, None],
            np.array(TRUTH)[None, None],
        )
        .net.nodes[-1]
        .layer
    )
    assert layer.state() == {"image": 0}
    layer.load_state({"image": 2})
    assert layer.state() == {"image": 2}


def test_padding_is_taken_off(one_layer, tmp_path):
    path = tmp_path / "sizes.txt"
    path.write_text("wide 50 100\n")
    # in a square of 100 the image lies between 0.25 and 0.75
    truth = [[0, 1, 0, 0.0, 0.25, 1.0, 0.75, 0]]
    detections = [[0, 1, 0.9, 0.0, 0.0, 1.0, 1.0]]
    resize = "resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD width: 100 height: 100 }"
    param = f'overlap_threshold: 0.99 name_size_file: "{path}"'
    assert evaluate(one_layer, f"{param} {resize}", detections, truth)[3, 3] == 1
    assert evaluate(one_layer, param, detections, truth)[3, 3] == 0


@pytest.mark.parametrize(
    "param, words",
    [
        ("overlap_threshold: 0", "overlap_threshold must be non negative."),
        ('name_size_file: "nowhere"', "Failed to open name size file: nowhere"),
    ],
)
def test_detection_evaluate_refuses(one_layer, param, words):
    with pytest.raises(NetError, match=words):
        evaluate(one_layer, param)


def test_background_is_no_label(one_layer):
    truth = [[0, 0, 0, 0.1, 0.1, 0.5, 0.5, 0]]
    with pytest.raises(NetError, match="Found background label in the dataset."):
        evaluate(one_layer, truth=truth)


# --- files of detections ---

LABELS = 'item { name: "none" label: 0 } item { name: "12" label: 1 } item { name: "cat" label: 2 }'


def save(one_layer, folder, output_format, **files):
    """The layer on two images with a detection each, of labels 1 and 2, saved to folder/out."""
    (folder / "labels").write_text(files.get("labels", LABELS))
    (folder / "sizes").write_text(files.get("sizes", "7 100 200\nb 50 80\n"))
    boxes = np.float32([[0.125, 0.25, 0.5, 0.75]])
    confidence = np.float32([[[0, 0.9, 0]], [[0, 0, 0.8]]])
    return one_layer(
        'type: "DetectionOutput" detection_output_param { num_classes: 3 '
        "confidence_threshold: 0.1 save_output_param { "
        f'output_directory: "{folder}/out" output_name_prefix: "p_" '
        f'output_format: "{output_format}" label_map_file: "{folder}/labels" '
        f'name_size_file: "{folder}/sizes" }} }}',
        *bottoms_of(np.zeros((2, 1, 1, 4), np.float32), confidence, boxes),
    )


def test_files_for_voc(one_layer, tmp_path):
    save(one_layer, tmp_path, "VOC").net.forward()
    assert (tmp_path / "out/p_12.txt").read_text() == "7 0.9 25 25 100 75\n"
    assert (tmp_path / "out/p_cat.txt").read_text() == "b 0.8 10 12 40 37\n"
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_a_file_for_ilsvrc(one_layer, tmp_path):
    save(one_layer, tmp_path, "ILSVRC").net.forward()
    text = (tmp_path / "out/p_.txt").read_text()
    assert text == "7 1 0.9 25 25 100 75\nb 2 0.8 10 12 40 37\n"


def test_a_file_for_coco(one_layer, tmp_path):
    save(one_layer, tmp_path, "COCO").net.forward()
    assert json.loads((tmp_path / "out/p_.json").read_text()) == [
        {"image_id": 7, "category_id": 12, "bbox": [25, 25, 75, 50], "score": 0.9},
        {"image_id": "b", "category_id": "cat", "bbox": [10, 12.5, 30, 25], "score": 0.8},
    ]


def test_files_are_written_when_all_images_are_there(one_layer, tmp_path):
    layer = save(one_layer, tmp_path, "ILSVRC", sizes="7 100 200\nb 50 80\nc 9 9\nd 9 9\n")
    layer.net.forward()
    assert not list((tmp_path / "out").iterdir())
    layer.net.forward()
    assert len((tmp_path / "out/p_.txt").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    "output_format, files, words",
    [
        ("voc", {}, "output_format 'voc' is none of VOC, COCO, ILSVRC"),
        ("VOC", {"labels": "item {"}, "Failed to read label map file"),
        ("VOC", {"labels": LABELS + LABELS}, "has the label 0 twice"),
        ("VOC", {"sizes": ""}, "num_test_image_ <= names_.size"),
    ],
)
def test_files_that_are_refused(one_layer, tmp_path, output_format, files, words):
    with pytest.raises(NetError, match=words):
        save(one_layer, tmp_path, output_format, **files)


def test_a_label_that_the_map_lacks(one_layer, tmp_path):
    layer = save(one_layer, tmp_path, "VOC", labels='item { name: "12" label: 1 }')
    with pytest.raises(NetError, match="Cannot find label: 2 in the label map."):
        layer.net.forward()
