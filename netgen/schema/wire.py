"""protobuf's wire form, as far as NumPy reads and writes it in protobuf's place.

A field is a tag, which is its number and a kind, and a value. See
https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # kinds


def tag(number: int, kind: int) -> bytes:
    """The tag of a field; number: below 16, so that it is one byte."""
    return bytes([number << 3 | kind])


def varint(number: int) -> bytes:
    """A number in base 128, lowest digit first; a negative one as two's complement of 64 bits."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The varint at `at` and the position behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
