"""Small files that would unpack to gigabytes: each is one line, and takes no such memory."""

import gzip
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib

import pytest

MEMORY = 1 << 30


# What a process has used at most counts on from what the one that starts it uses, which is little.
MEASURED = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


def command(folder, *words):
    """(exit status, stderr, bytes of memory at most) of `python -m data_prep`."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, sys.executable, "-m", "data_prep", *map(str, words)],
        env={**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
    )
    used = int(done.stdout.split()[-1]) * 1024
    return done.returncode, done.stderr.rpartition("\r")[2], used


def one_line(folder, *words):
    """The line that the command ends with, within a gigabyte."""
    status, text, memory = command(folder, *words)
    assert status == 1 and memory < MEMORY, (text[-500:], memory)
    assert "Traceback" not in text and text.count("\n") == 1
    return text


def batches(folder, content):
    """A folder of CIFAR-10 batches that all hold `content`."""
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    "content",
    {
        "memo": b"\x80\x02Nr\x00\x00\x00\x10.",
        "nested key": b"\x80\x02}" + b"N" + b"\x85" * 1_000_000 + b"Ns.",
        "nested member of a set": b"\x80\x04\x8f(" + b"N" + b"\x85" * 1_000_000 + b"\x90.",
        "bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 33) + b".",
        "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 33) + b".",
    }.values(),
    ids=["memo", "key", "set", "bytearray", "bytes"],
)
def test_pickles(tmp_path, content):
    told = one_line(tmp_path, "cifar10", "--source", batches(tmp_path, content))
    assert "not a CIFAR-10 batch" in told


def test_headers_of_an_archive(tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for kind in (b"L", b"x", b"g"):
            info = tarfile.TarInfo("././@LongLink")
            info.type, info.size = kind, 1 << 28
            file.write(info.tobuf(tarfile.GNU_FORMAT))
            for _ in range(1 << 8):
                file.write(bytes(1 << 20))
    assert "larger than those of any data set" in one_line(tmp_path, "cifar10", "--source", path)
    with gzip.open(path, "wb") as file:
        for _ in range(5000):
            info = tarfile.TarInfo("././@LongLink")
            info.type, info.size = b"L", 2
            file.write(info.tobuf(tarfile.GNU_FORMAT) + b"a".ljust(512, b"\0"))
    assert "larger than those of any data set" in one_line(tmp_path, "cifar10", "--source", path)


@pytest.mark.parametrize("count", [1, 1 << 24])
def test_an_idx_file(tmp_path, count):
    """One whose header tells of one image, and one that tells of its gigabytes."""
    zipped, flush = zlib.compressobj(9, wbits=31), zlib.Z_FULL_FLUSH
    head = zipped.compress(struct.pack(">IIII", 0x803, count, 28, 28)) + zipped.flush(flush)
    block = zipped.compress(bytes(1 << 24)) + zipped.flush(flush)  # which can be repeated
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(head + 200 * block)
    told = one_line(tmp_path, "mnist", "--source", tmp_path)
    assert "train-images-idx3-ubyte.gz: " in told


def test_a_preprocessing_file(tmp_path):
    path = tmp_path / "bomb.npz"
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (262144, 1024), }"
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("zca.npy", "w", force_zip64=True) as file,
    ):
        file.write(head)
        for _ in range(1 << 5):
            file.write(bytes(1 << 24))
    (tmp_path / "x.npy").write_bytes(b"")
    told = one_line(tmp_path, "apply", path, tmp_path / "x.npy", "-o", tmp_path / "out.npy")
    assert "bomb.npz: not a preprocessing.npz: it unpacks to" in told


@pytest.mark.parametrize(
    "damage",
    [
        {"files": None},
        {"databases": {"a": 1, "b": 2}},
        {"source": []},
        {"options": 3},
        {"dataset": None},
    ],
    ids=str,
)
def test_a_manifest_that_tells_too_little(tmp_path, damage):
    import json

    entry = {"records": 1, "records_sha256": "", "shape": [1]}
    whole = {
        "format": "data_prep 1",
        "dataset": "cifar10",
        "options": {},
        "source": {"form": "x"},
        "files": {},
        "databases": {"a": entry, "b": entry},
    }
    (tmp_path / "manifest.json").write_text(json.dumps({**whole, **damage}))
    assert "manifest.json: damaged, " in one_line(tmp_path, "verify", tmp_path)


def test_what_a_batch_holds_is_read_as_before():
    from data_prep.pickles import read_batch

    batch = {b"data": bytearray(b"abc"), b"labels": [1, 2]}
    for protocol in range(6):
        content = io.BytesIO()
        pickle.Pickler(content, protocol).dump(batch)
        if protocol == 5:
            assert read_batch(content.getvalue(), "b") == {"data": b"abc", "labels": [1, 2]}
