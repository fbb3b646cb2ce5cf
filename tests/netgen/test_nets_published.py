"""LeNet, cifar10_full and ResNet-20: their published sizes, layers and training."""

from math import prod

import pytest

from netgen import graph, nets, schema, solvers
from netgen.describe import describe
from netgen.errors import CaffeError
from netgen.schema import caffe_pb

# What is learned: weights, biases, BatchNorm's scales and shifts, not its statistics.
# LeNet: 20 5x5 of 1, 50 5x5 of 20, 800 to 500, 500 to 10. ResNet-20: 0.27 M in the paper.
LEARNED = {"lenet": 431_080, "cifar10_full": 89_578, "resnet20": 269_722}
IMAGES = {"lenet": (1, 28, 28), "cifar10_full": (3, 32, 32), "resnet20": (3, 40, 40)}


def infos(name, phase=caffe_pb.TRAIN, deploy=False, **options):
    net = nets.build_net(name, nets.NetOptions(**options), deploy)
    net = graph.filter_net(net, caffe_pb.NetState(phase=phase))
    return graph.infer(net, phase, IMAGES[name])


def learned(name, **options):
    return sum(
        prod(shape)
        for info in infos(name, **options)
        if info.layer.type != "BatchNorm"
        for shape in info.shapes.params
    )


@pytest.mark.parametrize("name", LEARNED)
def test_parameters_are_the_published_ones(name):
    assert learned(name) == learned(name, deploy=True) == LEARNED[name]


def test_resnet20_describes_its_statistics_too():
    described = describe(nets.build_net("resnet20", deploy=True), caffe_pb.TEST)["totals"]
    channels = 7 * 16 + 6 * 32 + 6 * 64  # BatchNorms have a mean and a variance each, and a factor
    assert described["parameters"] == LEARNED["resnet20"] + 2 * channels + 19
    assert round(described["multiply_adds"] / 1e6, 1) == 40.6


def test_resnet20_is_six_n_plus_two_layers_of_the_papers_sizes():
    tops = [
        info.shapes.tops[0]
        for info in infos("resnet20", batch_size=2)
        if info.layer.type == "Convolution"
    ]
    assert tops == [(2, 16, 32, 32)] * 7 + [(2, 32, 16, 16)] * 6 + [(2, 64, 8, 8)] * 6


def test_shortcuts_learn_nothing_and_join_two_halves():
    layers = {info.layer.name: info for info in infos("resnet20", batch_size=2)}
    short = [info for name, info in layers.items() if "shortcut" in name]
    assert not any(info.shapes.params for info in short)
    assert layers["stage2_block1_shortcut"].shapes.tops == [(2, 32, 16, 16)]
    assert layers["stage3_block1_shortcut"].shapes.tops == [(2, 64, 8, 8)]
    assert {
        name: list(info.layer.bottom)
        for name, info in layers.items()
        if info.layer.type == "Eltwise"
    }["stage2_block2_sum"] == ["stage2_block1_sum", "stage2_block2_conv2"]


@pytest.mark.parametrize("width", [0.03, 0.25, 0.7, 2])
@pytest.mark.parametrize("name", LEARNED)
def test_any_width_is_a_net(name, width):
    assert (learned(name, width=width) < LEARNED[name]) == (width < 1)


def test_lenet_trains_as_in_caffes_examples():
    train, test = (layer for layer in nets.build_net("lenet").layer if layer.type == "Data")
    assert (train.data_param.source, train.data_param.batch_size) == (
        "data/mnist/mnist_train_lmdb",
        64,
    )
    assert (test.data_param.source, test.data_param.batch_size) == (
        "data/mnist/mnist_test_lmdb",
        100,
    )
    assert (
        train.transform_param
        == test.transform_param
        == schema.parse_text("scale: 0.00390625", caffe_pb.TransformationParameter)
    )
    assert solvers.build_solver("lenet") == schema.parse_text(
        """
        net: "prototxt/lenet.prototxt" test_iter: 100 test_interval: 500 base_lr: 0.01
        momentum: 0.9 weight_decay: 0.0005 lr_policy: "inv" gamma: 0.0001 power: 0.75
        display: 100 max_iter: 10000 snapshot: 5000 snapshot_prefix: "snapshots/lenet" type: "SGD"
        """,
        caffe_pb.SolverParameter,
    )


def test_cifar10_full_trains_as_in_caffes_examples():
    layers = {layer.name: layer for layer in nets.build_net("cifar10_full").layer}
    assert layers["data"].transform_param == schema.parse_text(
        'mean_file: "data/cifar10_raw/mean.binaryproto"', caffe_pb.TransformationParameter
    )
    rates = {
        name: [(p.lr_mult, p.decay_mult) for p in layers[name].param]
        for name in ("conv1", "conv2", "conv3", "ip1")
    }
    assert rates == {
        "conv1": [(1, 1), (2, 1)],
        "conv2": [(1, 1), (2, 1)],
        "conv3": [],
        "ip1": [(1, 250), (2, 0)],
    }
    assert solvers.build_solver("cifar10_full") == schema.parse_text(
        """
        net: "prototxt/cifar10_full.prototxt" test_iter: 100 test_interval: 1000 base_lr: 0.001
        momentum: 0.9 weight_decay: 0.004 lr_policy: "multistep" gamma: 0.1 stepvalue: 60000
        stepvalue: 65000 display: 200 max_iter: 70000 snapshot: 5000
        snapshot_prefix: "snapshots/cifar10_full" type: "SGD"
        """,
        caffe_pb.SolverParameter,
    )


def test_resnet20_trains_as_in_the_paper():
    train, test = (layer for layer in nets.build_net("resnet20").layer if layer.type == "Data")
    assert (train.data_param.batch_size, train.transform_param) == (
        128,
        schema.parse_text(
            'crop_size: 32 mirror: true mean_file: "data/cifar10_raw_pad4/mean.binaryproto"',
            caffe_pb.TransformationParameter,
        ),
    )
    assert not test.transform_param.mirror
    solver = solvers.build_solver("resnet20")
    assert (solver.max_iter, list(solver.stepvalue), solver.gamma) == (
        64_000,
        [32_000, 48_000],
        pytest.approx(0.1),
    )
    assert (solver.base_lr, solver.momentum, solver.weight_decay) == pytest.approx(
        (0.1, 0.9, 0.0001)
    )
    assert not solver.test_initialization


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("lenet", {"dropout": 0.5}, "lenet has no option dropout"),
        ("resnet20", {"input_dropout": 0.0}, "resnet20 has no option input dropout"),
        ("cifar10_full", {"weight_filler": "msra"}, "cifar10_full has no option weight filler"),
    ],
)
def test_options_that_a_net_does_not_have(name, options, error):
    with pytest.raises(CaffeError) as caught:
        nets.build_net(name, nets.NetOptions(**options))
    assert str(caught.value) == error
