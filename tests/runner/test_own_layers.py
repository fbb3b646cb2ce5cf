"""People's own layers, as docs/own_layers.md has them: trained, resumed, run from Python."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import runner
from netgen import own_layers, schema
from netgen.errors import CaffeError
from netgen.graph import registry
from netgen.schema import caffe_pb, own
from runner.commands.cli import main
from runner.layers import LAYER_TYPES

PAGE = Path(__file__).parents[2] / "docs" / "own_layers.md"
NET = """
name: "own"
layer { name: "d" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "clip" type: "Clip6" bottom: "data" top: "clip" }
layer { name: "swing" type: "Swing" bottom: "clip" top: "swing"
  swing_param { offset: 0.5 axes: 2 axes: 3 mode: FAST filler { type: "xavier" } } }
layer { name: "gain" type: "ChannelGain" bottom: "swing" top: "gain"
  channel_gain_param { floor: 0.2 filler { type: "constant" value: 1 } } }
"""
TRAINED = (
    NET.replace('type: "Input"', 'type: "DummyData"').replace(
        "input_param {", "dummy_data_param { data_filler { type: 'gaussian' std: 4 }"
    )
    + """
layer { name: "sum" type: "Reduction" bottom: "gain" top: "sum" loss_weight: 1
  reduction_param { operation: SUMSQ } }
"""
)
SOLVER = """
net: "net.prototxt" base_lr: 0.001 lr_policy: "fixed" momentum: 0.9 max_iter: {}
snapshot: 2 snapshot_prefix: "own" random_seed: 1 display: 1
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The page's files, in the working folder, loaded by nobody; what they register is forgotten."""
    monkeypatch.chdir(tmp_path)
    names = []
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        names.append(block.split()[1])
        Path(names[-1]).write_text(block)
    assert names == ["clip6.py", "swing.py", "channel_gain.py"]
    registers = [registry._RULES, LAYER_TYPES, own._DECLARED]
    kept, types = [dict(register) for register in registers], set(own.TYPES)
    yield ",".join(names)
    for register, before in zip(registers, kept, strict=True):
        register.clear()
        register.update(before)
    own.TYPES.clear()
    own.TYPES.update(types)


def read(path):
    net = schema.read_caffemodel(path)
    return net, {x.name: [schema.blob_to_array(b) for b in x.blobs] for x in net.layer}


def test_trained_snapshotted_and_resumed(files):
    Path("net.prototxt").write_text(TRAINED)
    Path("solver.prototxt").write_text(SOLVER.format(4))
    assert main(["train", "-solver", "solver.prototxt", "-layers", files]) == 0
    net, whole = read("own_iter_4.caffemodel")
    assert (whole["gain"][0] != 1).all()
    shown = schema.to_text(net)
    assert "  swing_param {\n    offset: 0.5\n    axes: 2\n    axes: 3\n    mode: FAST\n" in shown
    shutil.move("own_iter_4.caffemodel", "whole.caffemodel")
    words = ["-snapshot", "own_iter_2.solverstate", "-layers", files]
    assert main(["train", "-solver", "solver.prototxt", *words]) == 0
    assert Path("own_iter_4.caffemodel").read_bytes() == Path("whole.caffemodel").read_bytes()


def test_what_the_examples_compute_and_their_gradients(files):
    own_layers.load(files)
    net = schema.parse_text(NET, caffe_pb.NetParameter)
    x = np.random.RandomState(0).uniform(-8, 8, (2, 3, 4, 4)).astype(np.float32)
    top = runner.Net(net).forward(data=x)["gain"]
    np.testing.assert_allclose(top, np.sin(x.clip(0, 6)) + 0.5, atol=1e-6)

    layer = LAYER_TYPES["ChannelGain"](net.layer[3], runner.Context())
    layer.setup([(2, 3, 4, 4)])
    assert layer.shapes.params == [(3,)] and layer.fillers()[0].value == 1
    gain = torch.tensor([0.5, 0.1, -2.0], dtype=torch.float64, requires_grad=True)
    bottom = torch.from_numpy(x).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, g: layer.forward([x], [g])[0], (bottom, gain))


def test_a_rule_without_a_class(files):
    Path("rule.py").write_text(
        "from runner import LayerShapes, rule\n\n\n"
        '@rule("Half")\ndef shapes(setup):\n    return LayerShapes(list(setup.bottoms))\n'
    )
    own_layers.load("rule.py")
    net = schema.parse_text(NET.split('layer { name: "clip"')[0], caffe_pb.NetParameter)
    net.layer.add(name="h", type="Half", bottom=["data"], top=["h"])
    with pytest.raises(CaffeError, match="^layer 'h': .*Half.* class"):
        runner.Net(net)


def test_a_layers_file_that_fails_is_one_line(files, capfd):
    Path("bad.py").write_text("\n1 / 0\n")
    Path("solver.prototxt").write_text(SOLVER.format(1))
    assert main(["train", "-solver", "solver.prototxt", "-layers", "bad.py"]) == 1
    assert capfd.readouterr().err.endswith("bad.py:2: ZeroDivisionError: division by zero\n")


def test_the_external_engine_has_none(files, capfd):
    assert main(["train", "-engine", "pycaffe", "-layers", files]) == 1
    assert "-layers needs our own engine" in capfd.readouterr().err
