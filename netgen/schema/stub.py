"""The type stub of the messages, caffe_pb.pyi, which netgen/schema/compile.py writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

HEAD = '''\
"""The messages as a type checker sees them: made by `python netgen/schema/compile.py`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from google.protobuf.internal.containers import (
    RepeatedCompositeFieldContainer,
    RepeatedScalarFieldContainer,
)
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

DESCRIPTOR_SET: Path
'''
_FIELD = FieldDescriptorProto
_SCALARS = {
    _FIELD.TYPE_BOOL: "bool",
    _FIELD.TYPE_BYTES: "bytes",
    _FIELD.TYPE_DOUBLE: "float",
    _FIELD.TYPE_ENUM: "int",
    _FIELD.TYPE_FLOAT: "float",
    _FIELD.TYPE_STRING: "str",
}  # the rest are whole numbers


def stub(file_set: FileDescriptorSet) -> str:
    """The text of the stub of a FileDescriptorSet: all messages and enums, fields with types."""
    lines = [HEAD]
    for file in file_set.file:
        for enum in file.enum_type:
            lines += [*_enum(enum, "{}"), ""]
        for message in file.message_type:
            lines += [*_message(message, file), ""]
    return "\n".join(lines).rstrip() + "\n"


def _enum(enum: EnumDescriptorProto, form: str) -> Iterator[str]:
    """An enum and its values; form: of their types, ClassVar[...] inside a message."""
    yield f"{enum.name}: {form.format('EnumTypeWrapper')}"
    for value in enum.value:
        yield f"{value.name}: {form.format('int')}"


def _message(message: DescriptorProto, file: FileDescriptorProto) -> Iterator[str]:
    yield f"class {message.name}(Message):"
    body = list(_body(message, file))
    yield from (f"    {line}" if line else "" for line in body or ["..."])


def _body(message: DescriptorProto, file: FileDescriptorProto) -> Iterator[str]:
    for enum in message.enum_type:
        yield from _enum(enum, "ClassVar[{}]")
    for nested in message.nested_type:
        yield from _message(nested, file)
    for field in message.field:
        yield from _attribute(field, file)
    if message.field:
        yield "def __init__("
        yield "    self,"
        yield "    *,"
        for field in message.field:
            yield f"    {field.name}: {_argument(field, file)} | None = ...,"
        yield ") -> None: ..."


def _type(field: FieldDescriptorProto, file: FileDescriptorProto) -> str:
    if field.type == _FIELD.TYPE_MESSAGE:
        return field.type_name.removeprefix(f".{file.package}.")
    return _SCALARS.get(field.type, "int")


def _attribute(field: FieldDescriptorProto, file: FileDescriptorProto) -> Iterable[str]:
    kind, message = _type(field, file), field.type == _FIELD.TYPE_MESSAGE
    if field.label == _FIELD.LABEL_REPEATED:
        container = "RepeatedCompositeFieldContainer" if message else "RepeatedScalarFieldContainer"
        kind = f"{container}[{kind}]"
    elif not message:
        return [f"{field.name}: {kind}"]
    return ["@property", f"def {field.name}(self) -> {kind}: ..."]


def _argument(field: FieldDescriptorProto, file: FileDescriptorProto) -> str:
    """What the constructor takes for a field: of a message also a dict, of an enum also a name."""
    kind = _type(field, file)
    if field.type == _FIELD.TYPE_MESSAGE:
        kind = f"{kind} | Mapping[str, Any]"
    elif field.type == _FIELD.TYPE_ENUM:
        kind = f"{kind} | str"
    return f"Iterable[{kind}]" if field.label == _FIELD.LABEL_REPEATED else kind
