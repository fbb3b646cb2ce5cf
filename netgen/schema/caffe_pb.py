"""Every message and enum of caffe.proto, as attributes of this module.

The descriptors live in a pool of their own. protobuf allows a file name and a message name
once per pool, and an installed pycaffe registers "caffe.proto" in the default one: with a
private pool both can be used in one process.
"""

from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper

DESCRIPTOR_SET = Path(__file__).with_name("caffe.desc")


def _load():
    """Name -> message class, enum wrapper or top-level enum value."""
    pool = descriptor_pool.DescriptorPool()
    file_set = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTOR_SET.read_bytes())
    for file in file_set.file:
        pool.AddSerializedFile(file.SerializeToString())
    # protobuf 4.22 replaced the factory's method by a function.
    if hasattr(message_factory, "GetMessageClass"):
        message_class = message_factory.GetMessageClass
    else:
        message_class = message_factory.MessageFactory(pool).GetPrototype

    names = {}
    for file in file_set.file:
        for message in file.message_type:
            descriptor = pool.FindMessageTypeByName(f"{file.package}.{message.name}")
            names[message.name] = message_class(descriptor)
            names[message.name].__module__ = __name__  # pickle finds a message by this name
        for enum in file.enum_type:
            descriptor = pool.FindEnumTypeByName(f"{file.package}.{enum.name}")
            names[enum.name] = enum_type_wrapper.EnumTypeWrapper(descriptor)
            names.update((value.name, value.number) for value in descriptor.values)
    return names


globals().update(_load())
