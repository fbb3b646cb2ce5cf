"""Each update rule against the same formulas in NumPy, blob by blob, in double precision."""

import numpy as np
import pytest
import torch

from netgen import schema
from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner.net.parameters import Parameters
from runner.solver import SOLVER_TYPES, Solver
from runner.solver.updates import Updater, check_solver

SHAPES = [(4, 3, 2, 2), (4,), (5, 7), (5,)]
ZEROS = [np.zeros(shape, np.float32) for shape in SHAPES]
STEPS = 5
SETTINGS = {
    "SGD": "momentum: 0.9",
    "Nesterov": "momentum: 0.8",
    "AdaGrad": "delta: 1e-3",
    "RMSProp": "rms_decay: 0.9 delta: 1e-2",
    "AdaDelta": "momentum: 0.95 delta: 1e-4",
    "Adam": "momentum: 0.9 momentum2: 0.99 delta: 1e-3",
}
MULTIPLIERS = {
    "alike": [(1, 1)] * 4,
    "doubled": [(2, 0.5)] * 4,
    "each its own": [(1, 1), (2, 0), (0.5, 3), (0, 1)],
}


def solver_param(kind, text=""):
    return schema.parse_text(f'type: "{kind}" {SETTINGS[kind]} {text}', caffe_pb.SolverParameter)


def make_parameters(multipliers, values):
    parameters = Parameters()
    for i, (shape, (lr, decay)) in enumerate(zip(SHAPES, multipliers, strict=True)):
        parameters.add("l", i, shape, caffe_pb.ParamSpec(lr_mult=lr, decay_mult=decay))
    parameters.allocate(torch.device("cpu"))
    with torch.no_grad():
        for blob, value in zip(parameters.blobs, values, strict=True):
            blob.copy_(torch.from_numpy(value))
    return parameters


def draw(random):
    return [random.standard_normal(shape).astype(np.float32) for shape in SHAPES]


class Reference:
    """Caffe's ApplyUpdate in NumPy; Δ by the table of formulas."""

    def __init__(self, param, multipliers, values):
        self.p, self.multipliers = param, multipliers
        self.w = [value.astype(np.float64) for value in values]
        self.h = [[np.zeros_like(w) for w in self.w] for _ in range(2)]

    def step(self, gradients, rate, t):
        p = self.p
        gradients = [g.astype(np.float64) for g in gradients]
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        scale = p.clip_gradients / norm if 0 <= p.clip_gradients < norm else 1
        self.deltas = []
        for i, (g, (lr, decay)) in enumerate(zip(gradients, self.multipliers, strict=True)):
            g = g * scale / p.iter_size
            towards = np.sign(self.w[i]) if p.regularization_type == "L1" else self.w[i]
            g = g + p.weight_decay * decay * towards
            delta = getattr(self, p.type)(g, i, rate * lr, t)
            self.deltas.append(delta)
            self.w[i] = self.w[i] - delta

    def SGD(self, g, i, rate, t):
        self.h[0][i] = self.p.momentum * self.h[0][i] + rate * g
        return self.h[0][i]

    def Nesterov(self, g, i, rate, t):
        before = self.h[0][i]
        self.h[0][i] = self.p.momentum * before + rate * g
        return (1 + self.p.momentum) * self.h[0][i] - self.p.momentum * before

    def AdaGrad(self, g, i, rate, t):
        self.h[0][i] = self.h[0][i] + g**2
        return rate * g / (np.sqrt(self.h[0][i]) + self.p.delta)

    def RMSProp(self, g, i, rate, t):
        self.h[0][i] = self.p.rms_decay * self.h[0][i] + (1 - self.p.rms_decay) * g**2
        return rate * g / (np.sqrt(self.h[0][i]) + self.p.delta)

    def AdaDelta(self, g, i, rate, t):
        mu, delta = self.p.momentum, self.p.delta
        self.h[0][i] = mu * self.h[0][i] + (1 - mu) * g**2
        u = g * np.sqrt((self.h[1][i] + delta) / (self.h[0][i] + delta))
        self.h[1][i] = mu * self.h[1][i] + (1 - mu) * u**2
        return rate * u

    def Adam(self, g, i, rate, t):
        b1, b2 = self.p.momentum, self.p.momentum2
        self.h[0][i] = b1 * self.h[0][i] + (1 - b1) * g
        self.h[1][i] = b2 * self.h[1][i] + (1 - b2) * g**2
        correction = np.sqrt(1 - b2**t) / (1 - b1**t)
        return rate * correction * self.h[0][i] / (np.sqrt(self.h[1][i]) + self.p.delta)


def compare(param, multipliers):
    random = np.random.default_rng(0)
    values = draw(random)
    parameters = make_parameters(multipliers, values)
    updater, reference = Updater(param, parameters), Reference(param, multipliers, values)
    norms = []
    for step in range(STEPS):
        rate, gradients = 0.1 / (step + 1), draw(random)  # a changing rate: it is inside momentum
        with torch.no_grad():
            for blob, gradient in zip(parameters.blobs, gradients, strict=True):
                blob.grad.copy_(torch.from_numpy(gradient))
        norms.append(updater.clip())
        updater.apply(rate, step)
        reference.step(gradients, rate, step + 1)
    for ours, expected in zip(parameters.blobs, reference.w, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=2e-5, atol=2e-6)
    for flat, expected in zip(updater.history, reference.h, strict=False):
        for ours, blob in zip(parameters.split(flat), expected, strict=True):
            np.testing.assert_allclose(ours.numpy(), blob, rtol=2e-5, atol=2e-6)
    return parameters, reference, norms


def test_the_six_types():
    assert sorted(SOLVER_TYPES) == sorted(SETTINGS)
    parameters = make_parameters([(1, 1)] * 4, ZEROS)
    counts = {kind: len(Updater(solver_param(kind), parameters).history) for kind in SETTINGS}
    assert counts == {
        "SGD": 1, "Nesterov": 1, "AdaGrad": 1, "RMSProp": 1, "AdaDelta": 2, "Adam": 2,
    }  # fmt: skip


@pytest.mark.parametrize("multipliers", MULTIPLIERS)
@pytest.mark.parametrize("kind", SETTINGS)
def test_rule(kind, multipliers):
    compare(solver_param(kind), MULTIPLIERS[multipliers])


@pytest.mark.parametrize("regularization", ["L1", "L2"])
@pytest.mark.parametrize("kind", SETTINGS)
def test_decay_clipping_and_iter_size_together(kind, regularization):
    text = f'weight_decay: 0.05 regularization_type: "{regularization}" iter_size: 3 '
    _, _, norms = compare(
        solver_param(kind, text + "clip_gradients: 2"), MULTIPLIERS["each its own"]
    )
    assert min(norms) > 2  # every step was clipped


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_clipping_leaves_small_gradients_alone(kind):
    compare(solver_param(kind, "clip_gradients: 1000"), MULTIPLIERS["each its own"])


def test_clipping_to_nothing_and_of_nothing():
    parameters = make_parameters([(1, 1)] * 4, ZEROS)
    updater = Updater(solver_param("SGD", "clip_gradients: 0"), parameters)
    assert updater.clip() == 0 and not parameters.grad.isnan().any()
    parameters.grad.fill_(1.0)
    assert updater.clip() > 0 and not parameters.grad.any()


@pytest.mark.parametrize("kind", SETTINGS)
def test_with_snapshot_diff_the_gradients_become_the_step(kind):
    parameters, reference, _ = compare(
        solver_param(kind, "snapshot_diff: true weight_decay: 0.1"), MULTIPLIERS["each its own"]
    )
    for blob, delta in zip(parameters.blobs, reference.deltas, strict=True):
        np.testing.assert_allclose(blob.grad.numpy(), delta, rtol=2e-5, atol=2e-6)


def test_a_small_delta_is_outside_adams_bias_correction():
    # torch.optim.Adam adds eps to the corrected root: with a large delta the two differ a lot.
    parameters = make_parameters([(1, 1)] * 4, ZEROS)
    param = schema.parse_text(
        'type: "Adam" momentum: 0.9 momentum2: 0.999 delta: 1', caffe_pb.SolverParameter
    )
    parameters.grad.fill_(1.0)
    Updater(param, parameters).apply(1.0, 0)
    expected = -(0.001**0.5 / 0.1) * 0.1 / (0.001**0.5 + 1)
    assert parameters.data[0].item() == pytest.approx(expected, rel=1e-4)


NET = """
  name: "n" layer {{ name: "d" type: "DummyData" top: "x" top: "y" dummy_data_param {{
    shape {{ dim: {batch} dim: 3 }} shape {{ dim: {batch} dim: 1 }}
    data_filler {{ type: "constant" value: 0.7 }} data_filler {{ type: "constant" value: 2 }} }} }}
  layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param {{
    num_output: 1 weight_filler {{ type: "constant" value: 0.1 }} }} }}
  layer {{ name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "y" top: "loss" }}
"""


@pytest.mark.parametrize("kind", ["SGD", "AdaGrad"])
def test_iter_size_accumulates_whole_batches(kind):
    """Four passes over 2 rows are one pass over 8 of the same rows."""
    weights = {}
    for batch, iter_size in [(2, 4), (8, 1)]:
        param = schema.parse_text(
            f'type: "{kind}" {SETTINGS[kind]} base_lr: 0.1 lr_policy: "fixed" weight_decay: 0.01 '
            f"iter_size: {iter_size} max_iter: 3 snapshot_after_train: false "
            f"net_param {{ {NET.format(batch=batch)} }}",
            caffe_pb.SolverParameter,
        )
        solver = Solver(param)
        solver.step(3)
        weights[iter_size] = solver.net.parameters.data.clone()
    assert not torch.allclose(weights[1], torch.full_like(weights[1], 0.1))
    torch.testing.assert_close(weights[4], weights[1])


@pytest.mark.parametrize(
    "text, message",
    [
        ('type: "Sgd"', "Unknown solver type: Sgd (known types: AdaDelta, AdaGrad, Adam, "
                        "Nesterov, RMSProp, SGD)"),
        ('type: "AdaGrad" momentum: 0.9',
         "Momentum cannot be used with AdaGrad. (momentum: 0.9)"),
        ('type: "RMSProp" momentum: 0.5',
         "Momentum cannot be used with RMSProp. (momentum: 0.5)"),
        ('type: "RMSProp" rms_decay: 1',
         "rms_decay should lie between 0 and 1. (rms_decay: 1)"),
        ('type: "Adam" momentum: 1',
         "momentum and momentum2 of Adam should lie between 0 and 1. "
         "(momentum: 1, momentum2: 0.999)"),
        ('regularization_type: "L3" weight_decay: 0.1', "Unknown regularization type: L3"),
    ],
)  # fmt: skip
def test_refusals(text, message):
    with pytest.raises(CaffeError) as failure:
        check_solver(schema.parse_text(text, caffe_pb.SolverParameter))
    assert str(failure.value) == message


def test_an_unknown_regularization_without_decay_is_never_looked_at():
    check_solver(schema.parse_text('regularization_type: "L3"', caffe_pb.SolverParameter))
