import math

import pytest

from netgen import schema
from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner.solver.lr_policy import Plateau, learning_rate


def solver(text):
    return schema.parse_text(text, caffe_pb.SolverParameter)


def rate(text, iteration, current_step=0):
    return learning_rate(solver(text), iteration, current_step)[0]


@pytest.mark.parametrize(
    "text, expected",
    [
        ('lr_policy: "fixed" base_lr: 0.5', {0: 0.5, 7: 0.5, 10**6: 0.5}),
        ('lr_policy: "step" base_lr: 2 gamma: 0.5 stepsize: 3',
         {0: 2, 2: 2, 3: 1, 5: 1, 6: 0.5, 9: 0.25}),
        ('lr_policy: "exp" base_lr: 2 gamma: 0.5', {0: 2, 1: 1, 3: 0.25}),
        ('lr_policy: "inv" base_lr: 3 gamma: 1 power: 2', {0: 3, 1: 0.75, 2: 1 / 3}),
        ('lr_policy: "inv" base_lr: 3 gamma: 1 power: 0.5', {0: 3, 3: 1.5, 8: 1}),
        ('lr_policy: "poly" base_lr: 4 power: 2 max_iter: 4', {0: 4, 1: 2.25, 2: 1, 3: 0.25, 4: 0}),
        ('lr_policy: "sigmoid" base_lr: 2 gamma: 1 stepsize: 5',
         {5: 1, 4: 2 / (1 + math.e), 6: 2 / (1 + math.exp(-1))}),
        ('lr_policy: "sigmoid" base_lr: 2 gamma: 0 stepsize: 5', {0: 1, 100: 1}),
    ],
)  # fmt: skip
def test_values(text, expected):
    for iteration, value in expected.items():
        assert rate(text, iteration) == pytest.approx(value, rel=1e-6, abs=1e-30)


def test_multistep_makes_one_step_an_iteration(capsys):
    param = solver('lr_policy: "multistep" base_lr: 8 gamma: 0.5 stepvalue: [2, 2, 3, 6]')
    rates, step = [], 0
    for iteration in range(8):
        value, step = learning_rate(param, iteration, step)
        rates.append(value)
    # The second `2` has its turn at 3, which then has its own at 4.
    assert rates == [8, 8, 4, 2, 1, 1, 0.5, 0.5]
    status = [line.split("] ")[1] for line in capsys.readouterr().err.splitlines()]
    assert status == [
        f"MultiStep Status: Iteration {i}, step = {s}" for i, s in [(2, 1), (3, 2), (4, 3), (6, 4)]
    ]


def test_multistep_goes_on_from_a_current_step(capsys):
    param = solver('lr_policy: "multistep" base_lr: 8 gamma: 0.5 stepvalue: [2, 4]')
    assert learning_rate(param, 100, 0) == (4, 1)  # late, but still one at a time
    capsys.readouterr()
    assert learning_rate(param, 100, 2) == (2, 2)
    assert capsys.readouterr().err == ""


def test_step_tells_its_step():
    param = solver('lr_policy: "step" base_lr: 1 gamma: 0.5 stepsize: 4')
    assert learning_rate(param, 9, 0) == (0.25, 2)


def test_a_rate_is_a_float32():
    assert rate('lr_policy: "exp" base_lr: 0.1 gamma: 0.3', 1) == pytest.approx(0.03, rel=1e-7)
    value = rate('lr_policy: "exp" base_lr: 0.1 gamma: 0.3', 1)
    assert value != 0.03 and math.frexp(value)[0] * 2**24 % 1 == 0


@pytest.mark.parametrize(
    "text, iteration, expected",
    [
        ('lr_policy: "exp" base_lr: 1 gamma: 2', 200, math.inf),  # no float32
        ('lr_policy: "exp" base_lr: 1 gamma: 2', 5000, math.inf),  # nor a double
        ('lr_policy: "step" base_lr: 1 gamma: 10 stepsize: 1', 400, math.inf),
        ('lr_policy: "inv" base_lr: 1 gamma: 9 power: -400', 1, math.inf),
        ('lr_policy: "poly" base_lr: 1 power: -1 max_iter: 3', 3, math.inf),
        ('lr_policy: "poly" base_lr: 1 power: 0.5 max_iter: 3', 4, math.nan),
        ('lr_policy: "poly" base_lr: 1 power: 2 max_iter: 2', 4, 1.0),
        ('lr_policy: "poly" base_lr: 1 power: 1', 0, math.nan),  # 0 / 0
        ('lr_policy: "sigmoid" base_lr: 1 gamma: 9 stepsize: 1000', 0, 0.0),
    ],
)
def test_past_what_the_formula_bears_it_gives_what_c_gives(text, iteration, expected):
    assert rate(text, iteration) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    "text, message",
    [
        ('lr_policy: "stepp" base_lr: 1', "Unknown learning rate policy: stepp"),
        ("base_lr: 1", "Unknown learning rate policy: "),
        ('lr_policy: "step" base_lr: 1 gamma: 1',
         "Check failed: param_.stepsize() > 0 (0 vs. 0) (lr_policy: step)"),
        ('lr_policy: "sigmoid" base_lr: 1 stepsize: -2',
         "Check failed: param_.stepsize() > 0 (-2 vs. 0) (lr_policy: sigmoid)"),
        ('lr_policy: "exp" base_lr: 1 gamma: -0.5',
         "Check failed: param_.gamma() >= 0 (-0.5 vs. 0) (lr_policy: exp)"),
    ],
)  # fmt: skip
def test_refusals(text, message):
    with pytest.raises(CaffeError) as failure:
        rate(text, 0)
    assert str(failure.value) == message


def test_plateau_lowers_the_rate_after_iterations_without_a_smaller_loss(capsys):
    param = solver('lr_policy: "plateau" base_lr: 8 gamma: 0.5 plateau_winsize: [3, 2] display: 4')
    plateau, step, rates = Plateau(), 0, []
    for iteration, loss in enumerate([5, 4, 4, 4, 4, 3, 3, 3, 2, 9, 9, 9, 9]):
        step = plateau.step(param, iteration, step, loss)
        rates.append(learning_rate(param, iteration, step)[0])
    # 4 at iteration 1 stands for 3; 3 at 5 for 2; the two sizes are used up
    assert rates == [8, 8, 8, 8, 4, 4, 4, 2, 2, 2, 2, 2, 2]
    assert (plateau.minimum_loss, plateau.iter_last_event) == (2, 8)
    status = [line.split("] ")[1] for line in capsys.readouterr().err.splitlines()]
    assert status == [
        "Plateau Status: Iteration 0, current minimum_loss = 5",
        "Plateau Status: Iteration 4, step = 1",
        "Plateau Status: Iteration 4, current minimum_loss = 4",
        "Plateau Status: Iteration 7, step = 2",
        "Plateau Status: Iteration 8, current minimum_loss = 2",
    ]
