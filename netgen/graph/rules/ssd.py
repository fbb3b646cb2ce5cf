"""The layers of the Single Shot MultiBox Detector (Liu et al. 2016, arXiv 1512.02325).

Sources: prior_box_layer.cpp, multibox_loss_layer.cpp, detection_output_layer.cpp,
detection_evaluate_layer.cpp and annotated_data_layer.cpp of weiliu89/caffe, branch ssd.
"""

from math import sqrt

from netgen.graph.errors import require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import Shape, legacy_dim
from netgen.schema import caffe_pb


def prior_sizes(param: caffe_pb.PriorBoxParameter) -> list[tuple[float, float]]:
    """Width and height, in pixels, of each prior at one place, in the order of the top.

    For each min_size: a square of it; with max_size one of the geometric mean of both; and a box
    of its area for every other aspect ratio, with `flip` also upside down. Like Caffe it cuts
    sizes down to whole pixels. Raises NetError in Caffe's words.
    """
    require(len(param.min_size) > 0, "must provide min_size.")
    require(min(param.min_size) > 0, "min_size must be positive.")
    if param.max_size:
        require_equal(len(param.min_size), len(param.max_size), "one max_size for each min_size")
    for small, large in zip(param.min_size, param.max_size, strict=False):
        require(large > small, "max_size must be greater than min_size.")
    ratios = [1.0]
    for ratio in param.aspect_ratio:
        require(ratio > 0, f"aspect_ratio must be positive, not {ratio:g}.")
        if all(abs(ratio - other) >= 1e-6 for other in ratios):
            ratios += [ratio, 1 / ratio] if param.flip else [ratio]
    sizes = []
    for i, small in enumerate(map(int, param.min_size)):
        sizes.append((float(small), float(small)))
        if param.max_size:
            side = sqrt(small * int(param.max_size[i]))
            sizes.append((side, side))
        sizes += [
            (small * sqrt(ratio), small / sqrt(ratio)) for ratio in ratios if abs(ratio - 1) >= 1e-6
        ]
    return sizes


@rule("PriorBox", bottoms=2)
def prior_box(setup: Setup) -> LayerShapes:
    """A feature map and the image; the top (1, 2, places x priors x 4) has boxes and variances."""
    param = setup.layer.prior_box_param
    variances = param.variance
    if len(variances) > 1:
        require_equal(len(variances), 4, "Must and only provide 4 variance.")
    require(all(v > 0 for v in variances), "variance must be positive.")
    _check_pair(param, "img_size", ("img_h", "img_w"))
    _check_pair(param, "step", ("step_h", "step_w"))
    height, width = (legacy_dim(setup.bottoms[0], axis) for axis in (2, 3))
    values = height * width * len(prior_sizes(param)) * 4
    require(values > 0, f"top_shape[2] > 0 ({values} vs. 0)")
    return LayerShapes([(1, 2, values)])


def _check_pair(param: caffe_pb.PriorBoxParameter, one: str, pair: tuple[str, str]) -> None:
    """A size is given once for both directions, or for each of them, or not at all."""
    if any(map(param.HasField, pair)):
        require(
            not param.HasField(one),
            f"Either {one} or {'/'.join(pair)} should be specified; not both.",
        )
        for name in pair:
            require(getattr(param, name) > 0, f"{name} should be larger than 0.")
    elif param.HasField(one):
        require(getattr(param, one) > 0, f"{one} should be larger than 0.")


def _check_predictions(setup: Setup, num_classes: int, share_location: bool) -> None:
    """Locations (N, priors x 4), confidences (N, priors x classes) and priors fit each other."""
    location, confidence, priors = (setup.bottoms[i] for i in range(3))
    require_equal(
        legacy_dim(location, 0), legacy_dim(confidence, 0), "bottom[0] and bottom[1] differ in num"
    )
    count = legacy_dim(priors, 2) // 4
    require_equal(
        count * (1 if share_location else num_classes) * 4,
        legacy_dim(location, 1),
        "Number of priors must match number of location predictions.",
    )
    require_equal(
        count * num_classes,
        legacy_dim(confidence, 1),
        "Number of priors must match number of confidence predictions.",
    )


@rule("MultiBoxLoss", bottoms=4, automatic_top=True)
def multibox_loss(setup: Setup) -> LayerShapes:
    """Locations, confidences, priors, and the boxes of the ground truth (1, 1, boxes, 8)."""
    param = setup.layer.multibox_loss_param
    require(param.HasField("num_classes"), "Must provide num_classes.")
    require(param.num_classes >= 1, "num_classes should not be less than 1.")
    mines = param.mining_type != caffe_pb.MultiBoxLossParameter.NONE
    if param.HasField("do_neg_mining"):
        require_equal(param.do_neg_mining, mines, "do_neg_mining disagrees with mining_type")
    require(
        param.share_location or not mines,
        "Currently only support negative mining if share_location is true.",
    )
    if param.conf_loss_type == caffe_pb.MultiBoxLossParameter.SOFTMAX:
        require(
            param.background_label_id < param.num_classes,
            "background_label_id should be within [0, num_classes) for Softmax.",
        )
    if param.map_object_to_agnostic:
        require_equal(param.num_classes, 2, "map_object_to_agnostic: num_classes")
    if param.mining_type == caffe_pb.MultiBoxLossParameter.HARD_EXAMPLE:
        require(param.sample_size > 0, f"sample_size > 0 ({param.sample_size} vs. 0)")
    _check_predictions(setup, param.num_classes, param.share_location)
    require_equal(legacy_dim(setup.bottoms[3], 3), 8, "the width of the ground truth must be 8")
    return LayerShapes([()])


@rule("DetectionOutput", bottoms=(3, 4))
def detection_output(setup: Setup) -> LayerShapes:
    """A row for each detection: image, label, confidence, xmin, ymin, xmax, ymax."""
    param = setup.layer.detection_output_param
    require(param.HasField("num_classes"), "Must specify num_classes")
    require(param.nms_param.nms_threshold >= 0, "nms_threshold must be non negative.")
    require(0 < param.nms_param.eta <= 1, "eta must be in (0, 1].")
    _check_predictions(setup, param.num_classes, param.share_location)
    return LayerShapes([(1, 1, 1, 7)], note="the number of detections is known when it runs")


@rule("DetectionEvaluate", bottoms=2)
def detection_evaluate(setup: Setup) -> LayerShapes:
    """Detections and ground truth; rows of image, label, confidence, true and false positive."""
    param = setup.layer.detection_evaluate_param
    require(param.HasField("num_classes"), "Must provide num_classes.")
    require(param.overlap_threshold > 0, "overlap_threshold must be non negative.")
    for bottom, (found, width) in enumerate(zip(setup.bottoms, (7, 8), strict=True)):
        for axis, size in ((0, 1), (1, 1), (3, width)):
            name = ("num", "channels", "height", "width")[axis]
            require_equal(legacy_dim(found, axis), size, f"bottom[{bottom}]->{name}()")
    # Caffe compares an unsigned id with -1, so that one class is always the background.
    rows = param.num_classes - 1 + legacy_dim(setup.bottoms[0], 2)
    top: Shape = (1, 1, rows, 5)
    return LayerShapes([top])
