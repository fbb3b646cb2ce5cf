import pytest

# A chain data -> ip1 -> ip2 -> loss, and what hangs off it. Each test says, per layer, whether
# it takes part in backward, and into which bottoms.

DATA = """
  layer { name: "data" type: "Input" top: "x" top: "t"
          input_param { shape { dim: 2 dim: 3 } shape { dim: 2 dim: 3 } } }"""


def ip(name, bottom, top, more=""):
    return (
        f' layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{top}" {more}'
        " inner_product_param { num_output: 3 } }"
    )


LOSS = ' layer { name: "loss" type: "EuclideanLoss" bottom: "%s" bottom: "t" top: "l" }'
FIXED = "param { lr_mult: 0 } param { lr_mult: 0 }"


def wired(build, text):
    """{layer: (needs backward, which bottoms, which blobs)} with Ts and Fs."""

    def letters(flags):
        return "".join("T" if flag else "F" for flag in flags)

    return {
        node.name: (node.needs_backward, letters(node.bottom_needs), letters(node.blob_needs))
        for node in build(text).nodes
    }


def test_backward_stops_where_nothing_learns(build):
    found = wired(build, DATA + ip("ip1", "x", "y") + ip("ip2", "y", "z") + LOSS % "z")
    assert found == {
        "data": (False, "", ""),
        "ip1": (True, "F", "TT"),
        "ip2": (True, "T", "TT"),
        "loss": (True, "TF", ""),
    }


def test_fixed_layers_below_the_first_that_learns_are_spared(build):
    found = wired(build, DATA + ip("ip1", "x", "y", FIXED) + ip("ip2", "y", "z") + LOSS % "z")
    assert found["ip1"] == (False, "F", "FF")
    assert found["ip2"] == (True, "F", "TT")


def test_a_fixed_layer_passes_gradients_on(build):
    found = wired(build, DATA + ip("ip1", "x", "y") + ip("ip2", "y", "z", FIXED) + LOSS % "z")
    assert found["ip2"] == (True, "T", "FF")
    assert found["ip1"] == (True, "F", "TT")


def test_one_blob_of_a_layer_may_be_fixed(build):
    found = wired(build, DATA + ip("ip1", "x", "y", "param { lr_mult: 0 }") + LOSS % "y")
    assert found["ip1"] == (True, "F", "FT")


def test_a_layer_that_no_loss_depends_on_has_no_backward(build):
    found = wired(
        build, DATA + ip("ip1", "x", "y") + ip("aside", "y", "a") + ip("ip2", "y", "z") + LOSS % "z"
    )
    assert found["aside"] == (False, "F", "TT")
    assert found["y_ip1_0_split"] == (True, "T", "")
    assert found["ip1"][0] and found["ip2"][0]


def test_without_any_loss_nothing_needs_backward(build):
    found = wired(build, DATA + ip("ip1", "x", "y") + ip("ip2", "y", "z"))
    assert not any(needs for needs, _, _ in found.values())
    assert found["ip2"][1] == "F"


def test_a_loss_weight_makes_any_layer_a_loss(build):
    found = wired(build, DATA + ip("ip1", "x", "y", "loss_weight: 0.5"))
    assert found["ip1"] == (True, "F", "TT")


def test_a_loss_of_weight_zero_is_none(build):
    text = LOSS.replace('top: "l"', 'top: "l" loss_weight: 0')
    found = wired(build, DATA + ip("ip1", "x", "y") + text % "y")
    assert not found["ip1"][0] and found["loss"] == (False, "FF", "")


def test_propagate_down_cuts(build):
    found = wired(
        build,
        DATA + ip("ip1", "x", "y") + ip("ip2", "y", "z", "propagate_down: false") + LOSS % "z",
    )
    assert found["ip2"] == (True, "F", "TT")
    # all that ip1 gives is cut off, so it has nothing to do
    assert found["ip1"] == (False, "F", "TT")


def test_propagate_down_cuts_one_way_of_two(build):
    found = wired(
        build,
        DATA
        + ip("ip1", "x", "y")
        + ip("a", "y", "ya", "propagate_down: false")
        + ip("b", "y", "yb")
        + ' layer { name: "sum" type: "Eltwise" bottom: "ya" bottom: "yb" top: "z" }'
        + LOSS % "z",
    )
    assert found["a"] == (True, "F", "TT") and found["b"] == (True, "T", "TT")
    assert found["y_ip1_0_split"][0] and found["ip1"][0]


def test_propagate_down_forces(build):
    found = wired(build, DATA + ip("ip1", "x", "y", "propagate_down: true") + LOSS % "y")
    assert found["ip1"] == (True, "T", "TT")


def test_force_backward_reaches_everything_but_labels(build):
    found = wired(
        build,
        "force_backward: true"
        + DATA
        + ip("ip1", "x", "y", FIXED)
        + """
      layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
      layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "l" }
      layer { name: "silence" type: "Silence" bottom: "t" }""",
    )
    assert all(needs for needs, _, _ in found.values())
    assert found["ip1"] == (True, "T", "TT")
    assert found["loss"][1] == "TF" and found["silence"][1] == "T"


def test_batch_norm_statistics_let_backward_start_but_get_none(build):
    # as Caffe has it: the missing ParamSpecs count as learning, the statistics do not learn
    found = wired(
        build,
        DATA
        + """
      layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" }"""
        + LOSS % "y",
    )
    assert found["bn"] == (True, "F", "FFF") and found["loss"][0]


@pytest.mark.parametrize("type_", ["TanH", "Scale"])
def test_in_place(build, type_):
    found = wired(
        build,
        DATA
        + ip("ip1", "x", "y")
        + f' layer {{ name: "n" type: "{type_}" bottom: "y" top: "y" }}'
        + LOSS % "y",
    )
    assert found["n"][:2] == (True, "T") and found["ip1"][0]
