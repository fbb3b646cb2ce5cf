"""Damage to files, a function a kind, each drawn from a seed.

`mutate(data, kind, seed)` is one damaged form of a file's bytes and `mutants(data, count, seed)`
are many, which go through all KINDS in turn. The same arguments give the same bytes. A mutant may
be a good file all the same, since a flipped bit of a pixel is another pixel: what is asked of a
command is that it ends, in one line where it fails.
"""

from __future__ import annotations

import gzip
import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator

Mutator = Callable[[bytes, random.Random], bytes]

#: kind -> its function of the bytes and of the random numbers
KINDS: dict[str, Mutator] = {}

#: Whole numbers at which a size, an offset or a count breaks something.
_EDGES = (
    *(0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF),
    *(0xFFFFFFF0, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1),
)
#: What stands for a number in a text.
_NUMBERS = (
    *(b"-1", b"0", b"00", b"1e999", b"-1e999", b"nan", b"inf", b"1e-320", b"0.1.2", b"0x7f"),
    *(b"2147483647", b"2147483648", b"-2147483649", b"4294967296", b"9" * 19, b"9" * 400, b"1e9"),
)
_MAGICS = (
    *(b"\x1f\x8b\x08\x00", b"\x89PNG\r\n\x1a\n", b"\x89HDF\r\n\x1a\n", b"\x93NUMPY\x01\x00"),
    *(
        b"PK\x03\x04",
        b"\xff\xd8\xff\xe0",
        b"BZh9",
        b"\xfd7zXZ\x00",
        b"\x80\x04\x95",
        b"\x00\x00\x08",
    ),
)
_MOST = 1 << 24  # a mutant is no larger, unless what it is of is


def mutate(data: bytes, kind: str, seed: int) -> bytes:
    """`data` damaged in one of KINDS; of what cannot be damaged so, another damage."""
    draw = random.Random(f"{kind} {seed}")
    damaged = KINDS[kind](data, draw)
    return damaged if damaged != data else _bit(data, draw)


def mutants(data: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield `count` times (kind, damaged bytes), the kinds in turn."""
    kinds = list(KINDS)
    for number in range(count):
        kind = kinds[(number + seed) % len(kinds)]
        yield kind, mutate(data, kind, seed * 1_000_003 + number)


def _kind(function: Mutator) -> Mutator:
    KINDS[function.__name__.strip("_").replace("_", " ")] = function
    return function


def _span(data: bytes, draw: random.Random, most: int = 4096) -> slice:
    start = draw.randrange(len(data) + 1)
    return slice(start, start + draw.randint(1, draw.choice((1, 8, 64, most))))


def _replaced(data: bytes, span: slice, by: bytes) -> bytes:
    return data[: span.start] + by + data[span.stop :]


# --- less of it ---


@_kind
def _empty(data: bytes, draw: random.Random) -> bytes:
    return b""


@_kind
def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


@_kind
def _cut_early(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(min(len(data), 64) + 1)]


@_kind
def _cut_late(data: bytes, draw: random.Random) -> bytes:
    return data[: max(0, len(data) - draw.randint(1, 16))]


@_kind
def _cut_to_blocks(data: bytes, draw: random.Random) -> bytes:
    block = draw.choice((512, 4096))
    return data[: draw.randrange(len(data) // block + 1) * block]


@_kind
def _beginning_lost(data: bytes, draw: random.Random) -> bytes:
    return data[draw.choice((1, 3, 4, 8, 512, 4096)) :]


@_kind
def _part_lost(data: bytes, draw: random.Random) -> bytes:
    return _replaced(data, _span(data, draw), b"")


# --- other bytes in it ---


@_kind
def _bit(data: bytes, draw: random.Random) -> bytes:
    if not data:
        return b"\0"
    changed = bytearray(data)
    changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


@_kind
def _bits(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((2, 8, 64, 512)) if data else 0):
        changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


@_kind
def _bits_early(data: bytes, draw: random.Random) -> bytes:
    return _bits(data[:128], draw) + data[128:]


@_kind
def _burst(data: bytes, draw: random.Random) -> bytes:
    span = _span(data, draw)
    return _replaced(data, span, draw.randbytes(span.stop - span.start))


@_kind
def _zeros(data: bytes, draw: random.Random) -> bytes:
    span = _span(data, draw)
    return _replaced(data, span, bytes(span.stop - span.start))


@_kind
def _ones(data: bytes, draw: random.Random) -> bytes:
    span = _span(data, draw)
    return _replaced(data, span, b"\xff" * (span.stop - span.start))


@_kind
def _block_of_zeros(data: bytes, draw: random.Random) -> bytes:
    """What a file system leaves of a page that was never written."""
    start = draw.randrange(len(data) // 4096 + 1) * 4096
    return _replaced(data, slice(start, start + 4096), bytes(len(data[start : start + 4096])))


@_kind
def _swapped(data: bytes, draw: random.Random) -> bytes:
    size, (first, second) = draw.choice((1, 4, 64)), sorted(draw.choices(range(len(data) + 1), k=2))
    one, other = data[first : first + size], data[second : second + size]
    if first + size > second:
        return data
    return data[:first] + other + data[first + size : second] + one + data[second + size :]


@_kind
def _noise(data: bytes, draw: random.Random) -> bytes:
    return draw.randbytes(draw.choice((1, 3, 100, 5000)))


@_kind
def _foreign_beginning(data: bytes, draw: random.Random) -> bytes:
    magic = draw.choice(_MAGICS)
    return magic + data[draw.choice((0, len(magic))) :]


@_kind
def _number_of_four_bytes(data: bytes, draw: random.Random) -> bytes:
    value = struct.pack(draw.choice("<>") + "I", draw.choice(_EDGES) & 0xFFFFFFFF)
    start = draw.randrange(len(data) + 1) & (~3 if draw.random() < 0.5 else ~0)
    return _replaced(data, slice(start, start + 4), value)


@_kind
def _number_of_four_bytes_early(data: bytes, draw: random.Random) -> bytes:
    return _number_of_four_bytes(data[:256], draw) + data[256:]


@_kind
def _number_of_eight_bytes(data: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(data) + 1) & ~7
    return _replaced(data, slice(start, start + 8), struct.pack("<Q", draw.choice(_EDGES)))


@_kind
def _varint(data: bytes, draw: random.Random) -> bytes:
    """A length of protobuf's that says something else."""
    value, coded = draw.choice(_EDGES), bytearray()
    while value > 0x7F:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    coded.append(value)
    start = draw.randrange(len(data) + 1)
    return _replaced(data, slice(start, start + draw.randint(0, 2)), bytes(coded))


# --- more of it ---


@_kind
def _inserted(data: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(data) + 1)
    return _replaced(data, slice(start, start), draw.randbytes(draw.choice((1, 4, 100))))


@_kind
def _nul(data: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(data) + 1)
    return _replaced(data, slice(start, start), bytes(draw.choice((1, 1, 4, 512))))


@_kind
def _repeated(data: bytes, draw: random.Random) -> bytes:
    span = _span(data, draw)
    part = data[span]
    times = min(draw.choice((1, 2, 10, 1000)), _MOST // (len(part) + 1))
    return _replaced(data, slice(span.start, span.start), part * times)


@_kind
def _twice(data: bytes, draw: random.Random) -> bytes:
    return data + data


@_kind
def _appended(data: bytes, draw: random.Random) -> bytes:
    return data + draw.choice((b"\0", b"\n", draw.randbytes(100), bytes(4096)))


# --- what a text is made of ---

_WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_STRING = re.compile(rb'"[^"\n]*"')


def _found(pattern: re.Pattern[bytes], data: bytes, draw: random.Random) -> slice | None:
    found = [match.span() for match in pattern.finditer(data[: 1 << 20])]
    return slice(*draw.choice(found)) if found else None


@_kind
def _written_number(data: bytes, draw: random.Random) -> bytes:
    span = _found(_NUMBER, data, draw)
    return data if span is None else _replaced(data, span, draw.choice(_NUMBERS))


@_kind
def _word(data: bytes, draw: random.Random) -> bytes:
    """A word gives way to another of the file, or is misspelt or lost."""
    span, other = _found(_WORD, data, draw), _found(_WORD, data, draw)
    if span is None or other is None:
        return data
    return _replaced(data, span, draw.choice((data[other], data[span] + b"x", b"", b"None")))


@_kind
def _string(data: bytes, draw: random.Random) -> bytes:
    span = _found(_STRING, data, draw)
    values = (
        *(
            b'""',
            b'"',
            b'"\\000"',
            b'"a\\0b"',
            b'"\x00"',
            b'"\\n\\033[31m"',
            b'"\xff\xfe"',
            b"'x\"",
        ),
        *(b'"$\\\\frac$"', b'"../../x"', b'"/"', b'"' + b"x" * 5000 + b'"', b"17", b"null", b"[]"),
    )
    return data if span is None else _replaced(data, span, draw.choice(values))


@_kind
def _line_lost(data: bytes, draw: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    if lines:
        del lines[draw.randrange(len(lines))]
    return b"".join(lines)


@_kind
def _line_many_times(data: bytes, draw: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    number = draw.randrange(len(lines))
    lines[number] *= min(draw.choice((2, 100, 20_000)), _MOST // (len(lines[number]) + 1) + 1)
    return b"".join(lines)


@_kind
def _lines_in_another_order(data: bytes, draw: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    draw.shuffle(lines)
    return b"".join(lines)


@_kind
def _ends_of_lines(data: bytes, draw: random.Random) -> bytes:
    return data.replace(b"\n", draw.choice((b"\r\n", b"\r", b" ", b"\x0b", b"\xe2\x80\xa8")))


@_kind
def _nested(data: bytes, draw: random.Random) -> bytes:
    """A bracket, or a whole `name {`, is opened thousands of times."""
    opening = re.compile(rb"\w+\s*\{|[\[({]")
    span, times = _found(opening, data, draw), draw.choice((50, 2000, 100_000))
    part = b"[" if span is None else data[span]
    start = 0 if span is None else span.start
    return _replaced(data, slice(start, start), part * min(times, _MOST // len(part)))


@_kind
def _not_utf_8(data: bytes, draw: random.Random) -> bytes:
    span = _found(_WORD, data, draw)
    wrong = draw.choice((b"\xff", b"\xc4\xd6", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80"))
    return wrong + data if span is None else _replaced(data, slice(span.stop, span.stop), wrong)


@_kind
def _byte_order_mark(data: bytes, draw: random.Random) -> bytes:
    return draw.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) + data


# --- inside what is compressed ---


@_kind
def _under_gzip(data: bytes, draw: random.Random) -> bytes:
    """The damage is in what a gzip file holds, whose own checksum is right again."""
    try:
        content = zlib.decompressobj(31).decompress(data, _MOST)
    except zlib.error:
        content = data
    inner = draw.choice([name for name in KINDS if name != "under gzip"])
    return gzip.compress(KINDS[inner](content, draw), 1, mtime=0)
