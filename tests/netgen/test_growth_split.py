"""The split pass: the case study's nets, what it keeps of any net, and what it refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from netgen import graph, nets, schema
from netgen.growth import kinds
from netgen.growth.errors import SplitError
from netgen.growth.kinds import KINDS
from netgen.growth.plan import LayerPlan, Plan, to_json
from netgen.growth.split import ensure, split_net
from netgen.schema import caffe_pb

ROOT = Path(__file__).parents[2]

# The study's table of msplit1, its entropies left out: name, outputs, weights without biases.
MSPLIT1 = [
    ("conv1_split2_residual_post", 48, 2304),
    ("conv2_split2_residual_post", 48, 2304),
    ("conv1_split2_residual_pre", 48, 1296),
    ("conv1_split2", 48, 1296),
    ("conv8_split2_residual_post", 96, 9216),
    ("conv8_reorder", 192, 36864),
    ("conv2_split2", 48, 41472),
    ("conv2_split1", 48, 41472),
    ("conv1_split1", 48, 1296),
    ("conv9", 10, 1920),
    ("conv2_reorder", 96, 9216),
    ("conv1_reorder", 96, 9216),
    ("conv2_split2_residual_pre", 48, 41472),
    ("conv3", 96, 82944),
    ("conv8_split1", 96, 18432),
    ("conv8_split2", 96, 18432),
    ("conv8_split2_residual_pre", 96, 18432),
    ("conv7", 192, 331776),
    ("conv5", 192, 331776),
    ("conv4", 192, 165888),
    ("conv6", 192, 331776),
]


def parse(text):
    return schema.parse_text(text, caffe_pb.NetParameter)


def conv(name, bottom, top, outputs=4, extra="", geometry="kernel_size: 3 pad: 1"):
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{top}" {extra} '
        f"convolution_param {{ num_output: {outputs} {geometry} }} }}"
    )


def one_layer(outputs=4, extra="", geometry="kernel_size: 3 pad: 1", after="", channels=4):
    return parse(
        'layer { name: "in" type: "Input" top: "data" input_param { shape { '
        f"dim: 2 dim: {channels} dim: 8 dim: 8 }} }} }}"
        + conv("c", "data", "c", outputs, extra, geometry)
        + after
    )


def halves(name="c", outputs=4, kind="residual"):
    fast, slow = range(0, outputs, 2), range(1, outputs, 2)
    return LayerPlan(name, kind, tuple(fast), tuple(slow))


def split_one(net, **plan):
    return split_net(net, Plan((halves(**plan),))).child


def infos(net, phase=caffe_pb.TRAIN):
    record = (1, 28, 28) if net.name == "lenet" else (3, 32, 32)
    return graph.infer(graph.filter_net(net, caffe_pb.NetState(phase=phase)), phase, record)


def layers_of(net):
    return {layer.name: layer for layer in net.layer}


def weights(net, phase=caffe_pb.TRAIN):
    """(name, outputs, weights) of each convolution, in the order of the net."""
    found = []
    for info in infos(net, phase):
        if info.layer.type == "Convolution":
            outputs, channels, height, width = info.shapes.params[0]
            found.append((info.layer.name, outputs, outputs * channels * height * width))
    return found


# --- the case study ---


@pytest.mark.parametrize("deploy", [False, True])
def test_msplit1_has_the_21_convolutions_of_the_study(deploy):
    assert len(MSPLIT1) == 21
    assert sorted(weights(nets.build_net("msplit1", deploy=deploy))) == sorted(MSPLIT1)


def test_msplit2_splits_four_parts_of_msplit1_again():
    msplit1, msplit2 = (
        dict(row[:2] for row in weights(nets.build_net(name))) for name in ("msplit1", "msplit2")
    )
    again = ("conv1_split2_residual_pre", "conv1_split2", "conv2_split1", "conv2_split2")
    parts = {
        "split1": 24,
        "split2": 24,
        "split2_residual_pre": 24,
        "split2_residual_post": 24,
        "reorder": 48,
    }
    expected = {name: n for name, n in msplit1.items() if name not in again} | {
        f"{name}_{part}": n for name in again for part, n in parts.items()
    }
    assert msplit2 == expected
    assert "conv1_split2_residual_pre_split2_residual_post" in msplit2


@pytest.mark.parametrize(
    ("name", "parameters", "products"),
    [("msplit1", 1_500_826, 340_508_160), ("msplit2", 1_555_498, 396_099_072)],
)
def test_cost_of_the_grown_nets(name, parameters, products):
    net = infos(nets.build_net(name, nets.NetOptions(batch_size=1)))
    assert sum(info.shapes.macs for info in net) == products
    assert (
        sum(count for _, _, count in weights(nets.build_net(name)))
        + sum(outputs for _, outputs, _ in weights(nets.build_net(name)))
        == parameters
    )


def test_options_reach_the_grown_nets():
    net = layers_of(nets.build_net("msplit1", nets.NetOptions(width=0.25, weight_filler="xavier")))
    for name, outputs in (
        ("conv1_split1", 12),
        ("conv2_split2_residual_post", 12),
        ("conv8_reorder", 48),
        ("conv9", 10),
    ):
        param = net[name].convolution_param
        assert (param.num_output, param.weight_filler.type) == (outputs, "xavier")
    odd = dict(row[:2] for row in weights(nets.build_net("msplit1", nets.NetOptions(width=0.05))))
    assert (odd["conv1_split1"], odd["conv1_split2"], odd["conv1_reorder"]) == (3, 2, 5)


# --- what the parts are ---


def test_residual():
    child = split_one(one_layer())
    assert child == parse("""
      layer { name: "in" type: "Input" top: "data"
              input_param { shape { dim: 2 dim: 4 dim: 8 dim: 8 } } }
      layer { name: "c_split1" type: "Convolution" bottom: "data" top: "c_split1"
              convolution_param { num_output: 2 kernel_size: 3 pad: 1 } }
      layer { name: "c_split2" type: "Convolution" bottom: "data" top: "c_split2"
              convolution_param { num_output: 2 kernel_size: 3 pad: 1 } }
      layer { name: "c_split2_residual_pre" type: "Convolution" bottom: "data"
              top: "c_split2_residual_pre"
              convolution_param { num_output: 2 kernel_size: 3 pad: 1 } }
      layer { name: "c_split2_residual_relu" type: "ReLU" bottom: "c_split2_residual_pre"
              top: "c_split2_residual_pre" }
      layer { name: "c_split2_residual_post" type: "Convolution" bottom: "c_split2_residual_pre"
              top: "c_split2_residual_post" convolution_param { num_output: 2 kernel_size: 1 } }
      layer { name: "c_split2_sum" type: "Eltwise" bottom: "c_split2"
              bottom: "c_split2_residual_post" top: "c_split2_sum"
              eltwise_param { operation: SUM } }
      layer { name: "c_concat" type: "Concat" bottom: "c_split1" bottom: "c_split2_sum"
              top: "c_concat" }
      layer { name: "c_reorder" type: "Convolution" bottom: "c_concat" top: "c"
              convolution_param { num_output: 4 kernel_size: 1 } }""")


def test_extension():
    child = split_one(one_layer(), kind="extension")
    assert [(x.name, x.type, list(x.bottom), x.top[0]) for x in child.layer[1:]] == [
        ("c_split1", "Convolution", ["data"], "c_split1"),
        ("c_split2", "Convolution", ["data"], "c_split2"),
        ("c_split2_extension", "Convolution", ["c_split2"], "c_split2_extension"),
        ("c_concat", "Concat", ["c_split1", "c_split2_extension"], "c_concat"),
        ("c_reorder", "Convolution", ["c_concat"], "c"),
    ]
    extension = layers_of(child)["c_split2_extension"].convolution_param
    assert (extension.num_output, list(extension.kernel_size)) == (2, [1])


def test_skip_is_fixed_and_strided_as_the_layer():
    child = split_one(
        one_layer(
            extra="param { lr_mult: 2 } param { lr_mult: 3 }",
            geometry="kernel_size: 3 pad: 1 stride_h: 2 stride_w: 1",
        ),
        kind="skip",
    )
    assert [(x.name, list(x.bottom), x.top[0]) for x in child.layer[1:]] == [
        ("c_split1", ["data"], "c_split1"),
        ("c_split2", ["data"], "c_split2"),
        ("c_split2_skip", ["data"], "c_split2_skip"),
        ("c_split2_sum", ["c_split2", "c_split2_skip"], "c_split2_sum"),
        ("c_concat", ["c_split1", "c_split2_sum"], "c_concat"),
        ("c_reorder", ["c_concat"], "c"),
    ]
    assert layers_of(child)["c_split2_skip"] == schema.parse_text(
        """
        name: "c_split2_skip" type: "Convolution" bottom: "data" top: "c_split2_skip"
        param { lr_mult: 0 decay_mult: 0 }
        convolution_param { num_output: 2 bias_term: false kernel_size: 1 stride_h: 2 stride_w: 1
                            weight_filler { type: "constant" } }""",
        caffe_pb.LayerParameter,
    )


def test_every_field_of_the_layer_goes_where_it_belongs():
    net = one_layer(
        outputs=8,
        channels=6,
        extra='param { lr_mult: 2 decay_mult: 0.5 name: "w" } param { lr_mult: 3 } '
        'include { phase: TRAIN stage: "a" } include { phase: TRAIN } loss_weight: 0.5 '
        "propagate_down: true",
        geometry="kernel_h: 3 kernel_w: 1 pad_h: 2 pad_w: 1 stride: 2 dilation: 2 dilation: 1 "
        'group: 2 engine: CAFFE weight_filler { type: "msra" } '
        "bias_filler { value: 0.1 }",
    )
    fast, slow = (0, 1, 2, 4, 5, 6), (3, 7)  # three and one of each group
    new = layers_of(split_net(net, Plan((LayerPlan("c", "residual", fast, slow),))).child)
    old = net.layer[1]
    for name, layer in new.items():
        if name == "in":
            continue
        assert layer.include == old.include
        assert list(layer.loss_weight) == ([0.5] if name == "c_reorder" else [])
        reads_bottom = name in ("c_split1", "c_split2", "c_split2_residual_pre")
        assert list(layer.propagate_down) == [True] * reads_bottom
        if layer.type != "Convolution":
            continue
        assert [(p.lr_mult, p.decay_mult, p.name) for p in layer.param] == [
            (2, 0.5, ""),
            (3, 1, ""),
        ]
        if reads_bottom:
            expected = caffe_pb.ConvolutionParameter()
            expected.CopyFrom(old.convolution_param)
            expected.num_output = {"c_split1": 6}.get(name, 2)
        else:
            expected = schema.parse_text(
                f"num_output: {8 if name == 'c_reorder' else 2} kernel_size: 1 engine: CAFFE "
                'weight_filler { type: "xavier" } bias_filler { value: 0.1 }',
                caffe_pb.ConvolutionParameter,
            )
        assert layer.convolution_param == expected


def test_without_bias_no_part_has_one():
    child = split_one(
        one_layer(extra="param { lr_mult: 1 }", geometry="kernel_size: 3 bias_term: false")
    )
    assert {
        len(info.shapes.params) for info in infos(child) if info.layer.type == "Convolution"
    } == {1}


@pytest.mark.parametrize(
    ("shape", "geometry", "out"),
    [
        ((2, 3, 9), "kernel_size: 3 stride: 2", (2, 4, 4)),
        ((2, 3, 5, 6, 7), "kernel_size: 2 pad: 1 force_nd_im2col: true", (2, 4, 6, 7, 8)),
        ((2, 3, 5, 6, 7), "kernel_size: 3 axis: 2", (2, 3, 4, 4, 5)),
        ((2, 3, 5, 6, 7), "kernel_size: 3 axis: -3", (2, 3, 4, 4, 5)),
    ],
)
def test_other_axes(shape, geometry, out):
    dims = " ".join(f"dim: {d}" for d in shape)
    net = parse(
        f'layer {{ name: "in" type: "Input" top: "data" input_param {{ shape {{ {dims} '
        "} } }" + conv("c", "data", "c", geometry=geometry)
    )
    for kind in ("residual", "extension"):
        assert infos(split_one(net, kind=kind))[-1].shapes.tops == [out]


# --- what is around it ---


@pytest.mark.parametrize(
    "after",
    [
        'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }',
        'layer { name: "b" type: "BatchNorm" bottom: "c" top: "c" }'
        'layer { name: "s" type: "Scale" bottom: "c" top: "s" }',
        'layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { kernel_size: 2 } }'
        'layer { name: "e" type: "Eltwise" bottom: "c" bottom: "c" top: "e" }'
        'layer { name: "t" type: "TanH" bottom: "e" top: "e" }',
        'layer { name: "d" type: "Convolution" bottom: "c" bottom: "data" top: "d" top: "d2"'
        " convolution_param { num_output: 4 kernel_size: 1 } }",
        "",
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_successors_do_not_notice(after, kind):
    parent = one_layer(after=after)
    child = split_one(parent, kind=kind)
    assert child.layer[0] == parent.layer[0]
    rest = len(parent.layer) - 2
    assert list(child.layer[len(child.layer) - rest :]) == list(parent.layer[2:])
    shapes = {
        top: shape
        for info in infos(child)
        for top, shape in zip(info.layer.top, info.shapes.tops, strict=True)
    }
    for info in infos(parent):
        assert [shapes[top] for top in info.layer.top] == info.shapes.tops


def test_train_and_test_layer_of_one_name_are_both_split():
    both = [
        conv("c", "data", "c", extra=f"include {{ phase: {phase} }}") for phase in ("TRAIN", "TEST")
    ]
    net = one_layer()
    del net.layer[1]
    net.MergeFrom(parse("".join(both)))
    child = split_one(net)
    for phase in (caffe_pb.TRAIN, caffe_pb.TEST):
        assert [name for name, _, _ in weights(child, phase)] == [
            "c_split1",
            "c_split2",
            "c_split2_residual_pre",
            "c_split2_residual_post",
            "c_reorder",
        ]


def test_the_parent_is_left_alone_and_order_within_a_plan_is_nothing():
    net = one_layer()
    before = net.SerializeToString()
    children = [
        split_net(net, Plan((LayerPlan("c", "residual", fast, slow),))).child
        for fast, slow in (((0, 3), (1, 2)), ((3, 0), (2, 1)))
    ]
    assert children[0] == children[1]
    assert net.SerializeToString() == before


def test_a_split_tells_what_became_of_each_layer():
    net = one_layer()
    split = split_net(net, Plan((halves(), halves("c_split2", 2, "extension"))))
    assert split.parent is net
    assert [layer.plan.layer for layer in split.layers] == ["c", "c_split2"]
    first, second = split.layers
    assert first.layer == net.layer[1]
    assert list(second.parts) == ["split1", "split2", "split2_extension", "concat", "reorder"]
    assert second.layer == first.parts["split2"]
    child = layers_of(split.child)
    assert all(child[part.name] == part for part in second.parts.values())
    assert "c_split2" not in child


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_knows_the_convolutions_that_it_makes(kind):
    """Its roles, its layers and its weight counts name the same ones."""
    kind = KINDS[kind]
    plan = LayerPlan("c", kind.name, (0, 1, 2), (3,))
    parts = kind.parts(one_layer().layer[1], plan)
    made = {role for role, part in parts.items() if part.type == "Convolution"}
    assert made == set(kind.weight_counts(plan, 9, 4)) == {*kinds.COMMON, *kind.roles}
    for role in made:
        assert kinds.role_of(parts[role].name) == (kinds.COMMON | kind.roles)[role]
    assert kinds.role_of("c") is None


def test_one_plan_may_split_a_part():
    at_once = split_net(one_layer(), Plan((halves(), halves("c_split2", 2)))).child
    assert at_once == split_net(split_one(one_layer()), Plan((halves("c_split2", 2),))).child


@pytest.mark.parametrize("name", nets.NETS)
def test_all_convolutions_of_every_bundled_net(name):
    parent = nets.build_net(name, nets.NetOptions(width=0.1))
    counts = [
        (layer.name, layer.convolution_param.num_output)
        for layer in parent.layer
        if layer.type == "Convolution"
    ]
    for kind in ("residual", "extension"):
        plan = Plan(tuple(halves(layer, n, kind) for layer, n in counts if n > 1))
        found = {row[0]: row[2] for row in weights(split_net(parent, plan).child)}
        for layer, outputs, count in weights(parent):
            if outputs < 2:
                continue
            slow, row = outputs // 2, count // outputs
            extra = (
                {
                    f"{layer}_split2_residual_pre": slow * row,
                    f"{layer}_split2_residual_post": slow**2,
                }
                if kind == "residual"
                else {f"{layer}_split2_extension": slow**2}
            )
            expected = {
                f"{layer}_split1": (outputs - slow) * row,
                f"{layer}_split2": slow * row,
                f"{layer}_reorder": outputs**2,
                **extra,
            }
            assert {key: found[key] for key in expected} == expected


def test_a_net_that_does_not_tell_its_shapes_is_split_all_the_same():
    net = one_layer(
        after='layer { name: "p" type: "Python" bottom: "c" top: "p" '
        'python_param { module: "m" layer: "L" } }'
    )
    assert split_one(net).layer[-1] == net.layer[-1]
    with pytest.raises(SplitError) as caught:
        split_one(net, kind="skip")
    assert str(caught.value) == (
        "layer 'c' cannot have a skip: the net does not tell the shape of its bottom"
    )


# --- refusals ---

SHARING = conv("d", "data", "d", extra='param { name: "w" }')


@pytest.mark.parametrize(
    ("net", "plan", "error"),
    [
        (
            one_layer(after=conv("d", "c", "d")),
            halves("x"),
            "layer 'x' is not in the net (those that can be split: c, d)",
        ),
        (one_layer(), halves("in"), "layer 'in' is of type Input, not Convolution or InnerProduct"),
        (
            one_layer(
                after='layer { name: "u" type: "Deconvolution" bottom: "c" top: "u" '
                "convolution_param { num_output: 4 kernel_size: 1 } }"
            ),
            halves("u"),
            "layer 'u' is of type Deconvolution, not Convolution or InnerProduct",
        ),
        (one_layer(1), halves(), "layer 'c' has one output: there is nothing to split"),
        (one_layer(6), halves(), "layer 'c' has 6 outputs, the plan names 4"),
        (
            one_layer(extra='param { name: "w" }', after=SHARING),
            halves(),
            "layer 'c' shares its weights with layer 'd' (param 'w')",
        ),
        (
            one_layer(extra='bottom: "data" top: "c2"'),
            halves(),
            "layer 'c' reads 2 blobs (data, data); only one with one bottom and one top can be split",
        ),
        (
            one_layer(geometry="kernel_size: 3 group: 2"),
            LayerPlan("c", "residual", (0, 1), (2, 3)),
            "layer 'c' has 2 groups of 2 outputs: each must have the same number of fast outputs, "
            "1 or more and not all (the plan: 2 0)",
        ),
        (
            one_layer(geometry="kernel_size: 3 group: 4"),
            halves(),
            "layer 'c' has 4 groups of 1 outputs: each must have the same number of fast outputs, "
            "1 or more and not all (the plan: 1 0 1 0)",
        ),
        (
            one_layer(channels=3),
            halves(kind="skip"),
            "layer 'c' cannot have a skip, which needs as many bottom channels as outputs (3 vs. 4)",
        ),
        (
            one_layer(geometry="kernel_size: 3"),
            halves(kind="skip"),
            "layer 'c' cannot have a skip, whose places are the centres of its kernel: that must be "
            "odd and padded by half (kernel 3, dilation 1, pad 0)",
        ),
        (
            one_layer(geometry="kernel_size: 2 dilation: 2 pad: 1"),
            halves(kind="skip"),
            "layer 'c' cannot have a skip, whose places are the centres of its kernel: that must be "
            "odd and padded by half (kernel 2, dilation 2, pad 1)",
        ),
        (
            one_layer(after=conv("c_reorder", "c", "d")),
            halves(),
            "layer 'c' cannot be split: the net has a layer 'c_reorder' already",
        ),
        (
            one_layer(after=conv("d", "c", "c_split2")),
            halves(),
            "layer 'c' cannot be split: the net has a blob 'c_split2' already",
        ),
        (
            one_layer(after=conv("c", "c", "d", geometry="kernel_size: 1")),
            halves(),
            "layer 'c' is there twice with different parameters",
        ),
        (
            one_layer(geometry="kernel_size: 3 group: 3"),
            halves(),
            "layer 'c': 4 channels are not a multiple of group 3",
        ),
    ],
)
def test_refusals(net, plan, error):
    with pytest.raises(ValueError, match="layer") as caught:
        split_net(net, Plan((plan,)))
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda net: net.layer[-1].convolution_param.pad.append(1), "shape of blob 'c'"),
        (
            lambda net: net.layer.add().CopyFrom(
                parse('layer { name: "r" type: "TanH" bottom: "c" top: "z" }').layer[0]
            ),
            "outputs",
        ),
        (lambda net: net.layer[1].convolution_param.ClearField("group"), "weights"),
    ],
)
def test_a_wrong_child_is_not_given_out(change, error):
    parent = one_layer(geometry="kernel_size: 3 pad: 1 group: 2")
    plan = Plan((LayerPlan("c", "residual", (0, 2), (1, 3)),))
    child = split_net(parent, plan).child
    ensure(parent, child, plan)
    change(child)
    with pytest.raises(ValueError, match=error):
        ensure(parent, child, plan)


# --- the command ---


def command(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "netgen", "split", *arguments],
        cwd=cwd,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
    )


def test_command(tmp_path):
    net = one_layer()
    schema.write_text(net, tmp_path / "net.prototxt")
    (tmp_path / "plan.json").write_text(to_json(Plan((halves(),))))
    words = ("net.prototxt", "--plan", "plan.json")
    result = command(*words, "--name", "grown", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    header, _, text = result.stdout.partition("\n")
    assert header == "# python -m netgen split net.prototxt --plan plan.json --name grown"
    child = split_one(net)
    child.name = "grown"
    assert parse(text) == child

    assert command(*words, "-o", "child.prototxt", cwd=tmp_path).stdout == ""
    again = command("child.prototxt", "--plan", "plan.json", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == (
        "netgen: child.prototxt: layer 'c' is not in the net (those that can be split: c_split1, "
        "c_split2, c_split2_residual_pre, c_split2_residual_post, c_reorder)\n"
    )
    missing = command("net.prototxt", "--plan", "no.json", cwd=tmp_path)
    assert (missing.returncode, missing.stderr) == (1, "netgen: File not found: no.json\n")
