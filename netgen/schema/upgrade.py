"""Old nets and solvers brought to the current format, by the rules of Caffe 1.0."""

from __future__ import annotations

from netgen.schema.caffe_pb import NetParameter, SolverParameter
from netgen.schema.files import SchemaError
from netgen.schema.solver_types import SOLVER_TYPES
from netgen.schema.v0 import upgrade_v0
from netgen.schema.v1 import upgrade_data_fields, upgrade_v1


def upgrade_net(net: NetParameter) -> list[str]:
    """Upgrade a NetParameter in place.

    Returns one line for each thing that was upgraded or could not be carried over; none
    for a net in the current format. Raises SchemaError for a net that mixes formats.
    """
    if net.layer and net.layers:
        raise SchemaError(
            "Refusing to upgrade inconsistent NetParameter input; the definition has both "
            f"'layer' ({len(net.layer)}) and 'layers' ({len(net.layers)}) fields"
        )
    notes = []
    if any(layer.HasField("layer") for layer in net.layers):
        notes.append("upgraded from deprecated V0LayerParameter")
        notes += upgrade_v0(net)
    if upgrade_data_fields(net):
        notes.append("upgraded from deprecated transformation parameters")
    if net.layers:
        notes.append("upgraded from deprecated V1LayerParameter")
        upgrade_v1(net)
    if net.input:
        notes.append("upgraded from deprecated input fields")
        _upgrade_input(net)
    if _upgrade_batch_norm(net):
        notes.append("upgraded batch norm layers using deprecated params")
    return notes


def _upgrade_input(net: NetParameter) -> None:
    """`input` fields become one Input layer at the front.

    Names without any shape are those of an old caffemodel, and are dropped.
    """
    names, dims = list(net.input), list(net.input_dim)
    shapes = [list(shape.dim) for shape in net.input_shape]
    if dims and not shapes:
        shapes = [dims[i : i + 4] for i in range(0, len(dims), 4)]
        if len(dims) < 4 * len(names):
            raise SchemaError(
                f"{len(names)} input field(s) need {4 * len(names)} input_dim "
                f"fields, not {len(dims)}"
            )
    if shapes:
        if len(shapes) < len(names):
            raise SchemaError(f"{len(names)} input field(s) but {len(shapes)} input_shape field(s)")
        layer = net.layer.add(name="input", type="Input", top=names)
        for _, shape in zip(names, shapes, strict=False):  # more shapes than names: unused
            layer.input_param.shape.add(dim=shape)
        net.layer.insert(0, net.layer.pop())
    for field in ("input", "input_shape", "input_dim"):
        net.ClearField(field)


def _upgrade_batch_norm(net: NetParameter) -> bool:
    """Three `param`s on a BatchNorm once froze its statistics; they must say so now."""
    old = [layer for layer in net.layer if layer.type == "BatchNorm" and len(layer.param) == 3]
    for layer in old:
        for spec in layer.param:
            spec.lr_mult = spec.decay_mult = 0
    return bool(old)


def upgrade_solver(solver: SolverParameter) -> list[str]:
    """Upgrade a SolverParameter in place: the enum solver_type to the string type, and the
    nets written inside it. Returns and raises as upgrade_net does.
    """
    notes = upgrade_solver_type(solver)
    inside = [getattr(solver, f) for f in ("net_param", "train_net_param") if solver.HasField(f)]
    for net in [*inside, *solver.test_net_param]:
        notes += upgrade_net(net)
    return notes


def upgrade_solver_type(solver: SolverParameter) -> list[str]:
    """Upgrade the enum solver_type of a SolverParameter in place to the string type.

    Returns and raises as upgrade_net does.
    """
    notes = []
    if solver.HasField("solver_type"):
        if solver.HasField("type"):
            raise SchemaError(
                "Failed to upgrade solver: old solver_type field (enum) and new "
                "type field (string) are both given"
            )
        enum = SolverParameter.SolverType.Name(solver.solver_type)
        solver.type = next(name for name in SOLVER_TYPES if name.upper() == enum)
        solver.ClearField("solver_type")
        notes.append("upgraded from deprecated 'solver_type' field (enum) to 'type' field (string)")
    return notes
