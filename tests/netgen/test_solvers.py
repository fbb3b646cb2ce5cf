"""The bundled nets' solvers."""

import pytest

from netgen import nets, schema, solvers
from netgen.commands.generate import bundled
from netgen.commands.render import render
from netgen.errors import CaffeError
from netgen.nets import registry
from netgen.schema import SOLVER_TYPES, caffe_pb
from netgen.solvers import SolverOptions


def test_baseline_is_the_papers_schedule_at_batch_128():
    assert solvers.build_solver("baseline") == schema.parse_text(
        """
        net: "prototxt/baseline.prototxt"
        test_iter: 100 test_interval: 500
        base_lr: 0.05 lr_policy: "multistep" gamma: 0.1
        stepvalue: 78125 stepvalue: 97656 stepvalue: 117188
        max_iter: 136719 momentum: 0.9 weight_decay: 0.001
        display: 100 snapshot: 1000 snapshot_prefix: "snapshots/baseline" type: "SGD"
        """,
        caffe_pb.SolverParameter,
    )


def test_paths_follow_the_name():
    solver = solvers.build_solver("allcnn-a")
    assert (solver.net, solver.snapshot_prefix) == (
        "prototxt/allcnn_a.prototxt",
        "snapshots/allcnn_a",
    )
    solver = solvers.build_solver("allcnn-a", SolverOptions(net="a.prototxt", prefix="out/a"))
    assert (solver.net, solver.snapshot_prefix) == ("a.prototxt", "out/a")


@pytest.mark.parametrize(
    ("options", "steps", "max_iter"),
    [
        ({"epochs": 35}, [7813, 9766, 11719], 13672),
        ({"batch_size": 64}, [156250, 195313, 234375], 273438),
        ({"epochs": 3.5, "train_size": 10000, "batch_size": 100}, [200, 250, 300], 350),
        ({"max_iter": 700}, [400, 500, 600], 700),
        ({"max_iter": 136719}, [78125, 97656, 117188], 136719),
        ({"max_iter": 1}, [1, 1, 1], 1),
    ],
)
def test_drops_keep_their_place_in_the_training(options, steps, max_iter):
    solver = solvers.build_solver("baseline", SolverOptions(**options))
    assert (list(solver.stepvalue), solver.max_iter) == (steps, max_iter)


@pytest.mark.parametrize(("net", "own"), [("resnet20", False), ("baseline", True)])
def test_the_first_test_is_the_recipe_s_or_as_it_was_asked_for(net, own, capsys):
    assert solvers.build_solver(net).test_initialization is own
    for word in ("true", "False"):
        text = render(["solver", net, "--test-initialization", word])
        solver = schema.parse_text(text, caffe_pb.SolverParameter)
        assert solver.test_initialization is (word == "true")
    with pytest.raises(SystemExit):
        render(["solver", net, "--test-initialization", "no"])
    assert "must be true or false, not 'no'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("size", "batch", "iterations"),
    [(10000, 100, 100), (10000, 128, 79), (1000, 50, 20), (10, 100, 1)],
)
def test_a_test_covers_the_test_set(size, batch, iterations):
    options = SolverOptions(test_size=size, test_batch_size=batch)
    assert list(solvers.build_solver("baseline", options).test_iter) == [iterations]


@pytest.mark.parametrize("name", nets.NETS)
def test_default_batches_are_the_nets(name):
    train, test = (layer.data_param.batch_size for layer in nets.build_net(name).layer[:2])
    recipe = nets.NETS[name].recipe
    assert (train, test) == (recipe.batch_size, SolverOptions().test_batch_size)


@pytest.mark.parametrize("type_name", SOLVER_TYPES)
def test_momentum_suits_the_type(type_name):
    solver = solvers.build_solver("baseline", SolverOptions(type=type_name))
    assert solver.type == type_name
    assert solver.HasField("momentum") == (type_name not in ("AdaGrad", "RMSProp"))
    given = solvers.build_solver("baseline", SolverOptions(type=type_name, momentum=0))
    assert given.HasField("momentum") and given.momentum == 0


def test_the_rest_of_the_options():
    solver = solvers.build_solver(
        "baseline",
        SolverOptions(
            base_lr=0.02,
            momentum=0.5,
            weight_decay=0,
            test_interval=7,
            display=0,
            snapshot=9,
            random_seed=3,
        ),
    )
    assert solver.base_lr == pytest.approx(0.02)
    assert (solver.momentum, solver.weight_decay, solver.test_interval) == (0.5, 0, 7)
    assert (solver.display, solver.snapshot, solver.random_seed) == (0, 9, 3)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            {"type": "sgd"},
            "Unknown solver type: sgd (known types: AdaDelta, AdaGrad, Adam, "
            "Nesterov, RMSProp, SGD)",
        ),
        (
            {"type": "AdaGrad", "momentum": 0.9},
            "Momentum cannot be used with AdaGrad. (momentum: 0.9)",
        ),
        (
            {"lr_policy": "Poly"},
            "lr policy Poly is not one of those offered here: multistep, inv, poly, fixed",
        ),
        ({"epochs": 0}, "epochs must be above 0, not 0"),
        ({"epochs": float("inf")}, "epochs must be above 0, not inf"),
        ({"epochs": 1e9}, "max_iter must be a whole number of at least 1, not 390625000000"),
        ({"max_iter": 0}, "max iter must be a whole number of at least 1, not 0"),
        ({"batch_size": 0}, "batch size must be a whole number of at least 1, not 0"),
        ({"base_lr": -1}, "base lr must be above 0, not -1"),
        ({"momentum": 1}, "momentum must be at least 0 and below 1, not 1"),
        ({"snapshot": -1}, "snapshot must be a whole number of at least 0, not -1"),
        ({"test_interval": 0}, "test interval must be a whole number of at least 1, not 0"),
    ],
)
def test_wrong_options(options, error):
    with pytest.raises(CaffeError) as caught:
        solvers.build_solver("baseline", SolverOptions(**options))
    assert str(caught.value) == error


def test_policies():
    poly = solvers.build_solver("baseline", SolverOptions(lr_policy="poly"))
    assert (poly.lr_policy, poly.power, list(poly.stepvalue)) == ("poly", 1, [])
    fixed = solvers.build_solver("baseline", SolverOptions(lr_policy="fixed"))
    assert fixed.lr_policy == "fixed" and not fixed.HasField("power")
    inv = solvers.build_solver("baseline", SolverOptions(lr_policy="inv"))
    assert (inv.gamma, inv.power) == pytest.approx((0.0001, 0.75))


def test_options_win_over_the_nets_own():
    solver = solvers.build_solver(
        "lenet",
        SolverOptions(
            lr_policy="multistep", epochs=7, batch_size=100, base_lr=0.2, weight_decay=0, display=3
        ),
    )
    assert (solver.max_iter, list(solver.stepvalue)) == (4200, [2400, 3000, 3600])
    assert (solver.base_lr, solver.weight_decay, solver.display) == (pytest.approx(0.2), 0, 3)
    half = solvers.build_solver("resnet20", SolverOptions(max_iter=320))
    assert list(half.stepvalue) == [160, 240]


@pytest.fixture
def bare(monkeypatch):
    """The name of a net that was published without a recipe."""
    entry = registry.BundledNet("bare", "no recipe", nets.NETS["lenet"].builder, None)
    monkeypatch.setitem(nets.NETS, "bare", entry)
    return "bare"


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({}, "--max-iter, --base-lr, --lr-policy, --weight-decay"),
        ({"max_iter": 100, "base_lr": 0.1}, "--lr-policy, --weight-decay"),
        (
            {"epochs": 2, "base_lr": 0.1, "lr_policy": "fixed", "weight_decay": 0},
            "--batch-size, --train-size",
        ),
    ],
)
def test_a_net_without_a_recipe_says_what_is_missing(bare, options, flags):
    with pytest.raises(CaffeError) as caught:
        solvers.build_solver(bare, SolverOptions(**options))
    assert str(caught.value) == f"net 'bare' has no recipe of its own: give {flags}"


def test_a_net_without_a_recipe_takes_what_it_is_given(bare):
    given = {"base_lr": 0.1, "lr_policy": "fixed", "weight_decay": 0}
    solver = solvers.build_solver(bare, SolverOptions(max_iter=100, **given))
    assert solver == schema.parse_text(
        """
        net: "prototxt/bare.prototxt"
        test_iter: 100 test_interval: 500
        base_lr: 0.1 lr_policy: "fixed" max_iter: 100 momentum: 0.9 weight_decay: 0
        display: 100 snapshot: 1000 snapshot_prefix: "snapshots/bare" type: "SGD"
        """,
        caffe_pb.SolverParameter,
    )
    length = {"epochs": 2, "batch_size": 10, "train_size": 1000}
    assert solvers.build_solver(bare, SolverOptions(**length, **given)).max_iter == 200
    assert "solvers/bare.prototxt" not in bundled()


def test_unknown_net():
    with pytest.raises(
        CaffeError, match=rf"^Unknown net: 'x' \(known nets: {next(iter(nets.NETS))}, "
    ):
        solvers.build_solver("x")
