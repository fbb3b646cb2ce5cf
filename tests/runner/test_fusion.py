"""BatchNorm with the Scale behind it: one operation, the same numbers."""

import numpy as np
import pytest
import torch

from netgen import schema
from netgen.schema import caffe_pb
from runner.net.debug_info import debug_info

TEXT = """
layer { name: "x" type: "DummyData" top: "x" top: "t" dummy_data_param {
  shape { dim: 5 dim: 3 dim: 4 dim: 4 } shape { dim: 5 dim: 4 dim: 4 dim: 4 }
  data_filler { type: "uniform" } data_filler { type: "constant" } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
  convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm" }
layer { name: "scale" type: "Scale" bottom: "norm" top: "scale"
  scale_param { bias_term: true filler { type: "uniform" min: 0.5 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "scale" bottom: "t" top: "loss" }
"""
IN_PLACE = TEXT.replace('"norm" top: "scale"', '"norm" top: "norm"').replace(
    'bottom: "scale" bottom: "t"', 'bottom: "norm" bottom: "t"')  # fmt: skip
NOT_FUSED = {
    "no bias": TEXT.replace("bias_term: true", ""),
    "another axis": TEXT.replace("bias_term: true", "bias_term: true axis: 0 num_axes: 1"),
    "more axes": TEXT.replace("bias_term: true", "bias_term: true num_axes: 2"),
    "read by two": TEXT + 'layer { name: "s" type: "Silence" bottom: "norm" }',
    "weighed": TEXT.replace('top: "norm" }', 'top: "norm" loss_weight: 1 }'),
}
CUT_OFF = TEXT.replace('bottom: "norm" top: "scale"',
                       'bottom: "norm" top: "scale" propagate_down: false')  # fmt: skip


def passes(net, count=3):
    """Losses, gradients and statistics of some passes."""
    torch.manual_seed(0)
    net.parameters.grad.zero_()
    losses = [net.forward_backward()[0].item() for _ in range(count)]
    return [np.array(losses), net.parameters.grad.numpy(), net.parameters.data.numpy()]


@pytest.mark.parametrize("text", [TEXT, IN_PLACE, CUT_OFF, *NOT_FUSED.values()])
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("batch", [5, 1])
def test_both_ways_give_the_same(build, text, phase, batch):
    text = text.replace("dim: 5", f"dim: {batch}")
    if "axis: 0" in text and batch == 1:
        text = text.replace("num_axes: 1", "num_axes: 2")
    one, two = build(text, phase=phase), build(text, phase=phase)
    for net in (one, two):  # statistics to test with
        for node in net.nodes:
            if node.name == "norm":
                for blob, value in zip(node.blobs, (0.1, 0.5, 1), strict=True):
                    blob.fill_(value)
    two.fused = False
    for ours, theirs in zip(passes(one), passes(two), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-5)


def calls(net):
    """How often Scale's own forward runs in a pass."""
    (scale,) = [node.layer for node in net.nodes if node.name == "scale"]
    count, forward = [], scale.forward
    scale.forward = lambda *given: count.append(1) or forward(*given)
    net.forward()
    del scale.forward
    return len(count)


@pytest.mark.parametrize("text", [TEXT, IN_PLACE, CUT_OFF])
def test_what_is_fused(build, text):
    assert calls(build(text)) == 0


@pytest.mark.parametrize("text", NOT_FUSED.values(), ids=NOT_FUSED)
def test_what_is_not(build, text):
    assert calls(build(text)) == 1


def test_debug_info_sees_every_layer(build, capfd):
    net = build(TEXT)
    with debug_info(net):
        net.forward_backward()
    log = capfd.readouterr().err
    assert "[Forward] Layer scale, top blob scale data" in log
    assert net.fused


def test_every_net_of_the_project_with_batch_norm_is_fused(build):
    net = build(schema.to_text(schema.read_net("prototxt/resnet20_deploy.prototxt")), "TEST")
    norms = [node for node in net.nodes if node.param.type == "BatchNorm"]
    assert len(norms) == 19 == len(net._scales)
    assert net.phase == caffe_pb.TEST
