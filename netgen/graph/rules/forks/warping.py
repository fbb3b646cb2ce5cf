"""FlowWarp, MaskResize, ROIWarping: values from between the places of a map."""

from netgen.graph.errors import require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.rules.forks.regions import pooled_regions
from netgen.graph.shape import shape_string


@rule("FlowWarp", bottoms=2)
def flow_warp(setup: Setup) -> LayerShapes:
    """Images (N, C, H, W) and flow (N, 2, H, W): x, then y, in pixels."""
    images, flow = setup.bottoms
    require_equal(4, len(images), "FlowWarp needs 4 axes")
    wanted = (images[0], 2, *images[2:])
    require(flow == wanted, f"the flow must be {shape_string(wanted)}, not {shape_string(flow)}")
    return LayerShapes([images])


@rule("MaskResize")
def mask_resize(setup: Setup) -> LayerShapes:
    setup.refuse_in_place()
    param, (bottom,) = setup.layer.mask_resize_param, setup.bottoms
    require(param.output_height > 0, "output_height must be > 0")
    require(param.output_width > 0, "output_width must be > 0")
    require_equal(4, len(bottom), "MaskResize needs 4 axes")
    return LayerShapes([(*bottom[:2], param.output_height, param.output_width)])


@rule("ROIWarping", bottoms=2)
def roi_warping(setup: Setup) -> LayerShapes:
    return pooled_regions(setup, setup.layer.roi_warping_param)
