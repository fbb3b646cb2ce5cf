"""RegionLoss, Yolov3, YoloDetectionOutput and Yolov3DetectionOutput: the maps of YOLO.

A map (N, A (5 + classes), H, W) has for each of A anchors x, y, log width, log height, whether
there is an object, and a score a class.
"""

from math import prod

from netgen.graph.errors import require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import Shape


def _check_map(name: str, shape: Shape, anchors: int, classes: int) -> None:
    require_equal(4, len(shape), f"{name} must have 4 axes")
    require_equal(
        anchors * (5 + classes),
        shape[1],
        f"{name} must have {anchors} anchors x (5 + {classes} classes) channels",
    )


@rule("RegionLoss", bottoms=2, automatic_top=True)
def region_loss(setup: Setup) -> LayerShapes:
    """A map, and for each image rows of (class, x, y, width, height) that a row of zeros ends."""
    param, (maps, labels) = setup.layer.region_loss_param, setup.bottoms
    require_equal(4, param.coords, "RegionLoss has four coords a box")
    require(
        not (param.softmax_tree or param.class_map),
        "softmax_tree and class_map (YOLO9000) are not supported",
    )
    _check_map("bottom[0]", maps, param.num, param.num_class)
    require_equal(2 * param.num, len(param.biases), "biases must have two values an anchor")
    require_equal(maps[0], labels[0], "The data and label should have the same first dimension.")
    require_equal(0, prod(labels[1:]) % 5, "labels must be rows of five values")
    return LayerShapes([()])


@rule("Yolov3", bottoms=2, automatic_top=True)
def yolov3(setup: Setup) -> LayerShapes:
    """A map, and for each image rows of (class, x, y, width, height) that a row of zeros ends."""
    param, (maps, labels) = setup.layer.yolov3_param, setup.bottoms
    require(param.iou_loss == param.MSE, "iou_loss is supported as MSE alone")
    require(not param.use_focal_loss, "use_focal_loss is not supported")
    _check_map("bottom[0]", maps, param.num, param.num_class)
    require_equal(param.num, len(param.mask), "mask must name num anchors")
    require(
        2 * max(param.mask, default=0) + 1 < len(param.biases),
        f"mask names anchor {max(param.mask, default=0)}, of which biases have "
        f"{len(param.biases) // 2}",
    )
    require_equal(maps[0], labels[0], "The data and label should have the same first dimension.")
    require_equal(0, prod(labels[1:]) % 5, "labels must be rows of five values")
    return LayerShapes([()])


@rule("YoloDetectionOutput", bottoms=(1, 2))
def yolo_detection_output(setup: Setup) -> LayerShapes:
    """Maps of one image to detections (1, 1, K, 7)."""
    param = setup.layer.yolo_detection_output_param
    require(param.HasField("num_classes"), "Must specify num_classes")
    require_equal(4, param.coords, "coords must be 4")
    require_equal(
        2 * param.num_box, len(param.biases), "biases must have two values an anchor (num_box)"
    )
    for i, bottom in enumerate(setup.bottoms):
        _check_map(f"bottom[{i}]", bottom, param.num_box, param.num_classes)
        require_equal(1, bottom[0], "YoloDetectionOutput takes one image at a time")
    return LayerShapes([(1, 1, 1, 7)], note="the third axis depends on the data")


@rule("Yolov3DetectionOutput", bottoms=(1, None))
def yolov3_detection_output(setup: Setup) -> LayerShapes:
    """Maps of one image to detections (1, 1, K, 7)."""
    param = setup.layer.yolov3_detection_output_param
    require(param.HasField("num_classes"), "Must specify num_classes")
    groups = len(setup.bottoms)
    require_equal(param.mask_group_num, groups, "there must be mask_group_num bottoms")
    require(
        param.mask and len(param.mask) % groups == 0,
        f"mask must have equally many anchors for each of {groups} bottoms",
    )
    require_equal(groups, len(param.anchors_scale), "there must be one anchors_scale a bottom")
    require(
        2 * max(param.mask) + 1 < len(param.biases),
        f"mask names anchor {max(param.mask)}, of which biases have {len(param.biases) // 2}",
    )
    for i, bottom in enumerate(setup.bottoms):
        _check_map(f"bottom[{i}]", bottom, len(param.mask) // groups, param.num_classes)
        require_equal(1, bottom[0], "Yolov3DetectionOutput takes one image at a time")
    return LayerShapes([(1, 1, 1, 7)], note="the third axis depends on the data")
