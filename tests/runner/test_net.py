import numpy as np
import pytest
import torch

from netgen import schema
from netgen.graph import NetError
from netgen.schema import caffe_pb
from runner.net.net import Net, net_param_for

RANDOM = np.random.default_rng(0)
X, TARGET = RANDOM.normal(size=(2, 4, 3))
DATA = """
  layer { name: "data" type: "Input" top: "x" top: "t"
          input_param { shape { dim: 4 dim: 3 } shape { dim: 4 dim: 3 } } }"""
LOSS = ' layer { name: "loss" type: "EuclideanLoss" bottom: "%s" bottom: "t" top: "l" }'


def ip(name, bottom, top, more="", inner=""):
    return (
        f' layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{top}" {more}'
        f' inner_product_param {{ num_output: 3 {inner} weight_filler {{ type: "xavier" }}'
        ' bias_filler { type: "gaussian" } } }'
    )


@pytest.fixture
def fed(build):
    """A net on DATA that holds X and TARGET."""

    def make(text, **how):
        net = build(DATA + text, **how)
        for value, array in zip(net.nodes[0].layer.values, (X, TARGET), strict=True):
            value.copy_(torch.tensor(array))
        return net

    return make


def blobs(net, layer):
    return [b.detach().numpy() for s in net.nodes if s.name == layer for b in s.blobs]


def gradients(net):
    """{layer: its blobs' gradients}, from one pass on cleared gradients."""
    net.parameters.grad.zero_()
    net.forward_backward()
    return {
        node.name: [net.parameters.blobs[i].grad.numpy().copy() for i in node.learnable]
        for node in net.nodes
        if node.learnable
    }


# --- what a net computes ---


def test_loss_outputs_and_gradients_of_two_layers(fed):
    net = fed(ip("ip1", "x", "y") + ip("ip2", "y", "z") + LOSS % "z")
    (w1, b1), (w2, b2) = blobs(net, "ip1"), blobs(net, "ip2")
    y = X @ w1.T + b1
    z = y @ w2.T + b2
    loss, outputs = net.forward_backward()
    assert list(outputs) == net.outputs == ["l"]
    assert loss.item() == outputs["l"].item() and not loss.requires_grad
    np.testing.assert_allclose(loss, ((z - TARGET) ** 2).sum() / 8, rtol=1e-5)
    dz = (z - TARGET) / 4
    found = gradients(net)
    expected = {"ip1": [(dz @ w2).T @ X, (dz @ w2).sum(0)], "ip2": [dz.T @ y, dz.sum(0)]}
    for layer, values in expected.items():
        for gradient, value in zip(found[layer], values, strict=True):
            np.testing.assert_allclose(gradient, value, rtol=1e-4, atol=1e-6)


def test_gradients_add_up_until_they_are_cleared(fed):
    net = fed(ip("ip1", "x", "y") + LOSS % "y")
    once = gradients(net)["ip1"][0]
    net.forward_backward()
    np.testing.assert_allclose(net.parameters.blobs[0].grad, 2 * once, rtol=1e-6)
    buffer = net.parameters.grad
    assert net.parameters.blobs[0].grad.data_ptr() == buffer.data_ptr()


def test_unconsumed_blobs_are_the_outputs_in_alphabetical_order(fed):
    net = fed(ip("b", "x", "zoo") + ip("a", "x", "bar") + ip("c", "x", "ant"))
    assert net.outputs == ["ant", "bar", "t", "zoo"]
    loss, outputs = net.forward()
    assert list(outputs) == net.outputs and loss.item() == 0


def test_the_objective_sums_every_weighted_top(fed):
    weighted = LOSS.replace('top: "l"', 'top: "l" loss_weight: 2')
    net = fed(ip("ip1", "x", "y", "loss_weight: 0.5") + weighted % "y")
    w, b = blobs(net, "ip1")
    y = X @ w.T + b
    objective, outputs = net.forward()
    np.testing.assert_allclose(
        objective.detach(), 0.5 * y.sum() + 2 * ((y - TARGET) ** 2).sum() / 8, rtol=1e-5
    )
    assert outputs["l"] == pytest.approx(((y - TARGET) ** 2).sum() / 8, rel=1e-5)
    # the weight has moved to the split that the second consumer made necessary
    assert net.loss_weights["y_ip1_0_split_0"] == 0.5 and net.loss_weights["l"] == 2
    np.testing.assert_allclose(
        gradients(net)["ip1"][1], (0.5 + 2 * (y - TARGET) / 4).sum(0), rtol=1e-4
    )


def test_a_loss_that_names_no_top_gets_one_that_is_no_output(fed, capfd):
    net = fed(ip("ip1", "x", "y") + (LOSS % "y").replace('top: "l"', ""))
    assert "loss -> (automatic)" in capfd.readouterr().err
    assert net.outputs == []
    loss, outputs = net.forward()
    assert loss.item() > 0 and outputs == {}
    assert gradients(net)["ip1"][0].any()


def test_without_a_loss_there_is_no_gradient(fed):
    net = fed(ip("ip1", "x", "y"))
    loss, outputs = net.forward_backward()
    assert loss.item() == 0 and list(outputs) == ["t", "y"]
    assert not net.parameters.grad.any()


def test_layers_in_place(fed):
    chain = """
      layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }
      layer { name: "scale" type: "Scale" bottom: "y" top: "y"
              scale_param { filler { value: 3 } } }"""
    net = fed(ip("ip1", "x", "y") + chain + LOSS % "y")
    apart = fed(
        ip("ip1", "x", "y")
        + chain.replace('top: "y"', 'top: "y1"', 1).replace(
            'bottom: "y" top: "y"\n', 'bottom: "y1" top: "y2"\n'
        )
        + LOSS % "y2"
    )
    assert net.blob_shapes.keys() == {"x", "t", "y", "l"}
    assert net.forward()[0] == apart.forward()[0]
    for one, other in zip(gradients(net).values(), gradients(apart).values(), strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_blob_with_several_consumers_is_split(fed):
    net = fed(
        ip("ip1", "x", "y")
        + ip("a", "y", "ya")
        + ip("b", "y", "yb")
        + ' layer { name: "sum" type: "Eltwise" bottom: "ya" bottom: "yb" top: "z" }'
        + LOSS % "z"
    )
    names = [node.name for node in net.nodes]
    assert names == ["data", "ip1", "y_ip1_0_split", "a", "b", "sum", "loss"]
    assert net.nodes[2].tops == ["y_ip1_0_split_0", "y_ip1_0_split_1"]
    (wa, _), (wb, _), (w, b) = (blobs(net, name) for name in ("a", "b", "ip1"))
    z = (X @ w.T + b) @ (wa + wb).T + blobs(net, "a")[1] + blobs(net, "b")[1]
    dy = (z - TARGET) / 4 @ (wa + wb)
    np.testing.assert_allclose(gradients(net)["ip1"][0], dy.T @ X, rtol=1e-4, atol=1e-6)


# --- shared weights ---


def test_shared_weights_get_the_sum_of_both_gradients(fed):
    named = 'param { name: "w" } param { name: "b" }'
    net = fed(ip("ip1", "x", "y", named) + ip("ip2", "y", "z", named) + LOSS % "z")
    assert len(net.parameters.learnable) == 2
    apart = fed(ip("ip1", "x", "y") + ip("ip2", "y", "z") + LOSS % "z")
    for node in apart.nodes:
        for blob, value in zip(node.blobs, blobs(net, "ip1"), strict=False):
            blob.copy_(torch.tensor(value))
    np.testing.assert_array_equal(net.forward()[0].detach(), apart.forward()[0].detach())
    one, two = gradients(apart).values()
    for shared, a, b in zip(gradients(net)["ip2"], one, two, strict=True):
        np.testing.assert_allclose(shared, a + b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("passes", [1, 2])
def test_permissive_sharing_gives_one_memory_in_two_shapes(fed, passes):
    share = 'param { name: "w" %s } param { name: "b" }'
    net = fed(
        ip("ip1", "x", "y", share % "")
        + ip("ip2", "y", "z", share % "share_mode: PERMISSIVE", inner="transpose: true")
        + ' layer { name: "flat" type: "Parameter" top: "p" param { name: "w" '
        "share_mode: PERMISSIVE } parameter_param { shape { dim: 9 } } loss_weight: 0.25 }"
        + LOSS
        % "z"
    )
    (w, b) = blobs(net, "ip1")
    np.testing.assert_array_equal(blobs(net, "flat")[0], w.reshape(9))
    y = X @ w.T + b
    z = y @ w + b  # transposed: the same values read the other way round
    dz = (z - TARGET) / 4
    expected = (dz @ w.T).T @ X + y.T @ dz + 0.25
    for _ in range(passes):
        found = gradients(net)
    np.testing.assert_allclose(found["ip1"][0], expected, rtol=1e-4, atol=1e-6)
    net.parameters.data.zero_()
    assert not any(blob.any() for name in ("ip1", "ip2", "flat") for blob in blobs(net, name))


def test_the_owner_fills_a_shared_blob(fed):
    net = fed(
        ip("ip1", "x", "y", 'param { name: "w" }')
        + """ layer { name: "ip2" type: "InnerProduct" bottom: "x" top: "z" param { name: "w" }
              inner_product_param { num_output: 3 weight_filler { value: 7 } } }"""
    )
    assert (blobs(net, "ip2")[0] != 7).all()
    np.testing.assert_array_equal(blobs(net, "ip2")[0], blobs(net, "ip1")[0])


# --- what learns ---


def test_lr_mult_zero_gets_no_gradient(fed):
    net = fed(ip("ip1", "x", "y", "param { } param { lr_mult: 0 }") + LOSS % "y")
    weight, bias = gradients(net)["ip1"]
    assert weight.any() and not bias.any()


def test_param_propagate_down_says_which_blobs_get_gradients(fed):
    """caffe_colorizer's net.cpp: whatever lr_mult is."""
    spec = "param { param_propagate_down: false } param { lr_mult: 0 param_propagate_down: true }"
    net = fed(ip("ip1", "x", "y", spec) + LOSS % "y")
    weight, bias = gradients(net)["ip1"]
    assert bias.any() and not weight.any()


def test_propagate_down_false_stops_the_gradient(fed):
    net = fed(ip("ip1", "x", "y") + ip("ip2", "y", "z", "propagate_down: false") + LOSS % "z")
    found = gradients(net)
    assert found["ip2"][0].any() and not found["ip1"][0].any()


def test_force_backward_reaches_the_data_and_blobs_that_do_not_learn(fed):
    fixed = "param { lr_mult: 0 } param { lr_mult: 0 }"
    net = fed("force_backward: true" + ip("ip1", "x", "y", fixed) + LOSS % "y")
    values, target = net.nodes[0].layer.values
    values.requires_grad_()
    net.nodes[0].layer.forward = lambda bottoms, blobs: [values, target]
    found = gradients(net)["ip1"]
    w, b = blobs(net, "ip1")
    dy = (X @ w.T + b - TARGET) / 4
    np.testing.assert_allclose(found[0], dy.T @ X, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(values.grad, dy @ w, rtol=1e-4, atol=1e-6)


def test_labels_that_depend_on_what_learns_are_refused_where_they_would_get_gradients(fed):
    text = (
        ip("ip1", "x", "y")
        + """
      layer { name: "max" type: "Slice" bottom: "y" top: "label" top: "rest"
              slice_param { slice_point: 1 } }
      layer { name: "loss" type: "SoftmaxWithLoss" bottom: "rest" bottom: "label" top: "l" }"""
    )
    with pytest.raises(
        NetError,
        match=r"layer 'loss': SoftmaxWithLoss Layer cannot backpropagate to bottom 1 \('label'\)",
    ):
        fed(text)
    fed(text, phase="TEST")
    fed(
        text.replace(
            'type: "SoftmaxWithLoss"',
            'type: "SoftmaxWithLoss" propagate_down: true propagate_down: false',
        )
    )


# --- states, and weights of another net ---

PHASED = """
  layer { name: "d" type: "Dropout" bottom: "x" top: "x" include { phase: TRAIN } }
  layer { name: "s" type: "Silence" bottom: "x" include { phase: TEST stage: "quiet" } }
  layer { name: "p" type: "Power" bottom: "x" top: "y" exclude { min_level: 2 } }"""


def test_layers_are_chosen_by_phase_level_and_stage():
    def names(phase, level=0, stages=()):
        param = schema.parse_text(DATA + PHASED, caffe_pb.NetParameter)
        net = Net(net_param_for(param, phase, level, stages))
        return [node.name for node in net.nodes]

    assert names(caffe_pb.TRAIN) == ["data", "d", "p"]
    assert names(caffe_pb.TRAIN, 2) == ["data", "d"]
    assert names(caffe_pb.TEST, 2, ["quiet"]) == ["data", "s"]
    assert names(caffe_pb.TEST, 2, ["loud"]) == ["data"]


def test_a_layer_may_have_a_phase_of_its_own(fed):
    dropout = 'layer { name: "d" type: "Dropout" phase: TEST bottom: "x" top: "y" }'
    np.testing.assert_allclose(fed(dropout).forward()[1]["y"], X, rtol=1e-6)


def test_weights_are_shared_with_another_net_by_layer_name(fed, capfd):
    train = fed(ip("ip1", "x", "y") + ip("only", "y", "z") + LOSS % "z", seed=1)
    test = fed(ip("ip1", "x", "y"), seed=2, phase="TEST")
    test.share_weights_from(train)
    assert "Ignoring source layer only" in capfd.readouterr().err
    train.parameters.data.add_(1)
    np.testing.assert_array_equal(blobs(test, "ip1")[0], blobs(train, "ip1")[0])
    w, b = blobs(train, "ip1")
    np.testing.assert_allclose(test.forward()[1]["y"].detach(), X @ w.T + b, rtol=1e-5, atol=1e-6)


def test_batch_norm_tests_with_the_statistics_of_training(fed):
    text = ' layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" }'
    train, test = fed(text), fed(text, phase="TEST")
    test.share_weights_from(train)
    train.forward()
    np.testing.assert_allclose(
        test.forward()[1]["y"],
        (X - X.mean(0)) / np.sqrt(X.var(0, ddof=1) + 1e-5),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "other, words",
    [
        (
            ip("ip1", "x", "y", inner="bias_term: false"),
            "Incompatible number of blobs for layer ip1",
        ),
        (
            ip("ip1", "x", "y", inner="axis: 0"),
            "Cannot share param 0 weights from layer 'ip1'; shape mismatch.  Source param shape is "
            "3 12 (36); target param shape is 3 3 (9)",
        ),
    ],
)
def test_weights_that_cannot_be_shared(fed, other, words):
    with pytest.raises(NetError) as error:
        fed(ip("ip1", "x", "y")).share_weights_from(fed(other))
    assert words in str(error.value)


def test_the_same_seed_gives_the_same_weights(fed):
    text = ip("ip1", "x", "y") + ip("ip2", "y", "z")
    assert torch.equal(fed(text, seed=3).parameters.data, fed(text, seed=3).parameters.data)
    assert not torch.equal(fed(text, seed=3).parameters.data, fed(text, seed=4).parameters.data)


# --- nets that cannot be built ---

SHARED = ip("ip1", "x", "y", 'param { name: "w" lr_mult: 2 }')


@pytest.mark.parametrize(
    "text, message",
    [
        (ip("a", "nowhere", "y"), "Unknown bottom blob 'nowhere' (layer 'a', bottom index 0)"),
        (ip("a", "x", "y") + ip("b", "x", "y"), "Top blob 'y' produced by multiple sources."),
        (
            ' layer { name: "s" type: "Slice" bottom: "t" top: "y" top: "y" }',
            "Top blob 'y' produced by multiple sources.",
        ),
        (' layer { name: "q" type: "Quux" bottom: "x" top: "y" }', "Unknown layer type: Quux"),
        (
            ip("a", "x", "y", "param { } param { } param { }"),
            "Too many params specified for layer a",
        ),
        (
            ip("a", "x", "y", "propagate_down: true propagate_down: true"),
            "propagate_down param must be specified either 0 or bottom_size times",
        ),
        (
            ip("a", "x", "y", "loss_weight: 1 loss_weight: 1"),
            "loss_weight must be unspecified or specified once per top blob.",
        ),
        (
            ip("a", "x", "y", "include { phase: TRAIN } exclude { phase: TEST }"),
            "Specify either include rules or exclude rules; not both.",
        ),
        (
            ' layer { name: "a" type: "AbsVal" bottom: "x" top: "x" }',
            "AbsVal Layer does not allow in-place computation.",
        ),
        (
            SHARED + ip("ip2", "x", "z", 'param { name: "w" }', inner="axis: 0"),
            "Cannot share param 'w' owned by layer 'ip1' with layer 'ip2'; shape mismatch.  Owner "
            "layer param shape is 3 3 (9); sharing layer expects shape 3 12 (36)",
        ),
        (
            SHARED + ip("ip2", "x", "z", 'param { name: "w" lr_mult: 1 }'),
            "Shared param 'w' has mismatched lr_mult.",
        ),
        (
            SHARED + ip("ip2", "x", "z", 'param { name: "w" share_mode: PERMISSIVE }', "axis: 0"),
            "count mismatch.  Owner layer param shape is 3 3 (9); sharing layer shape is 3 12 (36)",
        ),
    ],
)
def test_what_caffe_refuses(fed, text, message):
    with pytest.raises(NetError) as error:
        fed(text)
    assert message in str(error.value) and "\n" not in str(error.value)


# --- what it says ---


def test_the_log_is_caffes(fed, capfd):
    net = fed(
        ip("ip1", "x", "y", "include { phase: TRAIN }")
        + ' layer { name: "n" type: "ReLU" bottom: "y" top: "y" exclude { phase: TEST } }'
        + LOSS % "y"
    )
    lines = [line.split("] ", 1)[1] for line in capfd.readouterr().err.splitlines() if "] " in line]
    expected = """\
Creating layer ip1
Creating Layer ip1
ip1 <- x
ip1 -> y
Setting up ip1
Top shape: 4 3 (12)
Memory required for data: 144
Creating layer n
Creating Layer n
n <- y
n -> y (in-place)
Setting up n
Top shape: 4 3 (12)
Memory required for data: 192
Creating layer loss
Creating Layer loss
loss <- y
loss <- t
loss -> l
Setting up loss
Top shape: (1)
    with loss weight 1
Memory required for data: 196
loss needs backward computation.
n needs backward computation.
ip1 needs backward computation.
data does not need backward computation.
This network produces output l
Network initialization done.""".splitlines()
    start = lines.index(expected[0])
    assert lines[start:] == expected
    rule = "The NetState phase (0) differed from the phase (1) specified by a rule in layer n"
    assert rule in lines and net.name == ""
