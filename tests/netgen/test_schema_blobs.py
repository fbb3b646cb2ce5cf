"""BlobProto and NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from netgen import schema
from netgen.schema import caffe_pb


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
        elements=st.floats(width=32),
    )
)
def test_round_trip(array):
    blob = schema.array_to_blob(array)
    assert list(blob.shape.dim) == list(array.shape)
    assert blob.HasField("shape") == (array.ndim > 0)
    again = schema.blob_to_array(caffe_pb.BlobProto.FromString(blob.SerializeToString()))
    assert again.dtype == np.float32 and again.shape == array.shape
    np.testing.assert_array_equal(again, array)


def test_same_message_as_field_by_field():
    array = np.arange(300, dtype=np.float32).reshape(3, 100)  # a length of two varint bytes
    by_hand = caffe_pb.BlobProto(
        shape={"dim": [3, 100]}, data=array.ravel().tolist(), diff=(-array).ravel().tolist()
    )
    assert schema.array_to_blob(array, diff=-array) == by_hand


def test_any_layout_and_type_is_stored_as_float32_in_c_order():
    array = np.arange(6, dtype=np.float64).reshape(2, 3).T
    blob = schema.array_to_blob(array)
    assert list(blob.data) == [0, 3, 1, 4, 2, 5]
    assert list(blob.shape.dim) == [3, 2]


def test_an_old_blob_is_replaced_whole():
    blob = caffe_pb.BlobProto(num=1, channels=2, data=[1, 2], double_diff=[3])
    assert schema.array_to_blob(np.float32(7), blob) is blob
    assert blob == caffe_pb.BlobProto(data=[7])
    assert schema.blob_to_array(blob).shape == ()


def test_the_array_is_a_copy():
    blob = caffe_pb.BlobProto(data=[1, 2], shape={"dim": [2]})
    array = schema.blob_to_array(blob)
    array[:] = 5
    assert list(blob.data) == [1, 2]


def test_legacy_axes():
    blob = caffe_pb.BlobProto(num=1, channels=1, height=2, width=3, data=range(6))
    assert schema.blob_shape(blob) == (1, 1, 2, 3)
    assert schema.blob_to_array(blob)[0, 0, 1, 2] == 5
    bias = caffe_pb.BlobProto(num=1, channels=1, height=1, width=2, data=[1, 2], shape={"dim": [9]})
    assert schema.blob_to_array(bias).shape == (1, 1, 1, 2)


def test_doubles_come_first_and_become_float32():
    blob = caffe_pb.BlobProto(shape={"dim": [2]}, double_data=[0.1, 2], data=[8, 9])
    np.testing.assert_array_equal(schema.blob_to_array(blob), np.float32([0.1, 2]))


def test_data_that_older_files_did_not_pack():
    wire = b"".join(b"\x2d" + np.float32(x).tobytes() for x in (1, 2)) + b"\x3a\x03\x0a\x01\x02"
    np.testing.assert_array_equal(schema.blob_to_array(caffe_pb.BlobProto.FromString(wire)), [1, 2])


def test_unknown_fields_of_other_versions_do_no_harm():
    blob = caffe_pb.BlobProto.FromString(
        schema.array_to_blob(np.ones(3)).SerializeToString() + b"\x52\x03abc"
    )
    np.testing.assert_array_equal(schema.blob_to_array(blob), np.ones(3))


@pytest.mark.parametrize(
    ("shape", "values", "error"),
    [
        ([2, 3], 5, r"a blob of shape 2 3 \(6\) holds 5 values"),
        ([4], 0, r"a blob of shape 4 \(4\) holds 0 values"),
        ([], 2, r"a blob of shape  \(1\) holds 2 values"),
        ([-1, -2], 2, r"a blob of shape -1 -2 \(2\) holds 2 values"),
    ],
)
def test_shape_and_values_must_agree(shape, values, error):
    blob = caffe_pb.BlobProto(data=[0] * values)
    blob.shape.dim.extend(shape)
    with pytest.raises(schema.SchemaError, match=error):
        schema.blob_to_array(blob)
