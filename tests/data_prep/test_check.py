import json
import os
import shutil

import pytest

from data_prep import DataError, verify, write_lmdb

LMDB = "cifar10_train_lmdb"


@pytest.fixture
def copy(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def flip(path, position):
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1]))


def test_whole(copy):
    assert verify(copy) == []
    (copy / LMDB / "lock.mdb").unlink()  # readers write it anew
    assert verify(copy) == []


@pytest.mark.parametrize(
    "name",
    [f"{LMDB}/data.mdb", "cifar10_test_lmdb/data.mdb", "preprocessing.npz", "mean.binaryproto"],
)
def test_one_bit_anywhere(copy, name):
    size = (copy / name).stat().st_size
    for position in (0, size // 3, size - 1):
        flip(copy / name, position)
        (problem,) = verify(copy)
        assert problem.startswith(f"{copy / name}: SHA-256 ") and "the manifest says" in problem
        flip(copy / name, position)
    assert verify(copy) == []


def test_cut_and_missing_files(copy):
    os.truncate(copy / LMDB / "data.mdb", 50_000)
    (copy / "mean.binaryproto").unlink()
    cut, missing = sorted(verify(copy), key=len, reverse=True)
    assert cut.startswith(f"{copy / LMDB / 'data.mdb'}: 50000 bytes, the manifest says ")
    assert missing == f"{copy / 'mean.binaryproto'}: No such file or directory"


def test_records_are_compared_too(copy):
    """An LMDB that is sound in itself, and that the list of files vouches for."""
    manifest = json.loads((copy / "manifest.json").read_text())
    shutil.rmtree(copy / LMDB)
    write_lmdb(copy / LMDB, [[b"a", b"b"]])
    del manifest["files"][f"{LMDB}/data.mdb"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert verify(copy) == [f"{copy / LMDB}: 2 records, the manifest says 30"]
    manifest["databases"][LMDB]["records"] = 2
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert "the records have SHA-256" in verify(copy)[0]


@pytest.mark.parametrize("text, reason", [
    (None, "not a finished folder, it has no manifest.json"), ("{", "Expecting property name"),
    ("[1]", "format None, expected 'data_prep 1'"), ('{"format": 2}', "format 2, expected"),
])  # fmt: skip
def test_no_manifest(tmp_path, text, reason):
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=reason) as caught:
        verify(tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
