"""HDF5Data: rows, files, orders; "run" marks what was seen in a run of stock Caffe."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from netgen.schema import caffe_pb
from runner.data import DataLayerError, RowFeed


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, **datasets):
    with h5py.File(name, "w") as file:
        for key, values in datasets.items():
            file[key] = values


def put(*counts, start=10):
    """Files 0.h5, 1.h5, ... of rows that are numbered from 0, 10, 20, ..., and their list."""
    for number, count in enumerate(counts):
        label = np.arange(count, dtype=np.float32) + start * number
        write(
            f"{number}.h5", data=label[:, None] + np.array([0, 0.25, 0.5], np.float32), label=label
        )
    Path("list.txt").write_text("\n".join(f"{number}.h5" for number in range(len(counts))))


def feed(batch_size=2, shuffle=False, tops=("data", "label"), seed=1, rank=0, count=1, log=None):
    layer = caffe_pb.LayerParameter(name="d", type="HDF5Data", top=tops)
    param = layer.hdf5_data_param
    param.source, param.batch_size, param.shuffle = "list.txt", batch_size, shuffle
    return RowFeed(layer, seed, "cpu", log or (lambda *line: None), rank, count)


def labels(feed, batches):
    return [feed.fetch()[1].tolist() for _ in range(batches)]


def test_rows_go_on_across_files_and_wrap():
    """run: 3 + 2 rows, batches of two."""
    put(3, 2)
    lines = []
    rows = feed(log=lambda *line: lines.append(line))
    data, label = rows.fetch()
    assert data.dtype == label.dtype == torch.float32
    assert rows.row_shapes == [(3,), ()] and data.shape == (2, 3) and label.shape == (2,)
    assert data.tolist() == [[0, 0.25, 0.5], [1, 1.25, 1.5]] and label.tolist() == [0, 1]
    assert labels(rows, 5) == [[2, 10], [11, 0], [1, 2], [10, 11], [0, 1]]
    assert lines == [
        ("Loading list of HDF5 filenames from: list.txt", "hdf5_data_layer.cpp:81"),
        ("Number of HDF5 files: 2", "hdf5_data_layer.cpp:95"),
    ]


def test_one_file_wraps_and_a_batch_may_be_larger_than_it():
    """run."""
    put(2)
    assert labels(feed(), 2) == [[0, 1], [0, 1]]
    assert labels(feed(5), 1) == [[0, 1, 0, 1, 0]]


@pytest.mark.parametrize("kind", ["uint8", "int64", "float16", "float64", ">f4", "<i2"])
def test_any_class_of_numbers_becomes_float32(kind):
    """run: uint8, int64, float16."""
    write("a.h5", data=np.arange(12).reshape(2, 2, 3).astype(kind), label=np.array([1, 200], kind))
    Path("list.txt").write_text("a.h5")
    data, label = feed().fetch()
    assert data.dtype == torch.float32 and label.tolist() == [1, 200]
    np.testing.assert_array_equal(data, np.arange(12).reshape(2, 2, 3))


def test_names_are_split_at_white_space():
    put(1, 1, 1)
    Path("list.txt").write_text("  2.h5\t0.h5\r\n\n1.h5\n")
    assert labels(feed(3), 1) == [[20, 0, 10]]


def test_shuffled_epochs_hold_every_row_once_file_by_file():
    put(4, 3, 5)
    order = sum(labels(feed(6, True), 20), [])
    epochs = [order[start : start + 12] for start in range(0, 120, 12)]
    rows = {0: [0, 1, 2, 3], 1: [10, 11, 12], 2: [20, 21, 22, 23, 24]}
    orders = set()
    for epoch in epochs:
        files = list(dict.fromkeys(int(label) // 10 for label in epoch))
        assert sorted(files) == [0, 1, 2]
        for file in files:  # one file after the other
            at = next(i for i, label in enumerate(epoch) if label // 10 == file)
            assert sorted(epoch[at : at + len(rows[file])]) == rows[file]
        orders.add(tuple(files))
    assert len(orders) > 2 and len(set(map(tuple, epochs))) == 10
    assert order == sum(labels(feed(6, True), 20), [])
    assert order != sum(labels(feed(6, True, seed=2), 20), [])


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("taken", [0, 1, 4])
def test_a_saved_state_continues_bit_for_bit(shuffle, taken):
    put(3, 4)
    run = feed(2, shuffle)
    labels(run, taken)
    state = pickle.loads(pickle.dumps(run.state()))
    wanted = labels(run, 9)
    again = feed(2, shuffle, seed=5)
    labels(again, 3)
    again.load_state(state)
    assert labels(again, 9) == wanted
    put(3, 3)
    with pytest.raises(DataLayerError, match=r"had 7 rows then and have 6 now \(layer 'd', source"):
        feed().load_state(state)


@pytest.mark.parametrize("shuffle", [False, True])
def test_workers_take_the_rows_whose_number_is_theirs(shuffle):
    """As in Caffe: row number % count == rank."""
    put(3, 4)
    alone = sum(labels(feed(6, shuffle), 7), [])
    for rank in (0, 1, 2):
        assert sum(labels(feed(2, shuffle, rank=rank, count=3), 7), []) == alone[rank::3]


def test_one_file_at_a_time_is_in_memory():
    put(3, 4)
    rows = feed()
    assert rows._arrays is None
    rows.fetch()
    assert [len(values) for values in rows._arrays] == [3, 3]
    rows.fetch()
    assert [len(values) for values in rows._arrays] == [4, 4]


def test_a_file_that_changes_meanwhile_is_refused():
    put(3, 2)
    rows = feed(3)
    rows.fetch()
    write("1.h5", data=np.zeros((5, 3)), label=np.zeros(5))
    with pytest.raises(
        DataLayerError, match=r"1.h5 has 5 rows now, and had 2 at first \(layer 'd'"
    ):
        rows.fetch()


STRINGS = np.array([b"a", b"b"])


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (None, "Failed opening HDF5 file: b.h5: "),
        ({"label": np.zeros(2)}, "Failed to find HDF5 dataset data in b.h5"),
        ({"data": STRINGS, "label": np.zeros(2)}, "Unsupported datatype class: H5T_STRING"),
        ({"data": np.zeros((2, 3), bool), "label": np.zeros(2)}, "datatype class: H5T_ENUM"),
        ({"data": np.zeros((2, 3), complex), "label": np.zeros(2)}, "class: H5T_COMPOUND"),
        (
            {"data": np.zeros((2, 3)), "label": np.zeros(3)},
            "hdf_blobs_[i]->shape(0) == num (3 vs. 2)",
        ),
        ({"data": np.zeros((2, 3)), "label": 1.0}, "ndims >= min_dim (0 vs. 1)"),
        ({"data/x": np.zeros(2), "label": np.zeros(2)}, "it is a group in b.h5"),
        ({"data": np.zeros((0, 3)), "label": np.zeros(0)}, "b.h5 holds no rows"),
        (
            {"data": np.zeros((2, 4)), "label": np.zeros(2)},
            "dataset data of b.h5 has rows of shape 4, that of a.h5 3",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line_naming_the_layer(second, words):
    write("a.h5", data=np.zeros((2, 3)), label=np.zeros(2))
    Path("list.txt").write_text("a.h5\nb.h5\n")
    if second:
        write("b.h5", **second)
    with pytest.raises(DataLayerError) as caught:
        feed()
    line = str(caught.value)
    assert words in line and line.endswith("(layer 'd', source 'list.txt')") and "\n" not in line


def test_a_list_that_is_missing_or_empty():
    with pytest.raises(DataLayerError, match="Failed to open source file: list.txt: No such file"):
        feed()
    Path("list.txt").write_text("\n")
    with pytest.raises(
        DataLayerError, match="Must have at least 1 HDF5 filename listed in list.txt"
    ):
        feed()
    Path("list.txt").write_text("list.txt")
    with pytest.raises(DataLayerError, match="Failed opening HDF5 file: list.txt: "):
        feed()
