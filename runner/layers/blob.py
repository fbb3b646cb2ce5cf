"""Blobs as Caffe has them: a shape over memory that may be larger, be shared, and be watched.

The engine's own passes never touch a blob's memory, and a blob that nobody looks at has none.
Whoever does look, pycaffe's face or a Python layer, sees numpy arrays over memory that stays
the same from pass to pass.
"""

from __future__ import annotations

import math
import operator
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
import torch

from netgen.errors import FatalError


class Uncopied:
    """What stands for a net's memory is neither copied nor pickled, as in pycaffe."""

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise FatalError(
            f'Pickling of "caffe._caffe.{type(self).__name__}" instances is not enabled: '
            "copy arrays, as in blob.data.copy()"
        )


class Window:
    """What every numpy view of some memory has as its base: it lives as long as one of them."""

    def __init__(self, flat: torch.Tensor) -> None:
        self._flat = flat
        self.__array_interface__ = {
            "shape": tuple(flat.shape),
            "typestr": "<f4",
            "data": (flat.data_ptr(), False),
            "version": 3,
        }


class SyncedMemory:
    """Flat float32 memory: the data or the diff of a blob, or of several that share it.

    size: how many values there is room for; they are zero at first. flat: the memory itself, a
    contiguous 1-D tensor that belongs to somebody else (a parameter); by default it is
    allocated when it is needed. device: where layers compute. due: called before the memory is
    read or written if what belongs there is still to be computed.

    A layer's result is only noted (`put`) and reaches the memory when somebody looks there.
    While numpy views exist it is copied under them. With a CUDA device views are of a host
    copy, and the newest of both counts: as in Caffe, asking for a view fetches the device's
    values and makes the host's the newest, since whoever has a view may write to it.
    """

    def __init__(
        self,
        size: int,
        device: torch.device | None = None,
        flat: torch.Tensor | None = None,
        due: Callable[[], None] | None = None,
    ) -> None:
        self.size = size
        self.version = 0
        self.due = due
        self._device = flat.device if flat is not None else device or torch.device("cpu")
        self._mirrored = self.mirrors(self._device)
        self._flat = flat
        self._fixed = flat is not None
        self._noted: torch.Tensor | None = None  # newer than _flat
        self._owned = False  # may _noted become _flat?
        self._host: torch.Tensor | None = None  # of a CUDA device
        self._host_is_newest = False
        self._window: weakref.ref[Window] | None = None

    @staticmethod
    def mirrors(device: torch.device) -> bool:
        """Are views of what lies on `device` of a copy on the host?"""
        return device.type != "cpu"

    @property
    def watched(self) -> bool:
        """Does anybody hold a numpy view?"""
        return self._window is not None and self._window() is not None

    def put(self, value: torch.Tensor, owned: bool = True) -> None:
        """Write `value` to the first places; whatever its layout, its order counts.

        owned: nobody else will use the tensor, which then may become the memory.
        """
        self.version += 1
        self._host_is_newest = False
        self._noted, self._owned = value.detach() if value.requires_grad else value, owned
        if self._fixed or (self.watched and not self._mirrored):
            self._settle()

    def tensor(self, shape: Sequence[int]) -> torch.Tensor:
        """The first values as a tensor of `shape` on the device; not to be written to."""
        if self.due is not None:
            self.due()
        if self._noted is not None:
            if self._noted.shape == shape:
                return self._noted
            if self._noted.numel() == math.prod(shape):
                if not self._noted.is_contiguous():
                    self._noted, self._owned = self._noted.contiguous(), True
                return self._noted.view(tuple(shape))
        return self._settled()[: math.prod(shape)].view(tuple(shape))

    def writable(self, shape: Sequence[int]) -> torch.Tensor:
        """The first values as a tensor of the memory itself on the device."""
        if self.due is not None:
            self.due()
        self.version += 1
        return self._settled()[: math.prod(shape)].view(tuple(shape))

    def flush(self) -> None:
        """Let what was written to the host's copy reach the device, which writes from now on."""
        if self._host_is_newest:
            self._settled()

    def kept(self, shape: Sequence[int]) -> torch.Tensor:
        """As `tensor`, but what it holds stays, whatever is written to the memory later."""
        value = self.tensor(shape)
        if self._noted is None:
            return value.clone()
        self._owned = False
        return value

    def array(self, shape: Sequence[int]) -> np.ndarray:
        """The first values as a writable float32 view of `shape`, which keeps them alive."""
        if self.due is not None:
            self.due()
        self.version += 1
        flat = self._settled()
        if self._mirrored:
            if self._host is None:
                self._host = torch.empty(self.size)
            if not self._host_is_newest:
                self._host.copy_(flat)
            flat, self._host_is_newest = self._host, True
        window = self._window() if self._window is not None else None
        if window is None:
            window = Window(flat)
            self._window = weakref.ref(window)
        if not self.size:
            return np.empty(shape, np.float32)
        return np.asarray(window)[: math.prod(shape)].reshape(shape)

    def shares_storage(self, value: torch.Tensor) -> bool:
        """Is `value` a view of what is here?"""
        mine = self._noted if self._noted is not None else self._flat
        if mine is None:
            return False
        return mine.untyped_storage().data_ptr() == value.untyped_storage().data_ptr()

    def _settled(self) -> torch.Tensor:
        """The flat memory on the device, with the newest values."""
        if self._host_is_newest:
            assert self._flat is not None and self._host is not None
            self._flat.copy_(self._host)
            self._host_is_newest = False
        elif self._noted is not None:
            self._settle()
        if self._flat is None:
            self._flat = torch.zeros(self.size, device=self._device)
        return self._flat

    def _settle(self) -> None:
        value, self._noted = self._noted, None
        assert value is not None
        count = value.numel()
        if (
            self._owned
            and count == self.size
            and value.is_contiguous()
            and value.untyped_storage().nbytes() == 4 * count
            and not self._fixed
            and not self.watched
        ):
            self._flat = value.view(-1)
            return
        if self._flat is None:
            whole = torch.empty if count == self.size else torch.zeros
            self._flat = whole(self.size, device=self._device)
        self._flat[:count].view(value.shape).copy_(value)


def _memory_of(tensor: torch.Tensor) -> SyncedMemory:
    """The one SyncedMemory over a tensor that belongs to the net's buffers."""
    memory = getattr(tensor, "caffe_memory", None)
    if memory is None:
        memory = tensor.caffe_memory = SyncedMemory(tensor.numel(), flat=tensor.detach().view(-1))
    return memory


class Blob(Uncopied):
    """An array of float32 and its gradient: `data` and `diff`, over memories of their own.

    Reshaping keeps the memory, and what lies at its start, unless more is needed than ever
    before: then it is new and zero, and views from before keep the old one.
    """

    def __init__(self, shape: Sequence[int] = (), device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        self._due: Callable[[], None] | None = None
        self._shape: tuple[int, ...] = ()
        self._capacity = -1
        self._parameter: tuple[Any, int] | None = None
        self.set_shape(tuple(shape))

    # --- what pycaffe shows ---

    @property
    def data(self) -> np.ndarray:
        """The values: a new writable view of the blob's memory at each access."""
        return self.data_memory.array(self._shape)

    @property
    def diff(self) -> np.ndarray:
        """The gradient, a view like `data`."""
        return self.diff_memory.array(self._shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def count(self) -> int:
        return math.prod(self._shape)

    @property
    def num(self) -> int:
        return self._legacy(0)

    @property
    def channels(self) -> int:
        return self._legacy(1)

    @property
    def height(self) -> int:
        return self._legacy(2)

    @property
    def width(self) -> int:
        return self._legacy(3)

    def _legacy(self, axis: int) -> int:
        if len(self._shape) > 4:
            raise FatalError(
                f"Check failed: num_axes() <= 4 ({len(self._shape)} vs. 4) "
                "Cannot use legacy accessors on Blobs with > 4 axes."
            )
        return self._shape[axis] if axis < len(self._shape) else 1

    def reshape(self, *shape: int, **keywords: object) -> None:
        """Take the shape of these whole numbers; none of them is a blob of one value.

        Raises TypeError for anything but whole numbers, FatalError for negative ones.
        """
        if keywords:
            raise FatalError("Blob.reshape takes no kwargs")
        try:
            sizes = tuple(operator.index(size) for size in shape)
        except TypeError:
            raise TypeError(
                "Blob.reshape takes whole numbers, one an axis, as in reshape(10, 3, 32, 32), "
                f"not {shape}"
            ) from None
        for size in sizes:
            if size < 0:
                raise FatalError(f"Check failed: shape[i] >= 0 ({size} vs. 0)")
        self.set_shape(sizes)

    # --- what the engine does with it ---

    @property
    def data_memory(self) -> SyncedMemory:
        """The memory of the data; a parameter's is whatever its layer uses now."""
        if self._parameter is None:
            return self._data
        node, index = self._parameter
        return _memory_of(node.leaves[index])

    @property
    def diff_memory(self) -> SyncedMemory:
        """The memory of the diff."""
        return self._diff

    def become_parameter(self, node: Any, index: int, gradient: torch.Tensor) -> None:
        """Be blob `index` of a layer as the net runs it, in the net's own buffers from now on."""
        self._parameter = node, index
        self._diff = _memory_of(gradient)
        self._shape = tuple(node.blobs[index].shape)
        self._capacity = gradient.numel()

    def serve(self, node: Any, index: int) -> None:
        """Be what blob `index` of another layer as wired computes with."""
        if self._parameter is None:
            raise FatalError(
                f"layer '{node.name}': blob {index} can only be replaced by another parameter"
            )
        shape = tuple(node.blobs[index].shape)
        if math.prod(shape) != self.count:
            raise FatalError(
                f"layer '{node.name}': blob {index} is {shape}, and was given {self._shape}"
            )
        owner, position = self._parameter
        node.leaves[index] = owner.leaves[position]
        node.blobs[index] = node.leaves[index].detach().view(shape)

    def set_shape(self, shape: tuple[int, ...]) -> None:
        """Take a shape, growing if need be."""
        if shape == self._shape and self._capacity >= 0:
            return
        count = math.prod(shape)
        if count > 2**31 - 1:
            raise FatalError(f"blob size exceeds INT_MAX ({shape})")
        self._shape = shape
        if count <= self._capacity:
            return
        if self._parameter is not None:
            self._outgrow(count)
            return
        self._capacity = count
        self._data = SyncedMemory(count, self._device)
        self._diff = SyncedMemory(count, self._device, due=self._due)

    def _outgrow(self, count: int) -> None:
        """Leave the net's buffers: the layer computes with the start of new, zero memory."""
        assert self._parameter is not None
        node, index = self._parameter
        old = node.leaves[index]
        flat = torch.zeros(count, device=old.device)
        leaf = flat[: old.numel()].view(old.shape).requires_grad_()
        leaf.caffe_memory = SyncedMemory(count, flat=flat)
        node.leaves[index] = leaf
        node.blobs[index] = leaf.detach().view(node.blobs[index].shape)
        self._capacity, self._diff = count, SyncedMemory(count, old.device)

    def watch_diff(self, due: Callable[[], None]) -> None:
        """Have `due` called before anybody reads or writes the diff."""
        self._due = self._diff.due = due

    def begin_elsewhere(self) -> tuple[SyncedMemory, tuple[int, ...]]:
        """Have other memory for the data for a while; returns what `end_elsewhere` takes."""
        place = self._data, self._shape
        self._data = SyncedMemory(self._capacity, self._device)
        return place

    def end_elsewhere(self, place: tuple[SyncedMemory, tuple[int, ...]]) -> None:
        """Have the data where they were, with what is there."""
        self._data, self._shape = place

    def lend_diff(self, memory: SyncedMemory) -> None:
        """Use this memory for the diff."""
        self._diff = memory

    def share_data(self, other: Blob) -> None:
        """Use the other's memory for the data (ShareData)."""
        self._data = other.data_memory

    def share_diff(self, other: Blob) -> None:
        """Use the other's memory for the diff (ShareDiff)."""
        self._diff = other.diff_memory

    def tensor(self) -> torch.Tensor:
        """The data as a tensor, not to be written to."""
        memory = self._data if self._parameter is None else self.data_memory
        return memory.tensor(self._shape)

    def memory(self) -> torch.Tensor:
        """The data as a tensor of their own memory, to be written to."""
        return self.data_memory.writable(self._shape)

    def diff_tensor(self) -> torch.Tensor:
        """The diff as a tensor, not to be written to."""
        return self.diff_memory.tensor(self._shape)

    def put(self, value: torch.Tensor, owned: bool = True) -> None:
        """Take the data, and with it the shape, of a tensor."""
        if value.shape != self._shape:
            self.set_shape(tuple(value.shape))
        self.data_memory.put(value, owned)

    def put_diff(self, value: torch.Tensor, owned: bool = True) -> None:
        """Take the diff of a tensor with as many values."""
        self.diff_memory.put(value, owned)


class Vector(Uncopied, list):
    """A list as pycaffe's vectors are: slices are vectors, and its errors are theirs."""

    def __getitem__(self, index: Any) -> Any:
        try:
            found = super().__getitem__(index)
        except IndexError:
            raise IndexError("Index out of range") from None
        except TypeError:
            raise TypeError("Invalid index type") from None
        return type(self)(found) if isinstance(index, slice) else found


class BlobVec(Vector):
    """The blobs of a layer. node: the layer as wired, once the blobs are its parameters."""

    node: Any = None

    def append(self, blob: Any) -> None:
        """Append a blob. Raises TypeError for anything else."""
        super().append(_blob(blob))

    def extend(self, blobs: Any) -> None:
        """Append blobs. Raises TypeError for anything else."""
        super().extend(map(_blob, blobs))

    def __setitem__(self, index: Any, blob: Any) -> None:
        """Have the layer use another layer's parameter from now on."""
        if isinstance(index, int):
            _blob(blob)
        try:
            super().__setitem__(index, blob)
        except IndexError:
            raise IndexError("Index out of range") from None
        if self.node is not None and isinstance(index, int):
            blob.serve(self.node, index)

    def add_blob(self, *shape: int, **keywords: object) -> None:
        """Append a blob of zeros."""
        if keywords:
            raise FatalError("BlobVec.add_blob takes no kwargs")
        blob = Blob()
        blob.reshape(*shape)
        self.append(blob)


def _blob(value: Any) -> Blob:
    if not isinstance(value, Blob):
        raise TypeError(f"a BlobVec holds blobs, not {type(value).__name__}: {value!r}")
    return value
