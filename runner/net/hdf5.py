"""Caffe's HDF5 snapshots: /data/<layer>/<i>, and /history/<i> of a solver state.

h5py is needed only where such a file is read or written.
"""

import contextlib
import io
import os

import numpy as np

from netgen import schema
from netgen.errors import CaffeError

_MAGIC = b"\x89HDF\r\n\x1a\n"


def h5py_for(path):
    """The module h5py, needed for the file `path`. Raises CaffeError where it is missing."""
    try:
        import h5py
    except ImportError:
        raise CaffeError(f"{path}: HDF5 files need the package h5py: pip install h5py") from None
    return h5py


def is_hdf5(path):
    """Does the file start like HDF5?"""
    with open(path, "rb") as f:
        return f.read(len(_MAGIC)) == _MAGIC


@contextlib.contextmanager
def _open(path):
    """The file, for reading; whatever is not where Caffe has it becomes one line."""
    try:
        with h5py_for(path).File(path, "r") as f:
            yield f
    except CaffeError:
        raise
    except OSError as error:
        raise CaffeError(f"Couldn't open {path}: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CaffeError(f"{path}: not laid out as Caffe's HDF5 files: {error.args[0]}") from None


def read_weights(path):
    """{layer: {index: float32 array}} of a .caffemodel.h5. Raises CaffeError."""
    with _open(path) as f:
        if "data" not in f:
            raise CaffeError(f"Error reading weights from {path}: it has no group 'data'")
        return {
            layer: {int(i): np.asarray(blob, np.float32) for i, blob in blobs.items()}
            for layer, blobs in f["data"].items()
        }


def read_solverstate(path):
    """(iter, learned_net, current_step, [history arrays]) of a .solverstate.h5."""
    with _open(path) as f:
        missing = [key for key in ("iter", "current_step", "history") if key not in f]
        if missing:
            raise CaffeError(f"{path}: no solver state, it has no '{missing[0]}'")
        learned = f["learned_net"][()] if "learned_net" in f else b""
        learned = os.fsdecode(learned) if isinstance(learned, bytes) else str(learned)
        history = f["history"]
        arrays = [np.asarray(history[str(i)], np.float32) for i in range(len(history))]
        return int(np.ravel(f["iter"])[0]), learned, int(np.ravel(f["current_step"])[0]), arrays


def _write(path, build):
    """Write the file that `build` fills, whole or not at all."""
    content = io.BytesIO()
    with h5py_for(path).File(content, "w") as f:
        build(f)
    schema.write_bytes(content.getbuffer(), path)


def write_weights(net, path, with_diff=False):
    """A .caffemodel.h5 of the net; a shared blob is stored once, with its owner."""

    def build(f):
        groups = [("data", False)] + ([("diff", True)] if with_diff else [])
        for group, diff in groups:
            top = f.create_group(group)
            for node in net.nodes:
                layer = top.create_group(node.name)
                for i, blob in enumerate(node.blobs):
                    owner = net.parameters.learnable[node.learnable[i]]
                    if diff:
                        blob = net.parameters.blobs[node.learnable[i]].grad
                    if diff or (owner.layer, owner.index) == (node.name, i):
                        layer[str(i)] = blob.detach().cpu().numpy()

    _write(path, build)


def write_solverstate(path, iteration, learned_net, current_step, history):
    """A .solverstate.h5; history: list of arrays."""

    def build(f):
        f["iter"] = np.array([iteration], np.int32)
        name = os.fsencode(learned_net)
        # With room for a final zero: Caffe reads it as a C string, into just this many bytes.
        f.create_dataset("learned_net", data=np.array(name), dtype=f"S{len(name) + 1}")
        f["current_step"] = np.array([current_step], np.int32)
        group = f.create_group("history")
        for i, array in enumerate(history):
            group[str(i)] = array

    _write(path, build)
