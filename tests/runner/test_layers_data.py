"""The layers that read other things than databases, in nets and in runs of the caffe command."""

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import lmdb
import numpy as np
import plyvel
import pytest
import torch
from PIL import Image

from netgen.graph import NetError
from netgen.schema import caffe_pb
from runner.data import DataLayerError

ROOT = Path(__file__).resolve().parents[2]
MEMORY = (
    'layer { name: "d" type: "MemoryData" top: "data" top: "label" '
    "memory_data_param { batch_size: 2 channels: 1 height: 2 width: 2 } %s } "
    'layer { name: "p" type: "Power" bottom: "data" top: "twice" power_param { scale: 2 } }'
)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def memory(build, more=""):
    net = build(MEMORY % more)
    data = np.arange(24, dtype=np.float32).reshape(6, 1, 2, 2)
    labels = np.arange(6, dtype=np.float32) * 10
    net.nodes[0].layer.set_input_arrays(data, labels)
    return net, data, labels


def outputs(net):
    return {name: top.numpy().ravel().tolist() for name, top in net.forward()[1].items()}


def test_memory_data_gives_batches_of_arrays_it_does_not_copy(build):
    """As a run of stock pycaffe gave them."""
    net, data, labels = memory(build)
    batches = [outputs(net) for _ in range(4)]
    assert [batch["label"] for batch in batches] == [[0, 10], [20, 30], [40, 50], [0, 10]]
    assert batches[1]["twice"] == [16, 18, 20, 22, 24, 26, 28, 30]
    data[2:4], labels[2] = 100, -1
    assert outputs(net) == {"label": [-1, 30], "twice": [200] * 8}
    assert net.forward()[1]["label"].shape == (2, 1, 1, 1)
    layer = net.nodes[0].layer
    layer.set_input_arrays(data[:2].copy(), labels[:2].copy().reshape(2, 1, 1, 1))
    assert outputs(net)["twice"] == [0, 2, 4, 6, 8, 10, 12, 14]  # other arrays start anew


def test_memory_data_goes_on_where_it_was(build):
    net, data, labels = memory(build)
    net.forward()
    other, *_ = memory(build)
    other.load_state(net.state())
    assert outputs(other)["label"] == outputs(net)["label"] == [20, 30]


def test_labels_of_memory_data_serve_a_loss(build):
    net = build(
        MEMORY % "" + 'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" '
        "inner_product_param { num_output: 3 } } "
        'layer { name: "a" type: "Accuracy" bottom: "ip" bottom: "label" top: "a" } '
        'layer { name: "l" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "l" }'
    )
    labels = np.array([0, 1, 2, 2], np.float32)
    net.nodes[0].layer.set_input_arrays(np.ones((4, 1, 2, 2), np.float32), labels)
    for _ in range(3):
        loss, _ = net.forward_backward()
        assert loss.item() == pytest.approx(np.log(3))


@pytest.mark.parametrize(
    ("data", "labels", "words"),
    [
        (np.zeros((2, 1, 2, 2)), np.zeros(2), "data array must be float32"),
        (np.zeros((2, 1, 2, 2), "f4")[:, :, ::-1], np.zeros(2), "data array must be C contiguous"),
        (np.zeros((2, 2, 2), "f4"), np.zeros(2), "data array must be 4-d"),
        (np.zeros((2, 3, 2, 2), "f4"), np.zeros(2), "data array has wrong number of channels"),
        (np.zeros((2, 1, 3, 2), "f4"), np.zeros(2), "data array has wrong height"),
        (np.zeros((2, 1, 2, 3), "f4"), np.zeros(2), "data array has wrong width"),
        (np.zeros((2, 1, 2, 2), "f4"), np.zeros(2), "labels array must be float32"),
        (np.zeros((2, 1, 2, 2), "f4"), np.zeros((2, 2), "f4"), "labels array must be 4-d"),
        (np.zeros((2, 1, 2, 2), "f4"), np.zeros(4, "f4"), "data and labels must have the same "
         "first dimension"),
        (np.zeros((3, 1, 2, 2), "f4"), np.zeros(3, "f4"), "first dimensions of input arrays must "
         "be a multiple of batch size"),
        (np.zeros((0, 1, 2, 2), "f4"), np.zeros(0, "f4"), "be a multiple of batch size"),
    ],
)  # fmt: skip
def test_arrays_that_memory_data_refuses_in_caffes_words(build, data, labels, words):
    net, *_ = memory(build)
    with pytest.raises(NetError, match=words):
        net.nodes[0].layer.set_input_arrays(data, labels)
    assert outputs(net)["label"] == [0, 10]  # those that it had


def test_memory_data_without_arrays(build):
    with pytest.raises(NetError, match="layer 'd': MemoryDataLayer needs to be initialized by cal"):
        build(MEMORY % "").forward()


def test_memory_data_does_not_transform_and_says_so(build, capfd):
    net, *_ = memory(build, "transform_param { scale: 3 }")
    assert outputs(net)["twice"] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert "MemoryData does not transform array data on Reset()" in capfd.readouterr().err


def test_arrays_that_nobody_may_write_to(build):
    net, data, labels = memory(build)
    data.flags.writeable = False
    net.nodes[0].layer.set_input_arrays(data, labels)
    assert outputs(net)["twice"] == [0, 2, 4, 6, 8, 10, 12, 14]


OUTPUT = """
layer { name: "d" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 2 dim: 3 } shape { dim: 2 } data_filler { type: "gaussian" }
  data_filler { value: 4 } } }
layer { name: "copy" type: "Power" bottom: "data" top: "seen" }
layer { name: "o" type: "HDF5Output" bottom: "data" bottom: "label"
  hdf5_output_param { file_name: "out.h5" } }
"""


def test_hdf5_output_writes_four_axes_and_adds_every_batch(build):
    Path("out.h5").write_bytes(b"what lay here is written over at set-up")
    net = build(OUTPUT)
    with h5py.File("out.h5") as file:
        assert list(file) == []
    seen = [net.forward()[1]["seen"].numpy() for _ in range(3)]
    with h5py.File("out.h5") as file:
        assert file["data"].dtype == file["label"].dtype == np.float32
        assert file["data"].shape == (6, 3, 1, 1) and file["label"].shape == (6, 1, 1, 1)
        np.testing.assert_array_equal(file["data"][:, :, 0, 0], np.concatenate(seen))
        assert (file["label"][:] == 4).all()


def test_hdf5_output_is_whole_whenever_it_is_looked_at(build):
    """Every file that ever had the name is as it was then, and no other is left."""
    net = build(OUTPUT)
    inodes, seen, held = set(), [], []
    for count in range(1, 5):
        seen.append(net.forward()[1]["seen"].numpy())
        inodes.add(os.stat("out.h5").st_ino)
        held.append(file := h5py.File("out.h5") if count == 2 else None)  # a reader
        if file is None:
            with h5py.File("out.h5") as file:
                np.testing.assert_array_equal(file["data"][:, :, 0, 0], np.concatenate(seen))
    assert len(inodes) > 1  # what has the name is never written to
    np.testing.assert_array_equal(held[1]["data"][:, :, 0, 0], np.concatenate(seen[:2]))
    held[1].close()
    del net
    gc.collect()
    assert os.listdir() == ["out.h5"]


KILLED = """
import os, signal, sys, threading
from runner import Net
net = Net("net.prototxt", phase="TEST")
threading.Timer(float(sys.argv[1]), os.kill, (os.getpid(), signal.SIGKILL)).start()
while True:
    net.forward()
"""


@pytest.mark.parametrize("seconds", [0.2, 0.5])
def test_a_kill_leaves_an_hdf5_output_of_whole_batches(build, seconds):
    Path("net.prototxt").write_text(OUTPUT)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(seconds)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    with h5py.File("out.h5") as file:
        rows = len(file["data"])
        assert rows and rows % 2 == 0 and len(file["label"]) == rows
        assert (file["label"][:] == 4).all()
    for _ in range(2):  # which removes what the kill has left, a second link at the second time
        build(OUTPUT)
    assert sorted(os.listdir()) == ["net.prototxt", "out.h5"]


def test_hdf5_output_that_cannot_be_written(build):
    with pytest.raises(NetError, match="layer 'o': Failed to open HDF5 file no/out.h5"):
        build(OUTPUT.replace("out.h5", "no/out.h5"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            'type: "ImageData" image_data_param { source: "l" new_height: 3 }',
            "Current implementation requires new_height and new_width to be set at the same time",
        ),
        ('type: "WindowData" window_data_param { batch_size: 1 }', "crop_size must be positive"),
        *(
            (f'type: "{name}" bottom: "b"', f"{name} Layer takes 0 bottom blob")
            for name in ("ImageData", "WindowData", "HDF5Data", "MemoryData")
        ),
        (
            'type: "HDF5Data" transform_param { } hdf5_data_param { batch_size: 1 }',
            "HDF5Data does not transform data.",
        ),
        ('type: "HDF5Data" hdf5_data_param { }', "Positive batch size required"),
        ('type: "MemoryData"', "batch_size, channels, height, and width must be specified"),
    ],
)
def test_what_the_parameters_show_to_be_wrong_is_refused_before_a_file_is_opened(
    build, text, words
):
    with pytest.raises(NetError, match=f"layer 'd': {words}"):
        build(
            'layer { name: "b" type: "DummyData" top: "b" dummy_data_param { shape { dim: 1 } } } '
            f'layer {{ name: "d" top: "data" top: "label" {text} }}'
        )


def test_a_source_that_is_not_there(build):
    with pytest.raises(
        DataLayerError, match=r"File is empty: No such file .*\(layer 'd', source 'l'\)"
    ):
        build(
            'layer { name: "d" type: "ImageData" top: "x" top: "y" image_data_param { source: "l" } }'
        )


# --- whole runs: trained, tested, interrupted and resumed ---

SOURCES = {
    "hdf5": 'type: "HDF5Data" hdf5_data_param { source: "rows.txt" batch_size: 4 shuffle: true }',
    "images": 'type: "ImageData" transform_param { crop_size: 6 mirror: true scale: 0.004 } '
    'image_data_param { source: "images.txt" batch_size: 4 shuffle: true rand_skip: 3 }',
    "windows": 'type: "WindowData" transform_param { crop_size: 6 mirror: true } '
    'window_data_param { source: "windows.txt" batch_size: 4 scale: 0.004 context_pad: 1 }',
    "shuffled": 'type: "Data" transform_param { crop_size: 6 mirror: true scale: 0.004 } '
    'data_param { source: "records" backend: LMDB batch_size: 4 shuffle: true }',
    "leveldb": 'type: "Data" transform_param { crop_size: 6 mirror: true scale: 0.004 } '
    'data_param { source: "level" batch_size: 4 }',
}


def write_sources():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (10, 8, 8, 3)).astype(np.uint8)
    database, records = plyvel.DB("level", create_if_missing=True), []
    with h5py.File("a.h5", "w") as a, h5py.File("b.h5", "w") as b:
        for file, part in ((a, images[:7]), (b, images[7:])):
            file["data"] = part.transpose(0, 3, 1, 2)[:, :, :6, :6] / np.float32(255)
            file["label"] = np.arange(len(part)) % 3
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(f"{number}.png")
        data = pixels.transpose(2, 0, 1).tobytes()
        datum = caffe_pb.Datum(channels=3, height=8, width=8, data=data, label=number % 3)
        database.put(b"%05d" % number, datum.SerializeToString())
        records.append((b"%05d" % number, datum.SerializeToString()))
    database.close()
    with lmdb.open("records") as env, env.begin(write=True) as transaction:
        for key, value in records:
            transaction.put(key, value)
    Path("rows.txt").write_text("a.h5\nb.h5\n")
    Path("images.txt").write_text("".join(f"{n}.png {n % 3}\n" for n in range(10)))
    Path("windows.txt").write_text(
        "".join(f"# {n}\n{n}.png\n3 8 8 2\n{n % 2 + 1} 1 1 1 6 6\n0 0 0 0 3 4\n" for n in range(10))
    )


@pytest.mark.parametrize("kind", SOURCES)
def test_a_run_that_is_resumed_ends_as_the_whole_one(kind, caffe, work, write_solver):
    write_sources()
    net = work / "net.prototxt"
    layers = net.read_text().split('layer {\n  name: "conv"')
    net.write_text(
        f'layer {{ name: "data" top: "data" top: "label" {SOURCES[kind]} }} '
        f'layer {{\n  name: "conv"{layers[1]}'
    )
    fields = {"max_iter": 6, "test_interval": 3, "snapshot": 3}
    whole = caffe("train", "-solver", write_solver("one", **fields, snapshot_prefix='"one"'))
    assert whole.status == 0, whole.err
    path = write_solver("two", **fields, snapshot_prefix='"two"')
    resumed = caffe("train", "-solver", path, "-snapshot", "one_iter_3.solverstate")
    assert resumed.status == 0, resumed.err
    assert Path("one_iter_6.caffemodel").read_bytes() == Path("two_iter_6.caffemodel").read_bytes()
    losses = [line for line in whole.trained() if "loss" in line]
    assert len(set(losses)) > 6
    tested = caffe("test", "-model", "net.prototxt", "-weights", "one_iter_6.caffemodel",
                   "-iterations", "3")  # fmt: skip
    assert tested.status == 0 and tested.starting("loss = ")


def test_every_type_of_caffe_but_python_is_known():
    from netgen.graph.registry import layer_types
    from runner.layers import LAYER_TYPES

    assert set(layer_types()) - set(LAYER_TYPES) <= {"Python"}


def test_a_batch_on_the_device_is_float32(build):
    write_sources()
    net = build(f'layer {{ name: "data" top: "data" top: "label" {SOURCES["hdf5"]} }}')
    assert {top.dtype for top in net.forward()[1].values()} == {torch.float32}


def test_a_database_closes_with_the_net_that_streamed_it(build):
    """Its file is not held any longer, which others may want to replace."""
    record = caffe_pb.AnnotatedDatum(type=caffe_pb.AnnotatedDatum.BBOX)
    record.datum.MergeFrom(caffe_pb.Datum(channels=1, height=2, width=2, data=b"abcd"))
    with lmdb.open("a", map_size=1 << 20) as env, env.begin(write=True) as transaction:
        transaction.put(b"0", record.SerializeToString())
    net = build(
        'layer { name: "d" type: "AnnotatedData" top: "data" top: "label" '
        'data_param { source: "a" batch_size: 1 backend: LMDB } }'
    )
    assert _held("a/data.mdb")
    del net
    assert not _held("a/data.mdb")


def _held(path):
    """Does this process have the file open?"""
    held = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return os.path.realpath(path) in [os.readlink(link) for link in held if os.path.islink(link)]
