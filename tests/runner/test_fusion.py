"""BatchNorm with its Scale, sibling convolutions: one operation, the same numbers."""

import numpy as np
import pytest
import torch

from netgen import schema
from netgen.schema import caffe_pb
from runner.net.debug_info import debug_info

TEXT = """
layer { name: "x" type: "DummyData" top: "x" top: "t" dummy_data_param {
  shape { dim: 5 dim: 3 dim: 4 dim: 4 } shape { dim: 5 dim: 4 dim: 4 dim: 4 }
  data_filler { type: "uniform" } data_filler { type: "constant" } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
  convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm" }
layer { name: "scale" type: "Scale" bottom: "norm" top: "scale"
  scale_param { bias_term: true filler { type: "uniform" min: 0.5 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "scale" bottom: "t" top: "loss" }
"""
IN_PLACE = TEXT.replace('"norm" top: "scale"', '"norm" top: "norm"').replace(
    'bottom: "scale" bottom: "t"', 'bottom: "norm" bottom: "t"')  # fmt: skip
NOT_FUSED = {
    "no bias": TEXT.replace("bias_term: true", ""),
    "another axis": TEXT.replace("bias_term: true", "bias_term: true axis: 0 num_axes: 1"),
    "more axes": TEXT.replace("bias_term: true", "bias_term: true num_axes: 2"),
    "read by two": TEXT + 'layer { name: "s" type: "Silence" bottom: "norm" }',
    "weighed": TEXT.replace('top: "norm" }', 'top: "norm" loss_weight: 1 }'),
}
CUT_OFF = TEXT.replace('bottom: "norm" top: "scale"',
                       'bottom: "norm" top: "scale" propagate_down: false')  # fmt: skip


def passes(net, count=3):
    """Losses, gradients and statistics of some passes."""
    torch.manual_seed(0)
    net.parameters.grad.zero_()
    losses = [net.forward_backward()[0].item() for _ in range(count)]
    return [np.array(losses), net.parameters.grad.numpy(), net.parameters.data.numpy()]


@pytest.mark.parametrize("text", [TEXT, IN_PLACE, CUT_OFF, *NOT_FUSED.values()])
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("batch", [5, 1])
def test_both_ways_give_the_same(build, text, phase, batch):
    text = text.replace("dim: 5", f"dim: {batch}")
    if "axis: 0" in text and batch == 1:
        text = text.replace("num_axes: 1", "num_axes: 2")
    one, two = build(text, phase=phase), build(text, phase=phase)
    for net in (one, two):  # statistics to test with
        for node in net.nodes:
            if node.name == "norm":
                for blob, value in zip(node.blobs, (0.1, 0.5, 1), strict=True):
                    blob.fill_(value)
    two.fused = False
    for ours, theirs in zip(passes(one), passes(two), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-5)


def calls(net):
    """How often Scale's own forward runs in a pass."""
    (scale,) = [node.layer for node in net.nodes if node.name == "scale"]
    count, forward = [], scale.forward
    scale.forward = lambda *given: count.append(1) or forward(*given)
    net.forward()
    del scale.forward
    return len(count)


@pytest.mark.parametrize("text", [TEXT, IN_PLACE, CUT_OFF])
def test_what_is_fused(build, text):
    assert calls(build(text)) == 0


@pytest.mark.parametrize("text", NOT_FUSED.values(), ids=NOT_FUSED)
def test_what_is_not(build, text):
    assert calls(build(text)) == 1


def test_debug_info_sees_every_layer(build, capfd):
    net = build(TEXT)
    with debug_info(net):
        net.forward_backward()
    log = capfd.readouterr().err
    assert "[Forward] Layer scale, top blob scale data" in log
    assert net.fused


def test_every_net_of_the_project_with_batch_norm_is_fused(build):
    net = build(schema.to_text(schema.read_net("prototxt/resnet20_deploy.prototxt")), "TEST")
    norms = [node for node in net.nodes if node.param.type == "BatchNorm"]
    assert len(norms) == 19 == len(net._scales)
    assert net.phase == caffe_pb.TEST


# --- sibling convolutions ---

FAMILY = """
layer { name: "x" type: "DummyData" top: "x" top: "t" dummy_data_param {
  shape { dim: 2 dim: 3 dim: 7 dim: 6 } shape { dim: 2 dim: 9 dim: 4 dim: 4 }
  data_filler { type: "gaussian" } data_filler { type: "constant" } } }
layer { name: "below" type: "Convolution" bottom: "x" top: "below"
  convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "relu" type: "ReLU" bottom: "below" top: "below" }
layer { name: "a" type: "Convolution" bottom: "below" top: "a" CONV num_output: 4 } }
layer { name: "b" type: "Convolution" bottom: "below" top: "b" CONV num_output: 3 } }
layer { name: "relu_b" type: "ReLU" bottom: "b" top: "b" }
layer { name: "c" type: "Convolution" bottom: "below" top: "c" CONV num_output: 2 } }
layer { name: "concat" type: "Concat" bottom: "a" bottom: "b" bottom: "c" top: "concat" }
layer { name: "loss" type: "EuclideanLoss" bottom: "concat" bottom: "t" top: "loss" }
""".replace(
    "CONV",
    """convolution_param { kernel_h: 3 kernel_w: 2 stride: 2 pad: 1 weight_filler { type: "msra" }
  bias_filler { type: "uniform" min: -1 max: 1 }""",
)
ALL = [["a", "b", "c"]]
FIRST_A = 'bottom: "below" top: "a"'
FAMILIES = {
    "plain": (FAMILY, ALL),
    "one is fixed": (FAMILY.replace(FIRST_A, f"{FIRST_A} param {{ lr_mult: 0 }}"), ALL),
    "one learns with other multipliers": (
        FAMILY.replace(FIRST_A, f"{FIRST_A} param {{ lr_mult: 3 decay_mult: 0 }}"),
        ALL,
    ),
    "two share a kernel": (
        FAMILY.replace(FIRST_A, f'{FIRST_A} param {{ name: "k" }} param {{ name: "offset" }}')
        .replace('top: "b" conv', 'top: "b" param { name: "k" } param { name: "offset" } conv')
        .replace("num_output: 3", "num_output: 4")
        .replace("dim: 9", "dim: 10"),
        ALL,
    ),
    "no biases": (FAMILY.replace("kernel_h", "bias_term: false kernel_h"), ALL),
    "nothing below learns": (
        FAMILY.replace('top: "below"\n', 'top: "below" param { lr_mult: 0 } param { lr_mult: 0 }\n'),
        ALL,
    ),
    "two dilations": (
        FAMILY.replace("num_output: 2", "num_output: 2 dilation: 2 pad: 2").replace(
            'top: "c" convolution_param { kernel_h: 3 kernel_w: 2 stride: 2 pad: 1',
            'top: "c" convolution_param { kernel_h: 3 kernel_w: 2 stride: 2',
        ),
        [["a", "b"]],
    ),
    "one has no bias": (FAMILY.replace("num_output: 4", "num_output: 4 bias_term: false"),
                        [["b", "c"]]),
    "one sends no gradient down": (
        FAMILY.replace(FIRST_A, f"{FIRST_A} propagate_down: false"), [["b", "c"]]),
    "groups": (
        FAMILY.replace("num_output: 5", "num_output: 4")
        .replace("kernel_h", "group: 2 kernel_h").replace("num_output: 3", "num_output: 4")
        .replace("dim: 9", "dim: 10"), []),
    "the blob is written over in between": (
        FAMILY.replace('layer { name: "a"', 'layer { name: "s" type: "Split" bottom: "below" '
            'top: "s0" top: "s1" }\nlayer { name: "a"')
        .replace(FIRST_A, 'bottom: "s0" top: "a"')
        .replace('layer { name: "b"', 'layer { name: "r" type: "TanH" bottom: "s1" top: "s1" }\n'
            'layer { name: "b"')
        .replace('bottom: "below" top: "b"', 'bottom: "s1" top: "b"')
        .replace('bottom: "below" top: "c"', 'bottom: "s1" top: "c"'),
        [["b", "c"]],
    ),
}  # fmt: skip


def together(convolutions):
    """The names of the convolutions that a pass runs as one, a list for each."""
    nodes = convolutions.nodes
    return [[nodes[share.number].name for share in group] for group in convolutions.groups.values()]


def twins(build, text, **options):
    """A net, and one with the same weights that does each layer by itself."""
    one, two = build(text, **options), build(text, **options)
    two.parameters.data.copy_(one.parameters.data)
    two.fused = False
    return one, two


@pytest.mark.parametrize(("text", "names"), FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_siblings_are_run_as_one_with_the_same_numbers(build, text, names, phase):
    one, two = twins(build, text, phase=phase)
    assert together(one._convolutions) == names
    for ours, theirs in zip(passes(one, 1), passes(two, 1), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert passes(one)[1].any()


def test_siblings_are_one_convolution_of_the_engine(build):
    net, calls = build(FAMILY), []
    for node in net.nodes:
        if node.param.type == "Convolution":
            node.layer.functions = {
                2: lambda *given, name=node.name, **options: (
                    calls.append(name) or torch.nn.functional.conv2d(*given, **options)
                )
            }
    net.forward_backward()
    assert calls == ["below", "a"]


def test_who_looks_at_blobs_sees_those_of_siblings_and_every_readers_diff(build):
    """A gradient for each reader of the blob, where somebody asks for the diffs."""
    one, two = twins(build, FAMILY)
    seen = []
    for net in (one, two):
        torch.manual_seed(0)
        kept, diffs = {}, {}
        net.forward_backward(kept=kept, diffs=diffs)
        seen.append({**kept, **{f"{name} diff": value for name, value in diffs.items()}})
    assert seen[0].keys() == seen[1].keys() >= {"a", "b", "c", "below_relu_0_split_2 diff"}
    for name in seen[0]:
        torch.testing.assert_close(seen[0][name], seen[1][name])


@pytest.mark.parametrize("name", ["msplit1", "msplit2"])
def test_every_part_of_a_split_net_is_run_with_its_siblings(build, name):
    net = build(schema.to_text(schema.read_net(f"prototxt/{name}_deploy.prototxt")), "TEST")
    parts = [node.name for node in net.nodes
             if node.param.type == "Convolution" and node.name.endswith(("split1", "split2", "pre"))]  # fmt: skip
    found = together(net._siblings)
    assert sorted(parts) == sorted(part for group in found for part in group)
    assert [len(group) for group in found] == {"msplit1": [3, 3, 3], "msplit2": [7, 7, 3]}[name]


# --- linear ends ---

CONVOLUTION = """layer { name: "%s" type: "Convolution" bottom: "%s" top: "%s"
  convolution_param { num_output: %d kernel_size: %d pad: %d weight_filler { type: "msra" }
    bias_filler { type: "uniform" min: -1 max: 1 } } }
"""


def convolution(name, bottom, outputs, kernel=1):
    return CONVOLUTION % (name, bottom, name, outputs, kernel, kernel // 2)


def split(top, bottom, kernel=3, outputs=8):
    """A layer with `outputs`, split in two halves, with a residual path beside the second."""
    half = outputs // 2
    return (
        convolution(f"{top}_1", bottom, half, kernel)
        + convolution(f"{top}_2", bottom, half, kernel)
        + convolution(f"{top}_pre", bottom, half, kernel)
        + f'layer {{ name: "{top}_relu" type: "ReLU" bottom: "{top}_pre" top: "{top}_pre" }}\n'
        + convolution(f"{top}_post", f"{top}_pre", half)
        + f'layer {{ name: "{top}_sum" type: "Eltwise" bottom: "{top}_2" bottom: "{top}_post" '
        f'top: "{top}_sum" }}\n'
        f'layer {{ name: "{top}_concat" type: "Concat" bottom: "{top}_1" bottom: "{top}_sum" '
        f'top: "{top}_concat" }}\n' + convolution(top, f"{top}_concat", outputs)
    )


HEAD = """layer { name: "x" type: "DummyData" top: "x" top: "t" dummy_data_param {
  shape { dim: 2 dim: 3 dim: 9 dim: 9 } shape { dim: 2 dim: 8 dim: 9 dim: 9 }
  data_filler { type: "gaussian" } data_filler { type: "constant" } } }
""" + convolution("below", "x", 5)
LOSS = 'layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }\n'
SPLIT = HEAD + split("y", "below") + LOSS
NESTED = (
    SPLIT.replace(convolution("y_2", "below", 4, 3), split("y_2", "below", outputs=4))
    .replace(convolution("y_pre", "below", 4, 3), split("y_pre", "below", outputs=4))
    .replace(convolution("y_1", "below", 4, 3), split("y_1", "below", outputs=4))
)
EXTENSION = (
    HEAD
    + convolution("a", "below", 4, 3)
    + convolution("b", "below", 4, 3)
    + convolution("more", "b", 4)
    + 'layer { name: "c" type: "Concat" bottom: "a" bottom: "more" top: "c" }\n'
    + convolution("y", "c", 8)
    + LOSS
)
NO_BIAS = SPLIT.replace("num_output", "bias_term: false num_output")
Y_2 = 'bottom: "below" top: "y_2"'
Y_TERMS = [["y_1", "y_2"], ["y_post"]]
ENDS = {
    "split": (SPLIT, {"y": Y_TERMS}),
    "1x1": (HEAD + split("y", "below", 1) + LOSS, {"y": Y_TERMS}),
    "nested": (
        NESTED,
        {
            "y": [
                ["y_1_1", "y_1_2", "y_2_1", "y_2_2"],
                ["y_1_post"],
                ["y_2_post"],
                ["y_post"],
            ],
            "y_pre": [["y_pre_1", "y_pre_2"], ["y_pre_post"]],
        },
    ),
    "no biases": (NO_BIAS, {"y": Y_TERMS}),
    "extension": (EXTENSION, {"y": [["a", "b"]]}),
    "coefficients": (
        SPLIT.replace('top: "y_sum"', 'top: "y_sum" eltwise_param { coeff: 0.5 coeff: -2 }'),
        {"y": Y_TERMS},
    ),
    "one is fixed": (
        SPLIT.replace(Y_2, f"{Y_2} param {{ lr_mult: 0 }} param {{ lr_mult: 0 }}"),
        {"y": Y_TERMS},
    ),
    "the end has a biased leaf only": (
        SPLIT.replace(convolution("y", "y_concat", 8),
                      convolution("y", "y_concat", 8).replace("num", "bias_term: false num")),
        {},
    ),
    "product": (
        SPLIT.replace('top: "y_sum"', 'top: "y_sum" eltwise_param { operation: PROD }'), {}),
    "not along the channels": (
        SPLIT.replace('top: "y_concat"', 'top: "y_concat" concat_param { axis: 2 }')
        .replace("dim: 2 dim: 8 dim: 9", "dim: 2 dim: 8 dim: 18"),
        {},
    ),
    "somebody else reads": (
        SPLIT + 'layer { name: "s" type: "Silence" bottom: "y_sum" }', {}),
    "a weighed sum": (
        SPLIT.replace('top: "y_sum"', 'top: "y_sum" loss_weight: 0.1'), {}),
    "no gradient goes down": (
        SPLIT.replace('bottom: "y_concat"', 'bottom: "y_concat" propagate_down: false'),
        {"y": Y_TERMS},
    ),
    "none into one side": (
        SPLIT.replace('bottom: "y_2" bottom: "y_post"', 'bottom: "y_2" bottom: "y_post" '
            "propagate_down: true propagate_down: false"),
        {"y": Y_TERMS},
    ),
    "a narrow middle": (
        HEAD + convolution("a", "below", 1, 3) + convolution("y", "a", 8) + LOSS, {}),
    "too few places": (SPLIT.replace("dim: 9 dim: 9", "dim: 3 dim: 3"), {}),
}  # fmt: skip


def ends(net):
    """{name of the end: names of the leaves of each term}."""
    return {
        net.nodes[number].name: [[net.nodes[leaf].name for leaf in term] for term in end.terms]
        for number, end in net._convolutions.ends.items()
    }


@pytest.mark.parametrize(("text", "wanted"), ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_linear_ends_give_the_same_numbers(build, text, wanted, phase):
    one, two = twins(build, text, phase=phase)
    assert ends(one) == wanted
    for ours, theirs in zip(passes(one, 2), passes(two, 2), strict=True):
        scale = max(1.0, np.abs(theirs).max())
        np.testing.assert_allclose(ours / scale, theirs / scale, rtol=1e-5, atol=1e-6)
    assert passes(one)[1].any()


def test_a_linear_end_makes_no_blob_in_between(build):
    net, calls = build(NESTED), []
    for node in net.nodes:
        forward = node.layer.forward
        node.layer.forward = lambda *given, name=node.name, forward=forward: (
            calls.append(name) or forward(*given)
        )
    net.forward_backward()
    splits = [name for name in calls if name.startswith(("x", "below_", "loss"))]
    assert [name for name in calls if name not in splits] == [
        "below",
        "y_1_1",  # with all its siblings
        "y_1_relu",
        "y_2_relu",
        "y_pre_relu",
        "y_pre_post",
        "y_relu",
        "y",  # of the three rectified blobs
    ]


def test_who_looks_at_blobs_sees_those_of_a_linear_end(build):
    one, two = twins(build, NESTED)
    seen = []
    for net in (one, two):
        torch.manual_seed(0)
        kept = {}
        net.forward(kept=kept)
        seen.append(kept)
    assert seen[0].keys() == seen[1].keys() >= {"y_2_sum", "y_pre_concat", "y_post"}
    for name in seen[0]:
        torch.testing.assert_close(seen[0][name], seen[1][name])


@pytest.mark.parametrize(("name", "count"), [("msplit1", 3), ("msplit2", 4)])
def test_the_splits_of_the_study_are_linear_ends_in_training(build, name, count, records):
    net = schema.read_net(f"prototxt/{name}.prototxt")
    for layer in net.layer:
        if layer.type == "Data":
            phase = "train" if layer.include[0].phase == caffe_pb.TRAIN else "test"
            layer.data_param.source = str(records / f"cifar10_{phase}_lmdb")
    assert len(ends(build(schema.to_text(net), "TRAIN"))) == count
