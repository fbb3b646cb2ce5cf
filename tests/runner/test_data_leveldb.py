"""LevelDB folders beside LMDBs: the same records, batches, cursor and lines."""

import gc
import os
import pickle
import sys
import time
from pathlib import Path

import numpy as np
import plyvel
import pytest
import torch

from netgen import schema
from netgen.schema import caffe_pb
from netgen.schema.leveldb import LevelDBFolder
from runner.data import DataFeed, DataLayerError, memory, source


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params={"resident": "1000", "streaming": "0"}.items(), ids=lambda item: item[0])
def mode(request, monkeypatch):
    monkeypatch.setenv(memory.VARIABLE, request.param[1])
    return request.param[0]


def put(count, path="a"):
    """Records labelled 0, 1, ..., written in the other order; keys are walked in theirs."""
    random = np.random.default_rng(0)
    database = plyvel.DB(path, create_if_missing=True)
    for label in reversed(range(count)):
        data = random.integers(0, 256, 3 * 6 * 6).astype(np.uint8).tobytes()
        datum = caffe_pb.Datum(channels=3, height=6, width=6, data=data, label=label)
        database.put(b"%05d" % label, datum.SerializeToString())
    database.close()


@pytest.fixture
def feed():
    """feed(transform): a DataFeed of the default backend, its log in `lines`, closed at the end."""
    made = []

    def make(transform="", path="a", seed=1, **place):
        layer = schema.parse_text(
            f'name: "d" type: "Data" top: "data" top: "label" transform_param {{ {transform} }} '
            f'data_param {{ source: "{path}" batch_size: 4 }}',
            caffe_pb.LayerParameter,
        )
        lines = []
        made.append(
            DataFeed(layer, caffe_pb.TRAIN, seed, "cpu", lambda *x: lines.append(x), **place)
        )
        made[-1].lines = lines
        return made[-1]

    yield make
    for one in made:
        one.close()


def labels(feed, batches):
    return [feed.next()[1].tolist() for _ in range(batches)]


def test_records_come_in_the_order_of_their_keys_and_wrap(mode, feed):
    put(8)
    feed = feed()
    assert labels(feed, 5) == [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 2, 3]]
    restart = ("Restarting data prefetching from start.", "data_layer.cpp:73")
    assert feed.lines == [
        ("Opened leveldb a", "db_leveldb.cpp:18"),
        ("output data size: 4,3,6,6", "data_layer.cpp:45"),
        restart,
        restart,
    ]


def test_nothing_is_counted_before_it_is_known_to_fit(monkeypatch, feed):
    put(50)
    monkeypatch.setenv(memory.VARIABLE, "0.001")
    feed = feed()
    assert feed.state()["records"] is None
    assert labels(feed, 13)[-1] == [48, 49, 0, 1]
    assert feed.state()["records"] == 50


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_a_saved_state_continues_bit_for_bit(mode, feed, taken):
    put(7)
    transform = "crop_size: 3 mirror: true"
    run = feed(transform)
    labels(run, taken)
    state = pickle.loads(pickle.dumps(run.state()))
    wanted = [run.next() for _ in range(5)]
    again = feed(transform, seed=9)
    again.load_state(state)
    for data, label in wanted:
        got = again.next()
        assert torch.equal(got[0], data) and torch.equal(got[1], label)
    put(9, "b")
    other = feed(path="b")
    labels(other, 3)
    if state["records"]:
        with pytest.raises(DataLayerError, match="had 7 records then and has 9 now"):
            other.load_state(state)


def test_workers_deal_the_records(mode, feed):
    put(7)
    pair = [feed(rank=rank, count=2) for rank in (0, 1)]
    assert labels(pair[0], 2) == [[0, 2, 4, 6], [1, 3, 5, 0]]
    assert labels(pair[1], 2) == [[1, 3, 5, 0], [2, 4, 6, 1]]


def test_two_layers_share_one_folder_and_another_process_may_hold_it(monkeypatch, feed):
    put(7)
    held = plyvel.DB("a")
    before = sorted(os.listdir("a"))
    monkeypatch.setenv(memory.VARIABLE, "0")
    first, second = feed(), feed()
    assert labels(first, 1) == labels(second, 1) == [[0, 1, 2, 3]]
    assert (
        first._source is second._source is source.open_source("a", caffe_pb.DataParameter.LEVELDB)
    )
    assert sorted(os.listdir("a")) == before
    held.close()


def test_the_links_go_with_the_database(monkeypatch, tmp_path, feed):
    put(3)
    (tmp_path / "links").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "links"))
    monkeypatch.setenv(memory.VARIABLE, "1000")
    feed()  # decoded into memory, so the database is closed
    assert os.listdir("links") == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: None, "Failed to open leveldb a: No such file or directory"),
        (lambda: Path("a").mkdir(), "Failed to open leveldb a: No such file or directory"),
        (lambda: put(0), "it holds no records"),
        (
            lambda: (Path("a").mkdir(), Path("a/CURRENT").write_text("x")),
            "Failed to open leveldb a:",
        ),
        (
            lambda: (Path("a").mkdir(), Path("a/data.mdb").touch()),
            "it is an LMDB: write `backend: LMDB` in data_param",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line(make, words, feed):
    make()
    with pytest.raises(DataLayerError) as caught:
        feed()
    assert words in str(caught.value) and str(caught.value).endswith("(layer 'd', source 'a')")
    assert "\n" not in str(caught.value) and "leveldb-" not in str(caught.value)


def large(path="a"):
    """Records of 6 MB in tables, some of which were there before the last are written."""
    database = plyvel.DB(path, create_if_missing=True, write_buffer_size=4 << 20)
    random = np.random.default_rng(0)
    for label in range(60):
        data = random.integers(0, 256, 10**5).astype(np.uint8).tobytes()
        datum = caffe_pb.Datum(channels=1, height=100, width=1000, data=data, label=label)
        database.put(b"%05d" % label, datum.SerializeToString())
    # A thread of LevelDB's makes the first log a table and then removes it; what close() finds
    # unfinished stays a log, and the file of the table is none of the database.
    end = time.monotonic() + 60
    while len(list(Path(path).glob("*.log"))) > 1 and time.monotonic() < end:
        time.sleep(0.01)
    database.close()
    assert len(list(Path(path).glob("*.log"))) == len(list(Path(path).glob("*.ldb"))) == 1


def test_a_database_that_is_cut_while_it_is_read_is_one_line(monkeypatch, feed):
    """LevelDB maps its tables: beyond their end lies SIGBUS."""
    monkeypatch.setenv(memory.VARIABLE, "0")
    large()
    feed = feed()
    assert labels(feed, 1) == [[0, 1, 2, 3]]
    for table in Path("a").glob("*.ldb"):
        os.truncate(table, 4096)
    with pytest.raises(DataLayerError) as caught:
        labels(feed, 15)
    assert str(caught.value) == (
        "Failed to read leveldb a: a file in it is cut or damaged: its reader died of SIGBUS "
        "(layer 'd', source 'a')"
    )


def test_a_damaged_table_is_one_line(monkeypatch, feed):
    monkeypatch.setenv(memory.VARIABLE, "0")
    large()
    for table in Path("a").glob("*.ldb"):
        content = table.read_bytes()
        table.write_bytes(content[:100] + bytes(1000) + content[1100:])
    with pytest.raises(DataLayerError, match="leveldb a: Corruption: ") as caught:
        labels(feed(), 15)
    assert "\n" not in str(caught.value) and "leveldb-" not in str(caught.value)


def test_the_reader_goes_with_the_database(feed):
    put(3)
    folder = LevelDBFolder("a")
    reader, links = folder._process, folder._folder
    assert folder.count() == 3 and reader.poll() is None and os.path.isdir(links)
    walks = [folder.records() for _ in range(2)]  # each at its own place
    assert [next(walk)[0] for walk in (*walks, *walks)] == [b"00000"] * 2 + [b"00001"] * 2
    del folder, walks
    gc.collect()
    assert reader.poll() == 0 and not os.path.exists(links)


def test_a_missing_plyvel_names_the_extra(monkeypatch, feed):
    put(3)
    monkeypatch.setitem(sys.modules, "plyvel", None)
    with pytest.raises(
        DataLayerError, match=r"needs the package plyvel: pip install 'caffe-split\[lev"
    ):
        feed()
