"""The nets of the inference page are what they are called, and its verdicts are right."""

import numpy as np
import pytest
import torch

import runner
from bench import inference, public_nets
from bench.torch_nets import TorchNet
from netgen.describe import describe
from netgen.schema import caffe_pb


@pytest.mark.parametrize(
    ("name", "parameters", "millions"),
    [  # weights and biases as published; BatchNorm's three blobs, which do not learn, beside them
        ("alexnet", 60_965_224, 724),
        ("googlenet", 6_998_552, 1583),
        ("resnet50", 25_557_032 + 53_173, 3858),
        ("mobilenet", 4_231_976 + 21_915, 569),
    ],
)
def test_public_nets(name, parameters, millions):
    totals = describe(public_nets.NETS[name](2), caffe_pb.TEST)["totals"]
    assert totals["parameters"] == parameters
    assert round(totals["multiply_adds_per_image"] / 1e6) == millions


@pytest.mark.parametrize("name", ["lenet", "cifar10_full", "resnet20", "msplit2"])
def test_the_net_by_hand_is_the_net(name):
    param = inference.deploy_net(name, 2)
    net = runner.Net(param, seed=1)
    inference.fill(net)
    images = np.random.default_rng(0).standard_normal(net.inputs["data"]).astype(np.float32)
    with torch.no_grad():
        found = TorchNet(param, net.params)(torch.from_numpy(images)).numpy()
    wanted = net.forward(data=images)["prob"]
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=1e-5)
    assert wanted.std() > 1e-3


def row(batch, **seconds):
    return {
        "net": "lenet",
        "batch": batch,
        "seconds": {"ours": [1.0, 2.0, 3.0], **seconds},
        "differences": {"OpenCV": 1e-6},
        "making": {"OpenCV": 0.5},
    }


def test_the_fastest_peer_judges():
    slow, quick = [2.0, 4.0, 6.0], [0.8, 1.0, 9.0]
    assert inference.verdict(row(1, OpenCV=slow, onnxruntime=quick)) == (
        "onnxruntime",
        0.8,
        "reached",
    )
    assert inference.verdict(row(32, OpenCV=slow, onnxruntime=quick))[2] == "11 % short"


def test_the_page_leads_with_a_line_a_net_and_batch():
    machine = {"device": "d", "cores": 2, "threads": 1, "system": "s", "commit": "c"}
    about = {"machine": {**machine, "versions": {}}, "peers": "OpenCV 4", "date": "today"}
    about |= {"minutes": 1.0, "load": 0.0}
    page = inference.page({"about": about, "rows": [row(1, OpenCV=[0.5, 1.0, 1.5])]})
    rows = [line for line in page.splitlines() if line.startswith("| LeNet")]
    assert rows[0] == ("| LeNet | 1 | 0.50 (0.50 to 0.50) | 3 | OpenCV | 0.50 | 0.7: 29 % short |")
    assert rows[1].startswith("| LeNet | 1 | 2,000 (1,000 to 3,000) | 1,000 (500 to 1,500) |")
