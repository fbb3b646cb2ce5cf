"""Every layer type's shape rule against numbers worked out by hand from Caffe's formulas."""

import pytest

from netgen import graph, schema
from netgen.schema import caffe_pb

IMAGE = (2, 3, 8, 8)
VECTORS, LABELS = (4, 5), (4,)
SOURCE = 'data_param { source: "x" batch_size: 4 backend: LMDB }'

# (type, rest of the layer, bottoms, tops, blobs, multiply-adds); the layer's bottoms and tops
# are named b0, b1, ... and t0, t1, ...
CASES = [
    ("Convolution", "convolution_param { num_output: 4 kernel_size: 3 }",
     [IMAGE], [(2, 4, 6, 6)], [(4, 3, 3, 3), (4,)], 2 * 36 * 4 * 27),
    ("Convolution", "convolution_param { num_output: 6 kernel_size: 3 pad: 1 stride: 2 "
     "group: 3 }",
     [IMAGE], [(2, 6, 4, 4)], [(6, 1, 3, 3), (6,)], 2 * 16 * 6 * 9),
    ("Convolution", "convolution_param { num_output: 1 kernel_size: 3 dilation: 2 "
     "bias_term: false }",
     [IMAGE], [(2, 1, 4, 4)], [(1, 3, 3, 3)], 2 * 16 * 27),
    ("Convolution", "convolution_param { num_output: 4 kernel_h: 1 kernel_w: 5 pad_h: 0 pad_w: 2 "
     "stride_h: 1 stride_w: 3 }",
     [IMAGE], [(2, 4, 8, 3)], [(4, 3, 1, 5), (4,)], 2 * 24 * 4 * 15),
    ("Convolution", "convolution_param { num_output: 4 kernel_size: 3 kernel_size: 2 "
     "kernel_size: 1 }",
     [(2, 3, 8, 8, 8)], [(2, 4, 6, 7, 8)], [(4, 3, 3, 2, 1), (4,)], 2 * 336 * 4 * 18),
    ("Convolution", "convolution_param { num_output: 4 kernel_size: 2 axis: -2 }",
     [IMAGE], [(2, 3, 4, 7)], [(4, 8, 2), (4,)], 6 * 7 * 4 * 16),
    ("Convolution", "convolution_param { num_output: 4 kernel_size: 3 }",
     [IMAGE, IMAGE], [(2, 4, 6, 6)] * 2, [(4, 3, 3, 3), (4,)], 2 * 2 * 36 * 4 * 27),
    # C++ division truncates towards zero: less than a stride missing still gives one window
    ("Convolution", "convolution_param { num_output: 1 kernel_size: 5 stride: 4 }",
     [(1, 1, 2, 2)], [(1, 1, 1, 1)], [(1, 1, 5, 5), (1,)], 25),
    ("Deconvolution", "convolution_param { num_output: 6 kernel_size: 4 stride: 2 pad: 1 "
     "group: 3 }",
     [IMAGE], [(2, 6, 16, 16)], [(3, 2, 4, 4), (6,)], 2 * 64 * 3 * 32),
    ("Deconvolution", "convolution_param { num_output: 2 kernel_size: 3 dilation: 2 stride: 3 }",
     [IMAGE], [(2, 2, 26, 26)], [(3, 2, 3, 3), (2,)], 2 * 64 * 3 * 18),
    ("Im2col", "convolution_param { kernel_size: 3 stride: 2 pad: 1 }",
     [IMAGE], [(2, 27, 4, 4)], [], 0),
    ("Im2col", "convolution_param { kernel_h: 1 kernel_w: 3 }", [IMAGE], [(2, 9, 8, 6)], [], 0),

    ("Pooling", "pooling_param { kernel_size: 3 stride: 2 }", [IMAGE], [(2, 3, 4, 4)], [], 0),
    ("Pooling", "pooling_param { kernel_size: 3 stride: 2 round_mode: FLOOR }",
     [IMAGE], [(2, 3, 3, 3)], [], 0),
    # without padding the last window may start outside: ceil((5 - 1) / 3) + 1
    ("Pooling", "pooling_param { kernel_size: 1 stride: 3 }",
     [(1, 1, 5, 6)], [(1, 1, 3, 3)], [], 0),
    # with padding it may not: ceil((4 + 2 - 2) / 2) + 1 = 3 stays, for 5 it is 4 and one goes
    ("Pooling", "pooling_param { kernel_size: 2 stride: 2 pad: 1 pool: AVE }",
     [(1, 1, 4, 5)], [(1, 1, 3, 3)], [], 0),
    ("Pooling", "pooling_param { kernel_h: 2 kernel_w: 3 stride_h: 2 stride_w: 1 "
     "pad_h: 0 pad_w: 1 }",
     [IMAGE], [(2, 3, 4, 8)] * 2, [], 0),
    ("Pooling", "pooling_param { pool: AVE global_pooling: true }",
     [(2, 3, 8, 6)], [(2, 3, 1, 1)], [], 0),
    ("SPP", "spp_param { pyramid_height: 3 }", [(2, 3, 9, 13)], [(2, 3 * (1 + 4 + 16))], [], 0),
    ("SPP", "spp_param { pyramid_height: 1 }", [(2, 3, 9, 13)], [(2, 3, 1, 1)], [], 0),

    ("InnerProduct", "inner_product_param { num_output: 10 }",
     [IMAGE], [(2, 10)], [(10, 192), (10,)], 2 * 1920),
    ("InnerProduct", "inner_product_param { num_output: 10 transpose: true bias_term: false }",
     [IMAGE], [(2, 10)], [(192, 10)], 2 * 1920),
    ("InnerProduct", "inner_product_param { num_output: 10 axis: -1 }",
     [IMAGE], [(2, 3, 8, 10)], [(10, 8), (10,)], 48 * 80),
    ("Embed", "embed_param { num_output: 7 input_dim: 20 }",
     [(4, 5)], [(4, 5, 7)], [(20, 7), (7,)], 0),
    ("Embed", "embed_param { num_output: 7 input_dim: 20 bias_term: false }",
     [()], [(7,)], [(20, 7)], 0),
    ("Parameter", "parameter_param { shape { dim: 3 dim: 4 } }", [], [(3, 4)], [(3, 4)], 0),

    *((name, "", [IMAGE], [IMAGE], [], 0) for name in
      ("AbsVal", "BNLL", "Dropout", "ELU", "Exp", "Log", "Power", "ReLU", "Sigmoid", "Swish",
       "TanH", "Threshold")),
    ("Clip", "clip_param { min: -1 max: 1 }", [()], [()], [], 0),
    ("PReLU", "", [(2, 3, 5)], [(2, 3, 5)], [(3,)], 0),
    ("PReLU", "prelu_param { channel_shared: true }", [IMAGE], [IMAGE], [()], 0),

    ("LRN", "lrn_param { local_size: 3 norm_region: WITHIN_CHANNEL }", [IMAGE], [IMAGE], [], 0),
    ("MVN", "", [(2, 3)], [(2, 3, 1, 1)], [], 0),
    ("Softmax", "softmax_param { axis: -3 }", [IMAGE], [IMAGE], [], 0),
    ("BatchNorm", "", [IMAGE], [IMAGE], [(3,), (3,), (1,)], 0),
    ("BatchNorm", "param { lr_mult: 0 }", [(2, 5)], [(2, 5)], [(5,), (5,), (1,)], 0),
    ("Scale", "", [IMAGE], [IMAGE], [(3,)], 0),
    ("Scale", "scale_param { axis: -2 num_axes: -1 bias_term: true }",
     [IMAGE], [IMAGE], [(8, 8), (8, 8)], 0),
    ("Scale", "scale_param { num_axes: 0 }", [IMAGE], [IMAGE], [()], 0),
    ("Scale", "scale_param { axis: 0 bias_term: true }", [IMAGE, (2, 3)], [IMAGE], [(2, 3)], 0),
    ("Scale", "scale_param { axis: 9 }", [IMAGE, ()], [IMAGE], [], 0),
    ("Bias", "bias_param { axis: 0 num_axes: 2 }", [IMAGE], [IMAGE], [(2, 3)], 0),
    ("Bias", "", [IMAGE, (3, 8)], [IMAGE], [], 0),

    ("Concat", "", [IMAGE, (2, 5, 8, 8)], [(2, 8, 8, 8)], [], 0),
    ("Concat", "concat_param { axis: -1 }", [IMAGE, (2, 3, 8, 1), IMAGE], [(2, 3, 8, 17)], [], 0),
    ("Concat", "concat_param { concat_dim: 0 }", [IMAGE, IMAGE], [(4, 3, 8, 8)], [], 0),
    ("Eltwise", "eltwise_param { coeff: 1 coeff: -1 coeff: 2 }", [IMAGE] * 3, [IMAGE], [], 0),
    ("Slice", "slice_param { axis: 2 }", [IMAGE], [(2, 3, 2, 8)] * 4, [], 0),
    ("Slice", "slice_param { slice_dim: 3 slice_point: 1 slice_point: 6 }",
     [IMAGE], [(2, 3, 8, 1), (2, 3, 8, 5), (2, 3, 8, 2)], [], 0),
    ("Split", "", [IMAGE], [IMAGE] * 3, [], 0),
    ("Silence", "", [IMAGE, (4,)], [], [], 0),

    ("Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 16 } }",
     [IMAGE], [(2, 12, 16)], [], 0),
    ("Reshape", "reshape_param { shape { dim: 2 dim: 4 } axis: 2 num_axes: 1 }",
     [IMAGE], [(2, 3, 2, 4, 8)], [], 0),
    ("Reshape", "reshape_param { shape { dim: 1 } axis: -1 num_axes: 0 }",
     [IMAGE], [(2, 3, 8, 8, 1)], [], 0),
    ("Reshape", "reshape_param { shape { dim: -1 dim: 0 } axis: 1 num_axes: 2 }",
     [IMAGE], [(2, 3, 8, 8)], [], 0),
    ("Flatten", "", [IMAGE], [(2, 192)], [], 0),
    ("Flatten", "flatten_param { axis: 1 end_axis: -2 }", [IMAGE], [(2, 24, 8)], [], 0),
    ("Tile", "tile_param { axis: -1 tiles: 3 }", [IMAGE], [(2, 3, 8, 24)], [], 0),
    ("Crop", "", [IMAGE, (9, 9, 5, 6)], [(2, 3, 5, 6)], [], 0),
    ("Crop", "crop_param { axis: -3 offset: 1 offset: 0 offset: 2 }",
     [IMAGE, (9, 2, 8, 6)], [(2, 2, 8, 6)], [], 0),

    ("Accuracy", "accuracy_param { top_k: 5 }", [VECTORS, LABELS], [(), (5,)], [], 0),
    ("Accuracy", "accuracy_param { axis: -3 }", [IMAGE, (2, 1, 8, 8)], [()], [], 0),
    ("ArgMax", "", [IMAGE], [(2, 1, 1, 1)], [], 0),
    ("ArgMax", "argmax_param { out_max_val: true top_k: 3 }", [VECTORS], [(4, 2, 3)], [], 0),
    ("ArgMax", "argmax_param { axis: 1 top_k: 2 }", [IMAGE], [(2, 2, 8, 8)], [], 0),
    ("Reduction", "", [IMAGE], [()], [], 0),
    ("Reduction", "reduction_param { axis: -2 operation: MEAN }", [IMAGE], [(2, 3)], [], 0),
    ("HDF5Output", "", [IMAGE, (2,)], [], [], 0),
    ("Filter", "", [IMAGE, (2, 5), (2, 1)], [IMAGE, (2, 5)], [], 0),
    ("BatchReindex", "", [IMAGE, (7,)], [(7, 3, 8, 8)], [], 0),

    ("EuclideanLoss", "", [IMAGE, (2, 192)], [()], [], 0),
    ("HingeLoss", "", [VECTORS, LABELS], [()], [], 0),
    ("MultinomialLogisticLoss", "", [VECTORS, LABELS], [()], [], 0),
    ("SigmoidCrossEntropyLoss", "", [VECTORS, (4, 5, 1)], [()], [], 0),
    ("ContrastiveLoss", "", [VECTORS, (4, 5, 1, 1), LABELS], [()], [], 0),
    ("SoftmaxWithLoss", "softmax_param { axis: -1 }", [VECTORS, LABELS], [(), VECTORS], [], 0),
    ("InfogainLoss", "", [VECTORS, LABELS, (1, 1, 5, 5)], [(), VECTORS], [], 0),
    ("InfogainLoss", 'infogain_loss_param { source: "h" }', [VECTORS, LABELS], [()], [], 0),

    ("LSTM", "recurrent_param { num_output: 7 }", [(6, 2, 3, 4), (6, 2)], [(6, 2, 7)],
     [(28, 12), (28,), (28, 7)], 6 * 2 * 28 * (12 + 7)),
    ("LSTM", "recurrent_param { num_output: 7 expose_hidden: true }",
     [(6, 2, 5), (6, 2), (2, 9), (1, 2, 7), (1, 2, 7)], [(6, 2, 7), (1, 2, 7), (1, 2, 7)],
     [(28, 5), (28,), (28, 9), (28, 7)], 2 * 28 * (6 * 5 + 9 + 6 * 7)),
    ("RNN", "recurrent_param { num_output: 7 }", [(6, 2, 5), (6, 2), (2, 9)], [(6, 2, 7)],
     [(7, 5), (7,), (7, 9), (7, 7), (7, 7), (7,)], 2 * 7 * (6 * 5 + 9 + 6 * 14)),
    ("RNN", "recurrent_param { num_output: 7 expose_hidden: true }",
     [(6, 2, 5), (6, 2), (1, 2, 7)], [(6, 2, 7), (1, 2, 7)],
     [(7, 5), (7,), (7, 7), (7, 7), (7,)], 12 * 7 * (5 + 14)),
    ("LSTMUnit", "", [(1, 2, 7), (1, 2, 28), (1, 2)], [(1, 2, 7)] * 2, [], 0),

    ("Input", "input_param { shape { dim: 2 dim: 3 } }", [], [(2, 3)] * 2, [], 0),
    ("Input", "input_param { shape { dim: 2 } shape { } }", [], [(2,), ()], [], 0),
    ("DummyData", "dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } }",
     [], [(2, 3), (2,)], [], 0),
    ("DummyData", "dummy_data_param { num: 2 channels: 3 channels: 1 height: 4 width: 5 }",
     [], [(2, 3, 4, 5), (2, 1, 4, 5)], [], 0),
    ("MemoryData", "memory_data_param { batch_size: 2 channels: 3 height: 4 width: 5 }",
     [], [(2, 3, 4, 5), (2,)], [], 0),
    ("Data", SOURCE + "transform_param { crop_size: 9 }", [], [(4, 3, 9, 9)], [], 0),
    ("Data", SOURCE + "transform_param { crop_size: 9 mean_value: 1 mean_value: 2 }",
     [], [(4, 2, 9, 9), (4,)], [], 0),
    ("Data", SOURCE + "transform_param { crop_size: 9 force_gray: true }",
     [], [(4, 1, 9, 9), (4,)], [], 0),
    ("ImageData", "image_data_param { batch_size: 4 new_height: 6 new_width: 7 }",
     [], [(4, 3, 6, 7), (4,)], [], 0),
    ("ImageData", "image_data_param { is_color: false } transform_param { crop_size: 5 }",
     [], [(1, 1, 5, 5), (1,)], [], 0),
    ("WindowData", "window_data_param { batch_size: 4 } transform_param { crop_size: 9 }",
     [], [(4, 3, 9, 9), (4,)], [], 0),
]  # fmt: skip


def make_layer(kind, rest, bottoms, tops):
    names = [f'bottom: "b{i}"' for i in range(bottoms)] + [f'top: "t{i}"' for i in range(tops)]
    text = f'name: "l" type: "{kind}" {" ".join(names)} {rest}'
    return schema.parse_text(text, caffe_pb.LayerParameter)


@pytest.mark.parametrize("kind, rest, bottoms, tops, blobs, macs", CASES)
def test_shapes(kind, rest, bottoms, tops, blobs, macs):
    layer = make_layer(kind, rest, len(bottoms), len(tops))
    shapes = graph.layer_shapes(layer, bottoms, caffe_pb.TRAIN)
    assert (shapes.tops, shapes.params, shapes.macs) == (tops, blobs, macs)


def test_all_of_caffes_types_have_a_rule():
    untold = {"Python", "HDF5Data"}  # their shapes are not in the net: tested below
    caffes = {case[0] for case in CASES} | untold
    assert len(caffes) == 61
    assert caffes <= set(graph.LAYER_TYPES)
    assert list(graph.LAYER_TYPES) == sorted(graph.LAYER_TYPES)


@pytest.mark.parametrize("kind", ["SoftmaxWithLoss", "HingeLoss", "InfogainLoss"])
def test_a_loss_without_a_top_gets_one(kind):
    layer = make_layer(kind, 'infogain_loss_param { source: "h" }', 2, 0)
    assert graph.layer_shapes(layer, [VECTORS, LABELS], caffe_pb.TRAIN).tops == [()]


def test_records_come_from_data_shape():
    layer = make_layer("Data", SOURCE, 0, 2)
    shapes = graph.layer_shapes(layer, [], caffe_pb.TEST, data_shape=(1, 28, 20))
    assert (shapes.tops, shapes.note) == ([(4, 1, 28, 20), (4,)], "")
    layer = make_layer("Data", SOURCE + "transform_param { crop_size: 9 }", 0, 1)
    assert graph.layer_shapes(layer, [], caffe_pb.TEST, (1, 28, 20)).tops == [(4, 1, 9, 9)]


def test_an_assumption_is_noted():
    layer = make_layer("Data", SOURCE + "transform_param { crop_size: 9 }", 0, 2)
    note = graph.layer_shapes(layer, [], caffe_pb.TRAIN).note
    assert note == "records assumed to be 3 x 9 x 9"


def test_hdf5_shapes_are_given():
    layer = make_layer("HDF5Data", "hdf5_data_param { batch_size: 8 }", 0, 2)
    assert graph.layer_shapes(layer, [], 0, (4, 5)).tops == [(8, 4, 5), (8,)]
    assert graph.layer_shapes(layer, [], 0, ((4, 5), (2,))).tops == [(8, 4, 5), (8, 2)]


@pytest.mark.parametrize("kind", ["Python", "HDF5Data", "Data", "ImageData"])
def test_shapes_that_only_the_data_tells(kind):
    rest = SOURCE + "hdf5_data_param { batch_size: 1 }"
    with pytest.raises(graph.UnknownShapeError, match=r"^layer 'l': .* known only "):
        graph.layer_shapes(make_layer(kind, rest, 0, 2), [], caffe_pb.TRAIN)


def test_geometry_is_public():
    param = caffe_pb.ConvolutionParameter(kernel_size=[3, 5], pad_h=1, pad_w=2, dilation=[2])
    geometry = graph.conv_geometry(param, 2)
    assert geometry == graph.Geometry((3, 5), (1, 1), (1, 2), (2, 2))
    layer = caffe_pb.LayerParameter(convolution_param=param)
    assert graph.conv_geometry(layer, 2) == geometry
    pool = caffe_pb.PoolingParameter(kernel_size=3, stride=2, pad_h=1, pad_w=0)
    assert graph.pool_geometry(pool, (1, 1, 8, 8)) == ((3, 3), (2, 2), (1, 0), (5, 4))


def test_canonical_axis():
    assert [graph.canonical_axis(a, 4) for a in (-4, -1, 0, 3)] == [0, 3, 0, 3]
    with pytest.raises(graph.NetError, match=r"^axis 4 out of range for 4-D Blob$"):
        graph.canonical_axis(4, 4)


@pytest.mark.parametrize(
    "kind, rest, bottoms, axis",
    [
        ("Convolution", "convolution_param { num_output: 4 kernel_size: 2 axis: -2 }", [IMAGE], 2),
        ("InnerProduct", "inner_product_param { num_output: 4 axis: -1 }", [IMAGE], 3),
        ("Concat", "concat_param { axis: -3 }", [IMAGE, IMAGE], 1),
        ("Concat", "concat_param { concat_dim: 2 }", [IMAGE, IMAGE], 2),
        ("Slice", "slice_param { axis: -1 }", [IMAGE], 3),
        ("Softmax", "", [IMAGE], 1),
        ("SoftmaxWithLoss", "softmax_param { axis: -1 }", [VECTORS, LABELS], 1),
        ("Accuracy", "accuracy_param { axis: -1 }", [VECTORS, LABELS], 1),
        ("Scale", "scale_param { axis: -2 num_axes: 1 }", [IMAGE], 2),
        ("Scale", "scale_param { axis: 9 }", [IMAGE, ()], 0),  # a scalar fits anywhere
        ("Bias", "bias_param { axis: -4 }", [IMAGE, (2, 3)], 0),
        ("Tile", "tile_param { axis: -1 tiles: 2 }", [IMAGE], 3),
        ("Reduction", "reduction_param { axis: -1 }", [IMAGE], 3),
        ("ArgMax", "argmax_param { axis: -1 }", [IMAGE], 3),
        ("ArgMax", "", [IMAGE], None),
    ],
)
def test_a_rule_hands_over_its_axis(kind, rest, bottoms, axis):
    layer = make_layer(kind, rest, len(bottoms), 1)
    assert graph.layer_shapes(layer, bottoms, caffe_pb.TRAIN).axis == axis


def shapes(kind, rest, *bottoms):
    return graph.layer_shapes(make_layer(kind, rest, len(bottoms), 1), bottoms, caffe_pb.TRAIN)


def test_a_rule_hands_over_its_windows_and_offsets():
    text = "convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 1 }"
    for kind in ("Convolution", "Deconvolution", "Im2col"):
        assert shapes(kind, text, IMAGE).geometry == ((3, 3), (2, 2), (1, 1), (1, 1))
    pooling = shapes("Pooling", "pooling_param { kernel_size: 3 stride: 2 }", IMAGE)
    assert pooling.pools == (((3, 3), (2, 2), (0, 0), (4, 4)),)
    pyramid = shapes("SPP", "spp_param { pyramid_height: 3 }", IMAGE)
    assert [level.out for level in pyramid.pools] == [(1, 1), (2, 2), (4, 4)]
    crop = shapes("Crop", "crop_param { axis: -2 offset: 3 }", IMAGE, (2, 3, 4, 5))
    assert (crop.axis, crop.offsets) == (2, (3, 3))
    crop = shapes("Crop", "crop_param { offset: 1 offset: 2 }", IMAGE, (2, 3, 4, 5))
    assert (crop.axis, crop.offsets) == (2, (1, 2))
