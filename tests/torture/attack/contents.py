"""What a file holds, whatever writes it: whether it is whole, and whether two hold the same."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

_LOCK = "lock.mdb"


def content(path: Path) -> Any:
    """What `path` holds, in a form that compares; raises whatever its reader raises.

    An empty file is never whole, but for a log, which is written as its training goes.
    """
    data = path.read_bytes()
    if path.name.endswith(".log"):
        return "tells of times"
    if not data:
        raise ValueError("the file is empty")
    name = path.name
    if name == "data.mdb":
        return _records(path)
    if name.endswith(".h5"):
        return _hdf5(path)
    if name.endswith(".resume"):
        return _resume(path)
    if name.endswith((".caffemodel", ".solverstate", ".binaryproto")):
        return _message(path, data)
    if name.endswith(".prototxt"):
        return _prototxt(path, data)
    if name.endswith((".npy", ".npz")):
        return _arrays(data)
    if name.endswith(".json"):
        return _without_times(json.loads(data))
    if name.endswith((".png", ".jpg")):
        return _picture(data)
    if name.endswith(".gz"):
        return gzip.decompress(data)
    return _text(name, data)


def _records(path: Path) -> list[tuple[bytes, bytes]]:
    import lmdb

    with lmdb.open(str(path.parent), readonly=True, lock=False) as env, env.begin() as txn:
        found = [(bytes(key), bytes(value)) for key, value in txn.cursor()]
    if not found:
        raise ValueError("no records")
    return found


def _hdf5(path: Path) -> dict[str, Any]:
    import h5py

    found: dict[str, Any] = {}

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            value = item[()]
            found[name] = value.tobytes() if isinstance(value, np.ndarray) else value

    with h5py.File(path, "r") as file:
        file.visititems(keep)
    if not found:
        raise ValueError("no data sets")
    return found


def _resume(path: Path) -> Any:
    import torch

    return _plain(torch.load(path, weights_only=True))


def _plain(value: Any) -> Any:
    """Tensors as bytes, dictionaries without the digests of times, so that == compares."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.numpy().tobytes() if hasattr(value, "numpy") else value


def _message(path: Path, data: bytes) -> bytes:
    from netgen import schema

    if path.name.endswith(".solverstate"):
        if not schema.read_solverstate(path).history:
            raise ValueError("no history")
    elif path.name.endswith(".caffemodel") and not schema.read_caffemodel(path).layer:
        raise ValueError("no layers")
    return data


def _prototxt(path: Path, data: bytes) -> bytes:
    from netgen import schema

    if "solver" not in path.name:
        schema.read_net(path)
    return data


def _arrays(data: bytes) -> Any:
    loaded = np.load(io.BytesIO(data), allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded.tobytes()
    return {name: loaded[name].tobytes() for name in loaded.files}


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        times = {"created", "date", "time", "seconds", "runs"}  # runs: of a study's training
        return {key: _without_times(item) for key, item in value.items() if key not in times}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def _picture(data: bytes) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return picture.tobytes()


def _text(name: str, data: bytes) -> Any:
    """Text whose end shows that it is whole; PDF, SVG and reports tell of times."""
    if name.endswith(".pdf"):
        if not data.rstrip().endswith(b"%%EOF"):
            raise ValueError("cut off")
        return "pdf"
    if name.endswith(".svg"):
        if not data.rstrip().endswith(b"</svg>"):
            raise ValueError("cut off")
        return "svg"
    if not data.endswith(b"\n"):
        raise ValueError("cut off")
    return "tells of times" if name.startswith("report.") else data


def files(folder: Path) -> dict[str, Path]:
    """The files under `folder` by their paths in it, without LMDB's locks."""
    return {
        str(path.relative_to(folder)): path
        for path in sorted(folder.rglob("*"))
        if (path.is_file() or path.is_symlink())
        and path.name != _LOCK
        and "lost+found" not in path.parts
    }


def broken(folder: Path, final: set[str]) -> list[str]:
    """What is wrong with the files whose names are among `final`: a line each."""
    found = []
    for name, path in files(folder).items():
        if name not in final:
            continue
        try:
            content(path)
        except Exception as error:
            found.append(f"{name}: {type(error).__name__}: {error}")
    return found


def read(folder: Path) -> dict[str, Any]:
    """The content of every file under `folder`; that of a broken one is its error's text."""
    found: dict[str, Any] = {}
    for name, path in files(folder).items():
        try:
            found[name] = content(path)
        except Exception as error:
            found[name] = f"broken: {type(error).__name__}: {error}"
    return found


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """How two folders, as `read` gives them, differ: a line a file."""
    lines = [f"{name}: missing" for name in sorted(wanted.keys() - found.keys())]
    lines += [f"{name}: left over" for name in sorted(found.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & found.keys()):
        if found[name] != wanted[name]:
            said = found[name] if str(found[name]).startswith("broken") else "differs"
            lines.append(f"{name}: {said}")
    return lines
