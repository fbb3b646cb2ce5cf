import numpy as np
import pytest
import torch

from runner.net.layerwise import Layerwise

IP = """layer { name: "%s" type: "InnerProduct" bottom: "%s" top: "%s" %s
  inner_product_param { num_output: 3 %s weight_filler { type: "xavier" } } }"""
DATA = """
  layer { name: "data" type: "Input" top: "x" top: "label"
          input_param { shape { dim: 4 dim: 3 } shape { dim: 4 } } }"""
REST = """
  layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }
  %s
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "z" bottom: "label" top: "loss"
          loss_weight: 2 }
  layer { name: "accuracy" type: "Accuracy" bottom: "z" bottom: "label" top: "accuracy" }"""
NETS = {
    "plain": "force_backward: true"
    + DATA
    + IP % ("ip1", "x", "y", "", "")
    + REST % IP % ("ip2", "y", "z", "", ""),
    "shared in another shape": DATA
    + IP % ("ip1", "x", "y", 'param { name: "w" }', "")
    + REST % IP % ("ip2", "y", "z", 'param { name: "w" }', "")
    + """ layer { name: "p" type: "Parameter" top: "p"
            param { name: "w" share_mode: PERMISSIVE } parameter_param { shape { dim: 9 } } }
            layer { name: "sum" type: "Reduction" bottom: "p" top: "sum" loss_weight: 0.5 }""",
    "fixed": DATA
    + IP % ("ip1", "x", "y", "param { lr_mult: 0 }", "")
    + REST % IP % ("ip2", "y", "z", "", ""),
}


def fed(build, text):
    net = build(text)
    values = net.nodes[0].layer.values
    values[0].copy_(torch.tensor(np.random.default_rng(0).normal(size=(4, 3))))
    values[1].copy_(torch.tensor([0, 2, 1, 1]))
    return net


@pytest.mark.parametrize("name", NETS)
def test_layer_by_layer_gives_what_the_whole_net_does(build, name):
    net = fed(build, NETS[name])
    loss, outputs = net.forward_backward()
    whole = net.parameters.grad.clone()
    net.parameters.grad.zero_()
    run = Layerwise(net)
    assert run.forward() == pytest.approx(loss.item(), rel=1e-6)
    for output in net.outputs:
        np.testing.assert_allclose(net.blobs[output].data, outputs[output], rtol=1e-6)
    run.backward()
    by_layer = net.parameters.grad
    np.testing.assert_allclose(by_layer, whole, rtol=1e-5, atol=1e-7)
    assert by_layer.any()


def test_every_layer_hands_its_gradient_to_the_one_below(build):
    net = fed(build, NETS["plain"])
    run = Layerwise(net)
    run.forward()
    assert net.blobs["loss"].diff == 2
    run.backward()
    (w1, b1), (w2, b2) = (node.blobs for node in net.nodes if node.name in ("ip1", "ip2"))
    x, label = net.nodes[0].layer.values
    y = torch.relu(x @ w1.T + b1)
    p = torch.softmax(y @ w2.T + b2, 1)
    dz = 2 * (p - torch.nn.functional.one_hot(label.long(), 3)) / 4
    np.testing.assert_allclose(net.blobs["z"].diff, dz, rtol=1e-4, atol=1e-6)
    # in place: the gradient of y is the one below the ReLU, and x gets its own too
    np.testing.assert_allclose(net.blobs["y"].diff, (dz @ w2) * (y > 0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(net.blobs["x"].diff, (dz @ w2) * (y > 0) @ w1, rtol=1e-4, atol=1e-6)


def test_a_layer_runs_on_the_data_and_gradients_that_are_there(build):
    net = fed(build, NETS["plain"])
    run = Layerwise(net)
    run.forward()
    index = [node.name for node in net.nodes].index("ip2")
    net.blobs["y"].data[...] = 1
    run.forward_layer(index)
    weight, bias = net.nodes[index].blobs
    np.testing.assert_allclose(net.blobs["z"].data, (weight.sum(1) + bias).expand(4, 3), rtol=1e-5)
    net.blobs["z"].diff[...] = 1
    run.backward_layer(index)
    np.testing.assert_allclose(net.blobs["y"].diff, weight.sum(0).expand(4, 3), rtol=1e-5)
    # called again, the blobs' gradients add up
    net.parameters.grad.zero_()
    for _ in range(2):
        run.forward_layer(index)
        run.backward_layer(index)
    np.testing.assert_allclose(net.parameters.blobs[-1].grad, [8, 8, 8])
