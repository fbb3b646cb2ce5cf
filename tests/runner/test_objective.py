"""Caffe keeps loss weights in gradients; where backward writes over them, so do we."""

import numpy as np
import pytest

START = """
  layer {{ name: "p" type: "Parameter" top: "p" parameter_param {{ shape {{ dim: 3 }} }} }}
  layer {{ name: "y" type: "Power" bottom: "p" top: "y" power_param {{ scale: 2 }} {weight} }}"""
VALUES = [-1.0, -2.0, -4.0]


LEAKY = """ layer {{ name: "leaky" type: "ReLU" bottom: "{0}" top: "{0}" loss_weight: {1}
  relu_param {{ negative_slope: 3 }} }}"""


def power(bottom, top, scale, weight=""):
    return (
        f' layer {{ name: "{top}_{scale}" type: "Power" bottom: "{bottom}" top: "{top}" {weight}'
        f" power_param {{ scale: {scale} }} }}"
    )


@pytest.fixture
def passes(build):
    """The objective and p's gradient, of three passes of START and what follows it."""

    def run(text, weight=""):
        net = build(START.format(weight=weight) + text)
        net.nodes[0].blobs[0].copy_(net.parameters.data.new_tensor(VALUES))
        found = []
        for _ in range(3):
            net.parameters.grad.zero_()
            loss, _ = net.forward_backward()
            found.append((loss.item(), net.parameters.grad.tolist()))
        return found

    return run


def expect(found, losses, slopes):
    np.testing.assert_allclose([loss for loss, _ in found], losses, rtol=1e-5)
    np.testing.assert_allclose(
        [gradient for _, gradient in found], np.outer(slopes, [1, 1, 1]), rtol=1e-5
    )


Y = 2 * sum(VALUES)  # the sum of blob y


def test_a_weight_that_a_split_keeps_stays(passes):
    text = power("y", "z", 3, "loss_weight: 0.1")
    expect(passes(text, "loss_weight: 0.5"), [0.5 * Y + 0.3 * Y] * 3, [1.6] * 3)


def test_in_place_backward_leaves_its_own_result_as_the_next_weight(passes):
    found = passes(LEAKY.format("y", 0.5))
    expect(found, [3 * Y * w for w in (0.5, 1.5, 4.5)], [2 * w for w in (1.5, 4.5, 13.5)])


def test_of_two_weights_in_place_the_last_holds_for_both(build):
    net = build(
        START.format(weight="")
        + ' layer { name: "l" type: "EuclideanLoss" bottom: "y" bottom: "p" top: "l" }'
        + LEAKY.format("l", 0.25)
    )
    net.nodes[0].blobs[0].copy_(net.parameters.data.new_tensor(VALUES))
    loss = 21 / 2 / 3  # y - p is p; half its square over the batch of three
    for _ in range(2):  # the loss is positive: ReLU leaves it as it is
        net.parameters.grad.zero_()
        assert net.forward_backward()[0].item() == pytest.approx(0.25 * (loss + loss))
        np.testing.assert_allclose(net.parameters.grad, 0.25 * np.array(VALUES) / 3)


def test_a_reader_without_a_split_replaces_the_weight_of_a_loss(build):
    net = build(
        START.format(weight="")
        + ' layer { name: "l" type: "EuclideanLoss" bottom: "y" bottom: "p" top: "l" }'
        + power("l", "z", 3, "loss_weight: 0.5")
    )
    net.nodes[0].blobs[0].copy_(net.parameters.data.new_tensor(VALUES))
    loss = 21 / 2 / 3
    for weight in (1, 1.5, 1.5):  # its own at first, then what z's backward wrote
        net.parameters.grad.zero_()
        assert net.forward_backward()[0].item() == pytest.approx(weight * loss + 1.5 * loss)
        np.testing.assert_allclose(net.parameters.grad, 1.5 * np.array(VALUES) / 3)


def test_a_net_that_only_tests_keeps_its_weights(build):
    net = build(START.format(weight="") + LEAKY.format("y", 0.5), phase="TEST")
    net.nodes[0].blobs[0].copy_(net.parameters.data.new_tensor(VALUES))
    assert [net.forward()[0].item() for _ in range(2)] == [1.5 * Y] * 2
