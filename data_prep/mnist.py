"""MNIST as its authors distribute it: four idx files, gzipped or not.

An idx file is a magic number (two zeros, 8 for bytes, the number of dimensions), each dimension
as four bytes, most significant first, and the bytes (http://yann.lecun.com/exdb/mnist/).
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from data_prep.dataset import Dataset
from data_prep.download import Published, download
from data_prep.errors import DataError
from netgen.schema.files import StrPath

IMAGE = (1, 28, 28)
LARGEST_FILE = 1 << 29  # bytes; that of the largest set of such images, EMNIST's, fits twice
URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"  # the authors' address asks for a login
FILES = {  # in the order in which read_mnist takes them, as they are published, gzipped
    "train-images-idx3-ubyte": Published(
        URL + "train-images-idx3-ubyte.gz",
        9912422,
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    "train-labels-idx1-ubyte": Published(
        URL + "train-labels-idx1-ubyte.gz",
        28881,
        "d53e105ee54ea40749a09fcbcd1e9432",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    "t10k-images-idx3-ubyte": Published(
        URL + "t10k-images-idx3-ubyte.gz",
        1648877,
        "9fb629c4189551a2d022fa330f9573f3",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    "t10k-labels-idx1-ubyte": Published(
        URL + "t10k-labels-idx1-ubyte.gz",
        4542,
        "ec29112dd5afa0611ce80d1b7f02629c",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
}


def find_or_download(folder: StrPath = "data/mnist-idx") -> Path:
    """`folder`, with those of the four files downloaded into it that are not there.

    Raises NoDataError where one is missing and does not come.
    """
    folder = Path(folder)
    for name, file in FILES.items():
        if _locate(folder, name) is None:
            download(file, folder / f"{name}.gz")
    return folder


def read_mnist(folder: StrPath) -> Dataset:
    """The Dataset of the idx files in `folder`, in their order.

    Raises DataError, naming the file, if one is missing or damaged.
    """
    train_images, train_labels, test_images, test_labels = (
        _read(Path(folder), name) for name in FILES
    )
    return Dataset(
        "mnist",
        train_images,
        train_labels,
        test_images,
        test_labels,
        tuple("0123456789"),
        {"form": "idx", "name": "MNIST"},
        IMAGE,
        "mnist",
    )


def _locate(folder: Path, name: str) -> Path | None:
    there = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
    return there[0] if there else None


def _read(folder: Path, name: str) -> np.ndarray:
    """Images as (N, 784), labels as (N,), both uint8."""
    path = _locate(folder, name)
    if path is None:
        raise DataError(f"{folder}: no {name} or {name}.gz in it")
    try:
        data = path.read_bytes()
        data = _unzipped(data, path) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    shape = IMAGE[1:] if "images" in name else ()
    count, found = _shape(data, len(shape) + 1, path)
    if found != shape:
        raise DataError(f"{path}: images of {'x'.join(map(str, found))}, expected 28x28")
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * (len(shape) + 1))
    if values.size != count * int(np.prod(shape)):
        raise DataError(
            f"{path}: {values.size} values, its {count} items of "
            f"{'x'.join(map(str, shape)) or 'one byte'} have another number"
        )
    return values.reshape(count, -1) if shape else values


def _unzipped(data: bytes, path: Path) -> bytes:
    """What an idx.gz holds; no more of it is unpacked than its own header tells of."""
    if not data.startswith(b"\x1f\x8b"):
        raise OSError("Not a gzipped file")
    unzip = zlib.decompressobj(wbits=31)
    head = unzip.decompress(data, 16)
    if unzip.eof:
        return head
    if len(head) < 16:
        raise EOFError("Compressed file ended before the end-of-stream marker was reached")
    dimensions = head[3]
    sizes = np.frombuffer(head, ">u4", 3, offset=4)[:dimensions].astype(float)
    told = 4 + 4 * dimensions + float(np.prod(sizes))
    if told > LARGEST_FILE:
        raise DataError(f"{path}: tells of {told:,.0f} bytes, more than {LARGEST_FILE:,}")
    rest = unzip.decompress(unzip.unconsumed_tail, max(1, int(told) + 1 - len(head)))
    if not unzip.eof and not unzip.unconsumed_tail:
        raise EOFError("Compressed file ended before the end-of-stream marker was reached")
    return head + rest


def _shape(data: bytes, dimensions: int, path: Path) -> tuple[int, tuple[int, ...]]:
    """(number of items, shape of one)."""
    if data[:4] != bytes([0, 0, 8, dimensions]) or len(data) < 4 + 4 * dimensions:
        raise DataError(f"{path}: not an idx file of bytes in {dimensions} dimensions")
    count, *shape = np.frombuffer(data, ">u4", dimensions, offset=4).tolist()
    return count, tuple(shape)
