"""Solver types: one function in one file, and every room knows it."""

import subprocess
import sys

import pytest

from netgen import schema, solvers
from netgen.schema import SOLVER_TYPES, caffe_pb, solver_types


def test_each_value_of_the_old_enum_is_a_type():
    values = caffe_pb.SolverParameter.SolverType.keys()
    assert sorted(values) == sorted(name.upper() for name in SOLVER_TYPES)


@pytest.fixture
def sign():
    """A type of its own, as whoever adds one writes it."""

    @solver_types.solver_type("Sign", momentum=0.5)
    def update(param, g, h, rate):
        (h,) = h
        h.mul_(param.momentum).add_(g.sign(), alpha=1 - param.momentum)
        return h.sign().mul_(rate)

    yield SOLVER_TYPES["Sign"]
    del SOLVER_TYPES["Sign"]


def test_an_added_type_is_known_everywhere(sign):
    param = solvers.build_solver("baseline", solvers.SolverOptions(type="Sign"))
    assert (param.type, param.momentum) == ("Sign", 0.5)
    assert schema.find_solver_type(param) is sign
    with pytest.raises(schema.SchemaError, match="SGD, Sign"):
        schema.find_solver_type(caffe_pb.SolverParameter(type="sign"))


def test_the_table_needs_neither_torch_nor_numpy():
    code = (
        "import sys; from netgen.schema import SOLVER_TYPES; "
        "print(*SOLVER_TYPES, {'torch', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [*SOLVER_TYPES, "set()"]
