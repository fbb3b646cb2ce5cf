"""Whole nets, exported by torch at two opsets: the Caffe net computes what onnxruntime computes."""

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx_models  # noqa: E402

from netgen import from_onnx  # noqa: E402
from netgen.from_onnx.check import check  # noqa: E402


def converted(path, target="bvlc", **options):
    return from_onnx.convert(from_onnx.read_model(path), from_onnx.TARGETS[target], **options)


def worst(path, found, **options):
    return max(d.relative for d in check(path, found, run=onnx_models.in_process, **options))


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("name", onnx_models.MODELS)
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
