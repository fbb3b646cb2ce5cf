"""HDF5 files: whole or not at all, and one line where one is not what it should be."""

import os
import sys

import h5py
import numpy as np
import pytest

from netgen import schema


def one_line(path, look=lambda file: None):
    with pytest.raises(schema.SchemaError) as caught, schema.open_hdf5(path) as file:
        look(file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "a.h5"
    with schema.writing_hdf5(path) as file:
        file["data/conv/0"] = np.arange(6.0).reshape(2, 3)
    assert schema.is_hdf5(path) and os.listdir(tmp_path) == ["a.h5"]
    with schema.open_hdf5(path) as file:
        assert file["data/conv/0"][1].tolist() == [3, 4, 5]
    with h5py.File(path, "r") as file:  # as everybody else reads it
        assert list(file["data"]) == ["conv"]


def test_a_block_that_raises_writes_nothing(tmp_path):
    with pytest.raises(KeyError), schema.writing_hdf5(tmp_path / "a.h5"):
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_what_is_no_such_file_is_one_line(tmp_path):
    assert one_line(tmp_path / "a.h5") == f"File not found: {tmp_path / 'a.h5'}"
    (tmp_path / "b.h5").write_bytes(b"no such thing")
    assert not schema.is_hdf5(tmp_path / "b.h5")
    assert one_line(tmp_path / "b.h5").startswith(f"{tmp_path / 'b.h5'}: cannot be read: ")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["x"] = 1
    assert "not laid out as Caffe's" in one_line(tmp_path / "c.h5", lambda file: file["data"])


def test_without_h5py_the_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert one_line("a.h5") == "a.h5: HDF5 files need the package h5py: pip install h5py"
