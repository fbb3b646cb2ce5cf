"""The bundled nets: the paper's tables, their variants, and the generated files."""

from pathlib import Path

import pytest

from netgen import nets, schema
from netgen.commands.generate import bundled
from netgen.errors import CaffeError
from netgen.nets import registry
from netgen.schema import caffe_pb

ROOT = Path(__file__).parents[2]

# (outputs, kernel, stride, pad) of each convolution
TABLES = {
    "allcnn-a": [
        (96, 5, 1, 2),
        (96, 3, 2, 1),
        (192, 5, 1, 2),
        (192, 3, 2, 1),
        (192, 3, 1, 0),
        (192, 1, 1, 0),
        (10, 1, 1, 0),
    ],
    "allcnn-b": [
        (96, 5, 1, 2),
        (96, 1, 1, 0),
        (96, 3, 2, 1),
        (192, 5, 1, 2),
        (192, 1, 1, 0),
        (192, 3, 2, 1),
        (192, 3, 1, 0),
        (192, 1, 1, 0),
        (10, 1, 1, 0),
    ],
    "allcnn-c": [
        (96, 3, 1, 1),
        (96, 3, 1, 1),
        (96, 3, 2, 1),
        (192, 3, 1, 1),
        (192, 3, 1, 1),
        (192, 3, 2, 1),
        (192, 3, 1, 0),
        (192, 1, 1, 0),
        (10, 1, 1, 0),
    ],
}
TABLES["baseline"] = TABLES["allcnn-c"]
# Dropout stands on the image and after these.
DROPS = {"allcnn-a": [2, 4], "allcnn-b": [3, 6], "allcnn-c": [3, 6], "baseline": [3, 6]}
PARAMETERS = {
    "allcnn-a": 1_254_250,
    "allcnn-b": 1_300_618,
    "allcnn-c": 1_369_738,
    "baseline": 1_369_738,
}


def convolutions(net):
    """(outputs, kernel, stride, pad) of each convolution."""
    return [
        (p.num_output, p.kernel_size[0], *(p.stride or [1]), *(p.pad or [0]))
        for p in (layer.convolution_param for layer in net.layer if layer.type == "Convolution")
    ]


def multiply_adds(table, channels=3, size=32):
    """Parameters, multiply-adds and the size of the last image."""
    parameters = products = 0
    for outputs, kernel, stride, pad in table:
        size = (size + 2 * pad - kernel) // stride + 1
        weights = channels * kernel**2 * outputs
        parameters += weights + outputs
        products += weights * size**2
        channels = outputs
    return parameters, products, size


@pytest.mark.parametrize("name", TABLES)
def test_convolutions_and_parameters_are_the_papers(name):
    net = nets.build_net(name)
    assert convolutions(net) == TABLES[name] == convolutions(nets.build_net(name, deploy=True))
    parameters, _, size = multiply_adds(convolutions(net))
    assert (parameters, size) == (PARAMETERS[name], 6)


def test_baseline_costs_270_8_million_multiply_adds():
    assert round(multiply_adds(TABLES["baseline"])[1] / 1e6, 1) == 270.8


@pytest.mark.parametrize("name", TABLES)
def test_order_of_layers(name):
    expected = ["data", "data", "drop1"]
    for i in range(1, len(TABLES[name]) + 1):
        expected += [f"conv{i}", f"relu{i}"]
        if i in DROPS[name]:
            expected.append(f"drop{DROPS[name].index(i) + 2}")
    net = nets.build_net(name)
    assert [layer.name for layer in net.layer] == [*expected, "pool", "accuracy", "loss"]
    assert net.name == name
    deploy = nets.build_net(name, deploy=True)
    assert [layer.name for layer in deploy.layer] == [
        "data",
        *(n for n in expected if n[:4] in ("conv", "relu")),
        "pool",
        "prob",
    ]


def test_train_and_test_data():
    train, test = nets.build_net("baseline").layer[:2]
    assert train == schema.parse_text(
        """
        name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
        transform_param { mirror: true crop_size: 32 }
        data_param { source: "data/cifar10/cifar10_train_lmdb" batch_size: 128 backend: LMDB }
        """,
        caffe_pb.LayerParameter,
    )
    assert test == schema.parse_text(
        """
        name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
        transform_param { crop_size: 32 }
        data_param { source: "data/cifar10/cifar10_test_lmdb" batch_size: 100 backend: LMDB }
        """,
        caffe_pb.LayerParameter,
    )


def test_layers_around_the_first_convolution_and_the_end():
    layers = {layer.name: layer for layer in nets.build_net("baseline").layer}
    text = "".join(
        schema.to_text(caffe_pb.NetParameter(layer=[layers[name]]))
        for name in ("drop1", "conv1", "relu1", "drop2", "relu9", "pool", "accuracy", "loss")
    )
    assert schema.parse_text(text, caffe_pb.NetParameter) == schema.parse_text(
        """
        layer { name: "drop1" type: "Dropout" bottom: "data" top: "data"
                dropout_param { dropout_ratio: 0.2 } }
        layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
                param { lr_mult: 1 } param { lr_mult: 1 }
                convolution_param { num_output: 96 pad: 1 kernel_size: 3
                    weight_filler { type: "msra" } bias_filler { type: "constant" } } }
        layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
        layer { name: "drop2" type: "Dropout" bottom: "conv3" top: "conv3"
                dropout_param { dropout_ratio: 0.5 } }
        layer { name: "relu9" type: "ReLU" bottom: "conv9" top: "conv9" }
        layer { name: "pool" type: "Pooling" bottom: "conv9" top: "pool"
                pooling_param { pool: AVE global_pooling: true } }
        layer { name: "accuracy" type: "Accuracy" bottom: "pool" bottom: "label" top: "accuracy"
                include { phase: TEST } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "pool" bottom: "label" top: "loss" }
        """,
        caffe_pb.NetParameter,
    )


def test_deploy_net():
    net = nets.build_net("baseline", nets.NetOptions(batch_size=7), deploy=True)
    assert list(net.layer[0].input_param.shape[0].dim) == [7, 3, 32, 32]
    assert nets.build_net("baseline", deploy=True).layer[0].input_param.shape[0].dim[0] == 1
    assert (net.layer[-1].type, list(net.layer[-1].bottom)) == ("Softmax", ["pool"])


@pytest.mark.parametrize(
    ("width", "first", "middle"), [(0.25, 24, 48), (2, 192, 384), (0.001, 1, 1)]
)
def test_width_scales_all_but_the_classes(width, first, middle):
    outputs = [c[0] for c in convolutions(nets.build_net("baseline", nets.NetOptions(width=width)))]
    assert outputs == [first] * 3 + [middle] * 5 + [10]


def test_options_reach_the_net():
    net = nets.build_net(
        "allcnn-a",
        nets.NetOptions(
            batch_size=64,
            test_batch_size=50,
            data="elsewhere/",
            weight_filler="xavier",
            input_dropout=0,
            dropout=0.25,
        ),
    )
    assert [layer.data_param.source for layer in net.layer[:2]] == [
        "elsewhere/cifar10_train_lmdb",
        "elsewhere/cifar10_test_lmdb",
    ]
    assert [layer.data_param.batch_size for layer in net.layer[:2]] == [64, 50]
    assert {
        layer.convolution_param.weight_filler.type
        for layer in net.layer
        if layer.type == "Convolution"
    } == {"xavier"}
    drops = [layer for layer in net.layer if layer.type == "Dropout"]
    assert [layer.name for layer in drops] == ["drop2", "drop3"]
    assert {layer.dropout_param.dropout_ratio for layer in drops} == {0.25}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"width": 0}, "width must be above 0 and below 100, not 0"),
        ({"width": float("nan")}, "width must be above 0 and below 100, not nan"),
        ({"batch_size": 0}, "batch size must be a whole number of at least 1, not 0"),
        ({"batch_size": 2**31}, "batch size must be a whole number of at least 1, not 2147483648"),
        ({"test_batch_size": -1}, "test batch size must be a whole number of at least 1, not -1"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, not 1.0"),
        ({"input_dropout": -0.1}, "input dropout must be at least 0 and below 1, not -0.1"),
        ({"weight_filler": "he"}, "Unknown weight filler: 'he' (known: msra, xavier)"),
    ],
)
def test_wrong_options(options, error):
    with pytest.raises(CaffeError) as caught:
        nets.NetOptions(**options)
    assert str(caught.value) == error


def test_unknown_net():
    with pytest.raises(CaffeError) as caught:
        nets.build_net("resnet")
    assert str(caught.value) == f"Unknown net: 'resnet' (known nets: {', '.join(nets.NETS)})"


def test_the_register_holds_every_net_once_under_its_name():
    assert {"baseline", "msplit2", "lenet", "cifar10_full", "resnet20"} <= nets.NETS.keys()
    assert all(net.name == name and net.summary for name, net in nets.NETS.items())
    with pytest.raises(ValueError, match=r"^there are two nets of the name 'lenet'$"):
        registry.net("lenet", "another")(nets.NETS["lenet"].builder)


@pytest.mark.parametrize("path", bundled())
def test_generated_file_is_fresh(path):
    from netgen.commands.render import render

    assert (ROOT / path).read_text() == render(bundled()[path]), "run: make prototxt"


def test_no_other_files_stand_among_the_generated():
    there = [p for folder in ("prototxt", "solvers") for p in (ROOT / folder).glob("*.prototxt")]
    assert sorted(p.relative_to(ROOT).as_posix() for p in there) == sorted(bundled())
