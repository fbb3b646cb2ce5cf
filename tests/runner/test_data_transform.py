import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netgen import schema
from netgen.schema.caffe_pb import TEST, TRAIN, TransformationParameter
from runner.data.decoded import Decoded
from runner.data.errors import DataLayerError
from runner.data.transform import Draws, Transform

CPU = torch.device("cpu")


def transform(phase=TRAIN, log=lambda *line: None, **param):
    return Transform(TransformationParameter(**param), phase, CPU, log)


def records_of(images):
    """Records from arrays (C, H, W) of one dtype; image i has label i."""
    sizes = [image.size for image in images]
    return Decoded(
        torch.from_numpy(np.concatenate([image.ravel() for image in images])),
        np.cumsum([0, *sizes[:-1]]),
        np.array([image.shape for image in images], np.int64),
        np.arange(len(images)),
    )


def apply(under_test, batch, draws):
    """Data and labels of a batch."""
    table = torch.from_numpy(under_test.table(batch, draws))
    return under_test.gather(table, batch)


def shapes_of(count, *shape):
    return np.array([shape] * count, np.int64)


def naive(image, mirror, h_off, w_off, crop, mean, scale):
    """One image, pixel by pixel; mean: (C, H, W) float32 or None."""
    channels, height, width = image.shape
    height, width = crop or height, crop or width
    out = np.empty((channels, height, width), np.float32)
    for c in range(channels):
        for h in range(height):
            for w in range(width):
                x = np.float32(image[c, h_off + h, w_off + w])
                if mean is not None:
                    x = x - mean[c, h_off + h, w_off + w]
                out[c, h, width - 1 - w if mirror else w] = x * np.float32(scale)
    return out


def write_mean(path, mean):
    schema.write_binary(schema.array_to_blob(mean[None]), path)
    return str(path)


@given(data=st.data())
def test_apply_is_the_naive_loop(data, tmp_path_factory):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    dtype = data.draw(st.sampled_from([np.uint8, np.float32]))
    crop = data.draw(st.sampled_from([0, 1, 3, 4]))
    kind = data.draw(st.sampled_from(["none", "one", "channels", "file"]))
    varied = bool(crop) and kind != "file" and data.draw(st.booleans())
    channels, count = data.draw(st.sampled_from([1, 3])), 5
    sizes = rng.integers(4, 7, (count, 2)) if varied else np.repeat([[4, 6]], count, 0)
    images = [rng.integers(0, 256, (channels, h, w)).astype(dtype) for h, w in sizes]
    if dtype == np.float32:
        images = [image / np.float32(7) for image in images]

    param = {"crop_size": crop, "mirror": True, "scale": data.draw(st.sampled_from([1, 0.017]))}
    means = [None] * count
    if kind == "file":
        mean = rng.random((channels, 4, 6), np.float32) * 100
        param["mean_file"] = write_mean(tmp_path_factory.getbasetemp() / "mean", mean)
        means = [mean] * count
    elif kind != "none":
        param["mean_value"] = values = [104.3, 117, 0.1][: channels if kind == "channels" else 1]
        means = [
            np.zeros_like(i, np.float32) + np.array(values, np.float32)[:, None, None]
            for i in images
        ]

    phase = data.draw(st.sampled_from([TRAIN, TEST]))
    under_test = transform(phase, **param)
    batch = records_of(images)
    draws = under_test.draw(7, data.draw(st.integers(0, 1000)), batch.shapes)
    got, labels = apply(under_test, batch, draws)
    want = [
        naive(image, *choice, crop, mean, param["scale"])
        for image, choice, mean in zip(images, zip(*draws, strict=True), means, strict=True)
    ]
    assert got.dtype == labels.dtype == torch.float32
    assert got.shape == (count, *under_test.output_shape(batch.shapes))
    np.testing.assert_array_equal(got.numpy(), np.stack(want))
    assert labels.tolist() == list(range(count))


def test_a_subset_of_records_is_taken_by_number():
    images = [np.full((1, 2, 2), i, np.uint8) for i in range(5)]
    batch = records_of(images).take(3, 4)
    data, labels = apply(transform(), batch, transform().draw(0, 3, batch.shapes))
    assert data[:, 0, 0, 0].tolist() == labels.tolist() == [3, 4, 0, 1]


@pytest.mark.parametrize(("crop", "offset"), [(5, 1), (6, 1), (8, 0), (3, 2)])
def test_the_test_crop_is_the_centre_rounded_down(crop, offset):
    draws = transform(TEST, crop_size=crop).draw(1, 0, shapes_of(2, 3, 8, 8))
    assert [d.tolist() for d in draws] == [[0, 0], [offset] * 2, [offset] * 2]


def test_draws_belong_to_the_image_not_to_the_batch():
    under_test = transform(crop_size=3, mirror=True)
    whole = under_test.draw(5, 10, shapes_of(30, 3, 8, 9))
    parts = [
        under_test.draw(5, first, shapes_of(count, 3, 8, 9))
        for first, count in ((10, 7), (17, 1), (18, 22))
    ]
    for drawn, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(drawn, np.concatenate(pieces))
    other = under_test.draw(6, 10, shapes_of(30, 3, 8, 9))
    assert not np.array_equal(whole.h_off, other.h_off)


def test_every_choice_is_as_likely_and_independent():
    count = 40000
    draws = transform(crop_size=3, mirror=True).draw(3, 0, shapes_of(count, 1, 4, 5))
    cells = np.zeros((2, 2, 3))
    np.add.at(cells, tuple(draws), 1)
    expected = count / cells.size
    # Chi-squared with 11 degrees of freedom: above 31.3 once in a thousand seeds.
    assert ((cells - expected) ** 2 / expected).sum() < 31.3
    for drawn in draws:
        assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.02


def test_mirror_is_random_at_test_too_and_nothing_is_drawn_unasked():
    shapes = shapes_of(64, 3, 4, 4)
    assert 0 < transform(TEST, mirror=True, crop_size=2).draw(0, 0, shapes).mirror.sum() < 64
    draws = transform(TRAIN).draw(0, 0, shapes)
    assert not np.any(draws)
    draws = transform(TRAIN, crop_size=2).draw(0, 0, shapes)
    assert not draws.mirror.any() and len(np.unique(draws.h_off)) == 3


def test_chosen_draws_are_replayed():
    image = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    choices = Draws(np.array([0, 1]), np.array([1, 0]), np.array([2, 1]))
    data, _ = apply(transform(crop_size=2), records_of([image, image]), choices)
    assert data[:, 0].tolist() == [[[6, 7], [10, 11]], [[2, 1], [6, 5]]]


def test_the_mean_file_is_announced(tmp_path):
    path = write_mean(tmp_path / "mean", np.zeros((1, 2, 2), np.float32))
    lines = []
    transform(log=lambda *line: lines.append(line), mean_file=path)
    assert lines == [(f"Loading mean file from: {path}", "data_transformer.cpp:25")]


def test_a_mean_value_and_a_mean_file_exclude_each_other():
    with pytest.raises(
        DataLayerError, match="Cannot specify mean_file and mean_value at the same time"
    ):
        transform(mean_file="x", mean_value=[1])


def test_a_mean_file_with_too_few_values_is_named(tmp_path):
    path = tmp_path / "mean"
    blob = schema.array_to_blob(np.zeros((1, 1, 2, 2), np.float32))
    del blob.data[3:]
    schema.write_binary(blob, path)
    with pytest.raises(DataLayerError, match=f"mean_file '{path}': .*holds 3 values"):
        transform(mean_file=str(path))


@pytest.mark.parametrize(
    ("param", "shapes", "words"),
    [
        ({"crop_size": 5}, [(3, 4, 6)], "datum_height >= crop_size (4 vs. 5)"),
        ({"crop_size": 5}, [(3, 6, 6), (3, 6, 4)], "datum_width >= crop_size (4 vs. 5)"),
        ({"crop_size": 2}, [(3, 6, 6), (1, 6, 6)], "datum_channels == channels (1 vs. 3)"),
        ({}, [(3, 6, 6), (3, 7, 6)], "datum_height == height (7 vs. 6)"),
        ({}, [(3, 6, 6), (3, 6, 2)], "width <= datum_width (6 vs. 2)"),
        (
            {"mean_value": [1, 2]},
            [(3, 6, 6)],
            "Specify either 1 mean_value or as many as channels: 3 (2 given)",
        ),
        ({"mean_file": ""}, [(1, 6, 6)], "datum_channels == data_mean_.channels() (1 vs. 3)"),
        ({"mean_file": ""}, [(3, 4, 6)], "datum_height == data_mean_.height() (4 vs. 6)"),
        ({"mean_file": ""}, [(3, 6, 5)], "datum_width == data_mean_.width() (5 vs. 6)"),
    ],
)
def test_shapes_that_do_not_fit(param, shapes, words, tmp_path):
    if "mean_file" in param:
        path = write_mean(tmp_path / "mean", np.zeros((3, 6, 6), np.float32))
        param = {"mean_file": path}
    with pytest.raises(DataLayerError) as caught:
        transform(**param).draw(0, 0, np.array(shapes))
    assert str(caught.value) == words


@pytest.mark.parametrize("mean", [False, True])
def test_images_cut_one_by_one_are_those_of_an_index_a_value(mean):
    random = np.random.default_rng(0)
    shapes = np.array([(2, 7, 9)] * 5 if mean else [(2, 7, 9), (2, 5, 6), (2, 8, 5)])
    sizes = shapes.prod(1)
    starts = np.concatenate([[0], sizes.cumsum()[:-1]])
    values = torch.from_numpy(random.integers(0, 256, sizes.sum()).astype(np.uint8))
    records = Decoded(values, starts, shapes, np.zeros(len(shapes), np.int64))
    both = transform(crop_size=4, mirror=True)
    if mean:
        both.mean_shape, both.mean = (2, 7, 9), torch.arange(126, dtype=torch.float32)
    for seed in range(5):
        draws = both.draw(seed, 0, shapes)
        table = torch.from_numpy(both.table(records, draws))
        found = both._slices(table, values, (len(shapes), 2, 4, 4))
        wanted = both._pixels(table, values, (len(shapes), 2, 4, 4))
        assert torch.equal(found[0], wanted[0].float())
        assert found[1] is wanted[1] is None if not mean else torch.equal(found[1], wanted[1])
