"""prototxt: protobuf's text format, read and written."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from google.protobuf import text_encoding, text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from netgen import own_layers
from netgen.schema import encoding
from netgen.schema.files import SchemaError, StrPath, read_bytes, write_bytes

M = TypeVar("M", bound=Message)

_OWN_PACKAGE = re.compile(r"\bcaffe\.own\d+\.")
_OWN = 1900  # the number of LayerParameter.own_fields
#: bytes that no text has, whatever its encoding
_NOT_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"' r"|'(?:\\.|[^'\\\n])*'")
_STRINGS_OR_COMMENT = re.compile(
    rf"#[^\n]*|(?P<strings>(?:{_STRING.pattern})(?:\s+(?:{_STRING.pattern}))*)"
)
_BYTE_ESCAPE = re.compile(r"\\(?:[23][0-7]{2}|[xX][89a-fA-F][0-9a-fA-F])")
_POSITION = re.compile(r"^\d+:\d+ : ")
_QUOTED_LINE = re.compile(r"^'.*?': (?=[A-Z])", re.DOTALL)
_FIELD_BEFORE = re.compile(r"(\w+)\s*:\s*$")
_NOT_ABOUT_A_VALUE = ('Expected "}"', 'Expected ">"', "Message type")


def parse_text(text: str, message_class: type[M], filename: str = "<string>") -> M:
    """Parse prototxt text into a new message.

    Raises SchemaError "FILE:LINE:COLUMN: what is wrong", in protobuf's words.
    """
    message = message_class()
    try:
        try:
            text_format.Parse(text, message)
        except text_format.ParseError as error:
            read = _with_bytes_as_they_are(text)
            if read == text:
                message = _with_own_fields(text, message_class, filename, error)
            else:
                return parse_text(read, message_class, filename)
    except RecursionError:
        raise SchemaError(f"{filename}: messages are nested too deep") from None
    missing = message.FindInitializationErrors()  # type: ignore[attr-defined]
    if missing:
        name = _OWN_PACKAGE.sub("caffe.", message_class.DESCRIPTOR.full_name)
        raise SchemaError(f"{filename}: {name} lacks the required {', '.join(missing)}")
    return message


def _with_bytes_as_they_are(text: str) -> str:
    """Text whose strings hold what is not UTF-8 (GBK, Latin-1) itself, and not escaped.

    C++ protobuf prints such names with escapes, "\\304\\343", and reads them; Python's refuses
    them. They become what `encoding.decode` makes of those bytes. Strings in a row are one.
    """

    def unescaped(found: re.Match[str]) -> str:
        if found["strings"] is None or not _BYTE_ESCAPE.search(found["strings"]):
            return found[0]
        tokens = _STRING.findall(found["strings"])
        try:
            data = b"".join(text_encoding.CUnescape(token[1:-1]) for token in tokens)
        except ValueError:  # of an escape that is none, which protobuf tells better
            return found[0]
        if _is_utf_8(data):
            return found[0]
        lines = "\n" * found["strings"].count("\n")
        return f"{_quoted(encoding.decode(data))}{lines}"

    return _STRINGS_OR_COMMENT.sub(unescaped, text)


def _quoted(text: Any) -> str:
    return f'"{text_encoding.CEscape(text, True)}"'


def _is_utf_8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _with_own_fields(
    text: str, message_class: type[M], filename: str, error: text_format.ParseError
) -> M:
    """The message of a text that has fields of people's own layers.

    error: what is wrong where it has none. Raises SchemaError.
    """
    from netgen.schema import forks, own

    fields: list[own.OwnField] = []
    lacking = ""
    try:
        items = own.items(text, message_class.DESCRIPTOR)
        if any(item.unknown for item in own.walk(items)):
            own_layers.load_installed()
            text, fields = own.take_own_fields(text, items, parse_text)
        if not fields:
            _refuse_the_other_kind([i for i in items if i.unknown], message_class)
            lacking = forks.lacking(*own.lacks(items))
    except SchemaError as refusal:
        raise SchemaError(f"{filename}{refusal}") from None
    except ValueError:  # protobuf says better what is wrong
        pass
    message = message_class()
    if fields:
        try:
            text_format.Parse(text, message)
        except text_format.ParseError as another:
            error = another
        else:
            for field in fields:
                field.keep(message)
            return message
    raise SchemaError(f"{filename}:{_explain(error, text)}{lacking}") from None


def _refuse_the_other_kind(unknown: list[Any], message_class: type[Message]) -> None:
    """Raise SchemaError where a solver's prototxt stands for a net's, or a net's for a solver's."""
    from netgen.schema import caffe_pb, forks

    kinds: dict[str, Any] = {"net": caffe_pb.NetParameter, "solver": caffe_pb.SolverParameter}
    wanted = next((kind for kind, known in kinds.items() if known is message_class), None)
    if wanted is None or not unknown:
        return
    other = "solver" if wanted == "net" else "net"
    descriptor = kinds[other].DESCRIPTOR
    for item in unknown:
        if item.name not in descriptor.fields_by_name and not forks.fork_of(
            f"{descriptor.name}.{item.name}"
        ):
            return
    told = f": this is a {other}'s prototxt, where a {wanted}'s is wanted"
    net = [item.tokens[0] for item in unknown if item.name == "net" and item.tokens]
    raise SchemaError(f"{told}; its net is {net[0]}" if net else told)


def _explain(error: text_format.ParseError, text: str) -> str:
    """ "LINE:COLUMN: message", with the field where a value is wrong and protobuf names none."""
    what = _QUOTED_LINE.sub("", _POSITION.sub("", str(error))).rstrip(".")
    what = _OWN_PACKAGE.sub("caffe.", what)
    line, column = error.GetLine(), error.GetColumn()
    if line is None or column is None:
        return f" {what}"
    field = _FIELD_BEFORE.search(text.split("\n")[line - 1][: column - 1])
    if field and not what.startswith(_NOT_ABOUT_A_VALUE):
        what = f"{field[1]}: {what}"
    return f"{line}:{column}: {what}"


def read_text(path: StrPath, message_class: type[M]) -> M:
    """Read a prototxt file into a new message. Raises SchemaError."""
    path = os.fspath(path)
    data = read_bytes(path)
    binary = _NOT_TEXT.search(data)
    if binary:
        line = data.count(b"\n", 0, binary.start()) + 1
        raise SchemaError(f"{path}:{line}: not text (a binary file?)")
    text = encoding.decode(data)
    if not text.strip():
        raise SchemaError(f"{path}: the file is empty")
    return parse_text(text, message_class, path)


def to_text(message: Message) -> str:
    """A message as prototxt, the way Caffe itself prints it (C++ protobuf's DebugString).

    Python's text_format would write `lr_mult: 1.0` for Caffe's `lr_mult: 1`, so logs and
    files could not be compared with Caffe's line by line. A float has as few digits as read
    back the same.
    """
    return "".join(_lines(message, ""))


def write_text(message: Message, path: StrPath) -> None:
    """Write a message as a prototxt file, whole or not at all. Raises SchemaError."""
    write_bytes(encoding.encode(to_text(message)), path)


def _lines(message: Message, indent: str) -> Iterator[str]:
    for field, value in message.ListFields():
        values = value if _is_repeated(field) else (value,)
        if field.name == "own_fields" and field.number == _OWN:
            for item in values:
                yield from (f"{indent}{line}\n" for line in item.splitlines())
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for item in values:
                yield f"{indent}{field.name} {{\n"
                yield from _lines(item, indent + "  ")
                yield f"{indent}}}\n"
        else:
            show = _SHOW.get(field.type, str)
            for item in values:
                yield f"{indent}{field.name}: {show(item) if show else _enum(field, item)}\n"


def _is_repeated(field: FieldDescriptor) -> bool:
    # `label` is gone from newer protobuf, `is_repeated` is missing from older.
    repeated = getattr(field, "is_repeated", None)
    return bool(
        getattr(field, "label", None) == FieldDescriptor.LABEL_REPEATED
        if repeated is None
        else repeated
    )


def _enum(field: FieldDescriptor, number: int) -> str:
    value = field.enum_type.values_by_number.get(number)  # type: ignore[union-attr]
    return value.name if value else str(number)


def _float(value: float) -> str:
    """The shortest decimal that reads back as the same float32."""
    for digits in range(6, 9):
        text = f"{value:.{digits}g}"
        if _as_float32(text) == value:
            return text
    return f"{value:.9g}"


def _as_float32(text: str) -> float:
    try:
        return struct.unpack("f", struct.pack("f", float(text)))[0]
    except OverflowError:  # rounded up beyond the largest float32
        return float("inf")


def _double(value: float) -> str:
    text = f"{value:.15g}"
    return text if float(text) == value else f"{value:.17g}"


_SHOW: dict[int, Callable[[Any], str] | None] = {
    FieldDescriptor.TYPE_FLOAT: _float,
    FieldDescriptor.TYPE_DOUBLE: _double,
    FieldDescriptor.TYPE_BOOL: lambda value: "true" if value else "false",
    FieldDescriptor.TYPE_STRING: _quoted,
    FieldDescriptor.TYPE_BYTES: lambda value: f'"{text_encoding.CEscape(value, False)}"',
    FieldDescriptor.TYPE_ENUM: None,
}
