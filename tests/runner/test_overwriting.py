"""Layers that write over their bottoms give the same numbers, and only where nobody looks."""

import pytest
import torch

from netgen import schema

DATA = """
layer { name: "x" type: "DummyData" top: "x" top: "t" dummy_data_param {
  shape { dim: 3 dim: 4 dim: 6 dim: 6 } shape { dim: 3 dim: 4 dim: 6 dim: 6 }
  data_filler { type: "gaussian" } data_filler { type: "constant" } } }
"""
CONV = """
layer { name: "%(top)s" type: "Convolution" bottom: "%(bottom)s" top: "%(top)s" convolution_param {
  num_output: 4 kernel_size: %(size)d pad: 1 weight_filler { type: "msra" } } }
"""
NORM = """
layer { name: "norm_%(top)s" type: "BatchNorm" bottom: "%(top)s" top: "%(top)s" }
layer { name: "scale_%(top)s" type: "Scale" bottom: "%(top)s" top: "%(top)s"
  scale_param { bias_term: true } }
"""
RELU = 'layer { name: "relu_%(top)s" type: "ReLU" bottom: "%(bottom)s" top: "%(top)s" }\n'
SUM = 'layer { name: "sum" type: "Eltwise" bottom: "%s" bottom: "%s" top: "sum" }\n'
LOSS = 'layer { name: "loss" type: "EuclideanLoss" bottom: "%s" bottom: "t" top: "loss" }\n'


def conv(top, bottom, size=3):
    return CONV % {"top": top, "bottom": bottom, "size": size}


def relu(top, bottom=None):
    return RELU % {"top": top, "bottom": bottom or top}


def norm(top):
    return NORM % {"top": top}


BLOCK = conv("a", "x") + norm("a") + relu("a")
BLOCK += conv("b", "a") + norm("b") + relu("b") + conv("c", "b") + norm("c") + SUM % ("a", "c")
BLOCK += relu("sum") + conv("d", "sum") + LOSS % "d"
POOLS = (
    conv("a", "x")
    + relu("a")
    + (
        'layer { name: "p" type: "Pooling" bottom: "a" top: "p" pooling_param { kernel_size: 2 } }\n'
        + relu("p")
        + 'layer { name: "drop" type: "Dropout" bottom: "p" top: "p" }\n'
        + conv("e", "p", 2)
        + LOSS % "e"
    )
)
CASES = {  # {what: (net, names of the layers that write over a bottom)}
    "a block of a residual net": (BLOCK, ["relu_a", "relu_b", "sum", "relu_sum"]),
    "a pooling and dropout": (POOLS, ["relu_a", "relu_p"]),
    "a name of its own": (conv("a", "x") + relu("r", "a") + LOSS % "r", ["relu_r"]),
    "what comes is read twice": (
        conv("a", "x") + relu("r", "a") + SUM % ("a", "r") + LOSS % "sum",
        [],
    ),
    "what comes is an output": (
        conv("a", "x") + relu("r", "a") + conv("b", "r") + LOSS % "b" + conv("out", "x"),
        ["relu_r"],
    ),
    "data": (relu("x") + conv("a", "x") + LOSS % "a", []),
    "a slope": (
        conv("a", "x")
        + relu("a").replace("top", "relu_param { negative_slope: 0.1 } top")
        + LOSS % "a",
        [],
    ),
    "factors": (
        conv("a", "x") + SUM.replace(" top", " eltwise_param { coeff: 1 coeff: 2 } top") % ("a", "x")
        + LOSS % "sum",
        [],
    ),
    "siblings, whose tops are views": (
        conv("a", "x") + conv("b", "x") + relu("a") + relu("b")
        + 'layer { name: "two" type: "Eltwise" bottom: "a" bottom: "b" top: "two" '
        + "eltwise_param { operation: PROD } }\n" + LOSS % "two",
        [],
    ),
    "with a loss of its own": (
        conv("a", "x").replace("convolution_param", "loss_weight: 1 convolution_param")
        + relu("r", "a") + LOSS % "r",
        [],
    ),
}  # fmt: skip


def passes(net, count=3):
    torch.manual_seed(0)
    net.parameters.grad.zero_()
    return [net.forward_backward()[0].item() for _ in range(count)], net.parameters.grad


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_both_ways_give_the_same(build, case):
    text, names = case
    one, two = build(DATA + text), build(DATA + text)
    assert [one.nodes[index].name for index in one._overwriting] == names
    two._overwriting = {}
    (losses, slopes), (wanted, other) = passes(one), passes(two)
    assert losses == wanted and torch.equal(slopes, other) and slopes.abs().max() > 0


def test_what_is_no_number_goes_through(build):
    net = build(DATA + BLOCK)
    net.nodes[1].blobs[0][0] = float("nan")
    loss, _ = net.forward_backward()
    assert loss.isnan() and net.parameters.grad.isnan().any()


def test_who_looks_at_blobs_sees_each_as_its_layer_made_it(build):
    net, kept = build(DATA + conv("a", "x") + relu("r", "a") + LOSS % "r"), {}
    net.forward(kept=kept)
    assert kept["a"].min() < 0 and kept["r"].min() == 0


@pytest.mark.parametrize("name", ["resnet20", "allcnn_c", "cifar10_full"])
def test_the_projects_nets_have_it(build, name):
    net = build(schema.to_text(schema.read_net(f"prototxt/{name}_deploy.prototxt")), "TEST")
    rectified = [i for i, node in enumerate(net.nodes) if node.param.type == "ReLU"]
    assert set(rectified) <= net._overwriting.keys()
