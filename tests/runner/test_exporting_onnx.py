"""`caffe export` to ONNX: onnxruntime and OpenCV compute what the engine computes."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from trained import as_trained

import runner
from netgen import cli, from_onnx, growth, nets, schema
from netgen.errors import CaffeError
from netgen.nets import resnet
from netgen.schema import caffe_pb
from runner import Layer, LayerShapes, rule

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason="the extra export is not installed")

import onnx  # noqa: E402
import onnxruntime  # noqa: E402

ROOT = Path(__file__).parents[2]
RANDOM = np.random.default_rng(0)


def net_of(text, seed=1):
    return runner.Net(schema.parse_text('name: "n" ' + text, caffe_pb.NetParameter), seed=seed)


def inputs(**shapes):
    return " ".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        + " ".join(f"dim: {size}" for size in shape)
        + " } } }"
        for name, shape in shapes.items()
    )


def layer(kind, bottom, top, body=""):
    bottoms = " ".join(f'bottom: "{name}"' for name in bottom.split())
    tops = " ".join(f'top: "{name}"' for name in top.split())
    return f' layer {{ name: "{top.split()[0]}" type: "{kind}" {bottoms} {tops} {body} }}'


def onnx_runs(path, **values):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {name: np.float32(value) for name, value in values.items()})
    return dict(zip(names, found, strict=True))


def dims(values):
    return {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in values
    }


def agree(found, wanted, tolerance=1e-5):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].shape == value.shape, name
        assert np.abs(found[name] - value).max() <= tolerance * np.abs(value).max(), name


@pytest.mark.parametrize("name", nets.NETS)
def test_every_bundled_net(name, tmp_path):
    path = tmp_path / "net.onnx"
    net = as_trained(nets.build_net(name, nets.NetOptions(width=0.25), deploy=True))
    assert runner.export(net, path)["prob"] < 1e-5
    model = onnx.load(path)
    (_, *image), scores = net.inputs["data"], net.blob_shapes["prob"][1:]
    assert dims(model.graph.input) == {"data": ["batch", *image]}
    assert dims(model.graph.output) == {"prob": ["batch", *scores]}
    assert not {"BatchNormalization", "Dropout", "Identity"} & {n.op_type for n in model.graph.node}
    data = RANDOM.normal(size=(5, *image)).astype(np.float32)
    agree(onnx_runs(path, data=data), net.forward(data=data))
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not needed, only compared")
    read = cv2.dnn.readNetFromONNX(str(path))
    read.setInput(data[:1], "data")
    agree({"prob": read.forward()}, net.forward(data=data[:1]))
    agree(comes_back(net, path).forward(data=data[:1]), net.forward(data=data[:1]))


def comes_back(net, path):
    """The net that an export is again, once it is found to have the layers of `net`.

    BatchNorm and Scale are in the convolutions before them, Dropout is nothing in a test, and
    what makes a shortcut narrower and deeper is other layers than it was.
    """
    found = from_onnx.convert(from_onnx.read_model(path))
    assert layers_of(found.net.layer) == layers_of(net.layers)
    return runner.Net(found.net, weights=found.weights)


def layers_of(layers):
    return [
        (layer.name, layer.type)
        for layer in layers
        if layer.type not in ("BatchNorm", "Dropout", "Scale", "Split")
        and "shortcut" not in layer.name
    ]


#: Where Caffe's rounding up of sizes, its cut windows and its divisors differ from others'.
WINDOWS = {
    "plain": "kernel_size: 2 stride: 2",
    "overhang": "kernel_size: 3 stride: 2",
    "padded": "kernel_size: 3 stride: 2 pad: 1",
    "padded_overhang": "kernel_size: 2 stride: 2 pad: 1",
    "gaps": "kernel_size: 2 stride: 3",
    "gaps_padded": "kernel_size: 2 stride: 3 pad: 1",
    "far_padded": "kernel_size: 4 stride: 3 pad: 3",
    "wide": "kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 2 pad_w: 0",
    "floor": "kernel_size: 3 stride: 2 pad: 1 round_mode: FLOOR",
    "whole": "global_pooling: true",
}


def test_pooling_rounds_clips_and_counts_as_caffe_does(tmp_path):
    text = inputs(x=(2, 3, 7, 8))
    for name, window in WINDOWS.items():
        for pool in ("MAX", "AVE"):
            body = f"pooling_param {{ pool: {pool} {window} }}"
            text += layer("Pooling", "x", f"{name}_{pool}", body)
    net = net_of(text)
    runner.export(net, tmp_path / "net.onnx")
    x = RANDOM.normal(size=(3, 3, 7, 8)) - 3
    agree(onnx_runs(tmp_path / "net.onnx", x=x), net.forward(x=x), 1e-6)


def test_layers_of_many_kinds_with_a_batch_of_any_size(tmp_path):
    text = inputs(x=(2, 4, 6, 6), y=(2, 4, 6, 6), words=(2, 5))
    text += layer("Convolution", "x", "conv", "convolution_param { num_output: 4 kernel_size: 3 "
                  'dilation: 2 pad: 2 group: 2 weight_filler { type: "xavier" } }')  # fmt: skip
    text += layer("Deconvolution", "conv", "deconv", "convolution_param { num_output: 3 "
                  'kernel_size: 3 stride: 2 weight_filler { type: "xavier" } }')  # fmt: skip
    text += layer("BatchNorm", "conv", "norm") + layer("PReLU", "norm", "prelu")
    text += layer("Scale", "prelu y", "gate", "scale_param { axis: 0 }")
    text += layer("Bias", "y", "bias")
    text += layer("LRN", "x", "lrn") + layer("ELU", "lrn", "elu") + layer("TanH", "elu", "tanh")
    text += layer("Power", "tanh", "power", "power_param { power: 2 scale: 0.5 shift: 3 }")
    text += layer("Eltwise", "power gate", "product", "eltwise_param { operation: PROD }")
    text += layer("Eltwise", "x y", "sum", "eltwise_param { coeff: 2 coeff: -0.5 }")
    text += layer("Eltwise", "x y sum", "most", "eltwise_param { operation: MAX }")
    text += layer("Slice", "most", "first rest", "slice_param { slice_point: 1 }")
    text += layer("Concat", "rest product first", "joined") + layer("Flatten", "joined", "flat")
    text += layer("InnerProduct", "flat", "ip", "inner_product_param { num_output: 6 "
                  'weight_filler { type: "xavier" } }')  # fmt: skip
    text += layer("Reshape", "ip", "shaped", "reshape_param { shape { dim: 0 dim: 2 dim: -1 } }")
    text += layer("Reshape", "ip", "rows", "reshape_param { shape { dim: -1 dim: 3 } }")
    text += layer("Crop", "y elu", "crop", "crop_param { axis: 3 }")
    text += layer("Tile", "crop", "tile", "tile_param { axis: 1 tiles: 2 }")
    text += layer("Reduction", "tile", "mean", "reduction_param { axis: 1 operation: MEAN }")
    text += layer("MVN", "y", "mvn") + layer("Sigmoid", "mvn", "sigmoid")
    text += layer("Embed", "words", "embed", "embed_param { num_output: 3 input_dim: 7 "
                  'weight_filler { type: "gaussian" } }')  # fmt: skip
    text += layer("ArgMax", "shaped", "best")
    text += layer("ArgMax", "ip", "two", "argmax_param { top_k: 2 out_max_val: true }")
    text += layer("Softmax", "ip", "softmax")
    text += layer("Normalize", "y", "unit", "norm_param { channel_shared: false }")
    text += layer("Permute", "unit", "moved", "permute_param { order: 0 order: 2 order: 3 }")
    text += layer("Interp", "y", "zoomed", "interp_param { height: 11 width: 9 }")
    text += layer("PriorBox", "conv x", "priors", "prior_box_param { min_size: 2 }")
    net = as_trained(net_of(text).to_proto())
    runner.export(net, tmp_path / "net.onnx")
    shapes = dims(onnx.load(tmp_path / "net.onnx").graph.output)
    rows, three = shapes["rows"]
    assert "batch" in rows and three == 3 and shapes["priors"] == [1, 2, 6 * 6 * 4]
    for batch in (1, 4):
        values = {n: RANDOM.normal(size=(batch, *s[1:])) for n, s in net.inputs.items()}
        values["words"] = RANDOM.integers(0, 7, size=(batch, 5))
        agree(onnx_runs(tmp_path / "net.onnx", **values), net.forward(**values))


ALEXNET = layer("Convolution", "x", "conv1", "convolution_param { num_output: 8 kernel_size: 5 "
                'stride: 2 weight_filler { type: "xavier" } }')  # fmt: skip
ALEXNET += layer("ReLU", "conv1", "relu1") + layer("LRN", "relu1", "norm1", "lrn_param { "
                 "local_size: 5 alpha: 0.5 beta: 0.75 k: 2 }")  # fmt: skip
ALEXNET += layer("Pooling", "norm1", "pool1", "pooling_param { kernel_size: 3 stride: 2 }")
ALEXNET += layer("Convolution", "pool1", "conv2", "convolution_param { num_output: 6 pad: 2 "
                 'kernel_size: 5 group: 2 weight_filler { type: "xavier" } }')  # fmt: skip
INCEPTION = layer("LRN", "conv2", "norm2", "lrn_param { local_size: 3 alpha: 1 }")
INCEPTION += layer("Convolution", "norm2", "one", "convolution_param { num_output: 4 "
                   'kernel_size: 1 weight_filler { type: "xavier" } }')  # fmt: skip
INCEPTION += layer("Pooling", "norm2", "most", "pooling_param { kernel_size: 3 stride: 1 pad: 1 }")
INCEPTION += layer("Concat", "one most", "both")
PYRAMID = ""
for _level in (1, 2, 3):  # PSPNet's means of parts, at the size that they came from
    _window = f"pool: AVE kernel_size: {_level + 1} stride: {_level + 1}"
    PYRAMID += layer("Pooling", "conv2", f"part{_level}", f"pooling_param {{ {_window} }}")
    PYRAMID += layer(
        "Interp", f"part{_level}", f"back{_level}", "interp_param { height: 6 width: 7 }"
    )
PYRAMID += layer("Concat", "conv2 back1 back2 back3", "scene")
PYRAMID += layer("Upsample", "scene", "twice", "upsample_param { scale: 2 }")


@pytest.mark.parametrize(
    ("text", "operators"),
    [
        (ALEXNET, {"LRN": 1}),
        (ALEXNET + INCEPTION, {"LRN": 2}),
        (ALEXNET + PYRAMID, {"LRN": 1, "Resize": 4}),
    ],
    ids=["AlexNet", "GoogLeNet", "PSPNet"],
)
@pytest.mark.skipif(not hasattr(torch.onnx.ops, "symbolic"), reason="older than PyTorch 2.8")
def test_one_operator_for_what_onnx_has_as_one(text, operators, tmp_path):
    """As OpenCV reads them: an LRN, and a Resize by constant factors."""
    path = tmp_path / "net.onnx"
    net = net_of(inputs(x=(1, 3, 27, 31)) + text)
    runner.export(net, path)
    found = [node.op_type for node in onnx.load(path).graph.node]
    assert {name: found.count(name) for name in operators} == operators
    assert not {"Pow", "Shape"} & set(found)
    x = RANDOM.normal(size=(3, 3, 27, 31)).astype(np.float32)
    agree(onnx_runs(path, x=x), net.forward(x=x))
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not needed, only compared")
    read = cv2.dnn.readNetFromONNX(str(path))
    for image in (x[:1], x):
        read.setInput(image, "x")
        agree({net.outputs[0]: read.forward(net.outputs[0])}, net.forward(x=image))


def test_what_keeps_a_norm_of_zero_from_giving_nan_stays(tmp_path):
    """onnxscript's optimizer takes 1e-10 for 0, and so a sum with it for none."""
    text = layer("Normalize", "x", "unit", "norm_param { across_spatial: false }")
    net = net_of(inputs(x=(2, 3, 4, 4)) + text + layer("MVN", "x", "mvn"))
    runner.export(net, tmp_path / "net.onnx")
    x = RANDOM.normal(size=(2, 3, 4, 4))
    x[0] = x[1, :, :2] = 0
    agree(onnx_runs(tmp_path / "net.onnx", x=x), net.forward(x=x))


LSTM = (
    inputs(x=(3, 2, 5), cont=(3, 2))
    + layer(
        "LSTM",
        "x cont",
        "lstm",
        'recurrent_param { num_output: 4 weight_filler { type: "xavier" } }',
    )  # fmt: skip
)


def test_the_time_steps_of_an_lstm_are_as_many_as_they_are(tmp_path):
    path = tmp_path / "net.onnx"
    with pytest.raises(CaffeError) as caught:
        runner.export(net_of(LSTM), path)
    assert str(caught.value) == (
        "layer 'lstm' (LSTM) wants one size of the first axis; -batch N fixes its size"
    )
    assert not path.exists()
    runner.export(net_of(LSTM), path, batch=3)
    assert dims(onnx.load(path).graph.input) == {"x": [3, 2, 5], "cont": [3, 2]}
    values = {"x": RANDOM.normal(size=(3, 2, 5)), "cont": [[0, 1], [1, 0], [1, 1]]}
    agree(onnx_runs(path, **values), net_of(LSTM).forward(**values))


def test_the_net_is_left_as_it_is(tmp_path):
    net, values = net_of(LSTM), {"x": RANDOM.normal(size=(3, 2, 5)), "cont": np.ones((3, 2))}
    net.forward(**values)
    runner.export(net, tmp_path / "net.onnx", batch=3)
    same = net_of(LSTM)
    same.forward(**values)
    assert np.array_equal(net.forward()["lstm"], same.forward()["lstm"])  # states carried over


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            inputs(x=(1, 2, 4, 4), y=(1, 5))
            + layer("ROIPooling", "x y", "roi", "roi_pooling_param { pooled_h: 2 pooled_w: 2 }")
            + layer("BatchNorm", "roi", "norm", "batch_norm_param { use_global_stats: false }"),
            "net 'n' cannot be exported with 'roi' (ROIPooling: where it looks depends on the "
            "regions' values), 'norm' (BatchNorm: it normalizes with the batch's own statistics): "
            "leave such layers out, and what they read are its outputs",
        ),
        (
            inputs(x=(1, 2)) + layer("ReLU", "x", "x"),
            "net 'n': blob 'x' is an input and an output: no layer reads it, or one writes it in "
            "place, whose top then needs a name of its own",
        ),
        (
            layer("DummyData", "", "x", "dummy_data_param { shape { dim: 1 } }"),
            "net 'n' has no Input layer: export its deploy net",
        ),
        (
            inputs(x=(1, 2, 3, 3)) + layer("BatchNorm", "x", "a") + layer("Log", "a", "log"),
            "net 'n': output 'log' is no number on random input, which no runtime can be compared "
            "with: are these the weights of a training?",
        ),
    ],
)
def test_refused_in_one_line(text, line, tmp_path):
    with pytest.raises(CaffeError) as caught:
        runner.export(net_of(text.replace('bottom: ""', "")), tmp_path / "net.onnx")
    assert str(caught.value) == line
    assert not list(tmp_path.iterdir())


@rule("OtherwiseTraced")
def _shapes(setup):
    return LayerShapes(tops=list(setup.bottoms))


class OtherwiseTraced(Layer, type="OtherwiseTraced"):
    """What torch.export sees is not what the engine runs."""

    def forward(self, bottoms, blobs):
        return [bottoms[0] * (1.01 if torch.compiler.is_compiling() else 1)]


def test_a_difference_is_not_written(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_text("before")
    net = net_of(inputs(x=(2, 3)) + layer("OtherwiseTraced", "x", "y"))
    with pytest.raises(CaffeError) as caught:
        runner.export(net, path)
    assert str(caught.value) == (
        f"{path}: not written: output 'y' differs from the engine's by 1.0e-02 in onnxruntime, "
        "more than 0.0001 of its largest value"
    )
    assert [p.read_text() for p in tmp_path.iterdir()] == ["before"]


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(CaffeError) as caught:
        runner.export(net_of(inputs(x=(1, 2)) + layer("ReLU", "x", "y")), tmp_path / "net.onnx")
    assert str(caught.value) == (
        "the package onnxscript is not installed: pip install 'caffe-split[export]'"
    )


def test_the_command(caffe, work):
    schema.write_text(
        nets.build_net("lenet", nets.NetOptions(width=0.25), deploy=True), "d.prototxt"
    )
    runner.Net("d.prototxt", seed=1).save("w.caffemodel")
    done = caffe(
        "export", "-model", "d.prototxt", "-weights", "w.caffemodel", "-o", "n.onnx", "-batch", "3"
    )
    assert (done.status, done.err) == (0, "")
    first, second = done.out.splitlines()
    assert first == f"Wrote n.onnx, {Path('n.onnx').stat().st_size:,} bytes"
    assert re.fullmatch(
        r"prob: onnxruntime differs by \d\.\de[-+]\d\d of the largest value", second
    )
    assert dims(onnx.load("n.onnx").graph.input) == {"data": [3, 1, 28, 28]}
    assert ROOT.as_posix().encode() not in Path("n.onnx").read_bytes()


def test_a_grown_child_comes_back(caffe, work):
    """Split, exported and converted by the commands, a residual net computes the same."""
    parent = resnet.resnet(1, "ResNet8", nets.NetOptions(width=0.25), deploy=True)
    schema.write_text(parent, "parent.prototxt")
    plan = growth.Plan(
        (
            growth.LayerPlan("stage1_block1_conv1", "residual", (0, 2), (1, 3)),
            growth.LayerPlan("stage2_block1_conv2", "residual", (1, 4, 5), (0, 2, 3, 6, 7)),
        )
    )
    Path("plan.json").write_text(growth.to_json(plan))
    assert (
        cli.main(["split", "parent.prototxt", "--plan", "plan.json", "-o", "child.prototxt"]) == 0
    )
    as_trained(schema.read_net("child.prototxt")).save("child.caffemodel")
    words = (
        "-model",
        "child.prototxt",
        "-weights",
        "child.caffemodel",
        "-o",
        "child.onnx",
        "-batch",
        "1",
    )
    assert caffe("export", *words).status == 0
    words = ["child.onnx", "-o", "back.prototxt", "--weights", "back.caffemodel", "--no-check"]
    assert cli.main(["from-onnx", *words]) == 0
    child = runner.Net("child.prototxt", "child.caffemodel")
    back = runner.Net("back.prototxt", "back.caffemodel")
    data = RANDOM.normal(size=child.inputs["data"])
    agree(back.forward(data=data), child.forward(data=data))
    parts = {layer.name for layer in child.layers if "conv2_split" in layer.name}
    assert parts and parts <= {layer.name for layer in back.layers}


def test_the_page_as_it_stands(caffe, work):
    """docs/export.md: its commands, then its Python."""
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not needed, only compared")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip("this OpenCV has no Caffe importer: it needs 4.x")
    page = (ROOT / "docs/export.md").read_text()
    Path("prototxt").symlink_to(ROOT / "prototxt")
    runner.Net("prototxt/lenet_deploy.prototxt", seed=1).save("lenet.caffemodel")
    commands = re.findall(r"^    caffe (.+)$", page, re.MULTILINE)
    for words in commands:
        assert caffe(*words.split()).status == 0, words
    assert len(commands) == 4
    assert Path("back.caffemodel").read_bytes() == Path("lenet.caffemodel").read_bytes()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    for block in blocks:
        exec(compile(block, "docs/export.md", "exec"), names)
    for read in (names["net"], names["same"]):
        image = np.float32(RANDOM.normal(size=(1, 1, 28, 28)))
        read.setInput(image, "data")
        wanted = runner.Net("prototxt/lenet_deploy.prototxt", "lenet.caffemodel")
        agree({"prob": read.forward()}, wanted.forward(data=image))
    assert len(blocks) == 2
