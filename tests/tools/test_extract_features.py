"""extract_features: the records that Caffe's program writes.

The keys, the shapes and the values of `STOCK` are of BVLC 1.0's extract_features on this net.
"""

import subprocess
import sys

import numpy as np
import pytest
from tiny import DATA, LOSS, write_lmdbs

from caffe_tools import extract_features
from data_prep import read_lmdb
from netgen import schema
from netgen.commandline import exit_status, print_error
from netgen.schema import caffe_pb

NET = (
    DATA.replace("mirror: true", "")
    + """
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: 4 kernel_size: 3 }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param {{ num_output: 3 }} }}
"""
    + LOSS
)
STOCK = {  # blob -> the shape of a record, the first values, the sum of all and of their sizes
    "conv": ((4, 4, 4), [1.3757606, 1.4167364, 1.0947433, 1.4018492], 343.1723, 343.1723),
    "ip": ((3, 1, 1), [0.0550996, 0.1702233, 0.3823782, 0.4655544], 21.259565, 41.638023),
    "label": ((1, 1, 1), [0, 2], 11, 11),
    "loss": ((1, 1, 1), [1.1960238, 1.6917124], 4.8493195, 4.8493195),
}


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with a net on the tiny data and weights that no generator draws."""
    monkeypatch.chdir(tmp_path)
    write_lmdbs(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET.format(folder="."))
    weights = caffe_pb.NetParameter(name="tiny")
    for name, shape in (("conv", (4, 2, 3, 3)), ("ip", (3, 64))):
        layer = weights.layer.add(name=name)
        values = np.sin(np.arange(np.prod(shape))).reshape(shape).astype(np.float32)
        schema.array_to_blob(values, layer.blobs.add())
        schema.array_to_blob(np.full(shape[0], 0.25, np.float32), layer.blobs.add())
    schema.write_binary(weights, tmp_path / "w.caffemodel")
    return tmp_path


@pytest.fixture
def program(work, capfd):
    """program(*arguments): run main here; (exit status, stderr)."""

    def run(*arguments):
        try:
            status = exit_status(
                lambda: extract_features.main(list(map(str, arguments))),
                lambda line: print_error("extract_features", line),
            )
        except SystemExit as end:
            status = end.code
        return status, capfd.readouterr().err

    return run


def records(folder):
    """(keys, shape of a record, values (N, ...)) of a database."""
    keys, values = zip(*read_lmdb(folder), strict=True)
    datums = [caffe_pb.Datum.FromString(value) for value in values]
    assert not any(datum.HasField("label") or datum.HasField("data") for datum in datums)
    [shape] = {(datum.channels, datum.height, datum.width) for datum in datums}
    return keys, shape, np.array([datum.float_data for datum in datums])


def test_the_records_are_those_of_caffes_program(program, work):
    """Blobs of four, two, one and no axes; one that a layer in place writes to once more."""
    folders = [f"features/{name}" for name in STOCK]
    words = ("w.caffemodel", "net.prototxt", ",".join(STOCK), ",".join(folders), 4, "lmdb")
    status, told = program(*words)
    assert status == 0, told
    for folder, (name, (shape, first, total, sizes)) in zip(folders, STOCK.items(), strict=True):
        keys, found, values = records(work / folder)
        assert keys == tuple(b"%010d" % number for number in range(4 if name == "loss" else 12))
        assert found == shape
        assert values[:2].ravel()[: len(first)] == pytest.approx(first, rel=1e-5)
        assert (values.sum(), abs(values).sum()) == pytest.approx((total, sizes), rel=1e-5)
    lines = [line.partition("] ")[2] for line in told.splitlines() if line.startswith("E")]
    counts = dict.fromkeys(STOCK, 12) | {"loss": 4}
    assert lines == [
        "Using CPU",
        "Extracting Features",
        *(
            f"Extracted features of {count} query images for feature blob {name}"
            for name, count in counts.items()
        ),
        "Successfully extracted the features!",
    ]


def test_leveldb_and_more_than_a_thousand_records(program, work):
    plyvel = pytest.importorskip("plyvel")
    text = (work / "net.prototxt").read_text()
    (work / "net.prototxt").write_text(text.replace("batch_size: 3", "batch_size: 600"))
    words = ("w.caffemodel", "net.prototxt", "ip", "ip_db", 2)
    status, told = program(*words, "leveldb", "CPU")
    assert status == 0 and "Extracted features of 1000 query images" in told
    database = plyvel.DB(str(work / "ip_db"))
    found = list(database)
    database.close()
    assert [key for key, _ in found] == [b"%010d" % number for number in range(1200)]
    status, _ = program(*words[:3], "ip_lmdb", 2, "lmdb")
    assert status == 0 and found == list(read_lmdb(work / "ip_lmdb"))


def test_weights_that_lack_are_told(program, work):
    weights = schema.read_caffemodel("w.caffemodel")
    del weights.layer[1:]
    schema.write_binary(weights, "w.caffemodel")
    status, told = program("w.caffemodel", "net.prototxt", "ip", "db", 1, "lmdb")
    assert status == 0 and "w.caffemodel: no weights of ip, which have what their" in told


@pytest.mark.parametrize("blobs, folders, batches, backend, reason", [
    ("conv,ip", "a", 1, "lmdb", "the number of blob names and dataset names must be equal (2 vs. 1)"),
    ("conv", "a", 0, "lmdb", "num_mini_batches 0: at least one is needed"),
    ("conv", "a", "x", "lmdb", "argument num_mini_batches: invalid int value: 'x'"),
    ("conv", "a", 1, "hdf5", "argument db_type: invalid choice: 'hdf5'"),
    ("conf", "a", 1, "lmdb", "Unknown feature blob name conf in the network net.prototxt"),
    ("conv,conv", "a,a", 1, "lmdb", "a: is there and is left as it is"),
    ("conv", "test_lmdb", 1, "lmdb", "test_lmdb: is there and is left as it is"),
])  # fmt: skip
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    program, work, blobs, folders, batches, backend, reason
):
    before = sorted(path.name for path in work.iterdir())
    status, told = program("w.caffemodel", "net.prototxt", blobs, folders, batches, backend)
    last = told.splitlines()[-1]
    assert status == 1 and last.startswith("extract_features: ") and reason in last
    if folders != "a,a":
        assert sorted(path.name for path in work.iterdir()) == before


def test_it_is_a_program(work):
    """In a checkout, with the words that Caffe's has."""
    from pathlib import Path

    script = Path(extract_features.__file__).parents[1] / "extract_features.py"
    words = ("w.caffemodel", "net.prototxt", "label", "db", "1", "lmdb")
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert records(work / "db")[2].ravel().tolist() == [0, 2, 1]
    lacking = subprocess.run([sys.executable, script, "w"], capture_output=True, text=True)
    assert lacking.returncode == 1 and "required: feature_extraction" in lacking.stderr
