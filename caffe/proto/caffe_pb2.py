"""The messages and enums of caffe.proto under the name that pycaffe's users import.

They live in a descriptor pool of their own, so that a script may have its own compiled caffe_pb2
beside them. What protoc writes into such a module is here as well: DESCRIPTOR, the descriptor of
the file, and those of its messages and enums, as _LAYERPARAMETER or _V1LAYERPARAMETER_LAYERTYPE.
"""

from collections.abc import Iterator
from typing import Any

from netgen.schema.caffe_pb import *  # noqa: F403
from netgen.schema.caffe_pb import NetParameter

DESCRIPTOR = NetParameter.DESCRIPTOR.file


def _descriptors(messages: Any, enums: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(name, descriptor) of these messages and enums, and of those inside the messages."""
    for name, enum in enums.items():
        yield f"{prefix}_{name.upper()}", enum
    for name, message in messages.items():
        full = f"{prefix}_{name.upper()}"
        yield full, message
        yield from _descriptors(message.nested_types_by_name, message.enum_types_by_name, full)


globals().update(_descriptors(DESCRIPTOR.message_types_by_name, DESCRIPTOR.enum_types_by_name))
