"""The wire form of Datum, held against protobuf's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgen import schema
from netgen.schema import caffe_pb, encode_datums


def by_protobuf(image, label):
    channels, height, width = image.shape
    datum = caffe_pb.Datum(channels=channels, height=height, width=width, label=int(label))
    datum.float_data.extend(image.ravel().tolist())
    return datum.SerializeToString()


def some_images(*shape):
    return np.random.RandomState(0).standard_normal(shape).astype(np.float32)


def test_bytes_are_protobufs():
    images, labels = some_images(10, 3, 42, 42), np.arange(10)
    expected = [by_protobuf(*pair) for pair in zip(images, labels, strict=True)]
    assert list(encode_datums(images, labels)) == expected


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 150), st.integers(1, 20)),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
)
def test_bytes_are_protobufs_for_every_shape_and_label(shape, labels):
    images = some_images(len(labels), *shape)
    expected = [by_protobuf(*pair) for pair in zip(images, labels, strict=True)]
    assert list(encode_datums(images, np.array(labels, np.int64))) == expected


def test_a_stock_parser_reads_the_values_back():
    image = some_images(1, 3, 5, 4)
    image[0, 0, 0] = [np.inf, -0.0, np.float32(1e-45), np.nan]
    datum = caffe_pb.Datum.FromString(next(encode_datums(image, [7])))
    assert (datum.channels, datum.height, datum.width, datum.label) == (3, 5, 4, 7)
    assert not datum.HasField("data") and not datum.HasField("encoded")
    assert np.array(datum.float_data, np.float32).tobytes() == image.tobytes()


def test_other_arrays_are_stored_as_float32():
    doubles = some_images(2, 3, 4, 4).astype(np.float64)
    assert list(encode_datums(doubles, [1, 2])) == list(
        encode_datums(doubles.astype(np.float32), [1, 2])
    )


def test_as_many_labels_as_images():
    with pytest.raises(ValueError):
        list(encode_datums(some_images(2, 1, 2, 2), [1]))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_what_is_written_is_read_back_as_views(dtype):
    images = np.random.RandomState(0).uniform(0, 256, (3, 2, 5, 7)).astype(dtype)
    reader = schema.DatumReader()
    for record, image, label in zip(encode_datums(images, range(3)), images, range(3), strict=True):
        pixels, shape, got = reader(memoryview(record))
        assert (pixels.dtype, shape, got) == (dtype, (2, 5, 7), label)
        assert pixels.tobytes() == image.tobytes()
    assert reader.unencoded


def test_an_encoded_image_is_for_who_knows_images():
    record = caffe_pb.Datum(encoded=True, data=b"png", channels=3).SerializeToString()
    with pytest.raises(schema.SchemaError, match="its image is encoded"):
        schema.DatumReader()(record)


def test_records_without_labels():
    images = some_images(2, 1, 2, 2)
    for form in (images, images.astype(np.float32)):
        for record, image in zip(encode_datums(form, None), form, strict=True):
            datum = caffe_pb.Datum(channels=1, height=2, width=2)
            if form.dtype == np.uint8:
                datum.data = image.tobytes()
            else:
                datum.float_data.extend(image.ravel().tolist())
            assert record == datum.SerializeToString()
