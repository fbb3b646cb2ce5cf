import numpy as np
import pytest
import torch

from netgen.schema import caffe_pb
from runner.net.layerwise import Layerwise
from runner.solver.shown import ShownSolver

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


MANY = """
name: "many"
layer { name: "in" type: "DummyData" top: "x" top: "label" dummy_data_param {
  shape { dim: 4 dim: 4 dim: 8 dim: 8 } shape { dim: 4 }
  data_filler { type: "gaussian" } data_filler { value: 2 } } }
layer { name: "conv1" type: "Convolution" bottom: "x" top: "c" convolution_param {
  num_output: 6 kernel_size: 3 group: 2 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "scale" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }
layer { name: "elu" type: "ELU" bottom: "c" top: "c" }
layer { name: "lrn" type: "LRN" bottom: "c" top: "l" lrn_param { local_size: 3 alpha: 1 } }
layer { name: "cut" type: "Slice" bottom: "l" top: "s1" top: "s2" slice_param { axis: 1 } }
layer { name: "prelu" type: "PReLU" bottom: "s1" top: "s1" }
layer { name: "within" type: "LRN" bottom: "s2" top: "w" lrn_param {
  local_size: 3 alpha: 1 norm_region: WITHIN_CHANNEL } }
layer { name: "join" type: "Concat" bottom: "s1" bottom: "w" top: "j" }
layer { name: "mvn" type: "MVN" bottom: "j" top: "m" }
layer { name: "prod" type: "Eltwise" bottom: "j" bottom: "m" top: "p" eltwise_param {
  operation: PROD } }
layer { name: "max" type: "Eltwise" bottom: "p" bottom: "m" top: "e" eltwise_param {
  operation: MAX } }
layer { name: "pool" type: "Pooling" bottom: "e" top: "q" pooling_param {
  pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "up" type: "Deconvolution" bottom: "q" top: "u" convolution_param {
  num_output: 2 kernel_size: 2 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "abs" type: "AbsVal" bottom: "u" top: "uu" }
layer { name: "spp" type: "SPP" bottom: "uu" top: "v" spp_param { pyramid_height: 2 } }
layer { name: "drop" type: "Dropout" bottom: "v" top: "v" }
layer { name: "ip1" type: "InnerProduct" bottom: "v" top: "a" param { name: "w" }
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "tanh" type: "TanH" bottom: "a" top: "a" }
layer { name: "drop2" type: "Dropout" bottom: "a" top: "a" dropout_param { dropout_ratio: 0.2 } }
layer { name: "ip2" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" }
  inner_product_param { num_output: 10 } }
layer { name: "power" type: "Power" bottom: "b" top: "d" power_param { power: 2 scale: 0.5 } }
layer { name: "exp" type: "Exp" bottom: "b" top: "f" exp_param { scale: -0.1 } }
layer { name: "sum" type: "Eltwise" bottom: "d" bottom: "f" top: "g" eltwise_param {
  coeff: 1 coeff: -0.5 } }
layer { name: "flat" type: "Flatten" bottom: "g" top: "h" }
layer { name: "shape" type: "Reshape" bottom: "h" top: "i" reshape_param {
  shape { dim: 4 dim: 5 dim: 2 } } }
layer { name: "again" type: "Flatten" bottom: "i" top: "z" }
layer { name: "ends" type: "Reduction" bottom: "z" top: "ends" loss_weight: 0.5 }
layer { name: "sigmoid" type: "Sigmoid" bottom: "h" top: "k" }
layer { name: "bnll" type: "BNLL" bottom: "k" top: "k" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "h" bottom: "label" top: "loss"
  loss_weight: 2 }
layer { name: "hinge" type: "HingeLoss" bottom: "h" bottom: "label" top: "hinge"
  loss_weight: 0.1 }
layer { name: "near" type: "EuclideanLoss" bottom: "k" bottom: "h" top: "near" }
layer { name: "size" type: "Reduction" bottom: "k" top: "size" loss_weight: 0.01
  reduction_param { operation: SUMSQ } }
"""


@pytest.mark.parametrize("watched", [False, True])
def test_training_layer_by_layer_is_training(tmp_path, monkeypatch, watched):
    """Also where somebody looks at every blob all the time, so that all results are copied."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(MANY)
    ends = []
    for by_layer in False, True:
        param = caffe_pb.SolverParameter(
            net="net.prototxt",
            base_lr=0.01,
            momentum=0.9,
            weight_decay=0.01,
            lr_policy="fixed",
            iter_size=2,
            random_seed=3,
        )
        solver = ShownSolver(param)
        views = []
        solver.step(1)  # from then on memory that layers share is shared
        if by_layer:
            solver.runs[0].after_backward.append(lambda index: None)
            if watched:
                views = [(blob.data, blob.diff) for blob in solver.net.blobs.values()]
        solver.step(5)
        if views:  # memory that is looked at stays where it is
            for (data, _), blob in zip(views, solver.net.blobs.values(), strict=True):
                np.testing.assert_array_equal(data, blob.data)
        ends.append(
            [solver.net.parameters.data.detach().clone(), solver.net.parameters.grad.clone()]
            + [blob.diff.copy() for blob in solver.net.blobs.values()]
        )
    for whole, single in zip(*ends, strict=True):
        np.testing.assert_allclose(single, whole, rtol=2e-3, atol=2e-5)


def test_gradients_of_the_whole_net_are_the_diffs_layer_by_layer(tmp_path, monkeypatch):
    """Where no diffs share memory they are kept from the whole net's pass, once somebody looks."""
    monkeypatch.chdir(tmp_path)
    start, end = MANY.index('layer { name: "flat"'), MANY.index('layer { name: "sigmoid"')
    (tmp_path / "net.prototxt").write_text(
        (MANY[:start] + MANY[end:]).replace('bottom: "h"', 'bottom: "g"')
    )
    ends = []
    for by_layer in False, True:
        solver = ShownSolver(
            caffe_pb.SolverParameter(
                net="net.prototxt", base_lr=0.01, lr_policy="fixed", random_seed=3
            )
        )
        assert solver.runs[0].diffs_are_gradients()
        if by_layer:
            solver.runs[0].after_backward.append(lambda index: None)
        solver.step(1)
        for blob in solver.net.blobs.values():
            blob.diff  # noqa: B018
        repeats = []
        monkeypatch.setattr(solver.train_pass, "_repeat", lambda repeats=repeats: repeats.append(1))
        solver.step(2)
        ends.append([(blob.data.copy(), blob.diff.copy()) for blob in solver.net.blobs.values()])
        assert not repeats and abs(ends[-1][4][1]).sum() > 0
    for whole, single in zip(*ends, strict=True):
        for one, other in zip(whole, single, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-5)
