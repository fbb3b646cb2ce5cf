"""-precision: bfloat16 where it is safe, float32 where it counts."""

import re

import pytest
import torch

from netgen import schema
from netgen.schema import caffe_pb
from runner.layers import Context
from runner.net.net import Net, net_param_for
from runner.process import precision

LAYERS = """
layer { name: "x" type: "DummyData" top: "x" top: "label" dummy_data_param {
  shape { dim: 6 dim: 3 dim: 8 dim: 8 } shape { dim: 6 }
  data_filler { type: "uniform" min: -1 } data_filler { type: "constant" value: 1 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
  convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm" }
layer { name: "scale" type: "Scale" bottom: "norm" top: "norm" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "norm" top: "norm" }
layer { name: "prelu" type: "PReLU" bottom: "norm" top: "prelu" }
layer { name: "pool" type: "Pooling" bottom: "prelu" top: "pool" top: "mask"
  pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "lrn" type: "LRN" bottom: "pool" top: "lrn" }
layer { name: "deconv" type: "Deconvolution" bottom: "lrn" top: "deconv"
  convolution_param { num_output: 4 kernel_size: 2 weight_filler { type: "msra" } } }
layer { name: "sig" type: "Sigmoid" bottom: "deconv" top: "sig" }
layer { name: "ip" type: "InnerProduct" bottom: "sig" top: "ip"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" }
"""


def one_pass(precision):
    """(net, loss, outputs) of a forward and backward from the same weights and inputs."""
    context = Context(
        fillers=torch.Generator().manual_seed(1), random=torch.Generator().manual_seed(2),
        precision=precision,
    )  # fmt: skip
    param = schema.parse_text(LAYERS, caffe_pb.NetParameter)
    net = Net(net_param_for(param, caffe_pb.TRAIN), context)
    return net, *net.forward_backward()


@pytest.fixture
def passes():
    return {name: one_pass(name) for name in ("fp32", "bf16")}


def test_bf16_differs_from_fp32_by_its_rounding(passes):
    (net, loss, outputs), (low, low_loss, low_outputs) = passes.values()
    assert loss != low_loss
    torch.testing.assert_close(low_loss, loss, rtol=0.02, atol=0)
    error = (low.parameters.grad - net.parameters.grad).norm() / net.parameters.grad.norm()
    assert 1e-4 < error < 0.05
    assert outputs.keys() == low_outputs.keys()
    assert (outputs["mask"] - low_outputs["mask"] == 0).float().mean() > 0.9


def test_weights_gradients_statistics_and_outputs_stay_float32(passes):
    net, loss, outputs = passes["bf16"]
    for tensor in (loss, *outputs.values(), net.parameters.data, net.parameters.grad):
        assert tensor.dtype == torch.float32
    statistics = [
        node.blobs for n, *_ in passes.values() for node in n.nodes if node.name == "norm"
    ]
    for theirs, ours in zip(*statistics, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=1e-3)


def test_training_and_testing_in_bf16(caffe, write_solver):
    path = write_solver(max_iter=40, test_interval=40, display=20, snapshot=40)
    results = {
        name: caffe("train", "-solver", path, "-precision", name) for name in ("fp32", "bf16")
    }
    assert all(result.status == 0 for result in results.values())
    losses = {
        name: [float(m.split("= ")[1].split(" ")[0]) for m in result.messages if ", loss = " in m]
        for name, result in results.items()
    }
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.1, abs=0.05)
    scored = caffe("test", "-model", "net.prototxt", "-weights", "s_iter_40.caffemodel",
                   "-iterations", "2", "-precision", "bf16")  # fmt: skip
    assert scored.status == 0
    timed = caffe("time", "-model", "net.prototxt", "-iterations", "1", "-precision", "bf16")
    assert timed.status == 0


def test_tf32_is_refused_on_a_cpu(caffe, write_solver):
    result = caffe("train", "-solver", write_solver(), "-precision", "tf32")
    assert result.status == 1
    assert result.messages[-1] == ("-precision tf32 is for CUDA devices; a CPU has fp32 and bf16")


def test_an_unknown_precision(caffe, write_solver):
    result = caffe("train", "-solver", write_solver(), "-precision", "fp8")
    assert result.status == 1
    assert "illegal value 'fp8' specified for flag 'precision': fp32 or tf32 or bf16" in result.err


def test_bf16_is_warned_of_where_the_cpu_has_no_units_for_it(tmp_path, capfd, monkeypatch):
    cpus = {"amx_tile amx_bf16 fpu": True, "fpu avx512_bf16": False}
    for number, (flags, has) in enumerate(cpus.items()):
        path = tmp_path / str(number)
        path.write_text(f"processor\t: 0\nflags\t\t: vme {flags} sse\n")
        assert precision.has_bfloat16_tiles(str(path)) is has
    assert precision.has_bfloat16_tiles(str(tmp_path / "none"))
    for has in (True, False):
        monkeypatch.setattr(precision, "has_bfloat16_tiles", lambda has=has: has)
        precision.set_precision("bf16", torch.device("cpu"))
        assert ("-precision auto takes what is fastest" in capfd.readouterr().err) is not has


def test_auto_takes_the_format_whose_steps_take_least_time(caffe, write_solver):
    """And trains as that format does."""
    told = caffe("train", "-solver", write_solver(max_iter=3), "-precision", "auto")
    line = next(message for message in told.messages if message.startswith("A step takes"))
    told_of = re.fullmatch(
        r"A step takes fp32 (\S+) ms, bf16 (\S+) ms: training with -precision (\S+)", line
    )
    fp32, bf16, chosen = told_of.groups()
    assert chosen == ("fp32" if float(fp32) <= float(bf16) else "bf16")
    plain = caffe("train", "-solver", write_solver(max_iter=3), "-precision", chosen)
    assert told.status == 0 and told.trained() == plain.trained() != []


@pytest.mark.parametrize("command", ["test -weights w.caffemodel", "time"])
def test_auto_is_for_training(caffe, command):
    told = caffe(*command.split(), "-model", "net.prototxt", "-precision", "auto")
    assert told.status == 1 and "it is for caffe train" in told.err
