import builtins
import os
import pickle
import struct

import numpy as np
import pytest

from data_prep import DataError
from data_prep.pickles import read_batch

IMAGES = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).reshape(2, 3072)
BATCH = {b"data": IMAGES, b"labels": [3, 9], b"filenames": [b"a.png", b""], b"batch_label": b"x"}


def check(batch):
    assert batch["labels"] == [3, 9] and batch["filenames"] == [b"a.png", b""]
    assert batch["data"].dtype == np.uint8 and np.array_equal(batch["data"], IMAGES)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_protocol(protocol, order):
    batch = BATCH | {b"data": np.asarray(IMAGES, order=order)}
    check(read_batch(pickle.dumps(batch, protocol), "data_batch_1"))


@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
def test_both_names_of_numpy(core):
    data = pickle.dumps(BATCH, 2)
    here = b"numpy._core" if b"numpy._core" in data else b"numpy.core"
    check(read_batch(data.replace(here, core), "data_batch_1"))


def test_str_keys():
    batch = {key.decode(): value for key, value in BATCH.items()}
    check(read_batch(pickle.dumps(batch), "data_batch_1"))


def test_written_by_python_2():
    """Opcode by opcode what cPickle of Python 2 and NumPy 1 wrote: its str are bytes."""

    def short(text):
        return b"U" + bytes([len(text)]) + text

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n"
        + b"cnumpy\nndarray\n"
        + b"K\x00\x85"
        + short(b"b")
        + b"\x87R"
        + b"(K\x01"
        + b"K\x02M\x00\x0c\x86"
        + b"cnumpy\ndtype\n"
        + short(b"u1")
        + b"K\x00K\x01\x87R"
        + b"(K\x03"
        + short(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89"
        + b"T"
        + struct.pack("<i", IMAGES.size)
        + IMAGES.tobytes()
        + b"tb"
    )
    data = (
        b"\x80\x02}("
        + short(b"batch_label")
        + short(b"x")
        + short(b"labels")
        + b"](K\x03K\x09e"
        + short(b"data")
        + array
        + short(b"filenames")
        + b"]("
        + short(b"a.png")
        + short(b"")
        + b"eu."
    )
    check(read_batch(data, "data_batch_1"))


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_runs_nothing(tmp_path, protocol):
    target = tmp_path / "made"
    for function, name in ((os.mkdir, r"posix\.mkdir"), (builtins.open, r"i?o?\.?open")):
        data = pickle.dumps(BATCH | {b"more": Call(function, str(target / "x"))}, protocol)
        with pytest.raises(DataError, match=f"data_batch_1: .* the pickle asks for .*{name}"):
            read_batch(data, "data_batch_1")
    data = pickle.dumps(Call(os.mkdir, str(target)), protocol)
    with pytest.raises(DataError):
        read_batch(data, "data_batch_1")
    assert not target.exists()


@pytest.mark.parametrize("call", [
    b"cbuiltins\neval\n(S'1'\ntR.", b"c__builtin__\nexec\n(S'1'\ntR.", b"cnumpy\nload\n.",
    b"cnumpy.core.multiarray\nscalar\n.", b"c_codecs\ndecode\n.", b"cdata_prep.pickles\nnp\n.",
    b"cbuiltins\ngetattr\n.", b"ccopyreg\n_reconstructor\n.",
])  # fmt: skip
def test_names_that_no_batch_needs(call):
    with pytest.raises(DataError, match="which no batch file needs"):
        read_batch(call, "data_batch_1")


@pytest.mark.parametrize("data, reason", [
    (b"cbuiltins\nbytes\n(L99999999999L\ntR.", "positional argument"),
    (b"c_codecs\nencode\n(Vx\nVzip\ntR.", "in encoding 'zip', expected latin1"),
    (b"cnumpy\ndtype\n(VO8\ntR.", "array of type 'O8', expected integers"),
    (b"cnumpy\ndtype\n(Vf4\ntR.", "array of type 'f4', expected integers"),
    (b"cnumpy.core.multiarray\n_reconstruct\n(I1\nI2\nI3\ntR.", "unknown class"),
    (b"]q\x00.", "holds a list, not a dict"), (b"", "Ran out of input"),
    (b"not a pickle", "not a CIFAR-10 batch"),
])  # fmt: skip
def test_refused_in_one_line(data, reason):
    with pytest.raises(DataError, match=reason) as caught:
        read_batch(data, "data_batch_1")
    assert "\n" not in str(caught.value)


def test_truncated_anywhere():
    data = pickle.dumps(BATCH | {b"data": IMAGES[:, :30].copy()}, 2)
    for stop in range(len(data)):
        with pytest.raises(DataError):
            read_batch(data[:stop], "data_batch_1")
