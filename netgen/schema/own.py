"""Fields of people's own layers: text that no caffe.proto has, kept in the net as it is read.

A layer of such a type keeps them, as text, in `own_fields`. It is handed their values by name: as
a message where a .proto fragment declares the field, as a dict where none does.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import message_factory, text_encoding, text_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from netgen.schema import caffe_pb
from netgen.schema.files import SchemaError
from netgen.schema.fragment import parse_fragment

#: All layer types that have a shape rule.
KNOWN: set[str] = set()

#: The layer types that people registered, which may have fields of their own.
TYPES: set[str] = set()

#: The field of each name that was declared: the message that has it, of one such field or more.
_DECLARED: dict[str, type[Message]] = {}

_NUMBERS = itertools.count()
_TOKEN = re.compile(
    r"(?:\s|\#[^\n]*)*(?P<token>\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
    r"|[{}<>\[\]:;,]|[^\s{}<>\[\]:;,\#\"']+)",
    re.DOTALL,
)
_CLOSING = {"{": "}", "<": ">", "[": "]"}


def declare(proto: str) -> None:
    """Declare fields of own layers by a fragment of a .proto file.

    proto: messages and enums as in a caffe.proto, and what LayerParameter gets, as
    `message LayerParameter { optional MyParameter my_param = 5001; }`; the number is free. They
    may use Caffe's messages, and share no name space with those of other fragments. Raises
    SchemaError.
    """
    package = f"caffe.own{next(_NUMBERS)}"
    file = parse_fragment(proto)
    file.name, file.package = f"{package}.proto", package
    file.dependency.append("caffe.proto")
    pool: Any = caffe_pb.NetParameter.DESCRIPTOR.file.pool
    factory: Any = message_factory  # its two forms
    try:
        pool.AddSerializedFile(file.SerializeToString())
        layer = pool.FindMessageTypeByName(f"{package}.LayerParameter")
    except KeyError:
        raise SchemaError("the fragment gives LayerParameter no field") from None
    except TypeError as error:
        raise SchemaError(f"the fragment: {' '.join(str(error).split())}") from None
    if hasattr(factory, "GetMessageClass"):
        message_class = factory.GetMessageClass(layer)
    else:  # before protobuf 4.22
        message_class = factory.MessageFactory(pool).GetPrototype(layer)
    _DECLARED.update((f.name, message_class) for f in layer.fields)


class OwnParameters(dict):
    """A layer's own fields by name; one that its net does not give is empty, or the default."""

    def __missing__(self, name: str) -> Any:
        return getattr(_DECLARED[name](), name) if name in _DECLARED else {}


def own_parameters(layer: caffe_pb.LayerParameter) -> OwnParameters:
    """The own fields of a layer: declared ones as messages, others as dicts of plain values.

    In a dict a number is an int or float, true and false are bools, an enum's value is a str, a
    name that is given twice has a list.
    """
    found = OwnParameters()
    for text in layer.own_fields:
        for item in _items(_tokens(text), None):
            if item.name in _DECLARED:
                message = text_format.Parse(text, _DECLARED[item.name]())
                found[item.name] = getattr(message, item.name)
            else:
                found.update(_plain([item]))
    return found


@dataclass
class Item:
    """One field of a text: its place, and its value as tokens or as items.

    start, end: the span of its characters. message: of the message that it stands in, or None
    inside a field that nobody knows.
    """

    name: str
    message: Descriptor | None
    start: int
    end: int = 0
    tokens: list[str] = field(default_factory=list)
    items: list[Item] | None = None

    @property
    def unknown(self) -> bool:
        """Whether its message, which is known, has no such field."""
        return self.message is not None and self.name not in self.message.fields_by_name

    @property
    def no_values(self) -> list[str]:
        """The words of the text that are no values of the field's enum."""
        known = self.message.fields_by_name.get(self.name) if self.message is not None else None
        enum = known.enum_type if known is not None else None
        if enum is None:
            return []
        words = [token for token in self.tokens if token[0].isalpha() or token[0] == "_"]
        return [word for word in words if word not in enum.values_by_name]


def items(text: str, message: Any) -> list[Item]:
    """The fields of a text; message: the Descriptor of what it is. Raises ValueError where that is no text format."""
    return list(_items(_tokens(text), message))


def walk(found: list[Item]) -> Iterator[Item]:
    """The items and all that is inside them."""
    for item in found:
        yield item
        yield from walk(item.items or [])


def lacks(found: list[Item]) -> tuple[list[str], list[str], list[str]]:
    """The layer types, the fields, as Message.field, and the values that nobody knows of a text.

    found: its items. Types are told only where the rules of layer types are loaded. A value of an
    enum is told as Message.field=VALUE.
    """
    every = list(walk(found))
    fields = [f"{i.message.name}.{i.name}" for i in every if i.unknown and i.message]
    values = [f"{i.message.name}.{i.name}={v}" for i in every if i.message for v in i.no_values]
    layers = [item.items or [] for item in found if item.name == "layer" and KNOWN]
    types = [
        str(_scalar(inner.tokens[0]))
        for inner in itertools.chain(*layers)
        if inner.name == "type" and inner.tokens
    ]
    return [name for name in types if name not in KNOWN], fields, values


def _tokens(text: str) -> Iterator[tuple[str, int, int]]:
    at = 0
    while found := _TOKEN.match(text, at):
        yield found["token"], found.start("token"), found.end()
        at = found.end()
    if text[at:].strip() and not text[at:].lstrip().startswith("#"):
        raise ValueError(at)
    yield "", len(text), len(text)


def _items(tokens: Iterator[tuple[str, int, int]], message: Descriptor | None) -> Iterator[Item]:
    stream = list(tokens)
    yield from _message(stream, [0], message, "")


def _message(
    stream: list[tuple[str, int, int]], at: list[int], message: Descriptor | None, end: str
) -> Iterator[Item]:
    """The items up to the token `end`; at: the position in the stream, which moves on."""
    while True:
        token, start, _ = stream[at[0]]
        at[0] += 1
        if token == end:
            return
        if token in (";", ","):
            continue
        if not token or not (token[0].isalpha() or token[0] == "_"):
            raise ValueError(start)
        item = Item(token, message, start)
        if stream[at[0]][0] == ":":
            at[0] += 1
        known = message.fields_by_name.get(token) if message is not None else None
        inner = known.message_type if known is not None else None
        opening = stream[at[0]][0]
        if opening == "[" and stream[at[0] + 1][0] in ("{", "<"):
            yield from _listed(stream, at, item, inner)
            continue
        if opening in ("{", "<"):
            at[0] += 1
            item.items = list(_message(stream, at, inner, _CLOSING[opening]))
        else:
            item.tokens = _value(stream, at)
        item.end = stream[at[0] - 1][2]
        yield item


def _listed(
    stream: list[tuple[str, int, int]], at: list[int], item: Item, inner: Descriptor | None
) -> Iterator[Item]:
    """One item for each message of a list in brackets; the first has the span of all."""
    found = []
    while stream[at[0]][0] != "]":
        opening, start, _ = stream[at[0] + 1]
        at[0] += 2
        if stream[at[0] - 2][0] not in ("[", ",") or opening not in ("{", "<"):
            raise ValueError(start)
        found.append(list(_message(stream, at, inner, _CLOSING[opening])))
    end = stream[at[0]][2]
    at[0] += 1
    for i, fields in enumerate(found):
        yield Item(item.name, item.message, end if i else item.start, end, items=fields)


def _value(stream: list[tuple[str, int, int]], at: list[int]) -> list[str]:
    """The tokens of a value: a word, strings one after the other, or a list in brackets."""
    first, start, _ = stream[at[0]]
    if first == "" or first in "}>]:;,":
        raise ValueError(start)
    at[0] += 1
    tokens = [first]
    if first == "[":
        while tokens[-1] != "]":
            if stream[at[0]][0] in ("", "{", "<"):
                raise ValueError(start)
            tokens.append(stream[at[0]][0])
            at[0] += 1
    while first[0] in "\"'" and stream[at[0]][0][:1] in ('"', "'"):
        tokens.append(stream[at[0]][0])
        at[0] += 1
    return tokens


def _plain(fields: list[Item]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    repeated = set()
    for item in fields:
        if item.items is not None:
            new: list[Any] = [_plain(item.items)]
        elif item.tokens[0] == "[":
            repeated.add(item.name)
            new = [_scalar(token) for token in item.tokens[1:-1] if token != ","]
            values.setdefault(item.name, [])
        elif item.tokens[0][0] in "\"'":
            new = ["".join(_scalar(token) for token in item.tokens)]
        else:
            new = [_scalar(item.tokens[0])]
        for value in new:
            if item.name not in values:
                values[item.name] = value
                continue
            if item.name not in repeated:
                repeated.add(item.name)
                values[item.name] = [values[item.name]]
            values[item.name].append(value)
    return values


def _scalar(token: str) -> Any:
    if token[0] in "\"'":
        return text_encoding.CUnescape(token[1:-1]).decode("utf-8", "caffe")
    if token in ("true", "false"):
        return token == "true"
    for number in (lambda: int(token, 0), lambda: float(token.rstrip("f"))):
        try:
            return number()
        except ValueError:
            pass
    return token


def _lines(item: Item, indent: str) -> Iterator[str]:
    if item.items is None:
        value = " ".join(item.tokens).replace("[ ", "[").replace(" ]", "]").replace(" ,", ",")
        yield f"{indent}{item.name}: {value}"
        return
    yield f"{indent}{item.name} {{"
    for inner in item.items:
        yield from _lines(inner, indent + "  ")
    yield f"{indent}}}"


def take_own_fields(
    text: str, found: list[Item], parse: Callable[[str, type[Message], str], Message]
) -> tuple[str, list[OwnField]]:
    """The text without the own fields of people's layers, and these.

    found: its items, of a NetParameter or SolverParameter. parse: text.parse_text, for what a
    declaration says. What is left stays where it was.
    Raises SchemaError ":LINE:COLUMN: ..." for what a declaration refuses.
    """
    fields = list(_own_fields(found))
    for own in fields:
        item = own.item
        if item.name in _DECLARED:
            _check(text, item, parse)
        blank = re.sub(r"[^\n]", " ", text[item.start : item.end])
        text = text[: item.start] + blank + text[item.end :]
    return text, fields


@dataclass
class OwnField:
    """An own field, and the layer that has it: its place among the layers of a net.

    net: the field of the SolverParameter that has the net, and its place; or None for a net.
    """

    item: Item
    layer: int
    net: tuple[str, int] | None

    def keep(self, message: Any) -> None:
        """Put the field's text where it belongs in the message that was parsed without it."""
        if self.net is not None:
            name, place = self.net
            nets = getattr(message, name)
            message = nets[place] if hasattr(nets, "extend") else nets
        message.layer[self.layer].own_fields.append("\n".join(_lines(self.item, "")))


def _own_fields(found: list[Item], net: tuple[str, int] | None = None) -> Iterator[OwnField]:
    for place, item in enumerate(item for item in found if item.name == "layer"):
        fields = item.items or []
        names = [inner.tokens for inner in fields if inner.name == "type" and inner.tokens]
        if names and _scalar(names[-1][0]) in TYPES:
            yield from (OwnField(inner, place, net) for inner in fields if takes(inner))
    if net is None:
        for name in ("net_param", "train_net_param", "test_net_param"):
            for place, item in enumerate(item for item in found if item.name == name):
                yield from _own_fields(item.items or [], (name, place))


def takes(item: Item) -> bool:
    """Whether an own layer takes a field: it is declared, or called *_param and of no message."""
    return item.name in _DECLARED or (item.unknown and item.name.endswith("_param"))


def _check(text: str, item: Item, parse: Callable[[str, type[Message], str], Message]) -> None:
    before = text[: item.start]
    column = len(before) - (before.rfind("\n") + 1)
    padded = "\n" * before.count("\n") + " " * column + text[item.start : item.end]
    parse(padded, _DECLARED[item.name], "")
