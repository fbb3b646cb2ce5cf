"""The split pass: a net and a plan give the child net. Requires, replaces, ensures.

Takes any net of Convolution and InnerProduct layers, train and test net in one or a deploy net, and its own
results. What stands around a split layer does not notice: its bottom and its top stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

from netgen import graph
from netgen.growth.errors import SplitError
from netgen.growth.kinds import KINDS
from netgen.growth.parts import TYPES, groups, is_transposed, own_param
from netgen.growth.plan import LayerPlan, Plan
from netgen.schema import caffe_pb

PHASES = (caffe_pb.TRAIN, caffe_pb.TEST)


#: The shape (C, H, W) of one record of the data layers, or a function that finds it for a layer.
DataShape = Sequence[int] | Callable[[caffe_pb.LayerParameter], Sequence[int] | None] | None


@dataclass(frozen=True)
class SplitLayer:
    """One layer of a plan and what took its place.

    layer: the LayerParameter as it was; where its name stands twice in the net, the first one.
    parts: {role: LayerParameter} in the order of the net.
    """

    plan: LayerPlan
    layer: caffe_pb.LayerParameter
    parts: dict[str, caffe_pb.LayerParameter]


@dataclass(frozen=True)
class Split:
    """A net that was split by a plan: what the child's weights and history are made from.

    parent: the net as it was. child: the NetParameter in which every layer of the plan is split.
    layers: what became of each, in the order of the plan; a later one may be a part of an
    earlier one.
    """

    parent: caffe_pb.NetParameter
    child: caffe_pb.NetParameter
    layers: tuple[SplitLayer, ...]


def split_net(net: caffe_pb.NetParameter, plan: Plan, data_shape: DataShape = None) -> Split:
    """The Split of a net by a plan.

    net: NetParameter in current format, unchanged. plan: a Plan; its layers are split one after
    the other, so a later one may name a part of an earlier one. data_shape: as graph.infer takes
    it. Where the shapes of a net cannot be known (graph.UnknownShapeError) they are not compared.

    Raises SplitError for a layer that cannot be split, NetError for a net that is none.
    """
    child = caffe_pb.NetParameter()
    child.CopyFrom(net)
    layers = []
    for layer_plan in plan.layers:
        require(child, layer_plan, data_shape)
        layers.append(_replace(child, layer_plan))
    ensure(net, child, plan, data_shape)
    return Split(net, child, tuple(layers))


def _replace(net: caffe_pb.NetParameter, plan: LayerPlan) -> SplitLayer:
    """Put the parts of the planned layer in its place, wherever in the net its name stands."""
    layer, parts = caffe_pb.LayerParameter(), {}
    places = [i for i, other in enumerate(net.layer) if other.name == plan.layer]
    for place in reversed(places):  # the first comes last, and is the one that is kept
        layer = caffe_pb.LayerParameter()
        layer.CopyFrom(net.layer[place])
        parts = KINDS[plan.kind].parts(layer, plan)
        del net.layer[place]
        for part in reversed(parts.values()):
            net.layer.insert(place, part)
    return SplitLayer(plan, layer, parts)


# --- requires ---


def require(net: caffe_pb.NetParameter, plan: LayerPlan, data_shape: DataShape = None) -> None:
    """Raise SplitError unless `net` has the layer of this LayerPlan and it can be split."""
    found = [layer for layer in net.layer if layer.name == plan.layer]
    if not found:
        known = [layer.name for layer in net.layer if layer.type in TYPES]
        raise SplitError(
            f"layer '{plan.layer}' is not in the net "
            f"(those that can be split: {', '.join(known) or 'none'})"
        )
    for layer in found:
        try:
            _require_splittable(layer, plan)
            _require_own_weights(layer, net)
            KINDS[plan.kind].require(layer, partial(_info, layer, net, data_shape))
            if own_param(layer) != own_param(found[0]):
                raise SplitError("is there twice with different parameters")
        except SplitError as error:
            raise SplitError(f"layer '{plan.layer}' {error}") from None
    _require_free_names(net, found[0], plan)


def _require_splittable(layer: caffe_pb.LayerParameter, plan: LayerPlan) -> None:
    if layer.type not in TYPES:
        raise SplitError(f"is of type {layer.type}, not {' or '.join(TYPES)}")
    if is_transposed(layer):
        raise SplitError("has transposed weights, which are not split")
    for side, blobs in (("reads", layer.bottom), ("writes", layer.top)):
        if len(blobs) != 1:
            raise SplitError(
                f"{side} {len(blobs)} blobs ({', '.join(blobs)}); "
                "only one with one bottom and one top can be split"
            )
    param = own_param(layer)
    if param.num_output == 1:
        raise SplitError("has one output: there is nothing to split")
    if plan.num_output != param.num_output:
        raise SplitError(f"has {param.num_output} outputs, the plan names {plan.num_output}")
    _require_equal_groups(groups(layer), plan)


def _require_own_weights(layer: caffe_pb.LayerParameter, net: caffe_pb.NetParameter) -> None:
    names = {spec.name for spec in layer.param if spec.name}
    for other in net.layer:
        for spec in other.param:
            if spec.name in names and other.name != layer.name:
                raise SplitError(
                    f"shares its weights with layer '{other.name}' (param '{spec.name}')"
                )


def _require_equal_groups(group: int, plan: LayerPlan) -> None:
    """A part reads all of the bottom in as many groups, so each group must give it as much."""
    if group < 2 or plan.num_output % group:
        return  # graph.infer refuses what is not a multiple
    size = plan.num_output // group
    counts = [sum(channel // size == g for channel in plan.fast) for g in range(group)]
    if len(set(counts)) > 1 or counts[0] in (0, size):
        raise SplitError(
            f"has {group} groups of {size} outputs: each must have the same number of fast "
            f"outputs, 1 or more and not all (the plan: {' '.join(map(str, counts))})"
        )


def _info(
    layer: caffe_pb.LayerParameter, net: caffe_pb.NetParameter, data_shape: DataShape
) -> graph.LayerInfo | None:
    for infos in _views(net, data_shape).values():
        for info in infos:
            if info.layer == layer:
                return info
    return None


def _require_free_names(
    net: caffe_pb.NetParameter, layer: caffe_pb.LayerParameter, plan: LayerPlan
) -> None:
    names = {other.name for other in net.layer}
    blobs = {top for other in net.layer for top in other.top}
    for role, part in KINDS[plan.kind].parts(layer, plan).items():
        taken = "layer" if part.name in names else ""
        if role != "reorder" and part.top[0] in blobs:
            taken = taken or "blob"
        if taken:
            raise SplitError(
                f"layer '{layer.name}' cannot be split: the net has a {taken} '{part.name}' already"
            )


# --- ensures ---


def ensure(
    net: caffe_pb.NetParameter,
    child: caffe_pb.NetParameter,
    plan: Plan,
    data_shape: DataShape = None,
) -> None:
    """Raise SplitError unless `child` has the blobs, outputs and weight counts that it must."""
    for phase, before in _views(net, data_shape).items():
        after = _infos(child, phase, data_shape)
        shapes = _shapes(after)
        for blob, shape in _shapes(before).items():
            _ensure_equal(f"shape of blob '{blob}'", shape, shapes.get(blob))
        _ensure_equal("outputs", _outputs(net, phase), _outputs(child, phase))
        _ensure_equal("weights", _predicted(_weights(before), plan), _weights(after))


def _views(net: caffe_pb.NetParameter, data_shape: DataShape) -> dict[int, list[graph.LayerInfo]]:
    """{phase: LayerInfos} for each phase in which the net is whole and its shapes are known."""
    views, errors = {}, []
    for phase in PHASES:
        try:
            views[phase] = _infos(net, phase, data_shape)
        except graph.NetError as error:
            errors.append(error)
    if not views and not any(isinstance(error, graph.UnknownShapeError) for error in errors):
        raise errors[0]
    return views


def _infos(net: caffe_pb.NetParameter, phase: int, data_shape: DataShape) -> list[graph.LayerInfo]:
    return graph.infer(graph.in_phase(net, phase), phase, data_shape)


def _shapes(infos: Iterable[graph.LayerInfo]) -> dict[str, tuple[int, ...]]:
    return {
        blob: shape
        for info in infos
        for blob, shape in zip(info.layer.top, info.shapes.tops, strict=False)
    }


def _outputs(net: caffe_pb.NetParameter, phase: int) -> set[str]:
    net = graph.in_phase(net, phase)
    edges = graph.connections(net)
    return {net.layer[i].top[j] for (i, j), readers in edges.consumers.items() if not readers}


def _weights(infos: Iterable[graph.LayerInfo]) -> dict[str, tuple[int, int]]:
    """{layer of TYPES: (outputs, weights an output)}"""
    weights = {}
    for info in infos:
        if info.layer.type in TYPES and not is_transposed(info.layer):
            outputs, *window = info.shapes.params[0]
            weights[info.layer.name] = outputs, prod(window)
    return weights


def _predicted(weights: dict[str, tuple[int, int]], plan: Plan) -> dict[str, tuple[int, int]]:
    for layer_plan in plan.layers:
        if layer_plan.layer in weights:  # it may be of the other phase only
            outputs, per_output = weights.pop(layer_plan.layer)
            # a kind that asks for the bottom's channels requires as many as outputs
            kind = KINDS[layer_plan.kind]
            counts = kind.weight_counts(layer_plan, per_output, channels=outputs)
            weights |= {f"{layer_plan.layer}_{role}": n for role, n in counts.items()}
    return weights


def _ensure_equal(what: str, wanted: object, found: object) -> None:
    if wanted != found:
        raise SplitError(f"the split net is wrong: {what}: {found} instead of {wanted}")
