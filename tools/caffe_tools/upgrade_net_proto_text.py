"""Upgrade a net's prototxt of an old format (V0, V1, input fields) to the current one.

As with Caffe's program of this name, comments are not kept; what cannot be carried over is told
and left out, and the exit status is then 1.
"""

from __future__ import annotations

from caffe_tools.upgrade import Program
from netgen import schema
from netgen.schema import caffe_pb

_PROGRAM = Program(
    "upgrade_net_proto_text",
    __doc__,
    "NetParameter text",
    caffe_pb.NetParameter,
    schema.read_text,
    schema.upgrade_net,
    schema.write_text,
    49,
)
main, command = _PROGRAM.main, _PROGRAM.command

if __name__ == "__main__":
    command()
