"""A child's weights: the table of starts, function kept by `preserve`, refusals, the command.

The nets are run by the project's own engine.
"""

import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import runner
from netgen import graph, schema
from netgen.errors import CaffeError
from netgen.growth.errors import SplitError, TransferError
from netgen.growth.plan import LayerPlan, Plan, to_json
from netgen.growth.split import split_net
from netgen.growth.start import NOISE, Init
from netgen.growth.transfer import transfer_weights
from netgen.schema import caffe_pb

ROOT = Path(__file__).parents[2]
PRESERVE = Init("preserve")


@pytest.fixture(autouse=True, scope="module")
def _quiet():
    with runner.quiet():
        yield


def parse(text):
    return schema.parse_text(text, caffe_pb.NetParameter)


def input_layer(*shape):
    dims = " ".join(f"dim: {d}" for d in shape)
    return f'layer {{ name: "in" type: "Input" top: "data" input_param {{ shape {{ {dims} }} }} }}'


def conv(name, bottom, top, outputs=4, geometry="kernel_size: 3 pad: 1"):
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{top}" '
        f"convolution_param {{ num_output: {outputs} {geometry} "
        'weight_filler { type: "msra" } bias_filler { type: "gaussian" std: 0.1 } } }'
    )


def one_layer(outputs=4, channels=3, geometry="kernel_size: 3 pad: 1", after=""):
    return parse(input_layer(2, channels, 7, 7) + conv("c", "data", "c", outputs, geometry) + after)


def engine(net, weights=None, seed=1, phase=caffe_pb.TEST):
    """The runnable net; weights: its caffemodel, or None for those of its fillers."""
    return runner.Net(net, weights, phase, seed=seed)


def drawn(net, seed=1):
    """A caffemodel of the net's fillers, its statistics (BatchNorm) not trivial."""
    built = engine(net, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for layer in built.layers:
        if layer.type == "BatchNorm":
            for blob, value in zip(built.params[layer.name], (0.1, 1.5, 1.0), strict=True):
                blob[:] = torch.rand(blob.shape, generator=generator) * 0.5 + value
    return built.to_proto()


def outputs(net, weights, seed=0):
    """{output: array} of the net on random input."""
    built = engine(net, weights)
    generator = torch.Generator().manual_seed(seed)
    ((name, shape),) = built.inputs.items()
    return built.forward(**{name: torch.randn(shape, generator=generator)})


def difference(net, weights, child, child_weights):
    """Largest difference of the outputs, relative to the largest of the parent's."""
    ours, theirs = outputs(net, weights), outputs(child, child_weights)
    assert ours.keys() == theirs.keys()
    largest = max(np.abs(a).max() for a in ours.values())
    worst = max(np.abs(ours[name] - theirs[name]).max() for name in ours)
    return worst / largest if largest else worst  # ReLUs may all be off


def blobs(weights, name):
    (layer,) = (layer for layer in weights.layer if layer.name == name)
    return [schema.blob_to_array(blob) for blob in layer.blobs]


def plan_of(*plans):
    return Plan(tuple(LayerPlan(*plan) for plan in plans))


# --- what each part starts from ---

FAST, SLOW = (3, 0), (1, 4, 2)


def test_study_start():
    net = one_layer(5)
    weights = drawn(net)
    weight, bias = blobs(weights, "c")
    new = transfer_weights(
        split_net(net, plan_of(("c", "residual", FAST, SLOW))), weights, Init(noise=0)
    )
    part = {layer.name: blobs(new, layer.name) for layer in new.layer}
    np.testing.assert_array_equal(part["c_split1"][0], weight[[0, 3]])
    np.testing.assert_array_equal(part["c_split1"][1], bias[[0, 3]])
    slow = weight[[1, 2, 4]]
    np.testing.assert_array_equal(part["c_split2"][0], slow)
    np.testing.assert_array_equal(part["c_split2"][1], bias[[1, 2, 4]])
    pre = part["c_split2_residual_pre"][0]
    np.testing.assert_allclose(pre[:, :, 1, 1], 1.8 * slow[:, :, 1, 1], rtol=1e-6)
    pre[:, :, 1, 1] = -0.2 * slow[:, :, 1, 1]
    np.testing.assert_allclose(pre, -0.2 * slow, rtol=1e-6)
    np.testing.assert_array_equal(part["c_split2_residual_post"][0][:, :, 0, 0], np.eye(3))
    reorder = part["c_reorder"][0][:, :, 0, 0]
    np.testing.assert_array_equal(reorder @ [0, 3, 1, 2, 4], range(5))
    assert sorted(reorder.ravel()) == [0] * 20 + [1] * 5
    for name in ("c_split2_residual_pre", "c_split2_residual_post", "c_reorder"):
        assert not part[name][1].any()


@pytest.mark.parametrize(("kernel", "centre"), [(1, 0), (2, 1), (4, 2), (5, 2)])
def test_the_centre_of_a_kernel(kernel, centre):
    net = one_layer(geometry=f"kernel_size: {kernel}")
    weights = drawn(net)
    new = transfer_weights(split_net(net, plan_of(("c", "residual", (0, 1), (2, 3)))), weights)
    ratio = blobs(new, "c_split2_residual_pre")[0] / blobs(weights, "c")[0][2:]
    expected = np.full((kernel, kernel), -0.2)
    expected[centre, centre] = 1.8
    np.testing.assert_allclose(ratio, np.broadcast_to(expected, ratio.shape), rtol=1e-5)


def test_preserve_zeroes_the_outgoing_side_alone():
    net = one_layer(5)
    weights = drawn(net)
    plan = plan_of(("c", "residual", FAST, SLOW))
    kept, study = (
        transfer_weights(split_net(net, plan), weights, init) for init in (PRESERVE, Init(noise=0))
    )
    assert not blobs(kept, "c_split2_residual_post")[0].any()
    for name in ("c_split1", "c_split2", "c_split2_residual_pre", "c_reorder"):
        for ours, theirs in zip(blobs(kept, name), blobs(study, name), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_noise_is_on_the_new_pointwise_weights_and_has_a_seed():
    net = one_layer(40)
    weights = drawn(net)
    plan = plan_of(("c", "residual", tuple(range(20)), tuple(range(20, 40))))

    def grown(**init):
        return transfer_weights(split_net(net, plan), weights, Init(**init))

    default, exact = grown(), grown(noise=0)
    for name in (
        "c_split1",
        "c_split2",
        "c_split2_residual_pre",
        "c_split2_residual_post",
        "c_reorder",
    ):
        (ours, bias), (theirs, _) = blobs(default, name), blobs(exact, name)
        noise = ours - theirs
        if name in ("c_split2_residual_post", "c_reorder"):
            assert noise.std() == pytest.approx(NOISE, rel=0.2)
            assert abs(noise.mean()) < 0.2 * NOISE
            assert not bias.any()
        else:
            assert not noise.any()
    assert grown() == default == grown(seed=0, noise=NOISE)
    assert grown(seed=1) != default
    reorder = [
        blobs(grown(noise=s), "c_reorder")[0] - blobs(exact, "c_reorder")[0] for s in (0.1, 0.2)
    ]
    np.testing.assert_allclose(2 * reorder[0], reorder[1], atol=1e-6)


def test_the_order_of_channels_and_layers_in_a_plan_changes_nothing():
    net = one_layer(5, after=conv("d", "c", "d"))
    weights = drawn(net)
    one = plan_of(("c", "residual", (0, 3), (1, 2, 4)), ("d", "extension", (1, 2), (0, 3)))
    other = plan_of(("d", "extension", (2, 1), (3, 0)), ("c", "residual", (3, 0), (4, 1, 2)))
    assert transfer_weights(split_net(net, one), weights) == transfer_weights(
        split_net(net, other), weights
    )


# --- function kept ---

SUCCESSORS = (
    "",
    'layer {{ name: "{0}_r" type: "ReLU" bottom: "{0}" top: "{0}" }}',
    'layer {{ name: "{0}_t" type: "TanH" bottom: "{0}" top: "{0}_t" }}',
    'layer {{ name: "{0}_b" type: "BatchNorm" bottom: "{0}" top: "{0}" }}'
    'layer {{ name: "{0}_p" type: "PReLU" bottom: "{0}" top: "{0}" }}',
    'layer {{ name: "{0}_e" type: "Eltwise" bottom: "{0}" bottom: "{0}" top: "{0}_e" }}',
)


@st.composite
def nets(draw):
    """A net of two to three convolutions of any geometry, and what may stand between."""
    channels = draw(st.sampled_from([2, 3, 4]))
    text, blob = [input_layer(2, channels, 9, 8)], "data"
    for i in range(draw(st.integers(2, 3))):
        group = draw(st.sampled_from([1, 1, 2])) if channels % 2 == 0 else 1
        outputs = group * draw(st.integers(2, 4))
        kernel, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        pad = draw(st.integers(0, 1)) + dilation * (kernel - 1) // 2
        bias = "" if draw(st.booleans()) else "bias_term: false"
        text.append(
            conv(
                f"c{i}",
                blob,
                f"c{i}",
                outputs,
                f"kernel_size: {kernel} pad: {pad} dilation: {dilation} group: {group} "
                f"stride: {draw(st.integers(1, 2))} {bias}",
            )
        )
        after = draw(st.sampled_from(SUCCESSORS)).format(f"c{i}")
        text.append(after)
        tops = parse(text[-1]).layer
        blob, channels = (tops[-1].top[0] if tops else f"c{i}"), outputs
    return parse("".join(text))


@st.composite
def plans(draw, net):
    """A plan for some convolutions of the net, of any kind that it can have."""
    chosen = []
    for info in graph.infer(net, caffe_pb.TEST):
        param = info.layer.convolution_param
        if info.layer.type != "Convolution" or param.num_output // param.group < 2:
            continue
        if chosen and not draw(st.booleans()):
            continue
        size = param.num_output // param.group
        fast = []
        count = draw(st.integers(1, size - 1))
        for g in range(param.group):
            within = draw(st.permutations(range(size)))[:count]
            fast += [g * size + channel for channel in within]
        slow = draw(st.permutations(sorted(set(range(param.num_output)) - set(fast))))
        (k, *_), _, (p, *_), (d, *_) = graph.conv_geometry(param, 2)
        can_skip = info.bottoms[0][1] == param.num_output and k % 2 and 2 * p == d * (k - 1)
        kinds = ["residual", "extension"] + ["skip"] * can_skip
        chosen.append(
            LayerPlan(info.layer.name, draw(st.sampled_from(kinds)), tuple(fast), tuple(slow))
        )
    return Plan(tuple(chosen))


def parameters(net):
    return {
        info.layer.name: sum(int(np.prod(shape)) for shape in info.shapes.params)
        for info in graph.infer(net, caffe_pb.TEST)
    }


def predicted(net, plan):
    """Parameters of the child, by the definition of the kinds."""
    counts = parameters(net)
    for step in plan.layers:
        param = next(x for x in net.layer if x.name == step.layer).convolution_param
        n, slow, bias = param.num_output, len(step.slow), param.bias_term
        row = counts[step.layer] // n - bias
        counts[step.layer] += (
            n * n
            + bias * n
            + {
                "residual": slow * row + bias * slow + slow * slow + bias * slow,
                "extension": slow * slow + bias * slow,
                "skip": slow * n,
            }[step.kind]
        )
    return sum(counts.values())


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_preserve_keeps_what_a_net_computes_and_so_does_a_second_split(data):
    net = data.draw(nets())
    weights = drawn(net, seed=data.draw(st.integers(0, 99)))
    generations = [(net, weights)]
    for _ in range(2):
        net, weights = generations[-1]
        plan = data.draw(plans(net))
        split = split_net(net, plan)
        assert sum(parameters(split.child).values()) == predicted(net, plan)
        generations.append((split.child, transfer_weights(split, weights, PRESERVE)))
        assert difference(*generations[0], *generations[-1]) < 1e-5


def test_an_extension_without_noise_keeps_what_the_net_computes():
    net = one_layer(5)
    weights = drawn(net)
    plan = plan_of(("c", "extension", FAST, SLOW))
    split = split_net(net, plan)
    assert (
        difference(net, weights, split.child, transfer_weights(split, weights, Init(noise=0))) == 0
    )
    assert 0 < difference(net, weights, split.child, transfer_weights(split, weights)) < 0.2


@pytest.mark.parametrize(
    "geometry",
    [
        "kernel_size: 3 pad: 1",
        "kernel_size: 3 pad: 2 dilation: 2 stride: 3",
        "kernel_size: 1",
        "kernel_h: 5 kernel_w: 3 pad_h: 2 pad_w: 1 stride_h: 2 stride_w: 1 group: 2",
    ],
)
def test_a_skip_adds_the_bottom_and_preserve_takes_it_off_the_kernels(geometry):
    net = one_layer(6, channels=6, geometry=geometry)
    weights = drawn(net)
    plan = plan_of(("c", "skip", (0, 4, 1, 5), (2, 3)))
    split = split_net(net, plan)
    kept = transfer_weights(split, weights, PRESERVE)
    assert difference(net, weights, split.child, kept) < 1e-6
    study = transfer_weights(split, weights, Init(noise=0))
    (image,) = engine(net).inputs.values()
    data = torch.randn(image, generator=torch.Generator().manual_seed(0)).numpy()
    stride = graph.conv_geometry(net.layer[1].convolution_param, 2).stride
    added = outputs(split.child, study)["c"] - outputs(net, weights)["c"]
    np.testing.assert_allclose(added[:, 2:4], data[:, 2:4, :: stride[0], :: stride[1]], atol=1e-5)
    # A processor may sum the smaller parts in another order.
    np.testing.assert_allclose(added[:, [0, 1, 4, 5]], 0, atol=1e-6)


@pytest.mark.parametrize("kind", ["residual", "extension"])
@pytest.mark.parametrize("axis", ["", "axis: -1", "axis: 2"])
def test_an_inner_product_is_split_and_preserved(kind, axis):
    product = (
        'layer {{ name: "{0}" type: "InnerProduct" bottom: "{1}" top: "{0}" inner_product_param {{ '
        'num_output: {2} {3} weight_filler {{ type: "msra" }} '
        'bias_filler {{ type: "gaussian" std: 0.1 }} }} }}'
    )
    net = parse(
        input_layer(2, 3, 5)
        + product.format("a", "data", 6, axis)
        + 'layer { name: "r" type: "ReLU" bottom: "a" top: "a" }'
        + product.format("b", "a", 3, "")
    )
    weights = drawn(net)
    split = split_net(net, plan_of(("a", kind, (5, 0, 2), (1, 3, 4))))
    types = {layer.type for layer in split.child.layer}
    assert "Convolution" not in types
    child = transfer_weights(split, weights, PRESERVE)
    assert difference(net, weights, split.child, child) < 1e-6
    if kind == "residual":
        slow = blobs(weights, "a")[0][[1, 3, 4]]
        pre, bias = blobs(child, "a_split2_residual_pre")
        assert pre == pytest.approx(1.8 * slow, rel=1e-5) and not bias.any()
        assert not blobs(child, "a_split2_residual_post")[0].any()
    legacy = caffe_pb.NetParameter()
    legacy.CopyFrom(weights)
    blob = next(layer for layer in legacy.layer if layer.name == "a").blobs[0]
    shape = list(blob.shape.dim)
    blob.ClearField("shape")
    blob.num, blob.channels, blob.height, blob.width = 1, 1, *shape
    assert transfer_weights(split, legacy, PRESERVE) == child


def test_inner_products_that_cannot_be_split():
    text = (
        'layer {{ name: "a" type: "InnerProduct" bottom: "data" top: "a" '
        "inner_product_param {{ num_output: 4 {} }} }}"
    )
    for more, kind, wanted in (
        ("transpose: true", "residual", "layer 'a' has transposed weights, which are not split"),
        ("", "skip", "layer 'a' cannot have a skip, as it is of type InnerProduct"),
        ("", "average", "layer 'a' cannot have a skip, as it is of type InnerProduct"),
    ):
        with pytest.raises(SplitError) as error:
            split_net(
                parse(input_layer(2, 4) + text.format(more)), plan_of(("a", kind, (0, 1), (2, 3)))
            )
        assert str(error.value) == wanted


@pytest.mark.parametrize(
    "geometry",
    ["kernel_size: 3 pad: 1 stride: 2", "kernel_size: 5 pad: 2 stride: 3", "kernel_size: 3 pad: 1"],
)
def test_an_average_adds_the_mean_of_squares_and_preserve_takes_it_off_the_kernels(geometry):
    net = parse(input_layer(2, 4, 6, 6) + conv("c", "data", "c", 4, geometry))
    weights = drawn(net)
    split = split_net(net, plan_of(("c", "average", (0, 2), (1, 3))))
    assert [layer.type for layer in split.child.layer][3:6] == ["Pooling", "Convolution", "Eltwise"]
    kept = transfer_weights(split, weights, PRESERVE)
    assert difference(net, weights, split.child, kept) < 1e-6
    added = transfer_weights(split, weights, Init("study", noise=0))
    (before,), (after,) = (
        outputs(*pair).values() for pair in ((net, weights), (split.child, added))
    )
    images = torch.randn((2, 4, 6, 6), generator=torch.Generator().manual_seed(0)).numpy()
    side = 6 // before.shape[2]
    mean = images.reshape(2, 4, 6 // side, side, 6 // side, side).mean((3, 5))
    wanted = before.copy()
    wanted[:, [1, 3]] += mean[:, [1, 3]]
    assert after == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(
    ("side", "geometry"),
    [(7, "kernel_size: 3 pad: 1 stride: 2"), (6, "kernel_size: 3 pad: 1 stride: 3")],
)
def test_averages_whose_squares_do_not_fit(side, geometry):
    net = parse(input_layer(2, 4, side, side) + conv("c", "data", "c", 4, geometry))
    with pytest.raises(SplitError, match="cannot have an average, whose squares must fill the bot"):
        split_net(net, plan_of(("c", "average", (0, 2), (1, 3))))


def test_a_batch_norm_of_statistics_is_copied_and_foreign_layers_are_not():
    net = one_layer(after='layer { name: "b" type: "BatchNorm" bottom: "c" top: "c" }')
    weights = drawn(net)
    weights.layer.add(name="c_split1", type="Convolution")  # of some other net
    new = transfer_weights(
        split_net(net, plan_of(("c", "residual", (0, 1), (2, 3)))), weights, PRESERVE
    )
    assert next(x for x in new.layer if x.name == "b") == weights.layer[-2]
    assert [layer.name for layer in new.layer] == [
        layer.name
        for layer in split_net(net, plan_of(("c", "residual", (0, 1), (2, 3)))).child.layer
    ]
    assert blobs(new, "c_split1")[0].shape == (2, 3, 3, 3)


def test_blobs_of_older_files():
    net = one_layer()
    weights = drawn(net)
    plan = plan_of(("c", "residual", (0, 1), (2, 3)))
    new = transfer_weights(split_net(net, plan), weights)
    weight, bias = weights.layer[-1].blobs
    for blob, shape in ((weight, (4, 3, 3, 3)), (bias, (1, 1, 1, 4))):
        blob.ClearField("shape")
        blob.num, blob.channels, blob.height, blob.width = shape
    assert transfer_weights(split_net(net, plan), weights) == new


# --- refusals ---


@pytest.mark.parametrize(
    ("net", "kind", "error"),
    [
        (one_layer(after=conv("d", "c", "d")), "residual", "there are no weights of layer 'd'"),
        (
            one_layer(6),
            "residual",
            "layer 'c' has 6 outputs in the net and blobs of shape "
            "4 3 3 3 (108) and 4 (4) in the weights",
        ),
        (
            one_layer(geometry="kernel_size: 3 bias_term: false"),
            "residual",
            "layer 'c' has 1 blobs in the net and 2 in the weights",
        ),
        (
            one_layer(geometry="kernel_size: 5"),
            "residual",
            "layer 'c' has kernel 5 5 in the net and 3 3 in the weights",
        ),
        (
            one_layer(channels=4),
            "skip",
            "layer 'c' cannot have a skip: it has 4 outputs, and its weights are for 3 channels",
        ),
    ],
)
def test_weights_of_another_net(net, kind, error):
    name = "d" if "'d'" in error else "c"
    count = next(x for x in net.layer if x.name == name).convolution_param.num_output
    plan = plan_of((name, kind, (0,), tuple(range(1, count))))
    with pytest.raises(TransferError) as caught:
        transfer_weights(split_net(net, plan), drawn(one_layer()))
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"kind": "random"}, "Unknown init: 'random' (known: study, preserve)"),
        ({"noise": -1}, "noise must be at least 0, not -1"),
        ({"noise": float("nan")}, "noise must be at least 0, not nan"),
        ({"seed": -1}, "seed must be a whole number of at least 0, not -1"),
        ({"kind": "preserve", "noise": 0.1}, "init preserve has no noise (noise 0.1)"),
    ],
)
def test_wrong_inits(options, error):
    with pytest.raises(CaffeError) as caught:
        Init(**options)
    assert str(caught.value) == error


# --- the command ---


@pytest.fixture
def files(tmp_path):
    net = one_layer(5)
    schema.write_text(net, tmp_path / "net.prototxt")
    schema.write_binary(drawn(net), tmp_path / "net.caffemodel")
    (tmp_path / "plan.json").write_text(to_json(plan_of(("c", "residual", FAST, SLOW))))
    return tmp_path


def command(*arguments, cwd, **options):
    words = [
        sys.executable,
        "-m",
        "netgen",
        "transfer",
        "net.prototxt",
        "net.caffemodel",
        "--plan",
        "plan.json",
        *map(str, arguments),
    ]
    return subprocess.run(
        words,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **({"capture_output": True} | options),
    )


def test_command_writes_to_stdout_and_to_a_file(files):
    shown = command("--init", "study", "--noise", 0.02, "--seed", 3, cwd=files)
    assert (shown.returncode, shown.stderr) == (0, b"")
    expected = transfer_weights(
        split_net(schema.read_net(files / "net.prototxt"), plan_of(("c", "residual", FAST, SLOW))),
        schema.read_caffemodel(files / "net.caffemodel"),
        Init("study", 0.02, 3),
    )
    assert caffe_pb.NetParameter.FromString(shown.stdout) == expected
    assert command("--init", "preserve", "-o", "child.caffemodel", cwd=files).stdout == b""
    assert not blobs(schema.read_caffemodel(files / "child.caffemodel"), "c_split2_residual_post")[
        0
    ].any()


def test_a_terminal_gets_no_weights(files):
    reader, writer = pty.openpty()
    result = command(cwd=files, capture_output=False, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    os.close(reader)
    assert (result.returncode, result.stderr) == (
        1,
        b"netgen: weights are binary and would garble the terminal: give -o FILE, or > FILE\n",
    )


def test_errors_name_the_file(files):
    schema.write_text(one_layer(5, geometry="kernel_size: 5"), files / "net.prototxt")
    result = command("-o", "child.caffemodel", cwd=files)
    assert (result.returncode, result.stderr) == (
        1,
        b"netgen: net.caffemodel: layer 'c' has kernel 5 5 in the net and 3 3 in the weights\n",
    )
    schema.write_text(one_layer(6), files / "net.prototxt")
    assert command("-o", "child.caffemodel", cwd=files).stderr == (
        b"netgen: net.prototxt: layer 'c' has 6 outputs, the plan names 5\n"
    )
    assert not (files / "child.caffemodel").exists()
