"""The training loop: what happens in which order, and what is printed of it."""

import re

import numpy as np
import pytest
import torch

from netgen import schema
from netgen.schema import caffe_pb
from runner.solver import Action, Solver
from runner.solver.losses import SmoothedLoss

#: what a line is about, for comparing orders
KINDS = [
    ("test", r"Iteration (\d+), Testing net \(#\d\)"),
    ("loss", r"Iteration (\d+) \(.*, loss = "),
    ("lr", r"Iteration (\d+), lr = "),
    ("snapshot", r"Snapshotting to binary proto file s_iter_(\d+)\.caffemodel"),
    ("state", r"Snapshotting solver state to binary proto file s_iter_(\d+)\.solverstate"),
    ("last loss", r"Iteration (\d+), loss = "),
    ("done", r"Optimization Done\."),
]


def events(result):
    found = []
    for message in result.messages:
        for kind, pattern in KINDS:
            match = re.match(pattern, message)
            if match:
                found.append(f"{kind} {match[1]}" if match.groups() else kind)
    return found


def train(caffe, path, *words):
    result = caffe("train", "-solver", path, *words)
    assert result.status == 0, result.err
    return result


def test_the_order_of_everything(caffe, write_solver):
    path = write_solver(max_iter=4, test_interval=2, snapshot=2, display=2)
    assert events(train(caffe, path)) == [
        "test 0", "loss 0", "lr 0", "snapshot 2", "state 2",
        "test 2", "loss 2", "lr 2", "snapshot 4", "state 4",
        "last loss 4", "test 4", "done", "done",
    ]  # fmt: skip


def test_the_last_snapshot_display_and_test_only_when_due(caffe, write_solver):
    path = write_solver(max_iter=3, test_interval=2, snapshot=2, display=2)
    assert events(train(caffe, path)) == [
        "test 0", "loss 0", "lr 0", "snapshot 2", "state 2", "test 2", "loss 2", "lr 2",
        "snapshot 3", "state 3", "done", "done",
    ]  # fmt: skip


def test_no_snapshot_after_train(caffe, work, write_solver):
    train(caffe, write_solver(max_iter=2, snapshot_after_train="false"))
    assert not list(work.glob("s_iter*"))


def test_test_initialization(caffe, write_solver):
    path = write_solver(test_initialization="false", display=0, snapshot_after_train="false")
    assert events(train(caffe, path)) == ["test 4", "test 8", "done", "done"]


def test_no_iterations_at_all(caffe, write_solver):
    assert events(train(caffe, write_solver(max_iter=0))) == [
        "snapshot 0", "state 0", "last loss 0", "test 0", "done", "done",
    ]  # fmt: skip


def test_lines_around_the_loop(caffe, write_solver):
    result = train(caffe, write_solver(max_iter=1, lr_policy='"exp"', gamma=1))
    where = {message: at for _, at, message in result.lines}
    assert where["Solving tiny"] == "solver.cpp:289"
    assert where["Learning Rate Policy: exp"] == "solver.cpp:290"
    assert where["Starting Optimization"] == "caffe.cpp:239"
    assert where["Creating training net from net file: net.prototxt"] == "solver.cpp:102"
    assert where["Creating test net (#0) specified by net file: net.prototxt"] == "solver.cpp:190"
    assert where["Solver scaffolding done."] == "solver.cpp:57"
    begin = next(m for m in result.messages if m.startswith("Initializing solver"))
    assert begin.startswith("Initializing solver from parameters: \ntest_iter: 2\n")
    assert 'train_state {\n  level: 0\n  stage: ""\n}' in begin  # from -level and -stage
    assert [at for _, at, message in result.lines if message == "Optimization Done."] == [
        "solver.cpp:332", "caffe.cpp:250",
    ]  # fmt: skip


def test_the_form_of_the_printed_lines(caffe, write_solver):
    path = write_solver(max_iter=3, display=2, test_interval=0, test_iter=None, base_lr="1e-5")
    result = train(caffe, path)
    number = r"\d+(\.\d+)?(e-\d\d)?"
    lines = [m for m in result.messages if m.startswith(("Iteration", "    Train"))]
    patterns = [
        rf"Iteration 0 \(0 iter/s, {number}s/2 iters\), loss = ({number})",
        rf"    Train net output #0: loss = ({number}) \(\* 1 = ({number}) loss\)",
        "Iteration 0, lr = 1e-05",
        rf"Iteration 2 \({number} iter/s, {number}s/2 iters\), loss = {number}",
        rf"    Train net output #0: loss = {number} \(\* 1 = {number} loss\)",
        "Iteration 2, lr = 1e-05",
    ]
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line


TWO_NETS = {"test_iter": [1, 3], "test_state": ["{ stage: 'a' }", "{ stage: 'b' level: 1 }"]}


def test_several_test_nets(caffe, write_solver):
    """`net` serves for every test_iter; each test net has its own data cursor and state."""
    result = train(caffe, write_solver(max_iter=8, display=0, **TWO_NETS))
    assert result.starting("Creating test net") == [
        f"Creating test net (#{i}) specified by net file: net.prototxt" for i in (0, 1)
    ]
    texts = [m for m in result.messages if m.startswith("Initializing net from")]
    assert ['stage: "a"' in text for text in texts] == [False, True, False]
    assert 'stage: "b"' in texts[2] and "level: 1" in texts[2]
    headers = [m for m in result.messages if "Testing net" in m]
    assert headers == [f"Iteration {i}, Testing net (#{n})" for i in (0, 4, 8) for n in (0, 1)]
    # Of 10 records: 3 passes of 1 x 3 in the first, of 3 x 3 in the second; of 22: 8 x 4.
    assert len(result.starting("Restarting")) == 0 + 2 + 1


def test_the_order_of_test_nets_and_their_sources(caffe, work, write_solver):
    inline = (work / "net.prototxt").read_text()
    (work / "other.prototxt").write_text(inline)
    path = write_solver(
        max_iter=0, test_iter=[1, 1, 1], test_net='"other.prototxt"',
        test_net_param=f"{{ {inline} }}", display=0,
    )  # fmt: skip
    assert train(caffe, path).starting("Creating test net") == [
        "Creating test net (#0) specified by test_net_param",
        "Creating test net (#1) specified by test_net file: other.prototxt",
        "Creating test net (#2) specified by net file: net.prototxt",
    ]


@pytest.mark.parametrize(
    "field, line",
    [
        ("net_param", "Creating training net specified in net_param."),
        ("train_net_param", "Creating training net specified in train_net_param."),
        ("train_net", "Creating training net from train_net file: net.prototxt"),
    ],
)
def test_sources_of_the_training_net(caffe, work, write_solver, field, line):
    value = '"net.prototxt"'
    if field.endswith("param"):
        value = f"{{ {(work / 'net.prototxt').read_text()} }}"
    fields = {"net": None, "test_iter": None, "test_interval": None, field: value}
    result = train(caffe, write_solver(max_iter=1, **fields))
    assert line in result.messages
    reference = train(caffe, write_solver(max_iter=1))
    assert [m for m in result.trained() if "Iteration" in m][:2] == [
        m for m in reference.trained() if "Iteration" in m
    ][1:3]


def losses(result):
    return [float(m.split("loss = ")[1]) for m in result.starting("Iteration") if "loss" in m]


def test_average_loss(caffe, write_solver):
    plain = losses(train(caffe, write_solver(max_iter=8)))
    smooth = losses(train(caffe, write_solver(max_iter=8, average_loss=3)))
    assert len(plain) == 9 and len(set(plain)) == 9  # the extra forward's loss takes part
    expected = [np.mean(plain[max(0, i - 2) : i + 1]) for i in range(9)]
    assert smooth == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize("window", [1, 2, 4])
def test_smoothed_loss_is_a_running_mean(window):
    values = [5.0, 1.0, 4.0, 2.0, 8.0, 3.0, 7.0]
    smooth = SmoothedLoss(window)
    assert smooth.value() == 0.0
    for i, value in enumerate(values):
        smooth.add(torch.tensor(value))
        assert smooth.value() == pytest.approx(np.mean(values[max(0, i + 1 - window) : i + 1]))
        other = SmoothedLoss(window)
        other.load_state(smooth.state())
        smooth = other


def test_a_smoothed_loss_of_another_window_starts_anew():
    three, two = SmoothedLoss(3), SmoothedLoss(2)
    three.add(torch.tensor(4.0))
    two.load_state(three.state())
    assert two.value() == 0.0


def test_test_compute_loss(caffe, write_solver):
    fields = {"max_iter": 1, "display": 0, "test_interval": 1, "test_initialization": "false"}
    result = train(caffe, write_solver(test_compute_loss="true", **fields))
    at = result.messages.index("Iteration 1, Testing net (#0)")
    loss = result.messages[at + 1]
    assert re.fullmatch(r"Test loss: [\d.]+", loss)
    printed = result.messages[at + 3]
    assert printed.startswith(f"    Test net output #1: loss = {loss.split(': ')[1]} (* 1 = ")
    assert not train(caffe, write_solver(**fields)).starting("Test loss")


# --- numbers of the loop, on a net that can be computed by hand ---

BY_HAND = """
  type: "SGD" base_lr: 0.25 lr_policy: "fixed" max_iter: 3 snapshot_after_train: false
  net_param {
    layer { name: "d" type: "DummyData" top: "x" dummy_data_param {
      shape { dim: 1 dim: 1 } data_filler { type: "constant" value: 2 } } }
    layer { name: "s" type: "Scale" bottom: "x" top: "y" loss_weight: 0.5
      scale_param { filler { type: "constant" value: 3 } } }
  }
"""


def solver_by_hand(text="", **arguments):
    param = schema.parse_text(BY_HAND + text, caffe_pb.SolverParameter)
    return Solver(param, **arguments)


def test_a_loss_weight_scales_loss_and_gradient(capsys):
    solver = solver_by_hand("display: 1")  # loss = 0.5 * 2 w, gradient 1
    solver.solve()
    assert solver.net.parameters.data.tolist() == [3 - 3 * 0.25]
    lines = [line.split("] ")[1] for line in capsys.readouterr().err.splitlines() if "= " in line]
    shown = [line for line in lines if "loss" in line and line.startswith(("Iter", "    Tr"))]
    assert [line.split("loss = ")[1] for line in shown if "Iteration" in line] == [
        "3", "2.75", "2.5", "2.25",
    ]  # fmt: skip
    assert "    Train net output #0: y = 6 (* 0.5 = 3 loss)" in shown


def test_iter_size_shows_the_mean_loss():
    solver = solver_by_hand("iter_size: 2")
    solver.step(1)
    assert solver.losses.value() == 3.0
    # Caffe's Scale, with as many values as its bottom, keeps the last batch's gradient alone.
    assert solver.net.parameters.data.tolist() == [3 - 0.25 / 2]


def test_clipping_is_told(capsys):
    solver = solver_by_hand("clip_gradients: 0.5")
    solver.step(1)
    assert solver.net.parameters.data.tolist() == [3 - 0.25 * 0.5]
    assert (
        "sgd_solver.cpp:99] Gradient clipping: scaling down gradients (L2 norm 1 > 0.5) by scale "
        "factor 0.5\n" in capsys.readouterr().err
    )


def test_progress_and_requests_are_asked_once_an_iteration():
    told, asked = [], []

    def request():
        asked.append(solver.iter)
        return Action.STOP if solver.iter == 2 else Action.NONE

    solver = solver_by_hand(request=request, progress=told.append)
    solver.solve()
    assert told == asked == [1, 2]
    assert solver.stopped and solver.iter == 2


def test_a_run_without_a_seed_is_random_and_one_with_it_is_not(caffe, write_solver):
    def run(seed):
        return train(caffe, write_solver(max_iter=2, random_seed=seed)).trained()

    assert run(5) == run(5) != run(6)
    assert run(None) != run(None)


# --- debug_info ---


def test_debug_info(caffe, write_solver):
    path = write_solver(
        max_iter=4, display=2, debug_info="true", test_iter=[1], snapshot_after_train="false"
    )
    result = train(caffe, path)
    debug = [m for m in result.messages if m.startswith("    [")]
    forward = [m for m in debug if "[Forward]" in m]
    tops = [re.match(r".* Layer (\S+), top blob (\S+) data: \d", m) for m in forward]
    tops = [(match[1], match[2]) for match in tops if match]
    test_net = [
        ("data", "data"), ("data", "label"),
        ("label_data_1_split", "label_data_1_split_0"),
        ("label_data_1_split", "label_data_1_split_1"),
        ("conv", "conv"), ("relu", "conv"), ("drop", "conv"), ("ip", "ip"),
        ("ip_ip_0_split", "ip_ip_0_split_0"), ("ip_ip_0_split", "ip_ip_0_split_1"),
        ("accuracy", "accuracy"), ("loss", "loss"),
    ]  # fmt: skip
    train_net = [pair for pair in test_net if "split" not in pair[0] and pair[0] != "accuracy"]
    # Test nets always; the training net in the iterations that are displayed.
    assert tops == test_net + train_net + train_net + test_net
    first = [m for m in debug if "[Backward]" in m][:9]
    assert [re.sub(r": [\d.e-]+$", "", m) for m in first[:-1]] == [
        "    [Backward] Layer loss, bottom blob ip diff",
        "    [Backward] Layer ip, bottom blob conv diff",
        "    [Backward] Layer ip, param blob 0 diff",
        "    [Backward] Layer ip, param blob 1 diff",
        "    [Backward] Layer drop, bottom blob conv diff",
        "    [Backward] Layer relu, bottom blob conv diff",
        "    [Backward] Layer conv, param blob 0 diff",
        "    [Backward] Layer conv, param blob 1 diff",
    ]
    assert re.fullmatch(
        r"    \[Backward\] All net params \(data, diff\): L1 norm = \(\S+, \S+\); "
        r"L2 norm = \(\S+, \S+\)",
        first[-1],
    )
    # Watching changes nothing.
    plain = train(caffe, write_solver(max_iter=4, display=2, test_iter=[1]))
    assert result.trained() == plain.trained()


def test_the_numbers_of_debug_info(capsys):
    """x = -2 and -4; a = 3x, shared with b = 0.5x by a Split; loss = sum(a) + 2 sum(b)."""
    param = schema.parse_text(
        """
        base_lr: 1 lr_policy: "fixed" max_iter: 1 display: 1 debug_info: true iter_size: 2
        snapshot_after_train: false
        net_param {
          layer { name: "d" type: "DummyData" top: "x" dummy_data_param {
            shape { dim: 2 dim: 1 } data_filler { type: "constant" value: -2 } } }
          layer { name: "p" type: "Scale" bottom: "x" top: "y" param { name: "shared" }
            scale_param { filler { type: "constant" value: 1 } } }
          layer { name: "a" type: "Power" bottom: "y" top: "a" power_param { scale: 3 }
            loss_weight: 1 }
          layer { name: "b" type: "Power" bottom: "y" top: "b" power_param { scale: 0.5 }
            loss_weight: 2 }
        }
        """,
        caffe_pb.SolverParameter,
    )
    Solver(param).step(1)
    log = capsys.readouterr().err.splitlines()
    lines = [line.split("] ", 1) for line in log if "]     [" in line]
    once = [
        ("net.cpp:593", "[Forward] Layer d, top blob x data: 2"),
        ("net.cpp:593", "[Forward] Layer p, top blob y data: 2"),
        ("net.cpp:605", "[Forward] Layer p, param blob shared data: 1"),
        ("net.cpp:593", "[Forward] Layer y_p_0_split, top blob y_p_0_split_0 data: 2"),
        ("net.cpp:593", "[Forward] Layer y_p_0_split, top blob y_p_0_split_1 data: 2"),
        ("net.cpp:593", "[Forward] Layer a, top blob a data: 6"),
        ("net.cpp:593", "[Forward] Layer b, top blob b data: 1"),
        ("net.cpp:621", "[Backward] Layer b, bottom blob y_p_0_split_1 diff: 1"),
        ("net.cpp:621", "[Backward] Layer a, bottom blob y_p_0_split_0 diff: 3"),
        ("net.cpp:621", "[Backward] Layer y_p_0_split, bottom blob y diff: 4"),
    ]
    norms = "[Backward] All net params (data, diff): L1 norm = (1, {0}); L2 norm = (1, {0})"
    expected = []
    for total in (16, 32):  # gradients of a parameter add up over iter_size
        expected += once
        expected.append(("net.cpp:632", f"[Backward] Layer p, param blob 0 diff: {total}"))
        expected.append(("net.cpp:721", norms.format(total)))
    assert [(at.split()[-1], text.strip()) for at, text in lines] == expected


def test_debug_info_of_the_net_itself(caffe, work, write_solver):
    train(caffe, write_solver(max_iter=1))
    net = work / "net.prototxt"
    net.write_text("debug_info: true\n" + net.read_text())
    weights = ["-weights", "s_iter_1.caffemodel", "-iterations", "2"]
    result = caffe("test", "-model", "net.prototxt", *weights)
    assert len([m for m in result.messages if "[Forward] Layer loss, top blob loss" in m]) == 2
    assert "[Backward]" not in result.err
    # A solver decides for its nets.
    assert "[Forward]" not in train(caffe, write_solver(max_iter=1)).err
