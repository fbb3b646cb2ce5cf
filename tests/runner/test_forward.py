"""`caffe forward`: arrays from a file through a net into a file."""

import numpy as np
import pytest

NET = """
name: "net"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 } } }
layer { name: "twice" type: "Power" bottom: "data" top: "twice" power_param { scale: 2 } }
layer { name: "more" type: "Power" bottom: "twice" top: "more" power_param { shift: 1 } }
"""


@pytest.fixture
def words(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "net.caffemodel").write_bytes(b"\n\x03net")
    np.savez(tmp_path / "in.npz", data=np.array([[1, 2], [3, 4], [5, 6]]))
    return [
        "forward", "-model", tmp_path / "net.prototxt", "-weights", tmp_path / "net.caffemodel",
        "-inputs", tmp_path / "in.npz", "-outputs", tmp_path / "out.npz",
    ]  # fmt: skip


def test_outputs(caffe, words, tmp_path):
    result = caffe(*words)
    assert result.status == 0
    assert result.messages[-1] == "more: 3 2"
    with np.load(tmp_path / "out.npz") as out:
        assert out.files == ["more"]
        assert out["more"].tolist() == [[3, 5], [7, 9], [11, 13]]


def test_blobs(caffe, words, tmp_path):
    assert caffe(*words, "-blobs", "twice,data").status == 0
    with np.load(tmp_path / "out.npz") as out:
        assert out.files == ["twice", "data"]
        assert out["twice"].tolist() == [[2, 4], [6, 8], [10, 12]]


@pytest.mark.parametrize(
    ("array", "line"),
    [
        ({"label": np.zeros((1, 2))}, "net 'net' has no input 'label' (data)"),
        ({"data": np.zeros((1, 3))}, "net 'net': input 'data' is 1 x 2, its first axis"),
        ({"data": np.array(["a", "b"])}, "in.npz: no .npz file of numbers"),
        (b"nonsense", "in.npz: no .npz file of numbers"),
        (None, "File not found: "),
    ],
)
def test_inputs_that_do_not_fit(caffe, words, tmp_path, array, line):
    path = tmp_path / "in.npz"
    path.unlink()
    if isinstance(array, dict):
        np.savez(path, **array)
    elif array is not None:
        path.write_bytes(array)
    result = caffe(*words)
    assert result.status == 1
    assert line in result.messages[-1]
    assert not (tmp_path / "out.npz").exists()


def test_what_is_missing(caffe, words):
    result = caffe(*words[:7])
    assert result.status == 1
    assert result.messages[-1] == "caffe forward needs -outputs, the .npz file to write."


def test_inputs_compressed_in_a_way_of_nobody(caffe, words, tmp_path):
    path = tmp_path / "in.npz"
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 10] = 77  # its entry in the archive's table of contents
    path.write_bytes(data)
    result = caffe(*words)
    assert result.status == 1 and "in.npz: no .npz file of numbers" in result.messages[-1]
