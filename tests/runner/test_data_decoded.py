import gc
import os
import threading

import lmdb
import numpy as np
import pytest
import torch

from netgen.schema.caffe_pb import Datum
from runner.data import memory, source
from runner.data.datum import Decoder
from runner.data.decoded import collect, load
from runner.data.errors import DataLayerError
from runner.data.source import open_source
from runner.data.stream import Stream

CPU = torch.device("cpu")
NO_LIMIT = 1 << 30


def write(path, images, first_key=0):
    """An LMDB of records labelled 0, 1, ...; images: (C, H, W) arrays of uint8 or float32."""
    env = lmdb.open(str(path), map_size=1 << 24)
    with env.begin(write=True) as txn:
        for i, image in enumerate(images):
            datum = Datum(label=i)
            datum.channels, datum.height, datum.width = image.shape
            if image.dtype == np.uint8:
                datum.data = image.tobytes()
            else:
                datum.float_data.extend(image.ravel().tolist())
            txn.put(b"%05d" % (first_key + i), datum.SerializeToString())
    env.close()
    return str(path)


def images_of(count, shape=(2, 3, 4), dtype=np.uint8):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, shape).astype(dtype) for _ in range(count)]
    return images if dtype == np.uint8 else [image / dtype(3) for image in images]


def pixels(records, i):
    start, shape = records.starts[i], records.shapes[i]
    return records.values[start : start + np.prod(shape)].numpy().reshape(shape)


def assert_holds(records, images):
    assert len(records) == len(images)
    assert records.labels.tolist() == list(range(len(images)))
    for i, image in enumerate(images):
        np.testing.assert_array_equal(pixels(records, i), image)


def is_open(path):
    """Whether a Source of this path is open."""
    if os.path.realpath(path) in source._open_sources:
        return True
    lmdb.open(path, readonly=True, lock=False).close()  # refused by newer lmdb if it were
    return False


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_source_is_decoded_into_one_array(tmp_path, dtype):
    images = images_of(7, dtype=dtype)
    records = load(open_source(write(tmp_path / "a", images)), Decoder(), CPU, NO_LIMIT)
    assert_holds(records, images)
    assert records.values.numpy().dtype == dtype
    assert records.values.numel() == 7 * 24


def test_records_of_mixed_size_and_kind(tmp_path):
    images = [
        *images_of(2, (1, 2, 2)),
        *images_of(1, (3, 9, 9)),
        *images_of(2, (1, 5, 4), np.float32),
        *images_of(1, (2, 30, 20)),
    ]
    records = load(open_source(write(tmp_path / "a", images)), Decoder(), CPU, NO_LIMIT)
    assert records.values.dtype == torch.float32
    assert_holds(records, [image.astype(np.float32) for image in images])


def test_keys_are_read_in_byte_order(tmp_path):
    path = write(tmp_path / "a", images_of(3), first_key=10)
    env = lmdb.open(path)
    with env.begin(write=True) as txn:
        txn.put(b"0", Datum(channels=1, height=1, width=1, data=b"x", label=9).SerializeToString())
    env.close()
    assert load(open_source(path), Decoder(), CPU, NO_LIMIT).labels.tolist() == [9, 0, 1, 2]


def test_a_source_over_the_limit_is_not_loaded(tmp_path):
    opened = open_source(write(tmp_path / "a", images_of(5)))
    assert load(opened, Decoder(), CPU, 5 * 24 - 1) is None
    assert load(opened, Decoder(), CPU, 5 * 24) is not None
    growing = write(tmp_path / "b", [*images_of(1, (1, 1, 1)), *images_of(4)])
    assert load(open_source(growing), Decoder(), CPU, 1 + 4 * 24 - 1) is None


def test_layers_share_one_copy_until_the_last_goes(tmp_path):
    path = write(tmp_path / "a", images_of(3))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    first = load(open_source(path), Decoder(), CPU, NO_LIMIT)
    assert load(open_source(str(tmp_path / "link")), Decoder(), CPU, NO_LIMIT) is first
    assert load(open_source(path), Decoder(force_gray=True), CPU, NO_LIMIT) is not first
    assert not is_open(path)
    env = lmdb.open(path)
    with env.begin(write=True) as txn:
        txn.delete(b"00002")
    env.close()
    assert len(load(open_source(path), Decoder(), CPU, NO_LIMIT)) == 2


def test_a_record_that_cannot_be_decoded_is_named(tmp_path):
    path = write(tmp_path / "a", images_of(2))
    env = lmdb.open(path)
    with env.begin(write=True) as txn:
        txn.put(b"00001_\xff", b"\x08")
    env.close()
    with pytest.raises(DataLayerError) as caught:
        load(open_source(path), Decoder(), CPU, NO_LIMIT)
    assert str(caught.value) == "record '00001_\\xff': it is not a Datum"


@pytest.mark.parametrize("start", [0, 2, 4, 5, 13])
def test_walking_a_source_goes_round(tmp_path, start):
    opened = open_source(write(tmp_path / "a", images_of(5)))
    records = collect(opened.records(start), 12, Decoder())
    assert records.labels.tolist() == [(start + i) % 5 for i in range(12)]


def test_sources_that_are_not_there(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "data.mdb").write_bytes(b"x" * 9000)
    lmdb.open(str(tmp_path / "empty")).close()
    for name, words in {
        "none": "mdb_status == 0 (2 vs. 0) No such file or directory",
        "folder": "mdb_status == 0 (2 vs. 0) No such file or directory",
        "file": "mdb_status == 0 (20 vs. 0) Not a directory",
        "bad": "mdb_status == 0: .*MDB_INVALID: File is not an LMDB file",
        "empty": "it holds no records",
    }.items():
        with pytest.raises(DataLayerError) as caught:
            open_source(str(tmp_path / name))
        assert caught.match("^" + words.replace("(", r"\(").replace(")", r"\)") + "$")


@pytest.mark.parametrize("ahead", [0, 1, 4])
@pytest.mark.parametrize("count", [1, 3, 11])
def test_a_stream_gives_what_the_array_gives(tmp_path, ahead, count):
    opened = open_source(write(tmp_path / "a", images_of(5, dtype=np.float32)))
    resident = load(opened, Decoder(), CPU, NO_LIMIT)
    stream = Stream(opened, Decoder(), CPU, ahead)
    for first in [*range(0, 8 * count, count), 3, 3 + count, 2, 2 + count]:  # onwards, then jumps
        want, got = resident.take(first, count), stream.take(first, count)
        assert want.labels.tolist() == got.labels.tolist()
        for i in range(count):
            np.testing.assert_array_equal(pixels(want, i), pixels(got, i))
    stream.close()


def test_streams_of_one_source_run_side_by_side_and_end(tmp_path):
    path = write(tmp_path / "a", images_of(5))
    before = threading.active_count()
    streams = [Stream(open_source(path), Decoder(), CPU, 2) for _ in range(2)]
    for first in (0, 4):
        for stream in streams:
            assert stream.take(first, 4).labels.tolist() == [(first + i) % 5 for i in range(4)]
    assert is_open(path) and threading.active_count() == before + 2
    for stream in streams:
        stream.close()
    assert threading.active_count() == before
    del stream, streams
    gc.collect()
    assert not is_open(path)


def test_a_stream_that_is_dropped_lets_go(tmp_path):
    path = write(tmp_path / "a", images_of(5))
    stream = Stream(open_source(path), Decoder(), CPU, 2)
    stream.take(0, 4)
    (thread,) = [t for t in threading.enumerate() if t.name.startswith("prefetch")]
    del stream
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()
    assert not is_open(path)


def test_a_bad_record_is_reported_when_its_batch_is_due(tmp_path):
    path = write(tmp_path / "a", images_of(5))
    env = lmdb.open(path)
    with env.begin(write=True) as txn:
        txn.put(b"00003", b"\x08")
    env.close()
    stream = Stream(open_source(path), Decoder(), CPU, 4)
    assert stream.take(0, 2).labels.tolist() == [0, 1]
    for _ in range(2):
        with pytest.raises(DataLayerError, match="record '00003': it is not a Datum"):
            stream.take(2, 2)
    stream.close()


def test_the_memory_budget(monkeypatch):
    monkeypatch.delenv(memory.VARIABLE, raising=False)
    assert 1 << 20 < memory.budget(CPU) < 1 << 50
    for setting, size in {"0": 0, "1.5": 3 << 19}.items():
        monkeypatch.setenv(memory.VARIABLE, setting)
        assert memory.budget(CPU) == size
    for setting in ("-1", "much", "nan", "inf"):
        monkeypatch.setenv(memory.VARIABLE, setting)
        with pytest.raises(DataLayerError, match=f"must be a number of MiB, not '{setting}'"):
            memory.budget(CPU)
