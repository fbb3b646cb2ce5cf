"""What a GPU would refuse, seen without one; each test in a process of its own, as harness/card.py needs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="PyTorch 2.9 is the first that lends its place for devices of others to Python",
)


def process(*words, status=0):
    """The output of a Python script's process, its folder the tests'."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOG_logtostderr": "1"}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=HERE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    return done.stdout


def test_a_case_of_each_layer_type_comes_out_as_on_the_host():
    last = process("on_card.py", "--sample").splitlines()[-1]
    assert last.endswith(": 0 finds"), last
    assert int(last.split(", ")[1].split()[0]) > 70, last


def test_mixing_reading_and_recording():
    told = process("-c", RULES).splitlines()
    assert "all tensors must be on one device, and (3,) is on cpu" in told[0]
    assert "a generator of the host for a tensor of the card" in told[1]
    assert "operation not permitted when stream is capturing (_local_scalar_dense)" in told[2]
    assert "operation not permitted when stream is capturing (an upload)" in told[3]
    assert told[4:] == ["[0.0, 0.0]", "[2.0, 2.0]", "[4.0, 4.0]", "read _to_copy"]


RULES = """
import torch
from harness.card import Card

def refused(work):
    try:
        work()
    except RuntimeError as error:
        print(error)

with Card() as card:
    from harness.card import DEVICE
    x = torch.zeros(2, device=DEVICE)
    refused(lambda: torch.zeros(3, device=DEVICE) + torch.ones(3))
    refused(lambda: x.clone().uniform_(generator=torch.Generator()))
    for work in (x.sum().item, lambda: x.copy_(torch.ones(2))):
        with torch.cuda.graph(torch.cuda.CUDAGraph()):
            refused(work)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        x.add_(torch.ones_like(x) * 2)
    print(x.tolist())
    for _ in range(2):
        graph.replay()
        print(x.tolist())
    print("read", card.reads[-1][0])
"""


def test_device_query_tells_what_the_card_is():
    told = process("-m", "harness.card", "device_query", "-gpu", "all")
    for row in ("Device id:                     0", "Name:                          A card of paper",
                "Total global memory:           85899345920",
                "Number of multiprocessors:     132"):  # fmt: skip
        assert row in told


@pytest.mark.parametrize(
    ("gpu", "line"),
    [
        ("1", "-gpu 1: there is no device 1, only 0 to 0"),
        ("0,0", "-gpu 0,0: device 0 is named twice"),
        ("first", "-gpu first: device ids are numbers separated by ','"),
    ],
)
def test_numbers_that_no_card_has(gpu, line):
    assert line in process("-m", "harness.card", "device_query", "-gpu", gpu, status=1)


def test_records_may_take_half_of_what_is_free_on_the_card():
    told = process("-c", BUDGET).split()
    assert told == [str(4 << 30), str(1 << 20)]


BUDGET = """
import os
from harness.card import Card
from runner.data import memory
os.environ.pop(memory.VARIABLE, None)
memory._host_memory = lambda: 64 << 30  # whatever this machine has
with Card():
    from harness.card import DEVICE
    print(memory.budget(DEVICE))
    os.environ[memory.VARIABLE] = "1"
    print(memory.budget(DEVICE))
"""


def test_the_face_of_pycaffe_and_the_bundled_nets(tmp_path):
    shared = HERE.parent / "shared"
    assert process("-c", FACE, str(tmp_path), str(shared)).splitlines()[-1] == "the same"


FACE = """
import os, sys
from pathlib import Path
sys.path.append(sys.argv[2])
import numpy as np
import caffe, tiny
from harness.card import Card, put_in
from netgen import nets, schema

put_in()  # before anything learns on the host: autograd counts the devices once
folder = Path(sys.argv[1])
os.chdir(folder)
tiny.write_lmdbs(folder)
LAYERS = '''
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {
  num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param {
  num_output: 3 weight_filler { type: "xavier" } } }
'''
Path("net.prototxt").write_text(tiny.DATA.format(folder=folder) + LAYERS + tiny.LOSS.format())
Path("solver.prototxt").write_text(
    'net: "net.prototxt" base_lr: 0.1 momentum: 0.9 lr_policy: "fixed" max_iter: 4 '
    'random_seed: 1 snapshot_prefix: "s" test_iter: 2 test_interval: 100'
)

def trained():
    solver = caffe.SGDSolver("solver.prototxt")
    net, found = solver.net, {}
    solver.step(2)
    net.params["ip"][1].data[...] += 1  # what the host writes reaches the device
    solver.step(1)
    found.update({name: net.params[name][0].data.copy() for name in ("conv", "bn", "ip")})
    net.forward(), net.backward()
    found["gradient"] = net.params["conv"][0].diff.copy()
    net.blobs["ip"].diff[...] = 0.5
    net.backward(start="ip")
    found["from ip"] = net.params["conv"][0].diff.copy()
    test = solver.test_nets[0]
    test.share_with(net)
    found["loss"] = test.forward()["loss"].copy()
    solver.snapshot()
    return found

def bundled(name):
    param = nets.build_net(name, nets.NetOptions(width=0.125), deploy=True)
    schema.write_text(param, name)
    caffe.set_random_seed(3)
    net = caffe.Net(name, caffe.TEST)
    for layer, kind in zip(net._layer_names, [layer.type for layer in net.layers]):
        if kind == "BatchNorm":
            for blob, value in zip(net.params[layer], (0, 1, 1)):
                blob.data[...] = value
    data = net.blobs["data"]
    data.reshape(2, *data.data.shape[1:])
    data.data[...] = np.random.default_rng(1).standard_normal(data.data.shape)
    return net.forward()["prob"].copy()

def everything():
    return {**trained(), **{name: bundled(name) for name in nets.NETS}}

caffe.set_mode_cpu()
host = everything()
with Card():
    caffe.set_mode_gpu()
    caffe.set_device(0)
    card = everything()
for name, wanted in host.items():
    assert np.isfinite(wanted).all(), name
    np.testing.assert_allclose(card[name], wanted, 1e-5, 1e-6, err_msg=name)
print("the same")
"""
