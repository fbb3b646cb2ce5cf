"""MNIST's idx files, small ones of the official layout, to an LMDB."""

import gzip
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data_prep import (
    DataError,
    NoDataError,
    Options,
    Preprocessing,
    build_dataset,
    mnist,
    read_lmdb,
    read_mnist,
    verify,
)
from data_prep.cli import main
from netgen import schema

ROOT = Path(__file__).parents[2]
RAW = Options(0, None, None, None)


def idx(values):
    """An idx file of bytes with the shape of `values`."""
    shape = values.shape
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + values.tobytes()


@pytest.fixture
def parts():
    random = np.random.RandomState(3)
    return [
        random.randint(0, 256, (7, 28, 28)).astype(np.uint8),
        np.arange(7, dtype=np.uint8),
        random.randint(0, 256, (4, 28, 28)).astype(np.uint8),
        np.uint8([9, 0, 9, 1]),
    ]


@pytest.fixture
def folder(parts, tmp_path):
    """The four files, half of them gzipped."""
    folder = tmp_path / "idx"
    folder.mkdir()
    for number, (name, values) in enumerate(zip(mnist.FILES, parts, strict=True)):
        if number % 2:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(values)))
        else:
            (folder / name).write_bytes(idx(values))
    return folder


def test_records_are_the_pixels_in_file_order(folder, parts, tmp_path):
    out = tmp_path / "out"
    manifest, fresh = build_dataset("mnist", lambda: read_mnist(folder), RAW, out)
    assert fresh and verify(out) == []
    preprocessing = Preprocessing.load(out / "preprocessing.npz")
    assert preprocessing == Preprocessing(
        image_shape=(1, 28, 28), channel_order="GRAY", label_names=tuple("0123456789")
    )
    for part, images, labels in (("train", *parts[:2]), ("test", *parts[2:])):
        records = list(read_lmdb(out / f"mnist_{part}_lmdb"))
        assert [key for key, _ in records] == [b"%05d" % n for n in range(len(images))]
        for (_, value), image, label in zip(records, images, labels, strict=True):
            expected = schema.caffe_pb.Datum(
                channels=1, height=28, width=28, label=label, data=image.tobytes()
            )
            assert value == expected.SerializeToString()
    mean = schema.blob_to_array(schema.read_blob(out / "mean.binaryproto"))
    assert np.allclose(mean, parts[0].mean(axis=0), atol=1e-4)


def test_command(folder, tmp_path):
    command = [sys.executable, "-m", "data_prep", "mnist"]
    options = {
        "cwd": tmp_path,
        "text": True,
        "capture_output": True,
        "timeout": 60,
        "env": {**os.environ, "PYTHONPATH": str(ROOT), "https_proxy": "http://127.0.0.1:9"},
    }
    made = subprocess.run([*command, "--source", str(folder)], **options)
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.startswith("data/mnist: 7 training and 4 test records of 1x28x28 from idx")
    (tmp_path / "data/mnist").rename(tmp_path / "made")
    offline = subprocess.run(command, **options)
    assert offline.returncode == 3 and offline.stderr.count("\n") == 1
    assert "train-images-idx3-ubyte.gz could not be downloaded" in offline.stderr


def test_what_is_there_is_not_downloaded(folder):
    assert mnist.find_or_download(folder) == folder


def test_only_what_is_missing_is_downloaded(folder, monkeypatch):
    (folder / "train-labels-idx1-ubyte.gz").unlink()
    asked = []

    def download(file, path):
        asked.append((file, path))
        raise NoDataError("no network")

    monkeypatch.setattr(mnist, "download", download)
    with pytest.raises(NoDataError):
        mnist.find_or_download(folder)
    name = "train-labels-idx1-ubyte.gz"
    assert asked == [(mnist.FILES["train-labels-idx1-ubyte"], folder / name)]
    assert asked[0][0].url == mnist.URL + name


IMAGES, LABELS = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte.gz"


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        (IMAGES, b"", "not an idx file of bytes in 3 dimensions"),
        (IMAGES, idx(np.zeros(9, np.uint8)), "not an idx file of bytes in 3 dimensions"),
        (IMAGES, idx(np.zeros((7, 28, 28), np.uint8))[:-1], "5487 values, its 7 items of 28x28"),
        (IMAGES, idx(np.zeros((7, 28, 27), np.uint8)), "images of 28x27, expected 28x28"),
        (IMAGES, idx(np.zeros((6, 28, 28), np.uint8)), None),
        (LABELS, b"plain", "Not a gzipped file"),
        (LABELS, gzip.compress(idx(np.uint8([1, 2, 3, 10]))), None),
        (LABELS, gzip.compress(idx(np.zeros(99, np.uint8)))[:-12], "end-of-stream"),
        (LABELS, None, "no t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz in it"),
    ],
)
def test_damaged_files(folder, name, content, error):
    path = folder / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_mnist(folder)
    line = str(caught.value)
    assert "\n" not in line
    if error:
        assert str(path if content is not None else folder) in line and error in line
    else:  # a part of its own fits no other
        assert "training images: uint8 (6, 784)" in line or "test labels: uint8 up to 10" in line


def test_help_names_the_nets_data(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "data/mnist, of lenet" in capsys.readouterr().out
