"""Interp and both layers called Upsample: maps of another size."""

from netgen.graph.errors import require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import Shape
from netgen.schema import caffe_pb


def _check_axes(bottom: Shape) -> None:
    require_equal(
        4, len(bottom), "Input must have 4 axes, corresponding to (num, channels, height, width)"
    )


@rule("Interp", bottoms=(1, 2))
def interp(setup: Setup) -> LayerShapes:
    """The size is given, follows from factors, or is that of a second bottom."""
    param, bottom = setup.layer.interp_param, setup.bottoms[0]
    _check_axes(bottom)
    for name in ("pad_beg", "pad_end"):
        given = getattr(param, name)
        require(given <= 0, f"Only supports non-pos padding (cropping) for now ({name} {given})")
    sizes = [size + param.pad_beg + param.pad_end for size in bottom[2:]]
    require(min(sizes) > 0, "nothing is left after pad_beg and pad_end")
    out = _interpolated(param, sizes, setup.bottoms)
    require(min(out) > 0, f"height and width should be positive ({out[0]} x {out[1]})")
    return LayerShapes([(*bottom[:2], *out)])


def _interpolated(
    param: caffe_pb.InterpParameter, sizes: list[int], bottoms: list[Shape]
) -> list[int]:
    factors = [param.HasField(f"{name}_factor") for name in ("shrink", "zoom")]
    explicit = param.HasField("height") and param.HasField("width")
    if len(bottoms) == 2:
        require(
            not (any(factors) or explicit),
            "a second bottom gives the size: shrink_factor, zoom_factor, height and width cannot",
        )
        _check_axes(bottoms[1])
        return list(bottoms[1][2:])
    if explicit and any(factors) != all(factors):
        explicit = False  # Caffe looks at one factor alone first, then at height and width
    if explicit:
        return [param.height, param.width]
    require(any(factors), "Interp layer parameters are unspecified")
    require(param.shrink_factor >= 1, "Shrink factor must be positive")
    require(param.zoom_factor >= 1, "Zoom factor must be positive")
    shrunk = [(size - 1) // param.shrink_factor + 1 for size in sizes]
    return [(size - 1) * param.zoom_factor + 1 for size in shrunk]


@rule("Upsample", bottoms=(1, 2))
def upsample(setup: Setup) -> LayerShapes:
    """Of two layers with this name, SegNet's has a mask as second bottom, YOLO's has not."""
    param, bottom = setup.layer.upsample_param, setup.bottoms[0]
    _check_axes(bottom)
    if len(setup.bottoms) == 1:
        scale = param.scale if param.HasField("scale") else 1
        require(scale > 0, "scale must be positive")
        return LayerShapes([(*bottom[:2], *(size * scale for size in bottom[2:]))])
    require(
        bottom == setup.bottoms[1],
        f"the mask must have the shape of the bottom ({setup.bottoms[1]} vs. {bottom})",
    )
    return LayerShapes([(*bottom[:2], *_unpooled(param, bottom[2:]))])


def _unpooled(param: caffe_pb.UpsampleParameter, sizes: Shape) -> list[int]:
    if param.HasField("upsample_h") and param.HasField("upsample_w"):
        out = [param.upsample_h, param.upsample_w]
        require(min(out) > 1, f"upsample_h and upsample_w must be above 1 ({out[0]}, {out[1]})")
        return out
    by_axis = [param.HasField("scale_h"), param.HasField("scale_w")]
    require(
        not any(by_axis) or (all(by_axis) and not param.HasField("scale")),
        "upsample_h & upsample_w are required, else (DEPRECATED) scale OR scale_h & scale_w",
    )
    scale = param.scale if param.HasField("scale") else 2
    scales = [param.scale_h, param.scale_w] if all(by_axis) else [scale, scale]
    out = []
    for name, size, times, odd in zip(
        ("height", "width"), sizes, scales, (param.pad_out_h, param.pad_out_w), strict=True
    ):
        require(times > 1, f"scale must be above 1 ({times})")
        require(
            not odd or times == 2,
            f"Output {name} padding compensation requires a scale of 2, otherwise the output "
            "size is ill-defined.",
        )
        out.append(size * times - int(odd))
    return out
