"""A net in a phase: include and exclude rules by phase, level and stage; and in place."""

import pytest

from netgen import graph, schema
from netgen.schema import caffe_pb

TRAIN, TEST = caffe_pb.TRAIN, caffe_pb.TEST


def kept(rules, log=None, **state):
    net = schema.parse_text(
        f'name: "n" force_backward: true layer {{ name: "l" type: "ReLU" {rules} }}',
        caffe_pb.NetParameter,
    )
    before = net.SerializeToString()
    filtered = graph.filter_net(net, caffe_pb.NetState(**state), log)
    assert net.SerializeToString() == before
    assert filtered.name == "n"
    assert filtered.force_backward
    return [layer.name for layer in filtered.layer] == ["l"]


@pytest.mark.parametrize(
    "rules, state, expected",
    [
        ("", dict(phase=TRAIN), True),
        ("include { phase: TRAIN }", dict(phase=TRAIN), True),
        ("include { phase: TRAIN }", dict(phase=TEST), False),
        ("exclude { phase: TRAIN }", dict(phase=TRAIN), False),
        ("exclude { phase: TRAIN }", dict(phase=TEST), True),
        ("include { }", dict(phase=TRAIN), True),
        ("exclude { }", dict(phase=TRAIN), False),
        # any rule of a list is enough
        ("include { phase: TRAIN } include { stage: 's' }", dict(phase=TEST, stage=["s"]), True),
        ("exclude { phase: TRAIN } exclude { stage: 's' }", dict(phase=TEST, stage=["s"]), False),
        # all conditions of a rule are needed
        ("include { phase: TEST stage: 's' }", dict(phase=TEST), False),
        ("include { phase: TEST stage: 's' }", dict(phase=TRAIN, stage=["s"]), False),
        # levels, ends included
        ("include { min_level: 2 }", dict(level=1), False),
        ("include { min_level: 2 }", dict(level=2), True),
        ("include { max_level: 2 }", dict(level=2), True),
        ("include { max_level: 2 }", dict(level=3), False),
        ("include { min_level: -1 max_level: 1 }", dict(), True),
        # all stages, none of not_stage
        ("include { stage: 'a' stage: 'b' }", dict(stage=["b", "c", "a"]), True),
        ("include { stage: 'a' stage: 'b' }", dict(stage=["b"]), False),
        ("include { not_stage: 'a' not_stage: 'b' }", dict(stage=["b"]), False),
        ("include { not_stage: 'a' }", dict(stage=["b", ""]), True),
        ("include { stage: 'a' not_stage: 'b' }", dict(stage=["a", "b"]), False),
        ("include { stage: '' }", dict(stage=[""]), True),
    ],
)
def test_rules(rules, state, expected):
    assert kept(rules, **state) is expected


def test_both_kinds_of_rule():
    with pytest.raises(graph.NetError) as caught:
        kept("include { phase: TRAIN } exclude { stage: 's' }", phase=TRAIN)
    assert str(caught.value) == (
        "layer 'l': Specify either include rules or exclude rules; not both."
    )


@pytest.mark.parametrize(
    "rule, line, why",
    [
        ("phase: TEST", 296, "The NetState phase (0) differed from the phase (1)"),
        ("min_level: 5", 306, "The NetState level (3) is above the min_level (5)"),
        ("max_level: 2", 316, "The NetState level (3) is above the max_level (2)"),
        ("stage: 'b'", 332, "The NetState did not contain stage 'b'"),
        ("not_stage: 'a'", 347, "The NetState contained a not_stage 'a'"),
    ],
)
def test_log_says_why_in_caffes_words(rule, line, why):
    lines = []

    def log(*told):
        lines.append(told)

    assert not kept(f"include {{ {rule} }}", log, phase=TRAIN, level=3, stage=["a"])
    assert lines == [(f"{why} specified by a rule in layer l", f"net.cpp:{line}")]


def test_order_and_other_fields_stay():
    net = schema.parse_text(
        'layer { name: "a" } layer { name: "b" include { phase: TEST } } layer { name: "c" }',
        caffe_pb.NetParameter,
    )
    filtered = graph.filter_net(net, caffe_pb.NetState(phase=TRAIN))
    assert [layer.name for layer in filtered.layer] == ["a", "c"]


# --- the net in a phase ---

STATEFUL = """
name: "n" state { phase: TRAIN level: 2 stage: "own" }
layer { name: "test" type: "ReLU" include { phase: TEST } }
layer { name: "own" type: "ReLU" include { stage: "own" } }
layer { name: "both" type: "ReLU" include { stage: "own" stage: "more" } }
layer { name: "deep" type: "ReLU" include { min_level: 2 } }
"""


@pytest.mark.parametrize(
    "asked, names, level, stages",
    [
        ({}, ["test", "own", "deep"], 2, ["own"]),
        (dict(level=0), ["test", "own"], 0, ["own"]),
        (dict(stages=["more"]), ["test", "own", "both", "deep"], 2, ["own", "more"]),
    ],
)
def test_in_phase_adds_what_is_asked_for_to_the_nets_own_state(asked, names, level, stages):
    net = schema.parse_text(STATEFUL, caffe_pb.NetParameter)
    before = net.SerializeToString()
    kept = graph.in_phase(net, TEST, **asked)
    assert net.SerializeToString() == before
    assert [layer.name for layer in kept.layer] == names
    assert kept.state == caffe_pb.NetState(phase=TEST, level=level, stage=stages)


def test_merged_state_takes_the_last_phase_and_level_and_every_stage():
    states = [dict(phase=TEST, level=1, stage=["a"]), dict(level=3), dict(stage=["b"])]
    merged = graph.merged_state(*(caffe_pb.NetState(**state) for state in states))
    assert merged == caffe_pb.NetState(phase=TEST, level=3, stage=["a", "b"])
    assert not graph.merged_state().HasField("phase")


# --- in place ---


@pytest.mark.parametrize(
    "bottoms, tops, each, wholly",
    [
        ("a", "a", [True], True),
        ("a", "b", [False], False),
        ("ab", "ab", [True, True], True),
        ("ab", "cb", [False, True], False),
        ("ab", "a", [True], False),
        ("ab", "ba", [False, False], False),
        ("", "a", [False], False),
        ("a", "", [], False),
    ],
)
def test_in_place(bottoms, tops, each, wholly):
    layer = caffe_pb.LayerParameter(bottom=bottoms, top=tops)
    assert [graph.in_place(layer, i) for i in range(len(tops))] == each
    assert not graph.in_place(layer, 5)
    assert graph.wholly_in_place(layer) == wholly
