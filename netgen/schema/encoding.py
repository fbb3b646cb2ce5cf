"""Text in any encoding: a byte that is not UTF-8 travels as one private character, and back.

Caffe looks at no encoding: comments and names may be GBK or Latin-1. protobuf's Python strings
are Unicode and take no surrogates, so that Python's own way (surrogateescape) is closed. Here
the byte 0x80 + n becomes the character U+10FF80 + n, the end of the last plane for private use,
when text or a binary file is read, and becomes the byte again when either is written.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from netgen.errors import BYTE
from netgen.schema.wire import LENGTH, varint

_STANDS_FOR_A_BYTE = re.compile("[\U0010ff80-\U0010ffff]")
_STANDS_FOR_A_BYTE_IN_UTF8 = re.compile(rb"\xf4\x8f[\xbe\xbf][\x80-\xbf]")


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return "".join(chr(BYTE + byte) for byte in wrong), error.end


codecs.register_error("caffe", _stand_in)


def decode(data: bytes) -> str:
    """The text of bytes, a mark of their order at their start left out."""
    return data.decode("utf-8-sig", "caffe")


def encode(text: str) -> bytes:
    """The bytes of text: of what `decode` gave, those that it was given."""
    data = text.encode()
    if _STANDS_FOR_A_BYTE_IN_UTF8.search(data) is None:
        return data
    return _STANDS_FOR_A_BYTE_IN_UTF8.sub(
        lambda found: bytes([ord(found[0].decode()) - BYTE]), data
    )


def take_strings(message: Message) -> None:
    """Make the strings of a message from a binary file strings, whatever their encoding.

    protobuf gives those that are not UTF-8 as bytes, and takes none back in that form.
    """
    for inner, field, value in _strings(message):
        if isinstance(value, bytes):
            setattr(inner, field.name, decode(value))
        elif not isinstance(value, str) and any(isinstance(item, bytes) for item in value):
            value[:] = [decode(item) if isinstance(item, bytes) else item for item in value]


def to_wire(message: Message) -> bytes:
    """A message as a binary file has it. Raises what SerializeToString raises."""
    if not any(_has_stand_in(value) for _, _, value in _strings(message)):
        return message.SerializeToString()
    message = _copy(message)
    for inner, field, value in list(_strings(message)):
        if _has_stand_in(value):
            values = [value] if isinstance(value, str) else list(value)
            inner.ClearField(field.name)
            for data in map(encode, values):
                inner.MergeFromString(varint(field.number << 3 | LENGTH) + varint(len(data)) + data)
    return message.SerializeToString()


def _copy(message: Message) -> Message:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _has_stand_in(value: Any) -> bool:
    values = [value] if isinstance(value, str) else value
    return any(not v.isascii() and _STANDS_FOR_A_BYTE.search(v) for v in values)


def _strings(message: Message) -> Iterator[tuple[Message, FieldDescriptor, Any]]:
    """(message, field, value) of every string field inside; blobs, which have none, are passed."""
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_STRING:
            yield message, field, value
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in value if hasattr(value, "extend") else (value,):
                if inner.DESCRIPTOR.name != "BlobProto":
                    yield from _strings(inner)
