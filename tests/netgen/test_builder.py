"""NetSpec, layers and params: the results and errors of pycaffe's idiom."""

import copy

import pytest

from netgen import NetSpec, assign_proto, layers, params, schema, to_proto
from netgen import layers as L
from netgen import params as P
from netgen.schema import caffe_pb


def same(net, text):
    assert schema.to_text(net) == schema.to_text(schema.parse_text(text, caffe_pb.NetParameter))


def lenet(batch_size):
    n = NetSpec()
    n.data, n.label = L.DummyData(
        shape=[{"dim": [batch_size, 1, 28, 28]}, {"dim": [batch_size, 1, 1, 1]}],
        transform_param={"scale": 1 / 255},
        ntop=2,
    )
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler={"type": "xavier"})
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool1, num_output=500)
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.relu1, num_output=10)
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label)
    return n


LENET = """
layer { name: "data" type: "DummyData" top: "data" top: "label"
        transform_param { scale: 0.003921569 }
        dummy_data_param { shape { dim: [5, 1, 28, 28] } shape { dim: [5, 1, 1, 1] } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 20 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
        pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "ip1" type: "InnerProduct" bottom: "pool1" top: "ip1"
        inner_product_param { num_output: 500 } }
layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
        inner_product_param { num_output: 10 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
"""


def test_named_net():
    same(lenet(5).to_proto(), LENET)


def test_net_name():
    assert not lenet(5).to_proto().HasField("name")
    assert NetSpec("LeNet").to_proto() == caffe_pb.NetParameter(name="LeNet")
    assert to_proto(L.Input(), name="x").name == "x"


def test_anonymous_net_is_numbered_by_type():
    data, label = L.DummyData(ntop=2)
    conv = L.Convolution(L.Convolution(data))
    relu = L.ReLU(conv, in_place=True)
    loss = L.SoftmaxWithLoss(L.Eltwise(relu, data), label)
    text = """
        layer { name: "DummyData1" type: "DummyData" top: "DummyData1" top: "DummyData2" }
        layer { name: "Convolution1" type: "Convolution" bottom: "DummyData1" top: "Convolution1" }
        layer { name: "Convolution2" type: "Convolution" bottom: "Convolution1"
                top: "Convolution2" }
        layer { name: "ReLU1" type: "ReLU" bottom: "Convolution2" top: "Convolution2" }
        layer { name: "Eltwise1" type: "Eltwise" bottom: "Convolution2" bottom: "DummyData1"
                top: "Eltwise1" }
        layer { name: "SoftmaxWithLoss1" type: "SoftmaxWithLoss" bottom: "Eltwise1"
                bottom: "DummyData2" top: "SoftmaxWithLoss1" }"""
    same(loss.to_proto(), text)
    same(to_proto(loss, relu), text)


def test_only_needed_layers_in_the_order_of_need():
    n = NetSpec()
    unused = L.Input()
    a = L.Input(name="given")
    L.ReLU(unused)
    n.b = L.ReLU(a)
    n.a = a
    same(
        n.to_proto(),
        """
        layer { name: "given" type: "Input" top: "a" }
        layer { name: "b" type: "ReLU" bottom: "a" top: "b" }""",
    )


def test_layers_without_tops():
    n = NetSpec()
    n.data, n.data2 = L.DummyData(shape={"dim": 3}, ntop=2)
    n.silence = L.Silence(n.data, ntop=0)
    n["silence2"] = L.Silence(n.data2, ntop=0)
    same(
        n.to_proto(),
        """
        layer { name: "data" type: "DummyData" top: "data" top: "data2"
                dummy_data_param { shape { dim: 3 } } }
        layer { name: "silence" type: "Silence" bottom: "data" }
        layer { name: "silence2" type: "Silence" bottom: "data2" }""",
    )
    same(
        to_proto(L.Silence(L.Input(), ntop=0)),
        """
        layer { name: "Input1" type: "Input" top: "Input1" }
        layer { name: "Silence1" type: "Silence" bottom: "Input1" }""",
    )


def test_keywords_go_where_the_schema_has_them():
    layer = (
        L.Convolution(
            num_output=2,
            kernel_size=[3, 5],
            bias_term=False,
            weight_filler={"type": "msra"},
            param=[{"lr_mult": 1}, {"lr_mult": 2, "name": "b"}],
            loss_weight=3,
            include={"phase": caffe_pb.TEST, "stage": ["a", "b"]},
            propagate_down=[True],
            loss_param={"normalize": True},
            convolution_param={"group": 2},
        )
        .to_proto()
        .layer[0]
    )
    assert layer == schema.parse_text(
        """
        name: "Convolution1" type: "Convolution" top: "Convolution1" loss_weight: 3
        param { lr_mult: 1 } param { lr_mult: 2 name: "b" } propagate_down: true
        include { phase: TEST stage: "a" stage: "b" } loss_param { normalize: true }
        convolution_param { num_output: 2 kernel_size: 3 kernel_size: 5 bias_term: false group: 2
                            weight_filler { type: "msra" } }""",
        caffe_pb.LayerParameter,
    )


@pytest.mark.parametrize(
    ("type_name", "keyword", "field"),
    [
        ("LRN", {"local_size": 3}, "lrn_param"),
        ("ELU", {"alpha": 2}, "elu_param"),
        ("PReLU", {"channel_shared": True}, "prelu_param"),
        ("SPP", {"pyramid_height": 2}, "spp_param"),
        ("HDF5Data", {"source": "a"}, "hdf5_data_param"),
        ("ArgMax", {"top_k": 2}, "argmax_param"),
        ("BatchNorm", {"eps": 1}, "batch_norm_param"),
        ("Python", {"module": "m"}, "python_param"),
        ("MVN", {"eps": 1}, "mvn_param"),
        ("Input", {"shape": {"dim": 1}}, "input_param"),
    ],
)
def test_types_whose_parameters_are_spelt_differently(type_name, keyword, field):
    layer = getattr(L, type_name)(**keyword).to_proto().layer[0]
    assert layer.type == type_name and layer.HasField(field)


def test_assign_proto():
    layer = caffe_pb.LayerParameter()
    assign_proto(layer, "name", "n")
    assign_proto(layer, "top", "one")
    assign_proto(layer, "top", ["two", "three"])
    assign_proto(layer, "param", {"lr_mult": 2})
    assign_proto(layer, "pooling_param", {"pool": P.Pooling.AVE, "kernel_size": 2})
    assign_proto(layer, "input_param", {"shape": [{"dim": (1, 2)}, {"dim": []}]})
    assert layer == schema.parse_text(
        """
        name: "n" top: "one" top: "two" top: "three" param { lr_mult: 2 }
        pooling_param { pool: AVE kernel_size: 2 }
        input_param { shape { dim: 1 dim: 2 } shape {} }""",
        caffe_pb.LayerParameter,
    )


def test_input_that_is_not_a_top():
    data = L.DummyData(ntop=2)
    with pytest.raises(TypeError) as caught:
        L.Silence(data, ntop=0)
    assert str(caught.value) == "Silence input 0 is not a Top (type is <class 'tuple'>)"
    with pytest.raises(TypeError, match=r"^Concat input 1 is not a Top \(type is <class 'str'>\)$"):
        L.Concat(data[0], "data")
    L.Silence(*data, ntop=0)


@pytest.mark.parametrize(
    ("type_name", "keyword", "error", "words"),
    [
        (
            "Convolution",
            {"num_outputs": 1},
            AttributeError,
            "Convolution has no parameter 'num_outputs'",
        ),
        (
            "Deconvolution",
            {"num_output": 1},
            AttributeError,
            "Deconvolution has no parameter 'num_output'",
        ),
        (
            "Convolution",
            {"weight_filler": {"tpye": "x"}},
            AttributeError,
            "FillerParameter has no field 'tpye'",
        ),
        ("Convolution", {"num_output": "ten"}, TypeError, "ConvolutionParameter.num_output: "),
        ("Convolution", {"kernel_size": -1}, ValueError, "ConvolutionParameter.kernel_size: "),
    ],
)
def test_wrong_parameters_are_named(type_name, keyword, error, words):
    with pytest.raises(error) as caught:
        getattr(L, type_name)(**keyword).to_proto()
    assert str(caught.value).startswith(words)


def test_names_that_are_not_there():
    with pytest.raises(KeyError):
        NetSpec().conv1  # noqa: B018
    with pytest.raises(KeyError):
        NetSpec()["conv1"]
    with pytest.raises(AttributeError):
        P.Pooling.MEAN  # noqa: B018
    with pytest.raises(AttributeError):
        P.Poolings.MAX  # noqa: B018


def test_params_are_the_schemas_values():
    assert (params.Pooling.AVE, params.Eltwise.PROD, params.Data.LMDB) == (1, 0, 1)
    assert copy.copy(layers) is not None  # special methods are not layer types
    assert layers.Anything().to_proto().layer[0].type == "Anything"
