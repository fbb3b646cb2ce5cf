"""torch.autograd.gradcheck of every layer type that only forks have; no C++ judge has most of them.

Their values are held by brute-force references in the other test_layers_forks_* and in
test_layers_ssd_*.
"""

import re
import sys

import numpy as np
import pytest
import torch

from runner.layers import LAYER_TYPES

RANDOM = np.random.default_rng(0)
ROOMS = ("runner.layers.forks.", "runner.layers.ssd.")
FORKS = {name: kind for name, kind in LAYER_TYPES.items() if kind.__module__.startswith(ROOMS)}
ALIASES = {"ConvolutionDepthwise", "DepthwiseConvolution"}  # of Convolution

#: what has no backward in any fork
WITHOUT = {
    "BoxAnnotatorOHEM",
    "CTCGreedyDecoder",
    "ContinuationIndicator",
    "DetectionEvaluate",
    "DetectionOutput",
    "LabelsequenceAccuracy",
    "PriorBox",
    "Proposal",
    "YoloDetectionOutput",
    "Yolov3DetectionOutput",
}
#: whose gradient is not the derivative: test_layers_forks_yolo.py, _warping.py, _sequences.py
BACKWARDS = {"ROIWarping", "RegionLoss", "WarpCTCLoss", "Yolov3"}


def normal(*shape):
    return RANDOM.normal(size=shape)


def apart(*shape):
    """Values that are all far from each other, so that no maximum changes."""
    return RANDOM.permutation(int(np.prod(shape))).reshape(shape) * 0.1


ROIS = np.array([[0, 2, 4, 21, 17], [1, -9, 3, 12, 40], [0, 100, 100, 120, 120]], float)
PRIORS = np.array(
    [[0.1, 0.1, 0.5, 0.5] * 2 + [0.4, 0.5, 0.9, 0.9] * 2, [0.1, 0.1, 0.2, 0.2] * 4]
).reshape(1, 2, 16)
TRUTH = np.array([[0, 1, 0, 0.1, 0.2, 0.5, 0.6, 0], [1, 2, 0, 0.5, 0.5, 0.9, 0.8, 0]])
LSTM = 'lstm_param { num_output: 2 batch_size: 2 weight_filler { type: "uniform" min: -1 max: 1 } }'
BOX = "multibox_loss_param { num_classes: 3 code_type: CENTER_SIZE %s }"

#: (type, fields, bottoms, the inputs whose gradient is checked: bottoms, then blobs)
CASES = [
    ("AbsLoss", "", [normal(3, 4), normal(3, 4)], (0, 1)),
    ("Axpy", "", [normal(2, 3), normal(2, 3, 2, 2), normal(2, 3, 2, 2)], (0, 1, 2)),
    ("BN", "bn_param { bn_mode: LEARN }", [normal(3, 2, 2, 2)], (0, 1, 2)),
    ("BN", "bn_param { bn_mode: INFERENCE }", [normal(3, 2, 2, 2)], (0, 1, 2)),
    ("BN", "bn_param { momentum: 0.9 eps: 0.1 }", [normal(3, 2, 2, 2)], (0, 1, 2)),
    ("BN", "bn_param { frozen: true }", [normal(3, 2, 2, 2)], (0,)),
    ("CenterLoss", "center_loss_param { num_output: 3 }", [normal(4, 3), np.array([0, 2, 0, 1])], (0,)),
    ("ChannelScale", "", [normal(2, 3, 2, 2), normal(2, 1, 2, 2)], (0, 1)),
    ("ConvolutionDepthwise", "convolution_param { num_output: 4 kernel_size: 3 pad: 1 }", [normal(1, 2, 4, 3)], (0, 1, 2)),
    # The gradient is that of the sum of the losses, the value their mean: of one they are alike.
    ("CtcLoss", "ctc_loss_param { alphabet_size: 3 time_step: 4 }", [normal(4, 1, 3), np.array([[1, 2]])], (0,)),
    ("DenseBlock", 'denseblock_param { numTransition: 1 growthRate: 2 use_BC: true Filter_Filler { type: "gaussian" } BN_Scaler_Filler { value: 1 } BN_Bias_Filler { value: 0.1 } }', [normal(2, 2, 2, 3)], (0, 1, 2, 3, 6, 7, 8)),
    ("DiceCoefLoss", "", [normal(3, 4), normal(3, 4)], (0, 1)),
    ("DepthwiseConvolution", "convolution_param { num_output: 2 kernel_size: 3 group: 2 stride: 2 }", [normal(1, 2, 5, 5)], (0, 1, 2)),
    ("Flip", "", [normal(2, 3, 2, 4)], (0,)),
    ("FlowWarp", "", [normal(1, 2, 3, 4), np.linspace(-1.3, 1.4, 24).reshape(1, 2, 3, 4)], (0, 1)),
    ("Interp", "interp_param { height: 5 width: 7 }", [normal(1, 2, 3, 4)], (0,)),
    ("Interp", "interp_param { shrink_factor: 2 pad_beg: -1 }", [normal(1, 2, 6, 6)], (0,)),
    ("L1Loss", "", [normal(3, 4), normal(3, 4)], (0, 1)),
    ("LabelSpecificAdd", "label_specific_add_param { bias: -0.3 }", [normal(4, 3), np.array([0, 2, 0, 1])], (0,)),
    ("LiftedStructSimilaritySoftmaxLoss", "", [normal(5, 3), np.array([0, 1, 0, 2, 1])], (0,)),
    ("LiftedStructSimilaritySoftmaxLoss", "lifted_struct_sim_softmax_loss_param { margin: -1 }", [normal(5, 3), np.array([0, 1, 0, 2, 1])], (0,)),
    ("Lstm", LSTM, [normal(6, 3)], (0, 1, 2, 3)),
    ("Lstm", LSTM, [normal(6, 3), np.array([0, 0, 1, 0, 1, 1])], (0, 2, 3, 4)),
    # with a margin neither gradient is the derivative: test_layers_forks_metric.py
    ("MarginInnerProduct", 'margin_inner_product_param { num_output: 3 weight_filler { type: "xavier" } }', [normal(4, 3), np.array([0, 2, 0, 1])], (0,)),
    ("MaskPooling", "", [normal(2, 3, 2, 2), normal(2, 1, 2, 2)], (0, 1)),
    ("MaskResize", "mask_resize_param { output_height: 3 output_width: 4 }", [normal(1, 2, 5, 6)], (0,)),
    ("MultiBoxLoss", BOX % "", [normal(2, 16), normal(2, 12), PRIORS, TRUTH[None, None]], (0, 1)),
    ("MultiBoxLoss", BOX % "mining_type: NONE conf_loss_type: LOGISTIC loc_loss_type: L2", [normal(2, 16), normal(2, 12), PRIORS, TRUTH[None, None]], (0, 1)),
    ("NdConvolution", "convolution_param { num_output: 2 kernel_shape { dim: 2 dim: 2 dim: 1 } }", [normal(1, 2, 3, 3, 2)], (0, 1, 2)),
    ("NdPooling", "pooling_param { kernel_shape { dim: 2 dim: 2 dim: 2 } }", [apart(1, 2, 3, 3, 3)], (0,)),
    ("Normalize", "", [normal(2, 3, 2, 2)], (0,)),
    ("Normalize", 'normalize_param { normalize_type: "L1" }', [normal(2, 3, 2, 2)], (0,)),
    ("Normalize", "norm_param { eps: 0.5 }", [normal(2, 3, 2, 2)], (0, 1)),
    # SSD's gradient leaves scales out of the projection: it is the derivative while they are alike.
    ("Normalize", "norm_param { across_spatial: false channel_shared: false }", [normal(2, 3, 2, 2)], (0, 1)),
    ("PSROIPooling", "psroi_pooling_param { spatial_scale: 0.25 output_dim: 2 group_size: 2 }", [normal(2, 8, 5, 4), ROIS], (0,)),
    ("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }", [normal(2, 3, 2, 2)], (0,)),
    ("ROIPooling", "roi_pooling_param { spatial_scale: 0.25 pooled_h: 2 pooled_w: 3 }", [apart(2, 2, 5, 4), ROIS], (0,)),
    ("ReLU6", "", [np.array([-2.0, -1, 1, 3, 5, 7, 9])], (0,)),
    ("ReLU6", "relu6_param { negative_slope: 0.25 }", [np.array([-2.0, -1, 1, 3, 5, 7, 9])], (0,)),
    ("Reorg", "reorg_param { stride: 2 }", [normal(1, 4, 2, 4)], (0,)),
    ("Reorg", "reorg_param { stride: 2 reverse: true }", [normal(1, 4, 2, 3)], (0,)),
    ("Reverse", "reverse_param { axis: 1 }", [normal(2, 3, 2)], (0,)),
    ("ShuffleChannel", "shuffle_channel_param { group: 2 }", [normal(2, 4, 2)], (0,)),
    ("SmoothL1Loss", "smooth_l1_loss_param { sigma: 2 }", [normal(3, 4), normal(3, 4)], (0, 1)),
    ("SmoothL1Loss", "", [normal(3, 4), normal(3, 4), np.full((3, 4), 2), np.full((3, 4), 3)], (0, 1)),
    ("SmoothL1LossOHEM", "", [normal(3, 4, 1, 1), normal(3, 4, 1, 1)], (0, 1)),
    ("SoftmaxWithLossOHEM", "loss_param { ignore_label: 1 }", [normal(4, 3), np.array([0, 1, 2, 0])], (0,)),
    ("Transpose", "transpose_param { dim: 2 dim: 0 dim: 1 }", [normal(2, 3, 2)], (0,)),
    ("Upsample", "upsample_param { scale: 2 }", [normal(1, 2, 2, 3)], (0,)),
    ("Upsample", "upsample_param { scale: 2 }", [normal(1, 1, 1, 3), np.array([[[[7, 0, 4]]]])], (0,)),
]  # fmt: skip


@pytest.mark.parametrize("kind, fields, bottoms, places", CASES)
def test_gradcheck(one_layer, kind, fields, bottoms, places):
    layer = one_layer(f'type: "{kind}" {fields}', *bottoms)
    inputs = [torch.tensor(a, dtype=torch.float64) for a in (*layer.arrays, *layer.blobs)]
    chosen = [inputs[place].requires_grad_() for place in places]

    def tops(*values):
        layer.layer.carried = None  # an Lstm with cont would go on from the last call
        given = list(inputs)
        for place, value in zip(places, values, strict=True):
            given[place] = value
        count = len(bottoms)
        return tuple(
            top for top in layer.layer.forward(given[:count], given[count:]) if top.requires_grad
        )

    assert torch.autograd.gradcheck(tops, chosen)


def test_every_type_is_checked_or_has_no_backward():
    checked = {kind for kind, *_ in CASES}
    assert checked | WITHOUT | BACKWARDS == FORKS.keys() | ALIASES
    assert not checked & (WITHOUT | BACKWARDS)


@pytest.mark.parametrize("name", FORKS)
def test_each_names_where_it_comes_from(name):
    """A paper with its year, or the fork whose code defines it."""
    kind = FORKS[name]
    told = f"{kind.__doc__} {sys.modules[kind.__module__].__doc__}"
    assert re.search(r"\b(19|20)\d\d\b|\w[-/]caffe\b|\bfork\b", told), told
