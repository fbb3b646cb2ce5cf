"""`caffe export` of weights: safetensors and caffemodels, there and back; what it refuses."""

from pathlib import Path

import numpy as np
import pytest
from trained import as_trained

import runner
from netgen import nets, schema
from netgen.errors import CaffeError
from netgen.schema import caffe_pb

SHARED = """
name: "shared"
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 } } }
layer { name: "a/1.5" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" } param { }
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } bias_filler { value: 3 } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" }
  inner_product_param { num_output: 4 bias_term: false } }
layer { name: "by" type: "Scale" bottom: "b" bottom: "a" top: "by" scale_param { axis: 0
  bias_term: true bias_filler { value: 2 } } }
layer { name: "only_bias" type: "Bias" bottom: "by" top: "c" bias_param { filler { value: 5 } } }
"""


@pytest.fixture
def safetensors():
    return pytest.importorskip("safetensors.numpy", reason="the extra export is not installed")


def resnet(seed=1):
    param = nets.build_net("resnet20", nets.NetOptions(width=0.25), deploy=True)
    return as_trained(param, seed)


def shared(seed=1):
    return runner.Net(schema.parse_text(SHARED, caffe_pb.NetParameter), seed=seed)


@pytest.mark.parametrize("make", [resnet, shared])
def test_safetensors_hold_the_blobs_to_the_bit_and_give_them_back(make, safetensors, tmp_path):
    net = make()
    assert runner.export(net, tmp_path / "n.safetensors") == {}
    back = make(seed=9)
    runner.load_weights(back, tmp_path / "n.safetensors")
    runner.export(back, tmp_path / "n.caffemodel")
    net.save(tmp_path / "saved.caffemodel")
    written, saved = (tmp_path / f"{name}.caffemodel" for name in ("n", "saved"))
    assert written.read_bytes() == saved.read_bytes()


def test_tensors_are_called_by_layer_and_blob(safetensors, tmp_path):
    net = resnet()
    runner.export(net, tmp_path / "n.safetensors")
    tensors = safetensors.load_file(tmp_path / "n.safetensors")
    of_first = {name: array for name, array in tensors.items() if name.split(".")[0][-1] == "1"}
    assert {"conv1.weight", "bn1.mean_sum", "bn1.variance_sum", "bn1.factor", "scale1.weight",
            "scale1.bias"} <= of_first.keys()  # fmt: skip
    assert np.array_equal(tensors["bn1.variance_sum"], net.params["bn1"][1])
    assert sum(array.size for array in tensors.values()) == sum(
        blob.size for blobs in net.params.values() for blob in blobs
    )
    runner.export(shared(), tmp_path / "s.safetensors")
    assert {name: array.shape for name, array in safetensors.load_file(tmp_path / "s.safetensors").items()} == {
        "a/1.5.weight": (4, 4), "a/1.5.bias": (4,), "b.weight": (4, 4), "by.bias": (2, 4),
        "only_bias.bias": (4,),
    }  # fmt: skip


def test_hdf5_as_well(tmp_path):
    pytest.importorskip("h5py", reason="the extra hdf5 is not installed")
    runner.export(resnet(), tmp_path / "n.caffemodel.h5")
    other = resnet(seed=9)
    report = runner.load_weights(other, tmp_path / "n.caffemodel.h5")
    assert not report.skipped and not report.missing
    for layer, blobs in resnet().params.items():
        assert all(map(np.array_equal, other.params[layer], blobs))


def test_a_damaged_file_is_one_line(safetensors, tmp_path):
    path = tmp_path / "n.safetensors"
    runner.export(shared(), path)
    for content in (path.read_bytes()[:-40], b"", b"no safetensors at all"):
        path.write_bytes(content)
        with pytest.raises(CaffeError) as caught:
            runner.load_weights(shared(), path)
        assert str(caught.value).startswith(f"{path}: no readable safetensors file: ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "batch", "line"),
    [
        ("n.pt", None, "n.pt: a net is exported to .onnx, .safetensors, .caffemodel, "
         ".caffemodel.h5"),
        ("n.caffemodel", 2, "n.caffemodel: -batch is for .onnx, this file holds weights alone"),
    ],
)  # fmt: skip
def test_what_cannot_be_written(name, batch, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CaffeError) as caught:
        runner.export(shared(), name, batch)
    assert str(caught.value) == line and not list(tmp_path.iterdir())


def test_a_training_net_is_no_onnx(tmp_path):
    net = runner.Net(schema.parse_text(SHARED, caffe_pb.NetParameter), phase="TRAIN")
    with pytest.raises(CaffeError) as caught:
        runner.export(net, tmp_path / "n.onnx")
    assert str(caught.value) == "net 'shared' is of phase TRAIN: export one of phase TEST"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "Need a model definition to export: -model FILE"),
        (("-model", "d.prototxt"), "Need model weights to export: -weights FILE"),
        (
            ("-model", "d.prototxt", "-weights", "w.caffemodel"),
            "Need a file to export to: -o FILE.onnx or FILE.safetensors",
        ),
        (
            ("-model", "d.prototxt", "-weights", "w.caffemodel", "-o", "n.onnx", "-batch", "-1"),
            "-batch -1: a batch has at least one record",
        ),
    ],
)
def test_the_command_says_what_it_needs(words, line, caffe):
    done = caffe("export", *words)
    assert done.status == 1 and done.messages == [line]


def test_the_command_and_the_way_back(safetensors, caffe, work):
    Path("d.prototxt").write_text(SHARED)
    shared().save("w.caffemodel")
    for weights, to in (("w.caffemodel", "n.safetensors"), ("n.safetensors", "back.caffemodel")):
        done = caffe("export", "-model", "d.prototxt", "-weights", weights, "-o", to)
        assert (done.status, done.err) == (0, "")
        assert done.out == f"Wrote {to}, {Path(to).stat().st_size:,} bytes\n"
    assert Path("back.caffemodel").read_bytes() == Path("w.caffemodel").read_bytes()
