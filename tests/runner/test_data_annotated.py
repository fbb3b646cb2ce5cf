"""AnnotatedData's records: what becomes of an image and its boxes."""

import io

import numpy as np
import pytest
from PIL import Image

from netgen import schema
from netgen.schema import caffe_pb
from runner.data import DataLayerError
from runner.data.annotated import Annotated, Annotation, resize, resized_boxes
from runner.data.distort import distort, from_hsv, to_hsv
from runner.data.draws import Draws
from runner.data.resample import resample
from runner.data.samplers import draw_crops, jitter, sample, satisfying

RANDOM = np.random.default_rng(0)


def layer_of(text, batch_size=1):
    return schema.parse_text(
        'name: "data" type: "AnnotatedData" top: "data" top: "label" '
        f"data_param {{ batch_size: {batch_size} }} {text}",
        caffe_pb.LayerParameter,
    )


def annotation(text, phase="TEST"):
    return Annotation(layer_of(text), caffe_pb.Phase.Value(phase), 1, lambda *line: None)


def given(height=20, width=30, boxes=((0.1, 0.2, 0.5, 0.6),), channels=3):
    pixels = RANDOM.integers(0, 256, (height, width, channels)).astype(np.uint8)
    notes = [(label, 0, 0) for label in range(1, len(boxes) + 1)]
    return Annotated(pixels, np.float32(boxes).reshape(-1, 4), np.float32(notes).reshape(-1, 3))


def changed(text, one, phase="TEST", number=0):
    return annotation(text, phase).change(one, Draws(1, number))


# --- the parts ---


def test_as_it_is():
    one = given()
    values, left = changed("", one)
    np.testing.assert_array_equal(values, one.pixels.transpose(2, 0, 1))
    np.testing.assert_allclose(left.boxes, one.boxes, rtol=1e-6)


def test_mean_scale_and_mirror():
    one = given()
    text = "transform_param { mirror: true scale: 0.5 mean_value: 1 mean_value: 2 mean_value: 3 }"
    seen = set()
    for number in range(8):
        values, left = changed(text, one, number=number)
        mirrored = bool(left.boxes[0, 0] > 0.4)
        seen.add(mirrored)
        pixels = one.pixels[:, ::-1] if mirrored else one.pixels
        np.testing.assert_array_equal(
            values, (pixels - np.float32([1, 2, 3])).transpose(2, 0, 1) / 2
        )
        wanted = [0.5, 0.2, 0.9, 0.6] if mirrored else [0.1, 0.2, 0.5, 0.6]
        np.testing.assert_allclose(left.boxes[0], wanted, rtol=1e-5)
    assert seen == {True, False}


def test_labels_for_region_loss():
    """MobileNet-YOLO's: an image's rows of class, centre and size, and then zeros."""
    one = caffe_pb.AnnotatedDatum(type=caffe_pb.AnnotatedDatum.BBOX)
    one.datum.channels, one.datum.height, one.datum.width = 1, 4, 4
    one.datum.data = bytes(16)
    for label, difficult in ((3, False), (1, True)):
        box = one.annotation_group.add(group_label=label).annotation.add().bbox
        box.xmin, box.ymin, box.xmax, box.ymax = 0.25, 0.5, 0.75, 0.625
        box.difficult = difficult
    record = (0, b"", one.SerializeToString())
    text = "annotated_data_param { yolo_data_type: 1 yolo_data_jitter: 0 train_diffcult: %s }"
    for wanted, count in (("true", 2), ("false", 1)):
        labels = annotation(text % wanted).collect(iter([record] * 2), 2, None).labels
        assert labels.shape == (2, 1, 300, 5)
        np.testing.assert_allclose(labels[1, 0, 0], [2, 0.5, 0.5625, 0.5, 0.125])
        np.testing.assert_allclose(labels[1, 0, 1, 0], 0)
        assert (labels[:, 0].abs().sum(2) > 0).sum() == 2 * count


def datum(height=6, width=6):
    one = caffe_pb.AnnotatedDatum(type=caffe_pb.AnnotatedDatum.BBOX)
    one.datum.channels, one.datum.height, one.datum.width = 1, height, width
    one.datum.data = bytes(range(height * width))
    return one.SerializeToString()


SIZES = "resize_param { height: %d width: %d prob: %g } "


def test_several_sizes_last_ten_batches_each():
    """MobileNet-YOLO's: drawn by their prob, for all records of a batch, and again the same."""
    text = f"transform_param {{ {SIZES % (4, 4, 0.25)} {SIZES % (8, 6, 0.75)} }}"
    record, one = datum(), annotation(text)
    assert one.look(record)[0] == (1, 4, 4)

    def sizes(seed):
        one.seed = seed
        batches = [iter([(number, b"", record)]) for number in range(400)]
        return [tuple(one.collect(batch, 1, None).values.shape[2:]) for batch in batches]

    drawn = sizes(1)
    assert drawn == sizes(1) != sizes(2)
    assert all(len(set(drawn[i : i + 10])) == 1 for i in range(0, 400, 10))
    counts = [drawn[::10].count(size) for size in ((4, 4), (8, 6))]
    assert sum(counts) == 40 and counts[0] >= 2 and counts[1] >= 20


def test_the_probabilities_of_several_sizes_add_up_to_one():
    text = f"transform_param {{ {SIZES % (4, 4, 0.5)} {SIZES % (8, 6, 0.4)} }}"
    with pytest.raises(DataLayerError, match=r"must add up to 1 \(0.9\)"):
        annotation(text)


def test_jitter_cuts_no_more_than_it_says():
    crops = np.stack([jitter(0.4, False, Draws(1, n)) for n in range(300)])
    sides = crops[:, 2:] - crops[:, :2]
    assert (crops >= 0).all() and (crops <= 1 + 1e-6).all()
    assert (sides >= 0.6 - 1e-6).all() and sides.min() < 0.65
    assert abs((sides == 1).all(1).mean() - 0.2) < 0.1
    assert (sides[:, 0] != sides[:, 1]).any()
    whole = np.stack([jitter(0.4, True, Draws(1, n)) for n in range(30)])
    np.testing.assert_allclose(whole[:, 2] - whole[:, 0], whole[:, 3] - whole[:, 1], atol=1e-6)


def test_jitter_is_of_nets_that_are_written_for_it():
    one = given()
    for text, jittered in (
        ("", False),
        ("yolo_data_type: 1", True),
        ("yolo_data_jitter: 0.5", True),
    ):
        text = f"annotated_data_param {{ {text} }}"
        sizes = {changed(text, one, number=n)[0].shape for n in range(10)}
        assert (len(sizes) > 1) == jittered


def test_a_crop_takes_boxes_along():
    one = given(20, 40, [(0.25, 0.25, 0.75, 0.75), (0.0, 0.0, 0.1, 0.1)])
    values, left = changed("transform_param { crop_size: 10 }", one)
    np.testing.assert_array_equal(values, one.pixels[5:15, 15:25].transpose(2, 0, 1))
    np.testing.assert_allclose(left.boxes, [[0, 0, 1, 1]])  # the other one is outside
    np.testing.assert_array_equal(left.notes[:, 0], [1])


def test_emit_constraints():
    one = given(20, 40, [(0.0, 0.3, 0.5, 0.6), (0.3, 0.3, 0.5, 0.6)])
    crop = "crop_h: 20 crop_w: 20"  # from 0.25 to 0.75
    for constraint, labels in (
        ("", [1, 2]),
        ("emit_constraint { emit_type: CENTER }", [1, 2]),
        ("emit_constraint { emit_type: MIN_OVERLAP emit_overlap: 0.6 }", [2]),
    ):
        _, left = changed(f"transform_param {{ {crop} {constraint} }}", one)
        np.testing.assert_array_equal(left.notes[:, 0], labels)
    one = given(20, 40, [(0.0, 0.3, 0.45, 0.6)])  # its centre is outside
    _, left = changed(f"transform_param {{ {crop} emit_constraint {{ }} }}", one)
    assert len(left.boxes) == 0


def test_expansion_puts_the_image_into_a_larger_one():
    one = given(10, 10, [(0.0, 0.0, 1.0, 1.0)])
    text = "transform_param { mean_value: 7 expand_param { prob: 1 max_expand_ratio: 3 } }"
    values, left = changed(text, one)
    _, height, width = values.shape
    assert 10 <= height == width <= 30
    x1, y1, x2, y2 = np.rint(left.boxes[0] * width)
    assert (x2 - x1, y2 - y1) == (10, 10)
    inside = values[:, int(y1) : int(y2), int(x1) : int(x2)]
    np.testing.assert_array_equal(inside, one.pixels.transpose(2, 0, 1).astype(np.float32) - 7)
    assert np.abs(values).sum() == np.abs(inside).sum()


def test_a_sample_is_cut_out():
    one = given(40, 40, [(0.4, 0.4, 0.6, 0.6)])
    text = """annotated_data_param { batch_sampler { max_sample: 1 max_trials: 50
        sampler { min_scale: 0.5 max_scale: 0.5 }
        sample_constraint { min_object_coverage: 1 } } }"""
    values, left = changed(text, one)
    assert values.shape == (3, 20, 20)
    size = left.boxes[0, 2:] - left.boxes[0, :2]
    np.testing.assert_allclose(size, 0.4, rtol=1e-5)


def test_draws_depend_on_seed_and_number_alone():
    text = "transform_param { mirror: true crop_size: 5 }"
    one = given()
    first = [changed(text, one, "TRAIN", n)[0] for n in range(6)]
    again = [changed(text, one, "TRAIN", n)[0] for n in reversed(range(6))]
    np.testing.assert_array_equal(first, again[::-1])
    assert len({values.tobytes() for values in first}) > 3


# --- samplers ---


def test_crops_are_of_the_sizes_asked_for():
    param = caffe_pb.Sampler(min_scale=0.3, max_scale=0.8, min_aspect_ratio=0.5, max_aspect_ratio=2)
    crops = draw_crops(param, 500, Draws(1, 2))
    assert crops.min() >= 0 and crops.max() <= 1 + 1e-6
    width, height = (crops[:, 2:] - crops[:, :2]).T
    scale, ratio = np.sqrt(width * height), width / height
    assert 0.3 <= scale.min() < 0.35 and 0.75 < scale.max() <= 0.8 + 1e-6
    assert 0.5 - 1e-4 <= ratio.min() < 0.6 and 1.7 < ratio.max() <= 2 + 1e-4


def test_constraints():
    crops = np.float32([[0, 0, 0.5, 1], [0.5, 0, 1, 1], [0, 0, 1, 1]])
    objects = np.float32([[0.0, 0.0, 0.25, 1.0]])
    for field, expected in {
        "min_jaccard_overlap: 0.4": [1, 0, 0],
        "max_jaccard_overlap: 0.4": [0, 1, 1],
        "min_sample_coverage: 0.4": [1, 0, 0],
        "min_object_coverage: 0.9": [1, 0, 1],
        "": [1, 1, 1],
    }.items():
        constraint = schema.parse_text(field, caffe_pb.SampleConstraint)
        np.testing.assert_array_equal(satisfying(crops, objects, constraint), np.bool_(expected))


def test_max_sample():
    sampler = caffe_pb.BatchSampler(max_trials=9)
    none = np.empty((0, 4), np.float32)
    assert len(sample([sampler, sampler], none, Draws(1, 1))) == 18
    sampler.max_sample = 2
    assert len(sample([sampler, sampler], none, Draws(1, 1))) == 4
    sampler.sample_constraint.min_jaccard_overlap = 0.1
    assert len(sample([sampler], none, Draws(1, 1))) == 0


# --- sizes ---


def test_padding_keeps_the_aspect():
    param = schema.parse_text(
        "resize_mode: FIT_LARGE_SIZE_AND_PAD height: 40 width: 40 pad_value: 9",
        caffe_pb.ResizeParameter,
    )
    one = given(10, 20, [(0, 0, 1, 1)])
    pixels = resize(one.pixels, param, Draws(1, 1))
    assert pixels.shape == (40, 40, 3)
    assert (pixels[:10] == 9).all() and (pixels[30:] == 9).all()
    assert not (pixels[10:30] == 9).all(axis=(1, 2)).any()
    np.testing.assert_allclose(resized_boxes(one.boxes, one.size, param), [[0, 0.25, 1, 0.75]])


def test_the_shorter_side_fits():
    param = schema.parse_text(
        "resize_mode: FIT_SMALL_SIZE height: 8 width: 8", caffe_pb.ResizeParameter
    )
    one = given(10, 20)
    assert resize(one.pixels, param, Draws(1, 1)).shape == (8, 16, 3)
    np.testing.assert_allclose(resized_boxes(one.boxes, one.size, param), one.boxes, rtol=1e-6)


@pytest.mark.parametrize("mode", ["NEAREST", "AREA", "CUBIC", "LANCZOS4"])
def test_resampling(mode):
    flat = np.full((7, 9, 3), 77, np.uint8)
    for size in ((14, 5), (3, 4), (20, 30)):
        np.testing.assert_array_equal(resample(flat, *size, mode), np.full((*size, 3), 77))
    pixels = given(8, 12).pixels
    np.testing.assert_array_equal(resample(pixels, 8, 12, mode), pixels)
    if mode == "AREA":
        means = pixels.reshape(4, 2, 4, 3, 3).mean((1, 3))
        np.testing.assert_allclose(resample(pixels, 4, 4, mode), means, atol=0.51)


# --- colours ---


def test_hue_saturation_and_value():
    bgr = np.uint8([[[0, 0, 255], [0, 255, 0], [255, 0, 0], [128, 128, 128], [0, 255, 255]]])
    expected = [[0, 255, 255], [60, 255, 255], [120, 255, 255], [0, 0, 128], [30, 255, 255]]
    np.testing.assert_array_equal(to_hsv(bgr)[0], expected)
    np.testing.assert_array_equal(from_hsv(to_hsv(bgr)), bgr)
    np.testing.assert_array_equal(from_hsv(np.uint8([[[180, 255, 255]]])), [[[0, 0, 255]]])


def test_hue_there_and_back():
    pixels = given(16, 16).pixels
    back = from_hsv(to_hsv(pixels)).astype(int)
    assert np.abs(back - pixels).max() <= 10  # 180 hues and 256 saturations are coarse
    assert np.abs(back - pixels).mean() < 1.5


@pytest.mark.parametrize(
    "param",
    [
        "brightness_prob: 1 brightness_delta: 32",
        "contrast_prob: 1 contrast_lower: 0.5 contrast_upper: 1.5",
        "saturation_prob: 1 saturation_lower: 0.5 saturation_upper: 1.5",
        "hue_prob: 1 hue_delta: 36",
        "random_order_prob: 1",
    ],
)
def test_distortions(param):
    pixels = given(16, 16).pixels
    message = schema.parse_text(param, caffe_pb.DistortionParameter)
    found = [distort(pixels, message, Draws(1, n)) for n in range(6)]
    assert all(one.shape == pixels.shape and one.dtype == np.uint8 for one in found)
    assert len({one.tobytes() for one in found}) > 2
    unchanged = distort(pixels, caffe_pb.DistortionParameter(), Draws(1, 1))
    np.testing.assert_array_equal(unchanged, pixels)
    if param.startswith("brightness"):
        shift = found[0].astype(int) - pixels
        free = (found[0] > 0) & (found[0] < 255)
        assert abs(shift[free]).max() <= 32 and np.ptp(shift[free]) <= 1


def test_gray_has_no_colours():
    with pytest.raises(DataLayerError, match="has 1 channel"):
        distort(given(channels=1).pixels, caffe_pb.DistortionParameter(), Draws(1, 1))


# --- refusals ---


@pytest.mark.parametrize(
    "text, words",
    [
        ("transform_param { resize_param { height: 3 } }", "resize_param needs a width > 0"),
        ("transform_param { expand_param { } }", "max_expand_ratio > 1"),
        ("transform_param { force_color: true force_gray: true }", "cannot set both"),
        (
            "transform_param { resize_param { height: 3 width: 3 resize_mode: FIT_SMALL_SIZE } }",
            "Only support batch size of 1",
        ),
    ],
)
def test_refused(text, words):
    with pytest.raises(DataLayerError, match=words):
        Annotation(layer_of(text, batch_size=2), caffe_pb.TEST, 1, print)


def test_records_that_are_refused():
    reader = annotation("")
    with pytest.raises(DataLayerError, match="it is not an AnnotatedDatum"):
        reader.read(b"\xff\xff")
    datum = caffe_pb.AnnotatedDatum()
    datum.datum.encoded, datum.datum.data = True, b"no image"
    with pytest.raises(DataLayerError, match="Could not decode datum"):
        reader.read(datum.SerializeToString())
    datum.datum.encoded = False
    with pytest.raises(DataLayerError, match="its shape is 0x0x0, its data holds 8 bytes"):
        reader.read(datum.SerializeToString())
    with pytest.raises(DataLayerError, match="smaller than the crop"):
        changed("transform_param { crop_size: 50 }", given())


def test_an_encoded_image_with_its_boxes():
    pixels, buffer = given().pixels, io.BytesIO()
    Image.fromarray(pixels[..., ::-1]).save(buffer, "PNG")
    stored = caffe_pb.AnnotatedDatum(type=caffe_pb.AnnotatedDatum.BBOX)
    stored.datum.encoded, stored.datum.data = True, buffer.getvalue()
    group = stored.annotation_group.add(group_label=5)
    one = group.annotation.add(instance_id=3)
    one.bbox.xmin, one.bbox.ymin, one.bbox.xmax, one.bbox.ymax = 0.25, 0.5, 0.75, 1
    one.bbox.difficult = True
    found, _ = annotation("").read(stored.SerializeToString())
    np.testing.assert_array_equal(found.pixels, pixels)
    np.testing.assert_array_equal(found.boxes, [[0.25, 0.5, 0.75, 1]])
    np.testing.assert_array_equal(found.notes, [[5, 3, 1]])
