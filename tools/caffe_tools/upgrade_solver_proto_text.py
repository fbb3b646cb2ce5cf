"""Upgrade a solver's prototxt: the enum solver_type becomes the string type.

As with Caffe's program of this name, comments are not kept, and nets that are written inside the
solver are left as they are.
"""

from __future__ import annotations

from caffe_tools.upgrade import Program
from netgen import schema
from netgen.schema import caffe_pb
from netgen.schema.upgrade import upgrade_solver_type

_PROGRAM = Program(
    "upgrade_solver_proto_text",
    __doc__,
    "SolverParameter text",
    caffe_pb.SolverParameter,
    schema.read_text,
    upgrade_solver_type,
    schema.write_text,
    49,
)
main, command = _PROGRAM.main, _PROGRAM.command

if __name__ == "__main__":
    command()
