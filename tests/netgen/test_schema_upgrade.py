"""Nets and solvers of Caffe's earlier formats."""

import pytest

from netgen import schema
from netgen.schema import caffe_pb


def upgraded(text):
    net = schema.parse_text(text, caffe_pb.NetParameter)
    return net, schema.upgrade_net(net)


def same(net, text):
    assert schema.to_text(net) == schema.to_text(schema.parse_text(text, caffe_pb.NetParameter))


V0 = """
name: "old"
input: "data" input_dim: 2 input_dim: 3 input_dim: 8 input_dim: 8
force_backward: true
layers {
  layer { name: "pad1" type: "padding" pad: 2 }
  bottom: "data" top: "pad1"
}
layers {
  layer {
    name: "conv1" type: "conv" num_output: 4 kernelsize: 5 group: 1 stride: 2 biasterm: false
    weight_filler { type: "gaussian" std: 0.01 } blobs_lr: 1 blobs_lr: 2
    weight_decay: 1 weight_decay: 0 blobs { data: 7 }
  }
  bottom: "pad1" top: "conv1"
}
layers { layer { name: "relu1" type: "relu" alpha: 3 } bottom: "conv1" top: "conv1" }
layers { layer { name: "norm1" type: "lrn" local_size: 3 alpha: 0.1 beta: 0.5 k: 2 }
         bottom: "conv1" top: "norm1" }
layers { layer { name: "pool1" type: "pool" pool: AVE kernelsize: 3 stride: 2 pad: 1 }
         bottom: "norm1" top: "pool1" }
layers { layer { name: "ip" type: "innerproduct" num_output: 10
                 bias_filler { value: 1 } }
         bottom: "pool1" top: "ip" }
layers { layer { name: "drop" type: "dropout" dropout_ratio: 0.3 } bottom: "ip" top: "ip" }
layers { layer { name: "prob" type: "softmax" } bottom: "ip" top: "prob" }
"""

V0_AS_V2 = """
name: "old"
force_backward: true
layer { name: "input" type: "Input" top: "data"
        input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer {
  name: "conv1" type: "Convolution" bottom: "data" top: "conv1" blobs { data: 7 }
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 4 pad: 2 kernel_size: 5 group: 1 stride: 2 bias_term: false
                      weight_filler { type: "gaussian" std: 0.01 } }
}
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "norm1" type: "LRN" bottom: "conv1" top: "norm1"
        lrn_param { local_size: 3 alpha: 0.1 beta: 0.5 k: 2 } }
layer { name: "pool1" type: "Pooling" bottom: "norm1" top: "pool1"
        pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool1" top: "ip"
        inner_product_param { num_output: 10 bias_filler { value: 1 } } }
layer { name: "drop" type: "Dropout" bottom: "ip" top: "ip"
        dropout_param { dropout_ratio: 0.3 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


def test_v0_net():
    net, notes = upgraded(V0)
    same(net, V0_AS_V2)
    assert notes == [
        "upgraded from deprecated V0LayerParameter",
        "Unknown parameter alpha for layer type relu (layer 'relu1')",
        "upgraded from deprecated V1LayerParameter",
        "upgraded from deprecated input fields",
    ]


def test_v0_data_layers():
    net, _ = upgraded("""
        layers { layer { name: "a" type: "data" source: "db" batchsize: 4 rand_skip: 2
                         scale: 0.5 meanfile: "m" cropsize: 24 mirror: true } top: "a" }
        layers { layer { name: "b" type: "images" source: "list" batchsize: 5 shuffle_images: true
                         new_height: 6 new_width: 7 rand_skip: 1 } top: "b" }
        layers { layer { name: "c" type: "window_data" source: "w" batchsize: 6
                         det_fg_threshold: 0.6 det_bg_threshold: 0.4 det_fg_fraction: 0.3
                         det_context_pad: 16 det_crop_mode: "square" } top: "c" }
        layers { layer { name: "d" type: "hdf5_data" source: "h" batchsize: 7 } top: "d" }
        layers { layer { name: "e" type: "hdf5_output" hdf5_output_param { file_name: "f" } }
                 bottom: "d" }
        layers { layer { name: "g" type: "concat" concat_dim: 2 } bottom: "a" bottom: "b" top: "g" }
        layers { layer { name: "l" type: "infogain_loss" source: "i" } bottom: "g" bottom: "d" }
    """)
    same(
        net,
        """
        layer { name: "a" type: "Data" top: "a"
                transform_param { scale: 0.5 mean_file: "m" crop_size: 24 mirror: true }
                data_param { source: "db" batch_size: 4 rand_skip: 2 } }
        layer { name: "b" type: "ImageData" top: "b"
                image_data_param { source: "list" batch_size: 5 shuffle: true new_height: 6
                                   new_width: 7 rand_skip: 1 } }
        layer { name: "c" type: "WindowData" top: "c"
                window_data_param { source: "w" batch_size: 6 fg_threshold: 0.6 bg_threshold: 0.4
                                    fg_fraction: 0.3 context_pad: 16 crop_mode: "square" } }
        layer { name: "d" type: "HDF5Data" top: "d"
                hdf5_data_param { source: "h" batch_size: 7 } }
        layer { name: "e" type: "HDF5Output" bottom: "d" hdf5_output_param { file_name: "f" } }
        layer { name: "g" type: "Concat" bottom: "a" bottom: "b" top: "g"
                concat_param { concat_dim: 2 } }
        layer { name: "l" type: "InfogainLoss" bottom: "g" bottom: "d"
                infogain_loss_param { source: "i" } }
    """,
    )


V1 = """
name: "v1"
layers {
  name: "data" type: DATA top: "data" top: "label" include { phase: TRAIN stage: "s" }
  data_param { source: "db" batch_size: 4 scale: 0.5 mirror: true backend: LMDB }
}
layers { name: "more" type: IMAGE_DATA top: "more" image_data_param { source: "list" } }
layers {
  name: "ip" type: INNER_PRODUCT bottom: "data" top: "ip" exclude { phase: TEST }
  param: "w" param: "b" blob_share_mode: PERMISSIVE blobs_lr: 1 blobs_lr: 2 weight_decay: 0.5
  blobs { data: 1 } inner_product_param { num_output: 2 }
}
layers { name: "relu" type: RELU bottom: "ip" top: "ip" relu_param { negative_slope: 0.1 } }
layers { name: "loss" type: SOFTMAX_LOSS bottom: "ip" bottom: "label" top: "loss" loss_weight: 2
         loss_param { ignore_label: 9 } softmax_param { engine: CAFFE } }
"""


def test_v1_net():
    net, notes = upgraded(V1)
    same(
        net,
        """
        name: "v1"
        layer { name: "data" type: "Data" top: "data" top: "label"
                include { phase: TRAIN stage: "s" }
                transform_param { scale: 0.5 mirror: true }
                data_param { source: "db" batch_size: 4 backend: LMDB } }
        layer { name: "more" type: "ImageData" top: "more" transform_param {}
                image_data_param { source: "list" } }
        layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" exclude { phase: TEST }
                param { name: "w" share_mode: PERMISSIVE lr_mult: 1 decay_mult: 0.5 }
                param { name: "b" lr_mult: 2 }
                blobs { data: 1 } inner_product_param { num_output: 2 } }
        layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip"
                relu_param { negative_slope: 0.1 } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss"
                loss_weight: 2 loss_param { ignore_label: 9 } softmax_param { engine: CAFFE } }
    """,
    )
    assert notes == [
        "upgraded from deprecated transformation parameters",
        "upgraded from deprecated V1LayerParameter",
    ]
    assert schema.upgrade_net(net) == []


def test_v1_types():
    types = caffe_pb.V1LayerParameter.LayerType
    layers = [{"type": types.Value(name)} for name in sorted(types.keys())]
    net = caffe_pb.NetParameter(layers=layers)
    schema.upgrade_net(net)
    assert [layer.type for layer in net.layer] == [
        "AbsVal",
        "Accuracy",
        "ArgMax",
        "BNLL",
        "Concat",
        "ContrastiveLoss",
        "Convolution",
        "Crop",
        "Data",
        "Deconvolution",
        "Dropout",
        "DummyData",
        "Eltwise",
        "EuclideanLoss",
        "Exp",
        "Flatten",
        "HDF5Data",
        "HDF5Output",
        "HingeLoss",
        "Im2col",
        "ImageData",
        "ImageSegData",
        "InfogainLoss",
        "InnerProduct",
        "Interp",
        "LRN",
        "MemoryData",
        "MultinomialLogisticLoss",
        "MVN",
        "",
        "Pooling",
        "Power",
        "ReLU",
        "Sigmoid",
        "SigmoidCrossEntropyLoss",
        "Silence",
        "Slice",
        "Softmax",
        "SoftmaxWithLoss",
        "Split",
        "TanH",
        "Threshold",
        "WindowData",
    ]


def test_every_v1_parameter_message_is_carried_over():
    fields = [f for f in caffe_pb.V1LayerParameter.DESCRIPTOR.fields if f.name.endswith("_param")]
    old = caffe_pb.V1LayerParameter(type=1)
    for field in fields:
        getattr(old, field.name).SetInParent()
    net = caffe_pb.NetParameter(layers=[old])
    schema.upgrade_net(net)
    assert len(fields) == 31
    assert all(net.layer[0].HasField(field.name) for field in fields)


def test_input_fields():
    net, notes = upgraded("""
        input: "a" input: "b" input_shape { dim: 1 dim: 2 } input_shape { dim: 3 }
        layer { name: "x" type: "ReLU" bottom: "a" top: "x" }
        layer { name: "y" type: "ReLU" bottom: "b" top: "y" }""")
    same(
        net,
        """
        layer { name: "input" type: "Input" top: "a" top: "b"
                input_param { shape { dim: 1 dim: 2 } shape { dim: 3 } } }
        layer { name: "x" type: "ReLU" bottom: "a" top: "x" }
        layer { name: "y" type: "ReLU" bottom: "b" top: "y" }""",
    )
    assert notes == ["upgraded from deprecated input fields"]


def test_input_dim_counts_four_an_input():
    net, _ = upgraded('input: "a" input: "b" input_dim: [1, 2, 3, 4, 5, 6, 7, 8]')
    assert [list(s.dim) for s in net.layer[0].input_param.shape] == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_inputs_of_an_old_caffemodel_are_dropped():
    net, _ = upgraded('input: "data" layer { name: "l" }')
    same(net, 'layer { name: "l" }')


def test_batch_norm_with_three_params_is_frozen():
    net, notes = upgraded("""
        layer { type: "BatchNorm" param { lr_mult: 1 name: "m" } param {} param { decay_mult: 3 } }
        layer { type: "BatchNorm" param { lr_mult: 1 } }
        layer { type: "Scale" param {} param {} param {} }""")
    same(
        net,
        """
        layer { type: "BatchNorm" param { name: "m" lr_mult: 0 decay_mult: 0 }
                param { lr_mult: 0 decay_mult: 0 } param { lr_mult: 0 decay_mult: 0 } }
        layer { type: "BatchNorm" param { lr_mult: 1 } }
        layer { type: "Scale" param {} param {} param {} }""",
    )
    assert notes == ["upgraded batch norm layers using deprecated params"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            'layer { name: "a" } layers { name: "b" }',
            "Refusing to upgrade inconsistent NetParameter input; the definition has both 'layer' (1) "
            "and 'layers' (1) fields",
        ),
        (
            'layers { layer { name: "a" type: "relu" } } layers { name: "b" type: RELU }',
            "Refusing to upgrade inconsistent NetParameter input; layer 'b' is not in the V0 format "
            "of the others",
        ),
        ('layers { layer { name: "a" type: "conv3" } }', "Unknown layer name: conv3 (layer 'a')"),
        (
            'layers { layer { name: "a" type: "conv" } bottom: "x" }',
            "Unknown blob input x to layer a",
        ),
        (
            'input: "x" layers { layer { name: "p" type: "padding" pad: 1 } bottom: "x" top: "y" }'
            'layers { layer { name: "a" type: "relu" } bottom: "y" top: "z" }',
            "Padding layer input to non-convolutional / non-pooling layer type relu (layer 'a')",
        ),
        (
            'input: "x" layers { layer { name: "p" type: "padding" pad: 1 } bottom: "x" top: "y" }'
            'layers { layer { name: "a" type: "conv" } bottom: "y" bottom: "x" top: "z" }',
            "Conv Layer takes a single blob as input (layer 'a')",
        ),
        (
            'input: "x" layers { layer { name: "p" type: "padding" } bottom: "x" top: "y" top: "z" }'
            'layers { layer { name: "a" type: "conv" } bottom: "y" top: "t" }',
            "Padding Layer takes and produces a single blob (layer 'p')",
        ),
        (
            'input: "a" input: "b" input_dim: [1, 2, 3, 4]',
            "2 input field(s) need 8 input_dim fields, not 4",
        ),
        (
            'input: "a" input: "b" input_shape { dim: 1 }',
            "2 input field(s) but 1 input_shape field(s)",
        ),
    ],
)
def test_refused(text, error, tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    with pytest.raises(schema.SchemaError) as caught:
        schema.read_net(path)
    assert str(caught.value) == f"{path}: {error}"


@pytest.mark.parametrize(
    ("enum", "name"),
    [
        ("SGD", "SGD"),
        ("NESTEROV", "Nesterov"),
        ("ADAGRAD", "AdaGrad"),
        ("RMSPROP", "RMSProp"),
        ("ADADELTA", "AdaDelta"),
        ("ADAM", "Adam"),
    ],
)
def test_solver_type(enum, name, tmp_path):
    path = tmp_path / "solver.prototxt"
    path.write_text(f"base_lr: 1 solver_type: {enum}")
    solver = schema.read_solver(path)
    assert solver == caffe_pb.SolverParameter(base_lr=1, type=name)
    assert schema.upgrade_solver(solver) == []


def test_solver_with_both_types_is_refused(tmp_path):
    path = tmp_path / "solver.prototxt"
    path.write_text('type: "SGD" solver_type: SGD')
    with pytest.raises(schema.SchemaError, match=r"^.*solver.prototxt: Failed to upgrade solver: "):
        schema.read_solver(path)


def test_nets_inside_a_solver_are_upgraded():
    solver = caffe_pb.SolverParameter(
        net_param={"layers": [{"name": "a", "type": 18}]},
        test_net_param=[{"layer": [{"name": "b"}]}, {"layers": [{"name": "c", "type": 23}]}],
    )
    assert schema.upgrade_solver(solver) == ["upgraded from deprecated V1LayerParameter"] * 2
    assert solver.net_param.layer[0].type == "ReLU"
    assert [net.layer[0].type for net in solver.test_net_param] == ["", "TanH"]
    assert not solver.HasField("train_net_param")


def test_binary_weights_of_v1(tmp_path):
    path = tmp_path / "old.caffemodel"
    schema.write_binary(schema.parse_text(V1, caffe_pb.NetParameter), path)
    net = schema.read_caffemodel(path)
    assert not net.layers
    assert list(net.layer[2].blobs[0].data) == [1]
