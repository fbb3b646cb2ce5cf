"""What a layer is refused for, in Caffe's words and one line."""

import pytest

from netgen import graph, schema
from netgen.errors import CaffeError
from netgen.schema import caffe_pb

IMAGE, VECTORS = (2, 3, 8, 8), (4, 5)

COUNTS = [
    ("ReLU", 0, 1, "ReLU Layer takes 1 bottom blob(s) as input. (1 vs. 0)"),
    ("Convolution", 0, 0, "Convolution Layer takes at least 1 bottom blob(s) as input. (1 vs. 0)"),
    ("Convolution", 1, 0, "Convolution Layer produces at least 1 top blob(s) as output. (1 vs. 0)"),
    ("Convolution", 2, 1, "Convolution Layer produces one top blob as output for each bottom blob "
     "input. (2 vs. 1)"),
    ("Scale", 3, 1, "Scale Layer takes at most 2 bottom blob(s) as input. (2 vs. 3)"),
    ("Silence", 1, 1, "Silence Layer produces 0 top blob(s) as output. (0 vs. 1)"),
    ("Data", 0, 3, "Data Layer produces at most 2 top blob(s) as output. (2 vs. 3)"),
    ("SoftmaxWithLoss", 2, 3, "SoftmaxWithLoss Layer produces at most 2 top blob(s) as output. "
     "(2 vs. 3)"),
    ("EuclideanLoss", 2, 2, "EuclideanLoss Layer produces 1 top blob(s) as output. (1 vs. 2)"),
    ("LSTM", 4, 1, "LSTM Layer takes at most 3 bottom blob(s) as input. (3 vs. 4)"),
    ("Filter", 3, 1, "Filter Layer produces one top per filtered bottom (2 vs. 1)"),
]  # fmt: skip

SHAPES = [
    ("Convolution", "convolution_param { num_output: 1 }", [IMAGE],
     "kernel_size must be specified once, or once per spatial dimension "
     "(kernel_size specified 0 times; 2 spatial dims)."),
    ("Convolution", "convolution_param { num_output: 1 kernel_size: 3 kernel_h: 3 }", [IMAGE],
     "Either kernel_size or kernel_h/w should be specified; not both."),
    ("Convolution", "convolution_param { num_output: 1 kernel_h: 3 kernel_w: 3 }", [(2, 3, 8)],
     "kernel_h & kernel_w can only be used for 2D convolution. (1 vs. 2)"),
    ("Convolution", "convolution_param { num_output: 1 kernel_h: 3 }", [IMAGE],
     "Filter dimensions must be nonzero."),
    ("Convolution", "convolution_param { num_output: 1 kernel_size: 1 stride: 0 }", [IMAGE],
     "Stride dimensions must be nonzero."),
    ("Convolution", "convolution_param { num_output: 1 kernel_size: 1 pad: 1 pad_w: 0 }", [IMAGE],
     "Either pad or pad_h/w should be specified; not both."),
    ("Deconvolution", "convolution_param { num_output: 3 kernel_size: 1 stride: 1 stride: 1 "
     "stride: 1 }", [IMAGE],
     "stride must be specified once, or once per spatial dimension "
     "(stride specified 3 times; 2 spatial dims)."),
    ("Convolution", "convolution_param { num_output: 4 kernel_size: 1 group: 3 }", [IMAGE],
     "Number of output should be multiples of group. (0 vs. 1)"),
    ("Convolution", "convolution_param { num_output: 4 kernel_size: 1 group: 2 }", [IMAGE],
     "3 channels are not a multiple of group 2"),
    ("Convolution", "convolution_param { kernel_size: 1 }", [IMAGE], "num_output must be positive"),
    ("Convolution", "convolution_param { num_output: 1 kernel_size: 9 }", [IMAGE],
     "output would be empty (0 0): kernel 9 9, stride 1 1, pad 0 0 do not fit input 8 8"),
    ("Convolution", "convolution_param { num_output: 1 kernel_size: 1 axis: 4 }", [IMAGE],
     "axis 4 out of range for 4-D Blob with shape 2 3 8 8 (384)"),
    ("Im2col", "convolution_param { kernel_size: 1 }", [VECTORS],
     "no spatial axes after axis 1 in 4 5 (20)"),
    ("Data", 'data_param { source: "x" batch_size: 1 shuffle: true }', [],
     "LevelDB doesn't support shuffle"),
    ("Pooling", "pooling_param { global_pooling: true kernel_size: 2 }", [IMAGE],
     "With Global_pooling: true Filter size cannot specified"),
    ("Pooling", "pooling_param { global_pooling: true stride: 2 }", [IMAGE],
     "With Global_pooling: true; only pad = 0 and stride = 1"),
    ("Pooling", "pooling_param { kernel_h: 2 }", [IMAGE],
     "Filter size is kernel_size OR kernel_h and kernel_w; not both"),
    ("Pooling", "pooling_param { kernel_size: 2 pad_h: 1 }", [IMAGE],
     "pad is pad OR pad_h and pad_w are required."),
    ("Pooling", "pooling_param { kernel_size: 2 stride: 1 stride_h: 1 stride_w: 1 }", [IMAGE],
     "Stride is stride OR stride_h and stride_w are required."),
    ("Pooling", "pooling_param { kernel_size: 0 }", [IMAGE], "Filter dimensions cannot be zero."),
    ("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 pad: 1 }", [IMAGE],
     "Padding implemented only for average and max pooling."),
    ("Pooling", "pooling_param { kernel_size: 2 pad: 2 }", [IMAGE],
     "pad 2 2 must be smaller than kernel 2 2"),
    ("Pooling", "pooling_param { kernel_size: 2 }", [(2, 3, 8)],
     "Input must have 4 axes, corresponding to (num, channels, height, width) (4 vs. 3)"),
    ("SPP", "spp_param { pyramid_height: 2 }", [(2, 3, 1, 1)],
     "pad 1 1 must be smaller than kernel 1 1"),
    ("SPP", "", [IMAGE], "pyramid_height must be positive"),
    ("InnerProduct", "", [IMAGE], "num_output must be positive"),
    ("InnerProduct", "inner_product_param { num_output: 70000 }", [(1, 70000)],
     "blob size exceeds INT_MAX: 70000 70000 (4900000000)"),
    ("Embed", "embed_param { num_output: 1 }", [(4,)], "EmbedLayer input_dim must be positive."),
    ("Exp", "exp_param { base: 0 }", [IMAGE], "base must be strictly positive. (0 vs. 0)"),
    ("Log", "log_param { base: 1 }", [IMAGE], "Inf result: 1/log(base) = 1/log(1) = inf"),
    ("PReLU", "", [(4,)], "Number of axes of bottom blob must be >=2. (1 vs. 2)"),
    ("PReLU", "", [(1, 2, 3, 4, 5)], "Cannot use legacy accessors on Blobs with > 4 axes."),
    ("LRN", "lrn_param { local_size: 4 }", [IMAGE],
     "LRN only supports odd values for local_size (4)"),
    ("BatchNorm", "param { lr_mult: 0 } param { lr_mult: 1 }", [IMAGE],
     "Cannot configure batch normalization statistics as layer parameters. (lr_mult 1 vs. 0)"),
    ("BatchNorm", "", [(4,)], "axis 1 out of range for 1-D Blob with shape 4 (4)"),
    ("Scale", "scale_param { num_axes: -2 }", [IMAGE],
     "num_axes must be non-negative, or -1 to extend to the end of bottom[0] (-2)"),
    ("Scale", "scale_param { axis: 2 num_axes: 3 }", [IMAGE],
     "scale blob's shape extends past bottom[0]'s shape when applied starting with "
     "bottom[0] axis = 2 (4 vs. 5)"),
    ("Bias", "", [IMAGE, (3, 9)],
     "dimension mismatch between bottom[0]->shape(2) and bias->shape(1) (8 vs. 9)"),
    ("Concat", "concat_param { axis: 1 concat_dim: 1 }", [IMAGE],
     "Either axis or concat_dim should be specified; not both."),
    ("Concat", "concat_param { concat_dim: 4 }", [IMAGE], "concat_dim out of range. (4 vs. 4)"),
    ("Concat", "", [IMAGE, (2, 3, 8)], "All inputs must have the same #axes. (4 vs. 3)"),
    ("Concat", "", [IMAGE, (2, 3, 8, 9)],
     "All inputs must have the same shape, except at concat_axis. (bottom[0]: 2 3 8 8 (384), "
     "bottom[1]: 2 3 8 9 (432), concat_axis 1)"),
    ("Eltwise", "", [(1, 2, 3, 4), (1, 2, 3, 5)],
     "bottom[0]: 1 2 3 4 (24), bottom[1]: 1 2 3 5 (30)"),
    ("Eltwise", "eltwise_param { coeff: 1 }", [IMAGE, IMAGE],
     "Eltwise Layer takes one coefficient per bottom blob. (2 vs. 1)"),
    ("Eltwise", "eltwise_param { operation: PROD coeff: 1 coeff: 1 }", [IMAGE, IMAGE],
     "Eltwise layer only takes coefficients for summation."),
    ("Reshape", "reshape_param { shape { dim: -1 dim: -1 } }", [IMAGE],
     "new shape contains multiple -1 dims; at most a single (1) value of -1 may be specified"),
    ("Reshape", "reshape_param { shape { dim: 5 } }", [IMAGE],
     "output count must match input count (top: 5 (5) vs. bottom: 2 3 8 8 (384))"),
    ("Reshape", "reshape_param { shape { dim: -1 dim: 5 } }", [IMAGE],
     "bottom count (384) must be divisible by the product of the specified dimensions (5)"),
    ("Reshape", "reshape_param { shape { dim: 0 } axis: 4 num_axes: 0 }", [IMAGE],
     "new shape contains a 0, but there was no corresponding bottom axis to copy"),
    ("Reshape", "reshape_param { axis: 5 }", [IMAGE], "axis 5 out of range for 4-D input blob"),
    ("Reshape", "reshape_param { axis: 2 num_axes: 3 }", [IMAGE],
     "end_axis = axis + num_axes is out of range (5 vs. 4)"),
    ("Flatten", "flatten_param { axis: 3 end_axis: 1 }", [IMAGE], "axis 3 comes after end_axis 1"),
    ("Tile", "", [IMAGE], "Number of tiles must be specified"),
    ("Tile", "tile_param { tiles: 0 }", [IMAGE], "Number of tiles must be positive. (0 vs. 0)"),
    ("Crop", "crop_param { offset: 5 }", [IMAGE, (2, 3, 4, 4)],
     "the crop for dimension 2 is out-of-bounds with size 4 and offset 5 (3 vs. 4)"),
    ("Crop", "crop_param { offset: 1 offset: 1 offset: 1 }", [IMAGE, IMAGE],
     "number of offset values specified must be equal to the number of dimensions following axis. "
     "(4 vs. 5)"),
    ("Accuracy", "", [IMAGE, (2,)],
     "Number of labels must match number of predictions; e.g., if label axis == 1 and prediction "
     "shape is (N, C, H, W), label count (number of labels) must be N*H*W, with integer values in "
     "{0, 1, ..., C-1}. (128 vs. 2)"),
    ("Accuracy", "accuracy_param { top_k: 6 }", [VECTORS, (4,)],
     "top_k must be less than or equal to the number of classes. (6 vs. 5)"),
    ("ArgMax", "argmax_param { axis: 1 top_k: 6 }", [VECTORS],
     "top_k must be less than or equal to the dimension of the axis. (6 vs. 5)"),
    ("HDF5Output", "", [IMAGE, (3,)],
     "data blob and label blob must have the same batch size (2 vs. 3)"),
    ("BatchReindex", "", [IMAGE, (3, 1)], "the index blob must have one axis (1 vs. 2)"),
    ("SoftmaxWithLoss", "", [IMAGE, (3,)],
     "The data and label should have the same first dimension. (2 vs. 3)"),
    ("EuclideanLoss", "", [VECTORS, (4, 6)], "Inputs must have the same dimension. (5 vs. 6)"),
    ("SigmoidCrossEntropyLoss", "", [VECTORS, (4, 6)],
     "SIGMOID_CROSS_ENTROPY_LOSS layer inputs must have the same count. (20 vs. 24)"),
    ("MultinomialLogisticLoss", "", [VECTORS, (4, 2)], "label must have channels 1 (1 vs. 2)"),
    ("ContrastiveLoss", "", [(4, 5, 2), (4, 5, 2), (4,)], "bottom[0] must have height 1 (1 vs. 2)"),
    ("InfogainLoss", "", [VECTORS, (4,)], "Infogain matrix source must be specified."),
    ("InfogainLoss", "loss_param { normalize: true }", [VECTORS, (4,), (5, 5)],
     'normalize is deprecated. use "normalization"'),
    ("InfogainLoss", "", [VECTORS, (4,), (4, 4)], "the infogain matrix must be (C, C) (25 vs. 16)"),
    ("LSTM", "recurrent_param { num_output: 0 }", [(6, 2, 5), (6, 2)],
     "num_output must be positive"),
    ("LSTM", "recurrent_param { num_output: 3 }", [(6, 2, 5), (6, 2, 1)],
     "bottom[1] must have exactly 2 axes -- (#timesteps, #streams) (6 2 1 (12))"),
    ("LSTM", "recurrent_param { num_output: 3 }", [(6, 2), (6, 2)],
     "axis 2 out of range for 2-D Blob with shape 6 2 (12)"),
    ("RNN", "recurrent_param { num_output: 3 }", [(6, 2, 5), (5, 2)],
     "bottom[0] and bottom[1] differ in #timesteps (6 vs. 5)"),
    ("Parameter", "parameter_param { shape { dim: -1 } }", [],
     "negative dimension in blob shape -1 (-1)"),
    ("Input", "input_param { shape { dim: 1 } shape { dim: 2 } }", [],
     "Must specify 'shape' once, once per top blob, or not at all: 1 tops vs. 2 shapes."),
    ("DummyData", "dummy_data_param { num: 1 channels: 1 height: 1 }", [],
     "Must specify 'width' once, or once per top blob (1); specified 0."),
    ("DummyData", "dummy_data_param { num: 1 shape { dim: 1 } }", [],
     "Both shape and legacy fields were specified"),
    ("DummyData", "dummy_data_param { shape { dim: 1 } data_filler { } data_filler { } }", [],
     "Number of data fillers must be 0, 1 or equal to the number of tops: 1; "
     "you specified 2 data fillers."),
    ("Data", "data_param { batch_size: 4 } transform_param { mean_file: 'm' mean_value: 1 }", [],
     "Cannot specify mean_file and mean_value at the same time"),
    ("Data", "", [], "Positive batch size required"),
    ("Data", "data_param { batch_size: 4 } transform_param { crop_size: 9 force_color: true "
     "force_gray: true mean_value: 1 mean_value: 1 }", [],
     "Specify either 1 mean_value or as many as channels: 1 (2 mean_value)"),
    ("HDF5Data", "transform_param { }", [], "HDF5Data does not transform data."),
]  # fmt: skip

TWO_TOPS = [
    ("Convolution", "convolution_param { num_output: 1 kernel_size: 1 }", [IMAGE, (2, 3, 8, 9)],
     "shape mismatch - bottom[0]: 2 3 8 8 (384) vs. bottom[1]: 2 3 8 9 (432)"),
    ("ImageData", "image_data_param { new_height: 3 }", [],
     "Current implementation requires new_height and new_width to be set at the same time. "
     "(3 and 0)"),
    ("ImageData", "image_data_param { new_height: 3 new_width: 3 } "
     "transform_param { crop_size: 4 }", [], "crop_size 4 is larger than the record's 3 x 3"),
    ("MemoryData", "", [],
     "batch_size, channels, height, and width must be specified and positive in memory_data_param"),
    ("WindowData", "window_data_param { batch_size: 1 }", [], "crop_size must be positive"),
    ("Pooling", "pooling_param { pool: AVE kernel_size: 2 }", [IMAGE],
     "Pooling Layer produces at most 1 top blob(s) as output. (1 vs. 2)"),
    ("Slice", "slice_param { axis: 1 slice_dim: 1 }", [IMAGE],
     "Either axis or slice_dim should be specified; not both."),
    ("Slice", "", [IMAGE],
     "Number of top blobs (2) should evenly divide input slice axis (3)"),
    ("Slice", "slice_param { slice_point: 1 slice_point: 2 }", [IMAGE],
     "slice_point must be given once between two tops (1 vs. 2)"),
    ("Slice", "slice_param { slice_point: 4 }", [IMAGE],
     "slice_point 4 must rise, from 1 to at most 3"),
    ("Slice", "slice_param { slice_point: 1 }", [(2, 1)],
     "slice axis: 1, bottom[0] shape: 2 1 (2) (2 tops)"),
    ("LSTMUnit", "", [(1, 2, 7), (1, 2, 27), (1, 2)],
     "gate inputs must be 4 times the cell state (28 vs. 27)"),
    ("LSTMUnit", "", [(1, 2, 7), (1, 3, 28), (1, 2)],
     "bottom[0] and bottom[1] differ in #streams (2 vs. 3)"),
    ("Filter", "", [IMAGE, IMAGE, (2, 2)],
     "Selector blob dimensions must be singletons (1), except the first (1 vs. 2)"),
    ("Filter", "", [IMAGE, (3,), (2,)],
     "Each bottom should have the same 0th dimension as the selector blob (2 vs. 3)"),
    ("RNN", "recurrent_param { num_output: 7 expose_hidden: true }",
     [(6, 2, 5), (6, 2), (1, 2, 6)],
     "shape mismatch - recur_input_blobs_[0]: 1 2 7 (14) vs. bottom[2]: 1 2 6 (12)"),
]  # fmt: skip

LAYER = [
    ("ReLU", "propagate_down: true propagate_down: false",
     "propagate_down param must be specified either 0 or bottom_size times (2 vs. 1)"),
    ("ReLU", "loss_weight: 1 loss_weight: 0",
     "loss_weight must be unspecified or specified once per top blob. (1 vs. 2)"),
]  # fmt: skip


def make_layer(kind, rest, bottoms, tops):
    names = [f'bottom: "b{i}"' for i in range(bottoms)] + [f'top: "t{i}"' for i in range(tops)]
    text = f'name: "l" type: "{kind}" {" ".join(names)} {rest}'
    return schema.parse_text(text, caffe_pb.LayerParameter)


def refusal(layer, bottoms):
    with pytest.raises(graph.NetError) as caught:
        graph.layer_shapes(layer, bottoms, caffe_pb.TRAIN)
    assert isinstance(caught.value, CaffeError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind, bottoms, tops, words", COUNTS)
def test_blob_counts(kind, bottoms, tops, words):
    layer = make_layer(kind, "", bottoms, tops)
    assert refusal(layer, [IMAGE] * bottoms) == f"layer 'l': {words}"


@pytest.mark.parametrize(
    "kind, rest, bottoms, words, tops",
    [(*case, 1) for case in SHAPES] + [(*case, 2) for case in TWO_TOPS],
)
def test_parameters_and_shapes(kind, rest, bottoms, words, tops):
    tops = 0 if kind == "HDF5Output" else tops
    assert refusal(make_layer(kind, rest, len(bottoms), tops), bottoms) == f"layer 'l': {words}"


@pytest.mark.parametrize("kind, rest, words", LAYER)
def test_what_every_layer_is_checked_for(kind, rest, words):
    assert refusal(make_layer(kind, rest, 1, 1), [IMAGE]) == f"layer 'l': {words}"


def test_too_many_params():
    layer = make_layer("Bias", "param { } param { }", 1, 1)
    assert refusal(layer, [IMAGE]) == "Too many params specified for layer l (2 vs. 1)"


def test_unknown_type_lists_the_known_ones():
    words = refusal(make_layer("Convolutoin", "", 1, 1), [IMAGE])
    assert words.startswith(
        "layer 'l': Unknown layer type: Convolutoin (known types: AbsLoss, AbsVal, Accuracy, "
    )
    assert ", Threshold, Tile, " in words and words.endswith(")")


@pytest.mark.parametrize("kind", ["AbsVal", "Flatten", "Reshape", "Split"])
def test_no_in_place(kind):
    layer = schema.parse_text(
        f'name: "l" type: "{kind}" bottom: "x" top: "x"', caffe_pb.LayerParameter
    )
    words = f"layer 'l': {kind} Layer does not allow in-place computation."
    assert refusal(layer, [IMAGE]) == words
