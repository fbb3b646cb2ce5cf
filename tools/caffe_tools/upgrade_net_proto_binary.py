"""Upgrade a caffemodel of an old format (V0, V1) to the current one, as Caffe's program does."""

from __future__ import annotations

from caffe_tools.upgrade import Program
from netgen import schema
from netgen.schema import caffe_pb

_PROGRAM = Program(
    "upgrade_net_proto_binary",
    __doc__,
    "NetParameter binary",
    caffe_pb.NetParameter,
    schema.read_binary,
    schema.upgrade_net,
    schema.write_binary,
    48,
)
main, command = _PROGRAM.main, _PROGRAM.command

if __name__ == "__main__":
    command()
