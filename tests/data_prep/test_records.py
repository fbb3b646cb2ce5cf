import hashlib
from itertools import pairwise

import lmdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep import DataError, encode_datums, read_lmdb, write_lmdb
from netgen.schema import caffe_pb


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


def test_keys_and_order(tmp_path):
    values = [b"%d" % (n * n) for n in range(1234)]
    count, digest = write_lmdb(tmp_path / "db", [values[:1000], values[1000:]])
    records = list(read_lmdb(tmp_path / "db"))
    assert count == 1234 and [value for _, value in records] == values
    assert records[0][0] == b"00000" and records[1233][0] == b"01233"
    assert all(a < b for (a, _), (b, _) in pairwise(records))
    whole = hashlib.sha256(
        b"".join(
            len(key).to_bytes(4, "little") + len(value).to_bytes(4, "little") + key + value
            for key, value in records
        )
    )
    assert digest == whole.hexdigest()


def test_the_map_grows(tmp_path):
    values = [bytes([n]) * 20_000 for n in range(200)]
    one = write_lmdb(tmp_path / "one", [values], map_size=1 << 16)
    two = write_lmdb(tmp_path / "two", [values[n : n + 7] for n in range(0, 200, 7)])
    assert one == two
    assert [value for _, value in read_lmdb(tmp_path / "one")] == values
    assert (tmp_path / "one" / "data.mdb").stat().st_size < 6_000_000


def test_the_digest_depends_on_the_order(tmp_path):
    assert (
        write_lmdb(tmp_path / "a", [[b"1", b"2"]])[1]
        != write_lmdb(tmp_path / "b", [[b"2", b"1"]])[1]
    )


def test_limits(tmp_path):
    with pytest.raises(DataError, match="more than 100000 records do not fit five-digit keys"):
        write_lmdb(tmp_path / "many", [[b""] * 60_000, [b""] * 40_001])
    with pytest.raises(FileExistsError):
        write_lmdb(tmp_path / "many", [])
    with pytest.raises(lmdb.Error):
        list(read_lmdb(tmp_path / "absent"))
