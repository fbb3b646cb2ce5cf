"""LMDB folders, read with plain reads: a damaged or cut file is an error, never a signal.

liblmdb maps its file into memory and trusts what stands there: a file that was cut ends the
process with SIGBUS, one that was damaged with a failed assertion or a stray pointer. Here every
page is read, and checked before anything in it is followed. Writing is liblmdb's affair.

The format is that of LMDB 0.9 on 64-bit little-endian machines, which all of Caffe's databases
have: lmdb's mdb.c, "Meta page content" to "MDB_node".
"""

from __future__ import annotations

import bisect
import os
import struct
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from netgen.schema.files import SchemaError, StrPath

_MAGIC, _VERSIONS = 0xBEEFC0DE, (1, 999)
# A meta page behind its header, as _Meta has it; the page size is the free list's first field.
_META = struct.Struct("<II 16x I 44x 6x H 24x QQ QQ")
_HEADER = struct.Struct("<QHHHH")  # page number, -, flags, end of the slots, start of the nodes
_NODE = struct.Struct("<HHHH")  # sizes and flags; the key, and then the value, follow
_PAGE = struct.Struct("<Q")
_BRANCH, _LEAF, _META_PAGE = 1, 2, 8
_BIG = 1  # a node's flag: the value has pages of its own
_NONE = 2**64 - 1  # the root of an empty tree
_CHUNK = 1 << 20  # read at once where values lie one behind the other


class LMDBError(SchemaError):
    """A folder without an LMDB, or one that is damaged; one line."""


class _Meta(NamedTuple):
    magic: int
    version: int
    page_size: int
    depth: int
    entries: int
    root: int
    last_page: int
    transaction: int


class LMDBFolder:
    """The unnamed database in the folder `path`, as it was when it was opened.

    length: the number of its records. stat: of its file data.mdb, an os.stat_result. Raises
    OSError where the file cannot be opened, LMDBError where it is no LMDB or was cut.
    """

    def __init__(self, path: StrPath) -> None:
        self.path = os.fspath(path)
        self._file = os.open(os.path.join(self.path, "data.mdb"), os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._file)
        self.stat = os.fstat(self._file)
        self._find_meta()

    def _find_meta(self) -> None:
        first = self._meta_at(0)
        self._page_size = first.page_size
        meta = max(first, self._meta_at(self._page_size), key=lambda meta: meta.transaction)
        self._root, self._depth, self._last = meta.root, meta.depth, meta.last_page
        self.length = meta.entries
        if self.length * _NODE.size > self.stat.st_size:
            raise self._damaged(f"it tells of {self.length:,} records")
        whole = (self._last + 1) * self._page_size
        if self.stat.st_size < whole:
            # Pages at the end may be unused, and then need not be there.
            try:
                for leaf in self._leaves():
                    leaf.check_extents(self.stat.st_size)
            except LMDBError:
                raise self._cut(f"{whole:,} bytes are wanted") from None

    def _meta_at(self, offset: int) -> _Meta:
        """The meta page there."""
        if self.stat.st_size < offset + 16 + _META.size:
            raise LMDBError("MDB_INVALID: File is not an LMDB file")
        head = self._read(offset, 16 + _META.size)
        page, _, flags, _, _ = _HEADER.unpack_from(head)
        meta = _Meta._make(_META.unpack_from(head, 16))
        if meta.magic != _MAGIC or not flags & _META_PAGE:
            raise LMDBError("MDB_INVALID: File is not an LMDB file")
        if meta.version not in _VERSIONS:
            raise LMDBError("MDB_VERSION_MISMATCH: Database environment version mismatch")
        size = meta.page_size
        if page not in (0, 1) or not 512 <= size <= 1 << 16 or size & (size - 1):
            raise LMDBError("MDB_INVALID: File is not an LMDB file")
        return meta

    def records(self, start: int = 0, stride: int = 1) -> Iterator[tuple[memoryview, memoryview]]:
        """Yield (key, value) in key order: every stride-th record from `start` on, for ever.

        Of records that are left out no values are read. Raises LMDBError where the file is
        damaged or has been cut.
        """
        if not self.length:
            return
        wanted, read = start % self.length, _Chunks(self._read)
        while True:
            first = 0
            for leaf in self._leaves():
                while wanted < first + len(leaf):
                    yield leaf.record(wanted - first, read)
                    wanted += stride
                first += len(leaf)
                if first > self.length:
                    break
            self._check_count(first)
            wanted -= self.length

    def picked(self, numbers: Iterable[int]) -> Iterator[tuple[memoryview, memoryview]]:
        """Yield (key, value) of the records of these numbers, which count them in key order.

        Every leaf page is looked at once before the first of them. Raises LMDBError as `records`.
        """
        pages, starts, first = [], [], 0
        for leaf in self._leaves():
            pages.append(leaf.number)
            starts.append(first)
            first += len(leaf)
        self._check_count(first)
        read = _Chunks(self._read)
        for number in numbers:
            at = bisect.bisect_right(starts, number) - 1
            yield self._leaf(pages[at], self._page(pages[at])).record(number - starts[at], read)

    def once(self) -> Iterator[tuple[memoryview, memoryview]]:
        """Yield (key, value) of all records once, in key order."""
        records = self.records()
        for _ in range(self.length):
            yield next(records)

    def _leaves(self) -> Iterator[_Leaf]:
        """Every leaf page with its records, in key order."""
        stack = [(self._root, 1)] if self._root != _NONE else []  # pages and their depths
        while stack:
            number, depth = stack.pop()
            page = self._page(number)
            flags = _HEADER.unpack_from(page)[2]
            if flags & _LEAF and depth == self._depth:
                yield self._leaf(number, page)
            elif flags & _BRANCH and depth < self._depth:
                for slot in reversed(self._slots(page, number)):
                    low, high, top, _ = _NODE.unpack_from(page, slot)
                    stack.append((low | high << 16 | top << 32, depth + 1))
            else:
                raise self._damaged(f"page {number} is no page of its tree")

    def _leaf(self, number: int, page: bytes) -> _Leaf:
        return _Leaf(self, number, page, self._slots(page, number))

    def _check_count(self, found: int) -> None:
        """Raise LMDBError unless the leaves hold as many records as the file tells of."""
        if found != self.length:
            raise self._damaged(f"it tells of {self.length:,} records and has {found:,}")

    def _page(self, number: int) -> bytes:
        if not 2 <= number <= self._last:
            raise self._damaged(f"it refers to page {number} of {self._last + 1}")
        page = self._read(number * self._page_size, self._page_size)
        if _PAGE.unpack_from(page)[0] != number:
            raise self._damaged(f"page {number} is another one")
        return page

    def _slots(self, page: bytes, number: int) -> tuple[int, ...]:
        """Where the nodes of a page begin."""
        lower = _HEADER.unpack_from(page)[3]
        if not 16 <= lower <= len(page) or lower % 2:
            raise self._damaged(f"page {number} has no valid nodes")
        slots = struct.unpack_from(f"<{(lower - 16) // 2}H", page, 16)
        if slots and not lower <= min(slots) <= max(slots) <= len(page) - _NODE.size:
            raise self._damaged(f"page {number} has no valid nodes")
        return slots

    def _read(self, offset: int, size: int) -> bytes:
        """Exactly so many bytes from there."""
        try:
            data = os.pread(self._file, size, offset)
            while 0 < len(data) < size:
                more = os.pread(self._file, size - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise LMDBError(f"{self.path}: data.mdb cannot be read: {error.strerror}") from None
        if len(data) < size:
            raise self._cut(f"bytes {offset:,} to {offset + size:,} are wanted")
        return data

    def _cut(self, wanted: str) -> LMDBError:
        size = os.fstat(self._file).st_size
        return LMDBError(
            f"{self.path}: data.mdb was cut, it has {size:,} bytes and {wanted}; copy it again"
        )

    def _damaged(self, what: str) -> LMDBError:
        return LMDBError(f"{self.path}: data.mdb is damaged, {what}; copy it again")


class _Leaf:
    """A leaf page: record `i` of it is at its i-th slot."""

    def __init__(
        self, folder: LMDBFolder, number: int, page: bytes, slots: tuple[int, ...]
    ) -> None:
        self._folder, self.number, self._page, self._slots = folder, number, page, slots

    def __len__(self) -> int:
        return len(self._slots)

    def record(self, index: int, read: _Chunks) -> tuple[memoryview, memoryview]:
        """Key and value of a record."""
        key, place, size, is_here = self._extent(index)
        value = memoryview(self._page)[place : place + size] if is_here else read(place, size)
        return key, value

    def check_extents(self, end: int) -> None:
        """Raise LMDBError where a value does not end before byte `end` of the file."""
        for index in range(len(self._slots)):
            _, place, size, is_here = self._extent(index)
            if not is_here and place + size > end:
                raise self._folder._damaged(f"page {self.number} refers to what is behind its end")

    def _extent(self, index: int) -> tuple[memoryview, int, int, bool]:
        """The key; where the value begins, its size, and whether that is in this page."""
        page, at = self._page, self._slots[index]
        low, high, flags, key_size = _NODE.unpack_from(page, at)
        start = at + _NODE.size
        begin, size = start + key_size, low | high << 16
        end = begin + _PAGE.size if flags & _BIG else begin + size
        if end > len(page) or flags & ~_BIG:
            raise self._folder._damaged(f"record {index} of page {self.number} is no record")
        key = memoryview(page)[start:begin]
        if not flags & _BIG:
            return key, begin, size, True
        first = _PAGE.unpack_from(page, begin)[0]
        width = self._folder._page_size
        if first < 2 or first + -(-(16 + size) // width) > self._folder._last + 1:
            raise self._folder._damaged(f"record {index} of page {self.number} is not in the file")
        return key, first * width + 16, size, False


class _Chunks:
    """Reads values; where one follows on the last, much at once."""

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self._read = read
        self._start, self._data, self._end = 0, memoryview(b""), 0

    def __call__(self, offset: int, size: int) -> memoryview:
        from_here = offset - self._start
        if from_here < 0 or from_here + size > len(self._data):
            follows = 0 <= offset - self._end <= _CHUNK // 16
            self._start, from_here = offset, 0
            self._data = memoryview(self._fetch(offset, size, follows))
        self._end = offset + size
        return self._data[from_here : from_here + size]

    def _fetch(self, offset: int, size: int, follows: bool) -> bytes:
        if follows and size < _CHUNK:
            try:
                return self._read(offset, _CHUNK)
            except LMDBError:  # the file ends before that
                pass
        return self._read(offset, size)
