"""The programs that upgrade old files: what they write and log is what BVLC 1.0's do."""

import numpy as np
import pytest

from caffe_tools import (
    upgrade_net_proto_binary,
    upgrade_net_proto_text,
    upgrade_solver_proto_text,
)
from netgen import schema
from netgen.commandline import exit_status, print_error
from netgen.schema import caffe_pb

V0 = """# a net of 2013
name: "old"
layers {
  layer { name: "data" type: "data" source: "train_leveldb" batchsize: 64 scale: 0.00390625 cropsize: 24 mirror: true }
  top: "data" top: "label"
}
layers { layer { name: "pad1" type: "padding" pad: 2 } bottom: "data" top: "pad1" }
layers {
  layer { name: "conv1" type: "conv" num_output: 8 kernelsize: 5 biasterm: true
    weight_filler { type: "gaussian" std: 0.01 } blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0 }
  bottom: "pad1" top: "conv1"
}
layers { layer { name: "relu1" type: "relu" } bottom: "conv1" top: "conv1" }
layers { layer { name: "ip" type: "innerproduct" num_output: 10 } bottom: "conv1" top: "ip" }
layers { layer { name: "loss" type: "softmax_loss" } bottom: "ip" bottom: "label" }
"""
#: what Caffe's program wrote of it, and of the two below
V0_UPGRADED = """name: "old"
layer {
  name: "data"
  type: "Data"
  top: "data"
  top: "label"
  transform_param {
    scale: 0.00390625
    mirror: true
    crop_size: 24
  }
  data_param {
    source: "train_leveldb"
    batch_size: 64
  }
}
layer {
  name: "conv1"
  type: "Convolution"
  bottom: "data"
  top: "conv1"
  param {
    lr_mult: 1
    decay_mult: 1
  }
  param {
    lr_mult: 2
    decay_mult: 0
  }
  convolution_param {
    num_output: 8
    bias_term: true
    pad: 2
    kernel_size: 5
    weight_filler {
      type: "gaussian"
      std: 0.01
    }
  }
}
layer {
  name: "relu1"
  type: "ReLU"
  bottom: "conv1"
  top: "conv1"
}
layer {
  name: "ip"
  type: "InnerProduct"
  bottom: "conv1"
  top: "ip"
  inner_product_param {
    num_output: 10
  }
}
layer {
  name: "loss"
  type: "SoftmaxWithLoss"
  bottom: "ip"
  bottom: "label"
}
"""
V1 = """name: "deploy of 2014"
input: "data"
input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 blobs_lr: 2
  convolution_param { num_output: 4 kernel_size: 3 } }
layers { name: "prob" type: SOFTMAX bottom: "conv" top: "prob" include { phase: TEST } }
"""
V1_UPGRADED = """name: "deploy of 2014"
layer {
  name: "input"
  type: "Input"
  top: "data"
  input_param {
    shape {
      dim: 1
      dim: 3
      dim: 8
      dim: 8
    }
  }
}
layer {
  name: "conv"
  type: "Convolution"
  bottom: "data"
  top: "conv"
  param {
    lr_mult: 1
  }
  param {
    lr_mult: 2
  }
  convolution_param {
    num_output: 4
    kernel_size: 3
  }
}
layer {
  name: "prob"
  type: "Softmax"
  bottom: "conv"
  top: "prob"
  include {
    phase: TEST
  }
}
"""
SOLVER = """net: "net.prototxt" # of 2014
base_lr: 0.01
lr_policy: "fixed"
max_iter: 10
solver_type: NESTEROV
"""
SOLVER_UPGRADED = """base_lr: 0.01
max_iter: 10
lr_policy: "fixed"
net: "net.prototxt"
type: "Nesterov"
"""
NEW = """name: "new"
layer {
  name: "relu"
  type: "ReLU"
  bottom: "a"
  top: "a"
}
"""
V0_LOG = [
    "Attempting to upgrade input file specified using deprecated V0LayerParameter: old",
    "Successfully upgraded file specified using deprecated V0LayerParameter",
    "Note that future Caffe releases will not support V0NetParameter; use "
    "./build/tools/upgrade_net_proto_text for prototxt and "
    "./build/tools/upgrade_net_proto_binary for model weights upgrade this and any other net "
    "protos to the new format.",
    "Attempting to upgrade input file specified using deprecated V1LayerParameter: old",
    "Successfully upgraded file specified using deprecated V1LayerParameter",
    "Wrote upgraded NetParameter text proto to new",
]


@pytest.fixture
def program(tmp_path, monkeypatch, capfd):
    """program(module, text): the program's exit status, what it wrote (or None), its messages."""
    monkeypatch.chdir(tmp_path)

    def run(module, old):
        (tmp_path / "old").write_bytes(old if isinstance(old, bytes) else old.encode())
        status = exit_status(
            lambda: module.main(["old", "new"]), lambda line: print_error("program", line)
        )
        messages = [line.partition("] ")[2] or line for line in capfd.readouterr().err.splitlines()]
        new = tmp_path / "new"
        return status, new.read_bytes() if new.exists() else None, messages

    return run


@pytest.mark.parametrize("old, new", [(V0, V0_UPGRADED), (V1, V1_UPGRADED), (NEW, NEW)])
def test_nets(program, old, new):
    status, written, _ = program(upgrade_net_proto_text, old)
    assert (status, written.decode()) == (0, new)


def test_the_log(program):
    assert program(upgrade_net_proto_text, V0)[2] == V0_LOG
    assert program(upgrade_net_proto_text, NEW)[2] == [
        "File already in latest proto format: old",
        "Wrote upgraded NetParameter text proto to new",
    ]
    assert program(upgrade_solver_proto_text, SOLVER)[2][-1] == (
        "Wrote upgraded SolverParameter text proto to new"
    )


def test_solvers(program):
    status, written, messages = program(upgrade_solver_proto_text, SOLVER)
    assert (status, written.decode(), len(messages)) == (0, SOLVER_UPGRADED, 4)
    status, written, messages = program(upgrade_solver_proto_text, SOLVER_UPGRADED)
    assert (status, written.decode()) == (0, SOLVER_UPGRADED)
    assert messages[0] == "File already in latest proto format: old"


def test_a_net_inside_a_solver_is_left_as_it_is(program):
    inside = 'net_param { layers { name: "r" type: RELU bottom: "a" top: "a" } }'
    _, written, _ = program(upgrade_solver_proto_text, f"{inside} solver_type: ADAM")
    solver = schema.parse_text(written.decode(), caffe_pb.SolverParameter)
    assert solver.type == "Adam" and len(solver.net_param.layers) == 1


@pytest.mark.parametrize("text, upgraded", [(V0, V0_UPGRADED), (V1, V1_UPGRADED)])
def test_weights_travel(program, text, upgraded):
    """Of a caffemodel of either old format; the layer of the padding is none any more."""
    old = schema.parse_text(text, caffe_pb.NetParameter)
    weights = np.arange(8, dtype=np.float32)
    for layer in old.layers:
        holder = layer.layer if layer.HasField("layer") else layer
        if "conv" in holder.name:
            holder.blobs.add(num=1, channels=1, height=2, width=4, data=weights)
    status, written, messages = program(upgrade_net_proto_binary, old.SerializeToString())
    new = caffe_pb.NetParameter.FromString(written)
    [blob] = [blob for layer in new.layer for blob in layer.blobs]
    assert status == 0 and (blob.num, blob.width) == (1, 4)
    assert list(blob.data) == weights.tolist()
    for layer in new.layer:
        del layer.blobs[:]
    assert schema.to_text(new) == upgraded
    assert messages[-1] == "Wrote upgraded NetParameter binary proto to new"


def test_what_cannot_be_carried_over_is_told_and_left_out(program):
    text = V0.replace("num_output: 10", "num_output: 10 kernelsize: 3")
    status, written, messages = program(upgrade_net_proto_text, text)
    assert (status, written.decode()) == (1, V0_UPGRADED)
    assert any("kernelsize" in message for message in messages)
    assert messages[-2:] == [
        "Encountered error(s) while upgrading prototxt; see details above.",
        "Wrote upgraded NetParameter text proto to new",
    ]


@pytest.mark.parametrize("module, old, reason", [
    (upgrade_net_proto_text, SOLVER, "this is a solver's prototxt, where a net's is wanted"),
    (upgrade_net_proto_text, "layer {", "old:1:"),
    (upgrade_net_proto_text, 'layers { layer { name: "ip" type: "innerproduct" } bottom: "data" }',
     "old: Unknown blob input data to layer ip"),
    (upgrade_net_proto_text, b"\x00\x01", "old:1: not text (a binary file?)"),
    (upgrade_net_proto_binary, b"layer {", "old: not a whole caffe.NetParameter"),
    (upgrade_solver_proto_text, 'type: "SGD" solver_type: SGD', "Failed to upgrade solver: old"),
])  # fmt: skip
def test_what_is_no_such_file_is_one_line(program, module, old, reason):
    status, written, messages = program(module, old)
    assert (status, written, len(messages)) == (1, None, 1)
    assert reason in messages[0]
