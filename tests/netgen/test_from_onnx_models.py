"""Whole nets, exported by torch at two opsets: the Caffe net computes what onnxruntime computes."""

from pathlib import Path

import lmdb
import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx_models  # noqa: E402

import runner  # noqa: E402
from netgen import cli, from_onnx, growth, schema  # noqa: E402
from netgen.from_onnx.check import check  # noqa: E402
from netgen.schema import caffe_pb  # noqa: E402


def converted(path, target="bvlc", **options):
    return from_onnx.convert(from_onnx.read_model(path), from_onnx.TARGETS[target], **options)


def worst(path, found, **options):
    return max(d.relative for d in check(path, found, run=onnx_models.in_process, **options))


#: Nets for which the exporter writes other operators at an old opset.
OLD = (
    "convnext",
    "fcn",
    "inception",
    "lstm",
    "mixer",
    "mobilenet_v3",
    "unet",
    "yolo_v5",
    "yolo_v8",
)


@pytest.mark.parametrize(
    ("name", "opset"), [*((name, 17) for name in onnx_models.MODELS), *((name, 11) for name in OLD)]
)
def test_a_net_computes_the_same(tmp_path, name, opset):
    path = onnx_models.export(onnx_models.model(name), tmp_path / "net.onnx", opset)
    found = converted(path, onnx_models.TARGET.get(name, "bvlc"))
    assert worst(path, found, blobs=True) < 2e-6


@pytest.mark.parametrize("name", ["inception", "mobilenet_v3", "shufflenet_v2", "yolo_head"])
def test_a_plain_caffe_computes_the_same(tmp_path, name):
    path = onnx_models.export(onnx_models.model(name), tmp_path / "net.onnx")
    found = converted(path, "plain")
    assert worst(path, found) < 2e-6
    assert not {layer.type for layer in found.net.layer} & {"Clip", "Permute", "Swish"}
    assert not any(layer.pooling_param.HasField("round_mode") for layer in found.net.layer)


@pytest.mark.parametrize("name", ["resnet18", "densenet", "unet"])
def test_batch_norm_is_kept(tmp_path, name):
    path = tmp_path / "net.onnx"
    onnx_models.export(onnx_models.model(name), path, training=True)
    folded, kept = converted(path), converted(path, keep_batch_norm=True)
    assert worst(path, kept) < 2e-6
    assert worst(path, folded) < 2e-6
    types = [[layer.type for layer in found.net.layer] for found in (folded, kept)]
    assert [t.count("BatchNorm") for t in types] == [
        0, sum(node.op_type == "BatchNormalization" for node in onnx.load(path).graph.node)
    ]  # fmt: skip


def test_attention_is_refused_with_all_that_it_is_made_of(tmp_path):
    path = onnx_models.export(onnx_models.ViT().eval(), tmp_path / "net.onnx")
    with pytest.raises(from_onnx.ConversionError) as error:
        converted(path)
    products = [f"MatMul '/block/self_attn/MatMul{n}': both matrices" for n in ("_1", "_2")]
    assert all(words in str(error.value) for words in products)
    assert str(error.value).count("MatMul '") == 2


def test_the_exporter_of_graphs(tmp_path):
    pytest.importorskip("onnxscript")
    path = onnx_models.export(onnx_models.model("mobilenet_v3"), tmp_path / "net.onnx", 18, True)
    found = converted(path)
    assert worst(path, found) < 2e-6
    names = [layer.name for layer in found.net.layer]
    assert names[:4] == ["data", "stem_0", "stem_2_gate_power1", "stem_2_gate"]
    assert names[-1] == "classifier_1"


def test_the_batch_stays_open(tmp_path):
    path = tmp_path / "net.onnx"
    onnx_models.export(onnx_models.model("shufflenet_v2"), path, dynamic_axes={"data": {0: "n"}})
    found = [from_onnx.convert(from_onnx.read_model(path, batch=batch)) for batch in (1, 3)]
    one, three = (net.net.layer for net in found)
    assert one[0].input_param.shape[0].dim[0] == 1
    assert three[0].input_param.shape[0].dim[0] == 3
    assert list(one)[1:] == list(three)[1:]
    assert worst(path, found[1]) < 2e-6


def test_a_converted_net_is_split_and_trained(tmp_path, monkeypatch):
    """ResNet-18: one of its convolutions is split, and ten iterations go by."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for part in ("train_lmdb", "test_lmdb"):
        with lmdb.open(part, map_size=1 << 22) as env, env.begin(write=True) as txn:
            for i in range(20):
                pixels = random.integers(0, 256, (3, 32, 32)).astype(np.uint8)
                datum = caffe_pb.Datum(
                    channels=3, height=32, width=32, data=pixels.tobytes(), label=i % 5
                )
                txn.put(b"%03d" % i, datum.SerializeToString())
    onnx_models.export(onnx_models.model("resnet18"), "net.onnx", training=True)
    words = ["net.onnx", "-o", "net.prototxt", "--weights", "net.caffemodel", "--no-check"]
    words += ["--train", ".", "--batch-size", "4", "--epochs", "2", "--scale", "0.004"]
    assert cli.main(["from-onnx", *words]) == 0
    layer = growth.LayerPlan("layer1_0_conv1", "residual", (0, 2), (1, 3))
    Path("plan.json").write_text(growth.to_json(growth.Plan((layer,))))
    child = ["net_train_val.prototxt", "--plan", "plan.json", "-o", "child.prototxt"]
    assert cli.main(["split", *child]) == 0
    parent = ["net_train_val.prototxt", "net.caffemodel", "--plan", "plan.json"]
    assert cli.main(["transfer", *parent, "--init", "preserve", "-o", "child.caffemodel"]) == 0
    param = schema.read_solver("net_solver.prototxt")
    param.net = "child.prototxt"
    solver = runner.Solver(param, weights="child.caffemodel")
    solver.step(10)
    assert solver.iter == 10 and np.isfinite(solver.loss)
    names = [layer.name for layer in solver.net.layers]
    assert {"layer1_0_conv1_split1", "layer1_0_conv1_split2_residual_pre"} <= set(names)


@pytest.mark.parametrize(
    "name",
    ["convnext", "inception", "mobilenet_v3", "shufflenet_v2", "style_transfer", "unet", "yolo_v5"],
)
def test_opencv_computes_the_same(tmp_path, name):
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip("OpenCV 5 does not read Caffe's files")

    def by_opencv(found, inputs, blobs):
        schema.write_text(found.net, tmp_path / "net.prototxt")
        schema.write_binary(found.weights, tmp_path / "net.caffemodel")
        files = (str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel"))
        net = cv2.dnn.readNetFromCaffe(*files)
        for blob, array in inputs.items():
            net.setInput(array, blob)
        (blob,) = blobs
        return {blob: net.forward()}

    path = onnx_models.export(onnx_models.model(name), tmp_path / "net.onnx")
    (found,) = check(path, converted(path, "opencv"), run=by_opencv)
    assert found.relative < 1e-5


def test_layers_that_opencv_lacks_are_named_at_once(tmp_path):
    path = onnx_models.export(onnx_models.model("lstm"), tmp_path / "net.onnx")
    why = r"Gather '.*': opencv has no Embed; LSTM '.*': opencv has no DummyData$"
    with pytest.raises(from_onnx.ConversionError, match=why):
        converted(path, "opencv")
