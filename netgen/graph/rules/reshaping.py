"""Reshape, Flatten, Tile, Crop (the *_layer.cpp of those names)."""

from math import prod

from netgen.graph.errors import require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import axis_of, dim, shape_string


@rule("Reshape")
def reshape(setup: Setup) -> LayerShapes:
    """`shape` replaces num_axes axes from `axis` on; in it 0 copies an axis, and one -1 is inferred."""
    setup.refuse_in_place()
    param = setup.layer.reshape_param
    (bottom,) = setup.bottoms
    new, ndim = list(param.shape.dim), len(bottom)
    require(
        new.count(-1) <= 1,
        "new shape contains multiple -1 dims; at most a single (1) value of -1 may be specified",
    )
    start = param.axis if param.axis >= 0 else ndim + param.axis + 1
    require(0 <= start <= ndim, f"axis {param.axis} out of range for {ndim}-D input blob")
    require(param.num_axes >= -1, f"num_axes must be >= 0, or -1 for all ({param.num_axes})")
    end = ndim if param.num_axes == -1 else start + param.num_axes
    require(end <= ndim, f"end_axis = axis + num_axes is out of range ({end} vs. {ndim})")
    for i, size in enumerate(new):
        if size == 0:
            require(
                start + i < ndim,
                "new shape contains a 0, but there was no corresponding bottom axis to copy",
            )
            new[i] = bottom[start + i]
    if -1 in new:
        i = new.index(-1)
        others = prod(bottom[:start]) * prod(bottom[end:]) * prod(new[:i] + new[i + 1 :])
        require(
            others != 0 and prod(bottom) % others == 0,
            f"bottom count ({prod(bottom)}) must be divisible by the product of "
            f"the specified dimensions ({others})",
        )
        new[i] = prod(bottom) // others
    top = (*bottom[:start], *new, *bottom[end:])
    require(
        prod(top) == prod(bottom),
        "output count must match input count "
        f"(top: {shape_string(top)} vs. bottom: {shape_string(bottom)})",
    )
    return LayerShapes([top])


@rule("Flatten")
def flatten(setup: Setup) -> LayerShapes:
    setup.refuse_in_place()
    param = setup.layer.flatten_param
    (bottom,) = setup.bottoms
    start, end = axis_of(bottom, param.axis), axis_of(bottom, param.end_axis) + 1
    require(start <= end, f"axis {param.axis} comes after end_axis {param.end_axis}")
    return LayerShapes([(*bottom[:start], prod(bottom[start:end]), *bottom[end:])])


@rule("Tile")
def tile(setup: Setup) -> LayerShapes:
    param = setup.layer.tile_param
    (bottom,) = setup.bottoms
    axis = axis_of(bottom, param.axis)
    require(param.HasField("tiles"), "Number of tiles must be specified")
    require(param.tiles > 0, f"Number of tiles must be positive. ({param.tiles} vs. 0)")
    top = (*bottom[:axis], bottom[axis] * param.tiles, *bottom[axis + 1 :])
    return LayerShapes([top], axis=axis)


@rule("Crop", bottoms=2)
def crop(setup: Setup) -> LayerShapes:
    """The first bottom cut to the size of the second from `axis` on."""
    param = setup.layer.crop_param
    data, size = setup.bottoms
    axis = axis_of(data, param.axis)
    offsets = list(param.offset)
    if len(offsets) > 1:
        require_equal(
            len(data),
            axis + len(offsets),
            "number of offset values specified must be equal to the number of "
            "dimensions following axis.",
        )
    else:
        offsets = (offsets or [0]) * (len(data) - axis)
    top = list(data[:axis])
    for i, offset in zip(range(axis, len(data)), offsets, strict=True):
        wanted = dim(size, i)
        require(
            data[i] - offset >= wanted,
            f"the crop for dimension {i} is out-of-bounds with size {wanted} and offset {offset} "
            f"({data[i] - offset} vs. {wanted})",
        )
        top.append(wanted)
    return LayerShapes([tuple(top)], axis=axis, offsets=tuple(offsets))
