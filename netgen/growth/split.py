"""The split pass: a net and a plan give the child net. Requires, apply, ensures.

Takes any net of Convolution layers, train and test net in one or a deploy net, and its own
results. What stands around a split layer does not notice: its bottom and its top stay.
"""

from math import prod

from netgen import graph
from netgen.errors import CaffeError
from netgen.growth.parts import parts, weight_counts
from netgen.schema import caffe_pb

PHASES = (caffe_pb.TRAIN, caffe_pb.TEST)


class SplitError(CaffeError):
    """A layer that cannot be split as planned; the line says why."""


def split_net(net, plan, data_shape=None):
    """The child NetParameter in which every layer of the plan is split.

    net: NetParameter in current format, unchanged. plan: a Plan; its layers are split one after
    the other, so a later one may name a part of an earlier one. data_shape: as graph.infer takes
    it. Where a net does not tell its shapes (graph.UnknownShapeError) they are not compared.

    Raises SplitError for a layer that cannot be split, NetError for a net that is none.
    """
    child = net
    for layer_plan in plan.layers:
        require(child, layer_plan, data_shape)
        child = apply(child, layer_plan)
    ensure(net, child, plan, data_shape)
    return child


def apply(net, plan):
    """A new NetParameter with the one layer of a LayerPlan replaced by its parts."""
    child = caffe_pb.NetParameter()
    child.CopyFrom(net)
    del child.layer[:]
    for layer in net.layer:
        child.layer.extend(parts(layer, plan).values() if layer.name == plan.layer else [layer])
    return child


# --- requires ---


def require(net, plan, data_shape=None):
    """Raise SplitError unless `net` has the layer of this LayerPlan and it can be split."""
    found = [layer for layer in net.layer if layer.name == plan.layer]
    if not found:
        known = [layer.name for layer in net.layer if layer.type == "Convolution"]
        raise SplitError(
            f"layer '{plan.layer}' is not in the net "
            f"(its convolutions: {', '.join(known) or 'none'})"
        )
    for layer in found:
        try:
            _require_splittable(layer, plan)
            _require_own_weights(layer, net)
            if plan.kind == "skip":
                _require_skippable(layer, net, data_shape)
            if layer.convolution_param != found[0].convolution_param:
                raise SplitError("is there twice with different parameters")
        except SplitError as error:
            raise SplitError(f"layer '{plan.layer}' {error}") from None
    _require_free_names(net, found[0], plan)


def _require_splittable(layer, plan):
    if layer.type != "Convolution":
        raise SplitError(f"is of type {layer.type}, not Convolution")
    for side, blobs in (("reads", layer.bottom), ("writes", layer.top)):
        if len(blobs) != 1:
            raise SplitError(
                f"{side} {len(blobs)} blobs ({', '.join(blobs)}); "
                "only one with one bottom and one top can be split"
            )
    param = layer.convolution_param
    if param.num_output == 1:
        raise SplitError("has one output: there is nothing to split")
    if plan.num_output != param.num_output:
        raise SplitError(f"has {param.num_output} outputs, the plan names {plan.num_output}")
    _require_equal_groups(param, plan)


def _require_own_weights(layer, net):
    names = {spec.name for spec in layer.param if spec.name}
    for other in net.layer:
        for spec in other.param:
            if spec.name in names and other.name != layer.name:
                raise SplitError(
                    f"shares its weights with layer '{other.name}' (param '{spec.name}')"
                )


def _require_equal_groups(param, plan):
    """A part reads all of the bottom in as many groups, so each group must give it as much."""
    group = param.group
    if group < 2 or param.num_output % group:
        return  # graph.infer refuses what is not a multiple
    size = param.num_output // group
    counts = [sum(channel // size == g for channel in plan.fast) for g in range(group)]
    if len(set(counts)) > 1 or counts[0] in (0, size):
        raise SplitError(
            f"has {group} groups of {size} outputs: each must have the same number of fast "
            f"outputs, 1 or more and not all (the plan: {' '.join(map(str, counts))})"
        )


def _require_skippable(layer, net, data_shape):
    param = layer.convolution_param
    shape = _bottom_shape(layer, net, data_shape)
    if shape is None:
        raise SplitError("cannot have a skip: the net does not tell the shape of its bottom")
    axis = graph.canonical_axis(param.axis, len(shape))
    if shape[axis] != param.num_output:
        raise SplitError(
            "cannot have a skip, which needs as many bottom channels as outputs "
            f"({shape[axis]} vs. {param.num_output})"
        )
    window = graph.conv_geometry(param, len(shape) - axis - 1)
    for kernel, pad, dilation in zip(window.kernel, window.pad, window.dilation, strict=True):
        if kernel % 2 == 0 or 2 * pad != dilation * (kernel - 1):
            raise SplitError(
                "cannot have a skip, whose places are the centres of its kernel: that must be "
                f"odd and padded by half (kernel {kernel}, dilation {dilation}, pad {pad})"
            )


def _bottom_shape(layer, net, data_shape):
    for infos in _views(net, data_shape).values():
        for info in infos:
            if info.layer == layer:
                return info.bottoms[0]
    return None


def _require_free_names(net, layer, plan):
    names = {other.name for other in net.layer}
    blobs = {top for other in net.layer for top in other.top}
    for role, part in parts(layer, plan).items():
        taken = "layer" if part.name in names else ""
        if role != "reorder" and part.top[0] in blobs:
            taken = taken or "blob"
        if taken:
            raise SplitError(
                f"layer '{layer.name}' cannot be split: the net has a {taken} '{part.name}' already"
            )


# --- ensures ---


def ensure(net, child, plan, data_shape=None):
    """Raise SplitError unless `child` has the blobs, outputs and weight counts that it must."""
    for phase, before in _views(net, data_shape).items():
        after = _infos(child, phase, data_shape)
        shapes = _shapes(after)
        for blob, shape in _shapes(before).items():
            _ensure_equal(f"shape of blob '{blob}'", shape, shapes.get(blob))
        _ensure_equal("outputs", _outputs(net, phase), _outputs(child, phase))
        _ensure_equal("weights", _predicted(_weights(before), plan), _weights(after))


def _views(net, data_shape):
    """{phase: LayerInfos} for each phase in which the net is one and tells its shapes."""
    views, errors = {}, []
    for phase in PHASES:
        try:
            views[phase] = _infos(net, phase, data_shape)
        except graph.NetError as error:
            errors.append(error)
    if not views and not any(isinstance(error, graph.UnknownShapeError) for error in errors):
        raise errors[0]
    return views


def _infos(net, phase, data_shape):
    return graph.infer(graph.in_phase(net, phase), phase, data_shape)


def _shapes(infos):
    return {
        blob: shape
        for info in infos
        for blob, shape in zip(info.layer.top, info.shapes.tops, strict=False)
    }


def _outputs(net, phase):
    net = graph.in_phase(net, phase)
    edges = graph.connections(net)
    return {net.layer[i].top[j] for (i, j), readers in edges.consumers.items() if not readers}


def _weights(infos):
    """{convolution: (outputs, weights an output)}"""
    weights = {}
    for info in infos:
        if info.layer.type == "Convolution":
            outputs, *window = info.shapes.params[0]
            weights[info.layer.name] = outputs, prod(window)
    return weights


def _predicted(weights, plan):
    for layer_plan in plan.layers:
        if layer_plan.layer in weights:  # it may be of the other phase only
            outputs, per_output = weights.pop(layer_plan.layer)
            # a skip was required to have as many bottom channels as outputs
            counts = weight_counts(layer_plan, per_output, skip_channels=outputs)
            weights |= {f"{layer_plan.layer}_{role}": n for role, n in counts.items()}
    return weights


def _ensure_equal(what, wanted, found):
    if wanted != found:
        raise SplitError(f"the split net is wrong: {what}: {found} instead of {wanted}")
