"""ROIPooling, PSROIPooling, Proposal, BoxAnnotatorOHEM: regions of interest (R, 5).

A region is (index of its image, x1, y1, x2, y2) in pixels of the image.
"""

from math import prod

from netgen.graph.errors import require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import Shape, legacy_dim, shape_string
from netgen.schema import caffe_pb


def check_regions(bottom: Shape, rois: Shape) -> None:
    require_equal(
        4, len(bottom), "Input must have 4 axes, corresponding to (num, channels, height, width)"
    )
    require(
        len(rois) >= 2 and rois[1] == 5 and prod(rois[2:]) == 1,
        f"regions must be (R, 5): image, x1, y1, x2, y2; not {shape_string(rois)}",
    )


def pooled_regions(setup: Setup, param: caffe_pb.ROIPoolingParameter) -> LayerShapes:
    """Features (N, C, H, W) and regions (R, 5) to (R, C, pooled_h, pooled_w)."""
    bottom, rois = setup.bottoms
    require(param.pooled_h > 0, "pooled_h must be > 0")
    require(param.pooled_w > 0, "pooled_w must be > 0")
    check_regions(bottom, rois)
    return LayerShapes([(rois[0], bottom[1], param.pooled_h, param.pooled_w)])


@rule("ROIPooling", bottoms=2)
def roi_pooling(setup: Setup) -> LayerShapes:
    return pooled_regions(setup, setup.layer.roi_pooling_param)


@rule("PSROIPooling", bottoms=2)
def psroi_pooling(setup: Setup) -> LayerShapes:
    param, (bottom, rois) = setup.layer.psroi_pooling_param, setup.bottoms
    require(param.output_dim > 0, "output_dim must be > 0")
    require(param.group_size > 0, "group_size must be > 0")
    check_regions(bottom, rois)
    require_equal(
        bottom[1],
        param.output_dim * param.group_size**2,
        "input channel number does not match layer parameters",
    )
    return LayerShapes([(rois[0], param.output_dim, param.group_size, param.group_size)])


@rule("Proposal", bottoms=3, tops=(1, 2))
def proposal(setup: Setup) -> LayerShapes:
    """Scores (N, 2 A, H, W), deltas (N, 4 A, H, W), image sizes; to regions and their scores."""
    param, (scores, deltas, sizes) = setup.layer.proposal_param, setup.bottoms
    anchors = len(param.ratio) * len(param.scale)
    require(anchors, "ratio and scale must be given, each at least once")
    require_equal(4, len(scores), "scores must have 4 axes")
    num, channels, height, width = scores
    require_equal(2 * anchors, channels, "there must be two scores an anchor")
    require_equal((num, 4 * anchors, height, width), deltas, "there must be four deltas an anchor")
    require(
        prod(sizes) // max(legacy_dim(sizes, 0), 1) >= 3,
        f"bottom[2] must have the height, width and scale of an image, not {shape_string(sizes)}",
    )
    most = num * param.post_nms_topn
    note = f"the first axis is at most {most}: it depends on the data"
    return LayerShapes([(most, 5), (most,)][: setup.num_tops], note=note)


@rule("BoxAnnotatorOHEM", bottoms=4, tops=2)
def box_annotator_ohem(setup: Setup) -> LayerShapes:
    """Regions, their losses, labels and weights of their boxes; to labels and weights."""
    param = setup.layer.box_annotator_ohem_param
    require(param.roi_per_img > 0, "roi_per_img must be > 0")
    num, height, width = (legacy_dim(setup.bottoms[0], axis) for axis in (0, 2, 3))
    for i, channels in enumerate((5, 1, 1, legacy_dim(setup.bottoms[3], 1))):
        found = tuple(legacy_dim(setup.bottoms[i], axis) for axis in range(4))
        require_equal((num, channels, height, width), found, f"bottom[{i}] has the wrong shape")
    return LayerShapes([(num, 1, height, width), (num, channels, height, width)])
