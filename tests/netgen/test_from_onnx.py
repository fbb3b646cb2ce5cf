"""`python -m netgen from-onnx`: what it writes, how it names, and what it refuses."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx_models  # noqa: E402
import onnx_nodes  # noqa: E402
import tiny  # noqa: E402

import runner  # noqa: E402
from netgen import cli, from_onnx, schema  # noqa: E402
from netgen.from_onnx import ConversionError  # noqa: E402
from netgen.from_onnx.check import check  # noqa: E402
from netgen.from_onnx.rules import RULES  # noqa: E402
from netgen.from_onnx.training import with_classes  # noqa: E402

ROOT = Path(__file__).parents[2]


def netgen(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "netgen", "from-onnx", *map(str, arguments)],
        cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, capture_output=True,
    )  # fmt: skip


def model(text, seed=0, opset=17, **weights):
    """The model of onnx's own text format; weights: shapes of constants drawn at random."""
    random = np.random.default_rng(seed)
    made = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> net {text}')
    for name, shape in weights.items():
        array = shape if isinstance(shape, np.ndarray) else random.standard_normal(shape)
        if array.dtype == np.float64:
            array = np.asarray(array, np.float32)
        made.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return made


def converted(made, target="bvlc", **options):
    """The conversion, once it has been found to compute what the model does."""
    found = from_onnx.convert(from_onnx.graph_of(made), from_onnx.TARGETS[target], **options)
    assert max(d.relative for d in check(made, found, run=onnx_models.in_process)) < 2e-6
    return found


def types(found):
    return [layer.type for layer in found.net.layer]


BLOCK = """(float[1,4,6,6] data) => (float[1,4,6,6] block) {
    a = Conv<pads=[1,1,1,1]>(data, conv1_weight)
    b = BatchNormalization(a, bn1_weight, bn1_bias, bn1_running_mean, bn1_running_var)
    c = Relu(b)
    d = Add(c, data)
    block = Relu(d)
}"""
STATISTICS = {
    "bn1_weight": np.linspace(0.5, 1, 4), "bn1_bias": 4, "bn1_running_mean": 4,
    "bn1_running_var": np.linspace(1, 2, 4),
}  # fmt: skip


def test_a_block_as_a_person_writes_it():
    found = converted(model(BLOCK, conv1_weight=(4, 4, 3, 3), **STATISTICS))
    assert schema.to_text(found.net) == (
        'name: "net"\n'
        'layer {\n  name: "data"\n  type: "Input"\n  top: "data"\n  input_param {\n'
        "    shape {\n      dim: 1\n      dim: 4\n      dim: 6\n      dim: 6\n    }\n  }\n}\n"
        'layer {\n  name: "conv1"\n  type: "Convolution"\n  bottom: "data"\n  top: "conv1"\n'
        "  convolution_param {\n    num_output: 4\n    pad: 1\n    kernel_size: 3\n  }\n}\n"
        'layer {\n  name: "relu1"\n  type: "ReLU"\n  bottom: "conv1"\n  top: "conv1"\n}\n'
        'layer {\n  name: "sum1"\n  type: "Eltwise"\n  bottom: "conv1"\n  bottom: "data"\n'
        '  top: "block"\n}\n'
        'layer {\n  name: "relu2"\n  type: "ReLU"\n  bottom: "block"\n  top: "block"\n}\n'
    )


def test_batch_norm_kept_is_in_place():
    made = model(BLOCK, conv1_weight=(4, 4, 3, 3), **STATISTICS)
    found = converted(made, keep_batch_norm=True)
    assert types(found) == ["Input", "Convolution", "BatchNorm", "Scale", "ReLU", "Eltwise", "ReLU"]
    assert [layer.name for layer in found.net.layer][2:4] == ["bn1", "bn1_scale"]
    assert {top for layer in found.net.layer[1:5] for top in layer.top} == {"conv1"}


def test_nothing_is_written_over_that_somebody_reads():
    found = converted(
        model(
            """(float[1,3,4,4] x) => (float[1,3,4,4] y, float[1,3,4,4] z) {
                a = Sigmoid(x)
                y = Relu(a)
                b = Conv(x, w)
                c = Relu(b)
                z = Mul(b, c)
            }""",
            w=(3, 3, 1, 1),
        )
    )
    assert not any(set(layer.top) & set(layer.bottom) for layer in found.net.layer)


def test_names_are_legal_and_unique():
    found = converted(
        model(
            """(float[1,3,4,4] "in:put") => (float[1,3,4,4] "out/put") {
                a = Conv("in:put", "a.b.weight")
                c = Relu(a)
                d = Conv(c, "a/b.weight")
                "out/put" = Conv(d, "0.weight")
            }""".replace('"in:put"', "in_put").replace('"out/put"', "out_put")
            .replace('"a.b.weight"', "ab_weight").replace('"a/b.weight"', "ab__weight")
            .replace('"0.weight"', "w0_weight"),
            ab_weight=(3, 3, 1, 1), ab__weight=(3, 3, 1, 1), w0_weight=(3, 3, 1, 1),
        )
    )  # fmt: skip
    assert [layer.name for layer in found.net.layer] == ["in_put", "ab", "relu1", "ab_2", "w0"]
    assert found.net.layer[-1].top == ["out_put"]
    assert (found.inputs, found.outputs) == ({"in_put": "in_put"}, {"out_put": "out_put"})


@pytest.mark.parametrize(
    ("size", "window", "target", "expected"),
    [
        (8, "kernel_shape=[2,2], strides=[2,2]", "plain", ["Pooling"]),
        (9, "kernel_shape=[2,2], strides=[2,2], ceil_mode=1", "plain", ["Pooling"]),
        (9, "kernel_shape=[2,2], strides=[2,2]", "bvlc", ["Pooling"]),
        (8, "kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]", "bvlc", ["Pooling"]),
        (8, "kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]", "plain",
         ["Pooling", "Slice", "Silence", "Slice", "Silence"]),
        (8, "kernel_shape=[3,3], strides=[2,2], pads=[0,0,1,1]", "plain", ["Pooling"]),
        (8, 'kernel_shape=[3,3], strides=[2,2], auto_pad="SAME_UPPER"', "bvlc", ["Pooling"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
def test_pools_round_as_onnx_does(kind, size, window, target, expected):
    found = converted(
        model(f"(float[2,3,{size},{size}] x) => (float[n,c,h,w] y) {{ y = {kind}<{window}>(x) }}"),
        target,
    )
    # Caffe counts padding in the divisor, ONNX does not unless it is told to.
    padded = any(found.net.layer[1].pooling_param.HasField(name) for name in ("pad", "pad_h"))
    divisor = ["Scale"] * (kind == "AveragePool" and padded)
    assert types(found)[1:] == expected + divisor


@pytest.mark.parametrize(
    ("pads", "strides", "kernel"),
    [((0, 0, 1, 1), 2, 4), ((1, 1, 0, 0), 1, 4), ((1, 1, 1, 1), 2, 3), ((0, 1, 2, 1), 1, (5, 3))],
)
def test_paddings_that_differ_make_the_kernel_larger(pads, strides, kernel):
    found = converted(
        model(
            f"""(float[2,3,8,8] x) => (float[n,c,h,w] y) {{
                y = Conv<pads={list(pads)}, strides=[{strides}, {strides}]>(x, w)
            }}""",
            w=(4, 3, 3, 3),
        )
    )
    param = found.net.layer[1].convolution_param
    both = (param.kernel_h, param.kernel_w) if param.kernel_h else param.kernel_size[0]
    assert both == kernel


IMAGE, SEQUENCE = "float[2,3,8,6] x", "float[5,2,3] x"


@pytest.mark.parametrize(
    ("given", "body", "weights", "expected"),
    [
        (IMAGE, "y = Gelu(x)", {}, "AbsVal Power Power Power Power Power Eltwise Power Exp Eltwise "
         "Eltwise ReLU Eltwise"),
        (IMAGE, 'y = Gelu<approximate="tanh">(x)', {}, "Power Eltwise Sigmoid Eltwise"),
        (IMAGE, "a = Erf(x)  y = Relu(a)", {}, None),
        (IMAGE, "y = Softsign(x)", {}, "AbsVal Power Eltwise"),
        (IMAGE, "y = Sign(x)", {}, "Threshold Power Threshold Eltwise"),
        (IMAGE, "y = LayerNormalization<axis=-1>(x, w, b)", {"w": 6, "b": 6},
         "Reshape BatchNorm Reshape Scale"),
        (IMAGE, "y = LayerNormalization<axis=1, epsilon=0.1>(x, w)", {"w": (3, 8, 6)}, None),
        (IMAGE, "y = GroupNormalization<num_groups=1>(x, w, b)", {"w": 1, "b": 1}, None),
        (IMAGE, "y = PRelu(x, w)", {"w": (3, 8, 6)}, "ReLU Power ReLU Scale Eltwise"),
        (IMAGE, "y = Pad<mode=\"reflect\">(x, p)", {"p": np.array([0, 0, 2, 1, 0, 0, 1, 0])},
         "Slice Concat Slice Concat"),
        (IMAGE, "y = Pad(x, p, v)", {"p": np.array([0, 1, 0, 1, 0, 2, -1, 0]), "v": np.array(2.5)},
         "Slice Silence Convolution Convolution Bias"),
        (IMAGE, "y = Gather<axis=1>(x, p)", {"p": np.array([2, 0, 1, 1])}, "Slice Concat"),
        (IMAGE, "y = Slice(x, p, e, a, s)", {"p": np.array([-1]), "e": np.array([-99]),
         "a": np.array([3]), "s": np.array([-2])}, "Slice Silence Concat"),
        (IMAGE, "y = Transpose<perm=[0,2,3,1]>(x)", {}, "Reshape Deconvolution Reshape"),
        (IMAGE, "y = Transpose<perm=[3,1,0,2]>(x)", {}, None),
        (IMAGE, "y = ReduceMax<axes=[1], keepdims=0>(x)", {}, "Reshape Pooling Reshape"),
        (IMAGE, "y = ReduceMean<axes=[0,2]>(x)", {}, None),
        (IMAGE, "y = MatMul(x, w)", {"w": 6}, "InnerProduct Reshape"),
        (IMAGE, 'y = MaxPool<kernel_shape=[2,2], auto_pad="SAME_UPPER">(x)', {},
         "Pooling Slice Silence Slice Silence"),
        (IMAGE, 'y = AveragePool<kernel_shape=[2,3], auto_pad="SAME_UPPER">(x)', {}, None),
        ("float[1,2,5,7,6] x", "y = MaxPool<kernel_shape=[3,3,3]>(x)", {},
         "Reshape Pooling Reshape Pooling Reshape"),
        ("float[1,2,5,7,6] x", "y = MaxPool<kernel_shape=[3,2,3], strides=[2,2,1], "
         "pads=[1,0,1,1,0,1]>(x)", {}, None),
        ("float[1,2,5,7,6] x", "y = AveragePool<kernel_shape=[3,2,3], strides=[2,2,1], "
         "pads=[1,0,1,1,0,1]>(x)", {}, None),
        ("float[1,2,5,7,6] x", "y = Conv<pads=[1,0,1,1,0,1]>(x, w)", {"w": (4, 2, 3, 2, 3)},
         "Convolution"),
        (SEQUENCE, 'h, y, c = LSTM<hidden_size=4, direction="bidirectional">(x, w, r, b, , h0, c0)'
         " z = Add(y, c)", {"w": (2, 16, 3), "r": (2, 16, 4), "b": (2, 32), "h0": (2, 2, 4),
         "c0": (2, 2, 4)}, None),
        (SEQUENCE, "y, h = GRU<hidden_size=4, linear_before_reset=1>(x, w, r, b)",
         {"w": (1, 12, 3), "r": (1, 12, 4), "b": (1, 24)}, None),
        (SEQUENCE, 'h, y = GRU<hidden_size=4, direction="bidirectional">(x, w, r, b, , h0)',
         {"w": (2, 12, 3), "r": (2, 12, 4), "b": (2, 24), "h0": (2, 2, 4)}, None),
        (SEQUENCE, 'y, h = RNN<hidden_size=4, direction="reverse", activations=["Relu"]>(x, w, r)',
         {"w": (1, 4, 3), "r": (1, 4, 4)}, None),
    ],
)  # fmt: skip
def test_operators_that_caffe_says_in_other_words(given, body, weights, expected):
    """onnxruntime and the engine agree on each; expected: the types of its layers."""
    output = "z" if " z = " in body else "y"
    found = converted(
        model(f"({given}) => (float[?] {output}) {{ {body} }}".replace("[?]", ""),
              opset=17 if "axes=" in body else 21, **weights),
        "plain",
    )  # fmt: skip
    assert expected is None or types(found)[1:] == expected.split()


def test_gelu_as_exporters_write_it():
    found = converted(
        model(
            """(float[2,3,4,4] x) => (float[2,3,4,4] y) {
                a = Div(x, root)
                b = Erf(a)
                c = Add(b, one)
                d = Mul(x, c)
                y = Mul(d, half)
            }""",
            root=np.array(2**0.5), one=np.array(1.0), half=np.array(0.5),
        )
    )  # fmt: skip
    assert "Threshold" not in types(found) and len(found.net.layer) == 14


def test_a_sequence_that_is_too_long():
    long = model("(float[65,1,3] x) => (float y) { y = RNN<hidden_size=4>(x, w, r) }",
                 w=(1, 4, 3), r=(1, 4, 4))  # fmt: skip
    with pytest.raises(ConversionError, match=r"65 steps are too many to be written out \(64\)"):
        from_onnx.convert(from_onnx.graph_of(long))


def test_a_pad_is_taken_in():
    found = converted(
        model(
            """(float[1,3,8,8] x) => (float[n,c,h,w] y) {
                a = Pad(x, p)
                b = Conv(a, w)
                c = Relu(b)
                d = Pad(c, p)
                y = MaxPool<kernel_shape=[3,3], strides=[2,2]>(d)
            }""",
            p=np.array([0, 0, 1, 1, 0, 0, 1, 1]), w=(4, 3, 3, 3),
        )
    )  # fmt: skip
    assert types(found) == ["Input", "Convolution", "ReLU", "Pooling"]


def test_quantisation_is_left_out_with_a_word():
    made = model(
        """(float[1,3,4,4] x) => (float[1,3,4,4] y) {
            q = QuantizeLinear(x, scale, zero)
            d = DequantizeLinear(q, scale, zero)
            y = Relu(d)
        }""",
        scale=np.array(0.1), zero=np.zeros((), np.uint8),
    )  # fmt: skip
    found = from_onnx.convert(from_onnx.graph_of(made))
    assert types(found) == ["Input", "ReLU"]
    assert len(found.notes) == 1 and "Caffe has none" in found.notes[0]


def test_every_refused_node_is_named(tmp_path):
    made = model(
        """(float[1,3,4,4] x) => (float[1,3,4,4] y) {
            a = Sin(x)
            b = Relu(a)
            c = MatMul(b, b)
            y = Floor(c)
        }"""
    )
    for node, name in zip(made.graph.node, ("first", "second", "third", "fourth"), strict=True):
        node.name = name
    onnx.save(made, tmp_path / "net.onnx")
    result = netgen("net.onnx", "-o", "net.prototxt", "--weights", "net.caffemodel", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "netgen: net.onnx: 3 nodes cannot be said in Caffe (Floor, MatMul, Sin): "
        "Sin 'first': no layer of Caffe does that; "
        "MatMul 'third': both matrices are computed by the net, and one of Caffe's is learned; "
        "Floor 'fourth': no layer of Caffe does that\n"
    )
    assert sorted(os.listdir(tmp_path)) == ["net.onnx"]


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (b"no model at all", "net.onnx: not an ONNX model: "),
        (b"", "net.onnx: not an ONNX model: it has no graph"),
        (None, "File not found: "),
    ],
)
def test_a_file_that_is_no_model(tmp_path, made, line):
    path = tmp_path / "net.onnx"
    if made is not None:
        path.write_bytes(made)
    with pytest.raises(ConversionError) as error:
        from_onnx.read_model(path)
    assert line in str(error.value) and "\n" not in str(error.value)


def test_an_open_shape():
    made = model("(float[n,3,h,w] x) => (float[n,3,h,w] y) { y = Relu(x) }")
    with pytest.raises(ConversionError, match=r"'x' has the shape \(1, 3, \?, \?\): give all"):
        from_onnx.graph_of(made)
    assert from_onnx.graph_of(made, {"x": (2, 3, 4, 4)}).inputs == {"x": (2, 3, 4, 4)}
    with pytest.raises(ConversionError, match="no input 'z' "):
        from_onnx.graph_of(made, {"z": (2, 3, 4, 4)})


def test_the_command(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    onnx.save(model(BLOCK, conv1_weight=(4, 4, 3, 3), **STATISTICS), tmp_path / "net.onnx")
    words = ("net.onnx", "-o", "net.prototxt", "--weights", "net.caffemodel")
    assert cli.main(["from-onnx", *words, "--tolerance", "0", "--blobs"]) == 1
    refused = capfd.readouterr().err
    assert "is 1.0e-0" in refused or "more than 0; nothing was written" in refused
    assert sorted(os.listdir(tmp_path)) == ["net.onnx"]

    result = netgen(*words, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr.startswith("netgen: block: ")
    assert result.stderr.endswith(" from onnxruntime's block\n")
    text = (tmp_path / "net.prototxt").read_text()
    assert text.startswith("# python -m netgen from-onnx net.onnx -o net.prototxt ")
    net = schema.read_net(tmp_path / "net.prototxt")
    weights = schema.read_caffemodel(tmp_path / "net.caffemodel")
    assert net.name == "net"
    assert [layer.name for layer in weights.layer if layer.blobs] == ["conv1"]


def test_layer_types_beside_the_targets():
    made = model("(float[1,2,3,4] x) => (float[1,4,2,3] y) { y = Transpose<perm=[0,3,1,2]>(x) }")
    target = from_onnx.TARGETS["bvlc"].also(["Permute"])
    assert types(from_onnx.convert(from_onnx.graph_of(made), target)) == ["Input", "Permute"]
    with pytest.raises(ConversionError, match="no rule writes the layer type Warp "):
        target.also(["Warp"])


def test_the_node_tests_of_onnx():
    """None of those whose operators have a rule is wrong; how many pass shall not fall."""
    found = {}
    for name, case in onnx_nodes.cases().items():
        if onnx_nodes.operators(case) <= set(RULES):
            found[name] = onnx_nodes.verdict(case)
    wrong = {name: why for name, (word, why) in found.items() if word == onnx_nodes.WRONG}
    assert wrong == {}
    assert sum(word == onnx_nodes.PASSED for word, _ in found.values()) >= 400


def test_importing_netgen_imports_no_onnx():
    program = "import sys, netgen.cli, netgen.from_onnx; sys.exit('onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


CLASSIFIER = """(float[n,2,6,6] data) => (float[n,3] prob) {
    a = Conv(data, conv1_weight, conv1_bias)
    b = BatchNormalization(a, bn1_weight, bn1_bias, bn1_running_mean, bn1_running_var)
    c = Relu(b)
    d = Flatten(c)
    e = Gemm<transB=1>(d, fc_weight)
    prob = Softmax(e)
}"""


def test_a_net_to_be_trained_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.write_lmdbs(tmp_path)
    weights = {"conv1_weight": (4, 2, 3, 3), "conv1_bias": 4, "fc_weight": (3, 64)}
    onnx.save(model(CLASSIFIER, **weights, **STATISTICS), tmp_path / "net.onnx")
    words = ["from-onnx", "net.onnx", "-o", "net.prototxt", "--no-check", "--train", "."]
    words += [
        "--batch-size",
        "5",
        "--epochs",
        "2",
        "--mean-value",
        "90",
        "--scale",
        "0.02",
        "--mirror",
    ]
    assert cli.main(words) == 0
    net = schema.read_net(tmp_path / "net_train_val.prototxt")
    assert [layer.type for layer in net.layer] == [
        "Data", "Data", "Convolution", "BatchNorm", "Scale", "ReLU", "InnerProduct", "Accuracy",
        "SoftmaxWithLoss",
    ]  # fmt: skip
    solver = schema.read_solver(tmp_path / "net_solver.prototxt")
    assert (solver.max_iter, solver.test_interval, solver.test_iter) == (10, 5, [2])


def test_other_classes_are_learned(tmp_path, monkeypatch, capfd):
    """The last layer of a net of 7 classes is another one of 3: ten iterations, and it knows more."""
    monkeypatch.chdir(tmp_path)
    tiny.write_lmdbs(tmp_path)
    weights = {"conv1_weight": (4, 2, 3, 3), "conv1_bias": 4, "fc_weight": (7, 64)}
    onnx.save(model(CLASSIFIER.replace("float[n,3]", "float[n,7]"), **weights, **STATISTICS),
              tmp_path / "net.onnx")  # fmt: skip
    words = ["from-onnx", "net.onnx", "-o", "net.prototxt", "--weights", "net.caffemodel"]
    words += ["--no-check", "--classes", "3"]
    assert cli.main(words) == 1
    assert "give --train DIR too" in capfd.readouterr().err
    words += ["--train", ".", "--batch-size", "11", "--epochs", "5", "--scale", "0.01"]
    assert cli.main(words) == 0
    last = next(x for x in schema.read_net("net_train_val.prototxt").layer if x.name == "fc_3")
    assert last.inner_product_param.num_output == 3
    assert [spec.lr_mult for spec in last.param] == [10]
    solver = runner.Solver("net_solver.prototxt", weights="net.caffemodel")
    old = schema.read_caffemodel("net.caffemodel")
    kept = next(layer for layer in old.layer if layer.name == "conv1")
    assert np.array_equal(solver.net.params["conv1"][0].ravel(), kept.blobs[0].data)
    losses = []
    for _ in range(10):
        solver.step(1)
        losses.append(solver.loss)
    assert np.mean(losses[5:]) < 0.8 * np.mean(losses[:2])
    solver.net.save("after.caffemodel")
    after = runner.Net("net.prototxt", weights="after.caffemodel")
    assert after.blob_shapes["prob"] == (1, 3)


def test_classes_that_no_layer_alone_makes(tmp_path):
    made = model(
        """(float[1,2,6,6] data) => (float[1,4] prob) {
            a = Flatten(data)
            b = Gemm<transB=1>(a, fc_weight)
            prob = Mul(b, scale)
        }""",
        fc_weight=(4, 72), scale=4,
    )  # fmt: skip
    found = from_onnx.convert(from_onnx.graph_of(made))
    with pytest.raises(ConversionError, match=r"layer 'mul1' \(Scale\), of which the scores are"):
        with_classes(found, 3)


def test_what_cannot_be_trained_on(tmp_path):
    onnx.save(model(BLOCK, conv1_weight=(4, 4, 3, 3), **STATISTICS), tmp_path / "net.onnx")
    words = ("net.onnx", "-o", "net.prototxt", "--no-check", "--train", ".")
    result = netgen(*words, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (
        1, "netgen: --train is for scores of classes, and 'block' is 1 x 4 x 6 x 6\n"
    )  # fmt: skip
    assert os.listdir(tmp_path) == ["net.onnx"]


def answer(made, tmp_path, capsys):
    """What is said of the model, a line that names its file; it is refused."""
    path = tmp_path / "net.onnx"
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    assert cli.main(["from-onnx", str(path), "--no-check"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err.removeprefix(f"netgen: {path}: ")


CONV = "(float[1,2,6,6] x) => (float[1,3,4,4] y) { y = Conv<strides=[1,1]>(x, name_w) }"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda made: made.graph.initializer[0].dims.append(7), "constant 'name_w' cannot be read"),
        (lambda made: made.graph.node[0].ClearField("input"), "onnx cannot tell its shapes: "),
        (
            lambda made: made.graph.ClearField("initializer"),
            "a node cannot be said in Caffe (Conv)",
        ),
    ],
)
def test_a_damaged_model_is_one_line(change, why, tmp_path, capsys):
    made = model(CONV, name_w=(3, 2, 3, 3))
    change(made)
    assert answer(made, tmp_path, capsys).startswith(why)


def test_a_model_that_is_none_by_the_rules_of_onnx_is_one_line(tmp_path, capsys):
    made = model("(float[1,4] x) => (float[1,4] y) { y = Softmax<axis=1>(x) }")
    made.graph.node[0].attribute[0].CopyFrom(onnx.helper.make_attribute("axis", "one"))
    assert "not a valid ONNX model: " in answer(made, tmp_path, capsys)


def test_a_name_that_is_not_utf_8_is_one_line(tmp_path, capsys):
    data = model(CONV, name_w=(3, 2, 3, 3)).SerializeToString()
    said = answer(data.replace(b"name_w", b"name_\xc4"), tmp_path, capsys)
    assert said == "not an ONNX model: 'name_\\304' is not UTF-8\n"


def test_a_constant_that_says_to_be_gigabytes_is_not_computed(tmp_path, capsys):
    text = "(float[1,1,1] x) => (float[1,n,n] y) { big = ConstantOfShape(s) y = Add(x, big) }"
    made = model(text, s=np.array([1, 1 << 20, 1 << 20]))
    assert "ConstantOfShape 'ConstantOfShape_0': " in answer(made, tmp_path, capsys)
