"""Concat, Eltwise, Slice, Split, Silence (the *_layer.cpp of those names)."""

from netgen.graph.errors import require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import INT_MAX, MAX_AXES, Shape, axis_of, shape_string
from netgen.schema import caffe_pb


def _axis(
    param: caffe_pb.ConcatParameter | caffe_pb.SliceParameter, legacy: str, shape: Shape
) -> int:
    """The axis of Concat or Slice, which have an old unsigned name for it too."""
    require(
        not (param.HasField("axis") and param.HasField(legacy)),
        f"Either axis or {legacy} should be specified; not both.",
    )
    if not param.HasField(legacy):
        return axis_of(shape, param.axis)
    axis = getattr(param, legacy)
    require(
        axis <= INT_MAX,
        f"casting {legacy} from uint32 to int32 produced negative result; "
        f"{legacy} must satisfy 0 <= {legacy} < {MAX_AXES}",
    )
    require(axis < len(shape), f"{legacy} out of range. ({axis} vs. {len(shape)})")
    return axis


@rule("Concat", bottoms=(1, None))
def concat(setup: Setup) -> LayerShapes:
    first = setup.bottoms[0]
    axis = _axis(setup.layer.concat_param, "concat_dim", first)
    for i, other in enumerate(setup.bottoms[1:], 1):
        require_equal(len(first), len(other), "All inputs must have the same #axes.")
        require(
            other[:axis] + other[axis + 1 :] == first[:axis] + first[axis + 1 :],
            "All inputs must have the same shape, except at concat_axis. "
            f"(bottom[0]: {shape_string(first)}, bottom[{i}]: {shape_string(other)}, "
            f"concat_axis {axis})",
        )
    joined = sum(bottom[axis] for bottom in setup.bottoms)
    return LayerShapes([(*first[:axis], joined, *first[axis + 1 :])], axis=axis)


@rule("Eltwise", bottoms=(2, None))
def eltwise(setup: Setup) -> LayerShapes:
    param = setup.layer.eltwise_param
    first = setup.bottoms[0]
    if param.coeff:
        require_equal(
            len(setup.bottoms),
            len(param.coeff),
            "Eltwise Layer takes one coefficient per bottom blob.",
        )
        require(
            param.operation != caffe_pb.EltwiseParameter.PROD,
            "Eltwise layer only takes coefficients for summation.",
        )
    for i, other in enumerate(setup.bottoms[1:], 1):
        require(
            other == first,
            f"bottom[0]: {shape_string(first)}, bottom[{i}]: {shape_string(other)}",
        )
    return LayerShapes([first])


@rule("Slice", tops=(1, None))
def slice_(setup: Setup) -> LayerShapes:
    param = setup.layer.slice_param
    (bottom,) = setup.bottoms
    axis = _axis(param, "slice_dim", bottom)
    size, count = bottom[axis], setup.num_tops
    if param.slice_point:
        require_equal(
            count - 1, len(param.slice_point), "slice_point must be given once between two tops"
        )
        require(
            count <= size,
            f"slice axis: {axis}, bottom[0] shape: {shape_string(bottom)} ({count} tops)",
        )
        ends = [*param.slice_point, size]
        starts = [0, *param.slice_point]
        require(
            all(a < b for a, b in zip(starts, ends[:-1], strict=False)) and ends[-2] <= size,
            f"slice_point {' '.join(map(str, param.slice_point))} must rise, from 1 to at most "
            f"{size}",
        )
        parts = [end - start for start, end in zip(starts, ends, strict=True)]
    else:
        require(
            size % count == 0,
            f"Number of top blobs ({count}) should evenly divide input slice axis ({size})",
        )
        parts = [size // count] * count
    return LayerShapes([(*bottom[:axis], part, *bottom[axis + 1 :]) for part in parts], axis=axis)


@rule("Split", tops=(1, None))
def split(setup: Setup) -> LayerShapes:
    setup.refuse_in_place()
    return LayerShapes(setup.bottoms * setup.num_tops)


@rule("Silence", bottoms=(1, None), tops=0)
def silence(setup: Setup) -> LayerShapes:
    return LayerShapes([])
