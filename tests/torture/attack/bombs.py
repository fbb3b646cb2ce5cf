"""Small files that unpack, or claim, to be gigabytes: each is refused in one line, under 1 GB."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import pickle
import random
import shutil
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from attack.commands import ROOT, line
from attack.inputs import MNIST, Inputs
from attack.starter import Command
from attack.trial import Place, Trial, one_line

GIGABYTE = 1 << 30
MOST_MB = 1024.0
Made = tuple[str, tuple[str, ...]]  # a command and its words


def _zeros(path: Path, head: bytes = b"", size: int = 4 * GIGABYTE) -> None:
    """A gzip file of zeros after `head`, without ever holding them: one member, many times."""
    block = gzip.compress(bytes(1 << 26), 9, mtime=0)
    with open(path, "wb") as file:
        file.write(gzip.compress(head, mtime=0) if head else b"")
        for _ in range(size >> 26):
            file.write(block)


def _idx(inputs: Inputs, folder: Path) -> Made:
    for name in MNIST:
        for path in inputs.mnist.glob(f"{name}*"):
            shutil.copy(path, folder)
    (folder / MNIST[0]).unlink()
    head = bytes([0, 0, 8, 3]) + struct.pack(">3I", 1 << 22, 28, 28)
    _zeros(folder / f"{MNIST[0]}.gz", head)
    return "data_prep", ("mnist", "--source", str(folder), "--out", "out")


def _tar(folder: Path, fill: Callable[[tarfile.TarFile], None]) -> Made:
    raw = folder / "cifar-10-python.tar"
    with tarfile.open(raw, "w", format=tarfile.PAX_FORMAT) as tar:
        fill(tar)
    path = folder / "cifar-10-python.tar.gz"
    path.write_bytes(gzip.compress(raw.read_bytes(), 9, mtime=0))
    raw.unlink()
    return "data_prep", ("cifar10", "--source", str(path), "--out", "out")


def _tar_of_zeros(inputs: Inputs, folder: Path) -> Made:
    """A batch of 4 GB."""
    info = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
    info.size = 4 * GIGABYTE
    path = folder / "cifar-10-python.tar.gz"
    _zeros(path, info.tobuf(tarfile.GNU_FORMAT))
    return "data_prep", ("cifar10", "--source", str(path), "--out", "out")


def _tar_long_name(inputs: Inputs, folder: Path) -> Made:
    """A name of 4 GB, in a header of its own."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 4 * GIGABYTE
    path = folder / "cifar-10-python.tar.gz"
    _zeros(path, info.tobuf(tarfile.GNU_FORMAT))
    return "data_prep", ("cifar10", "--source", str(path), "--out", "out")


def _tar_many(inputs: Inputs, folder: Path) -> Made:
    """A hundred thousand members, each with a long pax header."""

    def fill(tar: tarfile.TarFile) -> None:
        for index in range(20_000):
            info = tarfile.TarInfo(f"cifar-10-batches-py/{index}")
            info.pax_headers = {"comment": "x" * 4000}
            tar.addfile(info)

    return _tar(folder, fill)


def _pickled(data: bytes) -> Callable[[Inputs, Path], Made]:
    def make(inputs: Inputs, folder: Path) -> Made:
        batches = folder / "cifar-10-batches-py"
        batches.mkdir()
        for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta"]:
            (batches / name).write_bytes(data)
        return "data_prep", ("cifar10", "--source", str(folder), "--out", "out")

    return make


def _nested_pickle() -> bytes:
    """A dictionary whose key is a million tuples, one in another."""
    return b"\x80\x02}" + b")" + b"\x85" * 1_000_000 + b"K\x01s."


def _resume(inputs: Inputs, folder: Path) -> Made:
    for kind in ("caffemodel", "solverstate"):
        for path in inputs.snapshots.glob(f"s_iter_4.{kind}*"):
            shutil.copy(path, folder)
    path = folder / "s_iter_4.solverstate.resume"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("archive/data.pkl", "w", force_zip64=True) as member:
            for _ in range(32):
                member.write(bytes(1 << 26))
        archive.writestr("archive/version", "3\n")
    solver = inputs.solver("bombed", every=0)
    return "caffe", ("train", "-solver", str(solver), "-snapshot", "s_iter_4.solverstate")


def _npz(inputs: Inputs, folder: Path) -> Made:
    head = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 14, 1 << 15)}
    np.lib.format.write_array_header_1_0(head, header)
    with zipfile.ZipFile(folder / "preprocessing.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("mean", "zca", "scale"):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                member.write(head.getvalue())
                for _ in range(32):
                    member.write(bytes(1 << 26))
    return "data_prep", ("apply", "preprocessing.npz", str(inputs.images / "1.png"))


def _png(inputs: Inputs, folder: Path) -> Made:
    """20,000 by 20,000 pixels of nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )
    (folder / "big.png").write_bytes(data)
    out = folder.parent / "cifar10"
    if not out.exists():
        words = line("data_prep", ["synthetic", "--limit", "60", "--out", str(out)])
        subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    return "data_prep", ("apply", str(out / "preprocessing.npz"), "big.png")


def _gzip_log(inputs: Inputs, folder: Path) -> Made:
    _zeros(folder / "train.log.gz", inputs.log.read_bytes())
    return "parse_log", ("train.log.gz", "--json")


def _bz2_log(inputs: Inputs, folder: Path) -> Made:
    block = bz2.compress(bytes(1 << 26))
    (folder / "train.log.bz2").write_bytes(bz2.compress(inputs.log.read_bytes()) + block * 64)
    return "parse_log", ("train.log.bz2", "--json")


def _caffemodel(inputs: Inputs, folder: Path) -> Made:
    """A blob that says to be 2^40 numbers, of which it has none."""
    from netgen.schema import caffe_pb

    net = caffe_pb.NetParameter()
    net.ParseFromString(inputs.weights.read_bytes())
    for layer in net.layer:
        for blob in layer.blobs:
            blob.shape.dim[:] = [1 << 20, 1 << 20]
            del blob.data[:]
    (folder / "big.caffemodel").write_bytes(net.SerializeToString())
    solver = inputs.solver("bombed", every=0)
    return "caffe", ("train", "-solver", str(solver), "-weights", "big.caffemodel")


def _hdf5(inputs: Inputs, folder: Path) -> Made:
    """A compressed data set of 64 GB, never written."""
    import h5py

    with h5py.File(folder / "big.caffemodel.h5", "w") as file:
        for layer in ("conv1", "conv2", "ip"):
            for index in "01":
                name = f"data/{layer}/{index}"
                file.create_dataset(
                    name, (1 << 17, 1 << 17), "f4", chunks=(512, 512), compression=9
                )
    solver = inputs.solver("bombed", every=0)
    return "caffe", ("train", "-solver", str(solver), "-weights", "big.caffemodel.h5")


def _deep_prototxt(inputs: Inputs, folder: Path) -> Made:
    (folder / "net.prototxt").write_text("layer { " * 1_000_000)
    return "netgen", ("describe", "net.prototxt")


def _deep_json(inputs: Inputs, folder: Path) -> Made:
    (folder / "plan.json").write_text("[" * 1_000_000)
    return "netgen", ("split", str(inputs.net), "--plan", "plan.json")


def _wide_json(inputs: Inputs, folder: Path) -> Made:
    tpm = json.loads(inputs.tpm.read_text())
    tpm["bins"] = 1 << 40
    (folder / "tpm.json").write_text(json.dumps(tpm))
    return "plot_tpm", ("tpm.json", "-o", "tpm.png")


def _datum(inputs: Inputs, folder: Path) -> Made:
    """Records that say to be 2^31 - 1 pixels wide."""
    import lmdb

    from netgen.schema import caffe_pb

    with lmdb.open(str(folder / "lmdb"), map_size=1 << 22) as env, env.begin(write=True) as txn:
        datum = caffe_pb.Datum(channels=3, height=2**31 - 1, width=2**31 - 1, data=b"x")
        for index in range(8):
            txn.put(b"%05d" % index, datum.SerializeToString())
    text = inputs.net.read_text().replace(f"{inputs.folder}/train_lmdb", str(folder / "lmdb"))
    (folder / "net.prototxt").write_text(text)
    solver = inputs.solver("wide", every=0, net=folder / "net.prototxt")
    return "caffe", ("train", "-solver", str(solver))


#: what it is -> makes it in a folder, and returns the command that reads it
BOMBS: dict[str, Callable[[Inputs, Path], Made]] = {
    "idx.gz": _idx,
    "tar.gz, member of 4 GB": _tar_of_zeros,
    "tar.gz, name of 4 GB": _tar_long_name,
    "tar.gz, 20,000 pax headers": _tar_many,
    "pickle, memo of 2^28": _pickled(b"\x80\x02Nr\x00\x00\x00\x10."),
    "pickle, million nested tuples": _pickled(_nested_pickle()),
    "pickle, bytes of 2^40": _pickled(b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x."),
    "pickle, array of zeros": _pickled(pickle.dumps({b"data": b"", b"labels": [0] * 3_000_000})),
    ".resume of 2 GB": _resume,
    "npz of 2 GB": _npz,
    "PNG of 20,000 x 20,000": _png,
    "log.gz of 4 GB": _gzip_log,
    "log.bz2 of 4 GB": _bz2_log,
    "caffemodel of 2^40 numbers": _caffemodel,
    "HDF5 of 64 GB": _hdf5,
    "prototxt, a million brackets": _deep_prototxt,
    "JSON, a million brackets": _deep_json,
    "JSON, 2^40 bins": _wide_json,
    "Datum of 2^31 x 2^31": _datum,
}


class Bombs:
    """The part of the bombs."""

    name, title, count = "bombs", "file that unpacks to, or claims, gigabytes", len(BOMBS)
    counts_attacks = False

    def ready(self) -> None:
        """It can be tried everywhere."""

    def trial(self, place: Place, number: int, draw: random.Random) -> Trial:
        """The bombs in turn."""
        what = list(BOMBS)[number % len(BOMBS)]
        trial = Trial(what)
        with place.empty() as folder:
            name, words = BOMBS[what](place.inputs, folder)
            command = Command(name, words, folder)
            with place.starter.started(command) as running:
                while running.running() and running.resident_mb() < 3 * MOST_MB:
                    pass  # resident_mb waits a moment
                if running.running():
                    running.kill()
                ended = running.end()
            trial.notes["peak"] = ended.peak_mb
            if ended.peak_mb >= MOST_MB:
                trial.complaints.append(f"{what}: {command}: {ended.peak_mb:.0f} MB")
            trial.complaints += [f"{what}: {line}" for line in one_line(command, ended)]
        return trial
