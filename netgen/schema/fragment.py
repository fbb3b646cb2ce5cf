"""A fragment of a .proto file, read without protoc: messages, enums and their fields."""

from __future__ import annotations

import re

from google.protobuf import text_encoding
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

from netgen.schema.files import SchemaError

_TOKEN = re.compile(
    r"(?:\s|//[^\n]*|/\*.*?\*/)*(\"(?:\\.|[^\"\\])*\"|[{}\[\]=;,]|[^\s{}\[\]=;,\"]+)", re.DOTALL
)
_LABELS = {
    "optional": FieldDescriptorProto.LABEL_OPTIONAL,
    "required": FieldDescriptorProto.LABEL_REQUIRED,
    "repeated": FieldDescriptorProto.LABEL_REPEATED,
}
_SCALARS = {
    name: getattr(FieldDescriptorProto, f"TYPE_{name.upper()}")
    for name in [
        "bool",
        "bytes",
        "double",
        "fixed32",
        "fixed64",
        "float",
        "int32",
        "int64",
        "sfixed32",
        "sfixed64",
        "sint32",
        "sint64",
        "string",
        "uint32",
        "uint64",
    ]
}


def parse_fragment(text: str) -> FileDescriptorProto:
    """The messages and enums of a fragment. Raises SchemaError "the fragment:LINE: ..."."""
    return _Fragment(text).file()


class _Fragment:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def file(self) -> FileDescriptorProto:
        file = FileDescriptorProto(syntax="proto2")
        while word := self.peek():
            if word in ("message", "extend"):  # extend LayerParameter: the fields it gets
                self.message(file.message_type.add())
            elif word == "enum":
                self.enum(file.enum_type.add())
            elif word in ("syntax", "package", "import", "option"):
                while self.next() != ";":
                    pass
            else:
                self.refuse("message or enum")
        return file

    def message(self, message: DescriptorProto) -> None:
        self.next()
        message.name = self.next().rpartition(".")[2]
        self.take("{")
        while (word := self.peek()) != "}":
            if word == "message":
                self.message(message.nested_type.add())
            elif word == "enum":
                self.enum(message.enum_type.add())
            elif word in _LABELS:
                self.field(message.field.add())
            elif word in ("reserved", "extensions", "option"):
                while self.next() != ";":
                    pass
            else:
                self.refuse("optional, required, repeated, message or enum")
        self.take("}")

    def field(self, field: FieldDescriptorProto) -> None:
        field.label = _LABELS[self.next()]
        kind = self.next()
        if kind in _SCALARS:
            field.type = _SCALARS[kind]
        else:
            field.type_name = kind.removeprefix("caffe.")  # the pool finds out what it is
        field.name = self.next()
        self.take("=")
        field.number = self.number()
        if self.peek() == "[":
            self.next()
            while self.peek() != "]":
                name = self.next()
                self.take("=")
                value = self.next()
                if name == "default":
                    if value[0] == '"':
                        value = text_encoding.CUnescape(value[1:-1]).decode()
                    field.default_value = value
                elif name == "packed":
                    field.options.packed = value == "true"
                if self.peek() == ",":
                    self.next()
            self.take("]")
        self.take(";")

    def enum(self, enum: EnumDescriptorProto) -> None:
        self.next()
        enum.name = self.next()
        self.take("{")
        while self.peek() != "}":
            value = enum.value.add(name=self.next())
            self.take("=")
            value.number = self.number()
            self.take(";")
        self.take("}")
        if self.peek() == ";":
            self.next()

    def number(self) -> int:
        try:
            return int(self.peek(), 0)
        except ValueError:
            self.refuse("a number")
            raise
        finally:
            self.next()

    def peek(self) -> str:
        found = _TOKEN.match(self.text, self.at)
        return found[1] if found else ""

    def next(self) -> str:
        found = _TOKEN.match(self.text, self.at)
        if found is None:
            self.refuse("more")
            raise AssertionError
        self.at = found.end()
        return found[1]

    def take(self, wanted: str) -> None:
        if self.peek() != wanted:
            self.refuse(f'"{wanted}"')
        self.next()

    def refuse(self, wanted: str) -> None:
        line = self.text.count("\n", 0, self.at) + 1
        found = self.peek()
        instead = f'"{found}"' if found else "the end"
        raise SchemaError(f"the fragment:{line}: expected {wanted}, found {instead}")
