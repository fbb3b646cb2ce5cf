"""Solvers as scripts use them: what a step leaves in weights, diffs and blobs."""

import os
import signal
import threading

import numpy as np
import pytest

import caffe

NET = """
layer { name: "data" type: "Input" top: "x" top: "t"
  input_param { shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 } } }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 } }
%s
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
"""
SOLVER = (
    'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 5 snapshot_after_train: false '
)
DROPOUT = 'layer { name: "drop" type: "Dropout" bottom: "y" top: "y" }'
RANDOM = np.random.RandomState(0)
X, T, W = RANDOM.normal(size=(4, 3)), RANDOM.normal(size=(4, 2)), RANDOM.normal(size=(2, 3))


@pytest.fixture
def solver(write, arrays):
    """A function that makes a solver of more settings, its net and weights set to X, T, W."""

    def solver(settings="", between="", make=caffe.SGDSolver):
        write("net.prototxt", NET % between)
        made = make(write("solver.prototxt", SOLVER + settings))
        for net in [made.net, *made.test_nets]:
            net.blobs["x"].data[...], net.blobs["t"].data[...] = X, T
        made.net.params["fc"][0].data[...] = W
        return made

    return solver


def test_a_step_leaves_the_update_in_the_diffs_and_its_batch_in_the_blobs(solver):
    made = solver("momentum: 0.5")
    weights = made.net.params["fc"][0]
    w, velocity = W.copy(), 0
    for _ in range(3):
        made.step(1)
        y = X @ w.T + made.net.params["fc"][1].data + made.net.params["fc"][1].diff
        velocity = 0.5 * velocity + 0.1 * (y - T).T @ X / 4
        np.testing.assert_allclose(made.net.blobs["y"].data, y, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(made.net.blobs["y"].diff, (y - T) / 4, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(weights.diff, velocity, rtol=1e-4, atol=1e-6)
        w -= velocity
        np.testing.assert_allclose(weights.data, w, rtol=1e-4, atol=1e-6)
    assert made.iter == 3 and made.lr == pytest.approx(0.1)


@pytest.mark.parametrize("between", ["", DROPOUT])
def test_diffs_are_the_same_whenever_they_are_asked_for(solver, between):
    """At once, from the second step on, or only after what the last step used is gone."""
    found = []
    for habit in "every time", "at the end", "after other work", "by a view":
        caffe.set_random_seed(5)
        made = solver("iter_size: 2", between)
        view = made.net.blobs["y"].diff if habit == "by a view" else None
        for _ in range(3):
            made.step(2)
            if habit == "every time":
                made.net.blobs["y"].diff  # noqa: B018  (looking is what is tested)
        if habit == "after other work":
            made.net.forward()
            made.net.params["fc"][0].data[...] = 0
            made.net.blobs["x"].data[...] = 0
            made.net.clear_param_diffs()
        found.append(made.net.blobs["y"].diff.copy())
        if view is not None:
            np.testing.assert_array_equal(view, found[-1])
        if habit == "after other work":  # which it must not undo
            assert not made.net.blobs["x"].data.any() and not made.net.params["fc"][0].data.any()
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-5, atol=1e-7)


def test_looking_changes_nothing_that_is_trained(solver):
    results = []
    for looks in False, True:
        caffe.set_random_seed(5)
        made = solver("momentum: 0.9", DROPOUT)
        for _ in range(6):
            made.step(1)
            if looks:
                for blob in made.net.blobs.values():
                    blob.data, blob.diff  # noqa: B018
        results.append(made.net.params["fc"][0].data.copy())
    np.testing.assert_allclose(*results, rtol=1e-5)


def test_a_loss_weight_that_is_written_counts_in_steps(solver):
    made = solver()
    made.net.blobs["loss"].diff[...] = 0
    made.step(2)
    np.testing.assert_array_equal(made.net.params["fc"][0].data, W.astype(np.float32))


def test_apply_update_takes_what_lies_in_the_diffs(solver):
    made = solver("momentum: 0.5 weight_decay: 0.1")
    made.net.params["fc"][0].diff[...] = 1
    made.apply_update()
    step = 0.1 * (1 + 0.1 * W)
    np.testing.assert_allclose(made.net.params["fc"][0].data, W - step, rtol=1e-5)
    np.testing.assert_allclose(made.net.params["fc"][0].diff, step, rtol=1e-5)
    assert made.iter == 1


def test_callbacks_are_called_once_an_iteration_around_its_passes(solver):
    made, log = solver("iter_size: 2"), []

    def start():
        log.append(float(abs(made.net.params["fc"][0].diff).sum()))

    def ready():
        made.net.params["fc"][0].diff[...] = 4
        log.append("ready")

    made.add_callback(start, ready)
    made.step(2)
    assert log == [0, "ready", 0, "ready"]
    np.testing.assert_allclose(made.net.params["fc"][0].data, W - 2 * 0.1 * 4 / 2, rtol=1e-5)

    def fail():
        raise KeyError("mine")

    made.add_callback(fail, fail)
    with pytest.raises(KeyError, match="mine"):
        made.step(1)
    assert made.iter == 2


def test_net_callbacks_are_called_in_steps(solver):
    made, log = solver(), []
    made.net.after_forward(log.append)
    made.net.before_backward(lambda i: log.append(-i))
    made.step(1)
    assert log == [0, 1, 2, -2, -1, 0]


def test_test_nets_have_weights_of_their_own_until_they_are_tested(solver):
    made = solver("test_iter: 1 test_interval: 2 test_initialization: false")
    (test,) = made.test_nets
    assert not np.shares_memory(test.params["fc"][0].data, made.net.params["fc"][0].data)
    made.step(3)
    assert np.shares_memory(test.params["fc"][0].data, made.net.params["fc"][0].data)
    # the blobs hold the test's batch, before the third update
    before = made.net.params["fc"][0].data + made.net.params["fc"][0].diff
    bias = made.net.params["fc"][1].data + made.net.params["fc"][1].diff
    np.testing.assert_allclose(test.blobs["y"].data, X @ before.T + bias, rtol=1e-4, atol=1e-6)


def test_share_weights_makes_another_net_use_the_trained_ones(solver):
    made = solver()
    other = caffe.Net("net.prototxt", caffe.TEST)
    made.share_weights(other)
    made.step(1)
    np.testing.assert_array_equal(other.params["fc"][0].data, made.net.params["fc"][0].data)


def test_snapshot_and_restore(solver):
    made = solver("momentum: 0.9 snapshot_prefix: 's'")
    made.step(2)
    made.snapshot()
    assert sorted(f for f in os.listdir() if f.startswith("s_")) == [
        "s_iter_2.caffemodel",
        "s_iter_2.solverstate",
    ]
    made.step(2)
    other = solver("momentum: 0.9 snapshot_prefix: 's'")
    other.restore("s_iter_2.solverstate")
    other.net.blobs["x"].data[...], other.net.blobs["t"].data[...] = X, T
    other.solve()
    made.step(1)
    assert other.iter == made.iter == 5
    np.testing.assert_allclose(
        other.net.params["fc"][0].data, made.net.params["fc"][0].data, rtol=1e-5
    )


def test_the_class_says_the_rule_and_get_solver_the_file(solver):
    assert type(solver('type: "Adam" momentum: 0.9', make=caffe.get_solver)) is caffe.AdamSolver
    plain = solver('type: "Adam" momentum: 0.9')
    plain.step(1)
    np.testing.assert_allclose(
        plain.net.params["fc"][0].data, W - 0.1 * (X @ W.T - T).T @ X / 4, rtol=1e-4, atol=1e-6
    )
    with pytest.raises(RuntimeError, match="Momentum cannot be used with AdaGrad"):
        solver("momentum: 0.9", make=caffe.AdaGradSolver)


def test_param_shows_four_fields_and_base_lr_counts_at_once(solver):
    made = solver()
    assert (made.param.max_iter, made.param.display, made.param.layer_wise_reduce) == (5, 0, True)
    made.param.base_lr = 0
    made.step(1)
    np.testing.assert_array_equal(made.net.params["fc"][0].data, W.astype(np.float32))
    for name in "max_iter", "momentum":
        with pytest.raises(AttributeError):
            setattr(made.param, name, 1) if name == "max_iter" else made.param.momentum


def test_steps_that_are_none(solver):
    made = solver()
    made.step(0)
    made.step(-3)
    assert made.iter == 0
    with pytest.raises(TypeError, match="whole number"):
        made.step(1.0)
    with pytest.raises(AttributeError):
        made.iter = 3


def test_ctrl_c_ends_a_step_between_iterations(solver):
    made = solver()
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        made.step(10**9)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    done = made.iter
    made.step(1)
    assert made.iter == done + 1


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: caffe.SGDSolver("none.prototxt"), "none.prototxt"),
        (lambda: caffe.get_solver("none.prototxt"), "none.prototxt"),
        (lambda: caffe.SGDSolver("bad.prototxt"), "must specify a train net"),
        (lambda: caffe.get_solver("type.prototxt"), "Unknown solver type: Sgd"),
    ],
)
def test_what_a_solver_cannot_be_made_of(write, call, words):
    write("bad.prototxt", "base_lr: 1")
    write("type.prototxt", 'base_lr: 1 type: "Sgd"')
    with pytest.raises(RuntimeError, match=words):
        call()


def test_a_type_that_caffe_lacks_is_known_too(tmp_path, monkeypatch):
    from netgen.schema import solver_types

    monkeypatch.setattr(solver_types, "SOLVER_TYPES", dict(solver_types.SOLVER_TYPES))

    @solver_types.solver_type("Signum", momentum=0.9)
    def signum(param, g, h, rate):
        (h,) = h
        h.mul_(param.momentum).add_(g, alpha=1 - param.momentum)
        return h.sign().mul_(rate)

    monkeypatch.chdir(tmp_path)
    (tmp_path / "solver.prototxt").write_text(
        'base_lr: 0.5 lr_policy: "fixed" max_iter: 1 momentum: 0 type: "Signum" '
        'snapshot_after_train: false snapshot_prefix: "s" net_param { '
        'layer { name: "data" type: "DummyData" top: "data" dummy_data_param { '
        'shape { dim: 1 dim: 2 } data_filler { type: "constant" value: 3 } } } '
        'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" '
        "inner_product_param { num_output: 1 bias_term: false } } "
        'layer { name: "loss" type: "Reduction" bottom: "ip" top: "loss" loss_weight: 1 } }'
    )
    solver = caffe.get_solver("solver.prototxt")
    assert isinstance(solver, caffe.SGDSolver)
    solver.step(1)
    assert solver.net.params["ip"][0].data.tolist() == [[-0.5, -0.5]]
