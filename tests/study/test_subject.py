"""Studies of other nets than All-CNN: what their nets and solvers say, and which arms they have."""

from dataclasses import replace

import pytest

from netgen.errors import CaffeError
from study.arms import CONTROLS
from study.begin import settle
from study.plan import script, stages
from study.settings import SCALES, read_settings

NET = """name: "mine"
layer {{ name: "data" type: "Data" top: "data" top: "label" include {{ phase: TRAIN }}
  data_param {{ source: "{data}/cifar10_train_lmdb" backend: LMDB batch_size: 6 }} }}
layer {{ name: "data" type: "Data" top: "data" top: "label" include {{ phase: TEST }}
  data_param {{ source: "{data}/cifar10_test_lmdb" backend: LMDB batch_size: 5 }} }}
layer {{ name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param {{ num_output: 4 kernel_size: 3 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "c" top: "ip"
  inner_product_param {{ num_output: 10 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }}
"""
SOLVER = """net: "elsewhere.prototxt" base_lr: 0.02 lr_policy: "step" stepsize: 400 gamma: 0.5
max_iter: 1000 momentum: 0.9 test_iter: 2 test_interval: 500
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, records):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET.format(data="data"))
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    return tmp_path


def flags(stage, name):
    return next(c.words for c in stage.commands if name in c.words[2])


def test_a_bundled_net_has_its_own_recipe():
    found = settle("o", {"scale": "tiny", "net": "resnet20", "data": "data"})
    assert (found.batch_size, found.base_lr, found.lr_policy) == (128, 0.1, "multistep")
    assert (found.train_size, found.test_size, found.dropout) == (24, 10, False)
    assert not {"wider", "net2wider"} & set(found.arms) and "restart" in found.arms
    made = {stage.name: stage for stage in stages(found, "o")}
    net = flags(made["seed1_baseline_net"], "netgen")
    assert net[3] == "resnet20" and "--dropout" not in net and "--width" not in net
    solver = flags(made["seed1_baseline_train"], "netgen")
    assert solver[3:5] == ("solver", "resnet20")
    assert solver[solver.index("--lr-policy") + 1] == "multistep"
    every = settle("p", {"scale": "tiny", "net": "resnet20", "data": "data", "arms": CONTROLS})
    assert set(CONTROLS) - set(every.arms) == {"net2wider"}


def test_a_prototxt_has_the_solver_that_is_given_with_it():
    given = {"scale": "tiny", "net": "net.prototxt", "solver": "solver.prototxt"}
    found = settle("o", {**given, "arms": CONTROLS})
    assert (found.batch_size, found.base_lr, found.lr_policy) == (6, 0.02, "step")
    assert (found.train_size, found.test_size) == (24, 10)
    assert set(CONTROLS) - set(found.arms) == {"wider", "net2wider"}
    made = {stage.name: stage for stage in stages(found, "o")}
    assert flags(made["seed1_baseline_net"], "own_net")[3] == "net.prototxt"
    assert flags(made["seed1_round1_tpm_train"], "study.solver")[3] == "solver.prototxt"
    lines = script(found, "o")
    assert lines[0] == "# what net.prototxt and solver.prototxt name must be here"
    assert "--net net.prototxt --solver solver.prototxt" in lines[1]
    assert read_settings("o") == found


def test_the_first_line_of_a_script_begins_the_same_study():
    from study.cli import parse

    for given in (
        {"scale": "tiny", "net": "net.prototxt", "solver": "solver.prototxt", "seeds": 2},
        {"scale": "small", "data": "data", "first_seed": 4, "layers": (("conv1", "conv2"),)},
        {"scale": "tiny", "net": "resnet20", "data": "data", "width": 0.5, "test_interval": 9},
        {"scale": "full", "data": "data", "lr_policy": "poly", "dropout": False, "arms": ()},
        {"scale": "tiny", "data": "data", "dropout": True, "claim": 0.5, "iterations": (9, 5)},
    ):
        begun = settle(f"o{given}", given)
        line = script(begun, "o")[1]
        import shlex

        words = shlex.split(line)[3 : shlex.split(line).index(">")]
        assert settle(f"p{given}", parse(words)[1]) == begun, line


def test_the_driver_s_flags_reach_the_commands():
    given = {"scale": "tiny", "data": "data", "dropout": True, "lr_policy": "fixed"}
    found = settle("o", {**given, "test_interval": 7, "first_seed": 4, "seeds": 2})
    made = {stage.name: stage for stage in stages(found, "o")}
    assert {name.partition("_")[0] for name in made} == {"seed4", "seed5", "report"}
    net = flags(made["seed4_baseline_net"], "netgen")
    assert "--dropout" not in net  # All-CNN's own
    solver = flags(made["seed5_round1_tpm_train"], "netgen")
    for flag, value in (("--test-interval", "7"), ("--lr-policy", "fixed")):
        assert solver[solver.index(flag) + 1] == value
    drawn = [c for c in made["seed4_baseline_net"].commands if "caffe_tools.draw_net" in c.words]
    assert len(drawn) == 1  # the first seed, whichever it is


@pytest.mark.parametrize(
    "given, wanted",
    [
        ({"net": "net.prototxt"}, "a net's file and its --solver go together"),
        (
            {"solver": "solver.prototxt", "data": "data"},
            "a net's file and its --solver go together",
        ),
        ({"net": "resnet20", "dropout": True}, "^--dropout is not for resnet20$"),
        ({"net": "resnet20", "data": "data", "arms": ("net2wider",)}, "layers of type Concat, Elt"),
        ({"net": "resnet20", "scale": "full"}, "give --iterations too"),
        ({"net": "resnet21"}, "resnet21"),
        ({"net": "lenet"}, r"`python -m data_prep mnist --out data/mnist` makes it"),
        (
            {"net": "net.prototxt", "solver": "solver.prototxt", "width": 0.5},
            "^--width is not for net.prototxt$",
        ),
        (
            {"net": "net.prototxt", "solver": "solver.prototxt", "arms": ("wider",)},
            "^arm 'wider' is not for net.prototxt: a prototxt has no --width, a bundled net has$",
        ),
    ],
)
def test_what_a_net_cannot_have_is_one_line(given, wanted):
    with pytest.raises(CaffeError, match=wanted):
        settle("o", {"scale": "tiny", **given})


def test_settings_that_make_no_sense():
    for change, wanted in (
        ({"first_seed": 0}, "first_seed must be at least 1"),
        ({"test_interval": -1}, "test_interval must not be negative"),
        ({"claim": 0.0}, "claim must be points above 0"),
    ):
        with pytest.raises(CaffeError, match=wanted):
            replace(SCALES["tiny"], **change)
