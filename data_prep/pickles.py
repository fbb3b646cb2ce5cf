"""An unpickler that admits what a CIFAR-10 batch file holds, and nothing else.

A pickle is a program: it may name any function and call it. The batch files need dicts,
lists, integers and strings, for which a pickle names nothing, and one uint8 array. Even
NumPy's own constructors stay out of reach here: the names a pickle may use for an array
lead to the small stand-ins below, which only carry shape, type and bytes.

Nor can it take more memory than the file has bytes, times a small factor: the unpickler is
Python's own in Python, whose memo is a dict (a number of 4 bytes makes C's grow to gigabytes);
keys are plain values, since to hash nested tuples overflows C's stack; and what a pickle may ask
to be allocated in advance is refused.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from data_prep.errors import DataError

_TYPES = {"u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"}


def read_batch(data: bytes, name: str) -> dict[str, Any]:
    """The dict in one pickled batch, its keys as str, its arrays as ndarrays.

    data: bytes of a batch as Python 2 or 3 wrote it, with NumPy 1 or 2, any protocol.
    name: for messages. Raises DataError if it is no such pickle or names anything else.
    """
    try:
        batch = _BatchUnpickler(io.BytesIO(data), encoding="bytes").load()
        if not isinstance(batch, dict):
            raise pickle.UnpicklingError(f"holds a {type(batch).__name__}, not a dict")
        return {
            _text(key): value.array() if isinstance(value, _Array) else value
            for key, value in batch.items()
        }
    except Exception as error:  # a damaged pickle can raise nearly anything
        if isinstance(error, EOFError):
            error = EOFError("Ran out of input")
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{name}: not a CIFAR-10 batch: {reason}") from None


_Python: Any = pickle._Unpickler  # type: ignore[attr-defined]


def _refused(self: Any) -> None:
    raise pickle.UnpicklingError("it holds what no batch file needs")


def _bytearray(self: Any) -> None:
    size = int.from_bytes(self.read(8), "little")
    data = self.read(size)  # what is there, and no more
    if len(data) < size:
        raise EOFError
    self.append(bytearray(data))


def _with_plain_keys(load: Any, keys: slice) -> Any:
    """The opcode `load`; keys: where on the stack they lie."""

    def checked(self: Any) -> None:
        if not all(isinstance(key, str | bytes | int) for key in self.stack[keys]):
            raise pickle.UnpicklingError("it holds a dict with odd keys")
        load(self)

    return checked


class _BatchUnpickler(_Python):
    dispatch = {
        **_Python.dispatch,
        pickle.SETITEM[0]: _with_plain_keys(_Python.load_setitem, slice(-2, -1)),
        pickle.SETITEMS[0]: _with_plain_keys(_Python.load_setitems, slice(None, None, 2)),
        pickle.DICT[0]: _with_plain_keys(_Python.load_dict, slice(None, None, 2)),
        pickle.BYTEARRAY8[0]: _bytearray,
        pickle.ADDITEMS[0]: _refused,
        pickle.FROZENSET[0]: _refused,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"the pickle asks for {module}.{name}, which no batch file needs"
            ) from None


class _Type:
    """Stands for numpy.dtype."""

    def __init__(self, code: str | bytes, align: bool = False, copy: bool = False) -> None:
        self.code = _text(code)
        if self.code not in _TYPES:
            raise pickle.UnpicklingError(f"array of type {self.code!r}, expected integers")
        self.order = "|"

    def __setstate__(self, state: tuple) -> None:
        self.order = _text(state[1])

    def numpy(self) -> np.dtype:
        return np.dtype((">" if self.order == ">" else "<") + self.code)


class _Array:
    """Stands for numpy.ndarray."""

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, fortran, data = state
        self.parts = data, kind, shape, "F" if fortran else "C"

    def array(self) -> np.ndarray:
        data, kind, shape, order = self.parts
        return np.frombuffer(data, kind.numpy()).reshape(shape, order=order)


def _reconstruct(kind: type, shape: tuple, code: bytes) -> _Array:
    if kind is not _Array:
        raise pickle.UnpicklingError("array of an unknown class")
    return _Array()


def _from_buffer(data: bytes, kind: _Type, shape: tuple, order: str) -> _Array:
    array = _Array()
    array.parts = data, kind, shape, order
    return array


def _encode(text: str, encoding: str | bytes = "latin1") -> bytes:
    """Stands for _codecs.encode, by which protocols up to 2 carry Python 3's bytes."""
    if _text(encoding) not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes in encoding {encoding!r}, expected latin1")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    """Stands for bytes, which these protocols call without arguments for b''."""
    return b""


def _text(value: Any) -> Any:
    return value.decode("ascii") if isinstance(value, bytes) else value


_ADMITTED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _empty_bytes,
    ("builtins", "bytes"): _empty_bytes,
} | {
    (f"numpy.{core}.{module}", name): stand_in
    for core in ("core", "_core")  # NumPy 1 and 2
    for module, name, stand_in in (
        ("multiarray", "_reconstruct", _reconstruct),
        ("numeric", "_frombuffer", _from_buffer),
    )
}
