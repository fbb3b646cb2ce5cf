"""What the runner's tests share: a net from text, one layer between its Inputs, and the caffe
command in this process with a tiny data set to train on.
"""

import sys

import numpy as np
import pytest
import torch
from tiny import DATA, LOSS, write_lmdbs

from netgen import schema
from netgen.schema import caffe_pb
from runner.commands.cli import main
from runner.layers import Context
from runner.log import glog
from runner.log.lines import PREFIX, SPEED
from runner.net.net import Net, net_param_for


def net_from(text, phase="TRAIN", seed=1):
    """The Net of a prototxt's text, its weights drawn from `seed`."""
    param = schema.parse_text(text, caffe_pb.NetParameter)
    fillers = torch.Generator().manual_seed(seed)
    return Net(net_param_for(param, caffe_pb.Phase.Value(phase)), Context(fillers=fillers))


class OneLayer:
    """A net of one layer, its bottoms Inputs that hold the given arrays.

    text: the LayerParameter without name, bottoms and tops. `forward` runs the net in float32,
    as it always runs; gradients are the layer's own, taken in float64.
    """

    def __init__(self, text, *bottoms, tops=1, phase="TRAIN", in_place=False):
        self.arrays = [np.asarray(bottom, np.float64) for bottom in bottoms]
        self.tops = [f"top{i}" for i in range(tops)]
        if in_place:
            self.tops[0] = "bottom0"
        names = [f"bottom{i}" for i in range(len(bottoms))]
        inputs = "".join(
            f'layer {{ name: "in{i}" type: "Input" top: "{name}" input_param {{ shape {{ '
            + " ".join(f"dim: {d}" for d in array.shape)
            + " } } } "
            for i, (name, array) in enumerate(zip(names, self.arrays, strict=True))
        )
        wires = [f'bottom: "{name}"' for name in names] + [f'top: "{name}"' for name in self.tops]
        self.net = net_from(f'{inputs} layer {{ name: "l" {" ".join(wires)} {text} }}', phase)
        self.node = self.net.nodes[-1]
        self.layer = self.node.layer
        for node, array in zip(self.net.nodes, self.arrays, strict=False):
            node.layer.values = [torch.tensor(array, dtype=torch.float32)]

    @property
    def blobs(self):
        return [blob.detach().numpy() for blob in self.node.blobs]

    def set_blobs(self, *arrays):
        for blob, array in zip(self.node.blobs, arrays, strict=True):
            blob.copy_(torch.as_tensor(np.asarray(array, np.float32)))
        return self

    def forward(self):
        """The tops as arrays; their shapes are those the net promised."""
        _, outputs = self.net.forward()
        tops = [outputs[name].numpy() for name in self.tops]
        assert [t.shape for t in tops] == [self.net.blob_shapes[name] for name in self.tops]
        return tops

    def _double(self):
        xs = [torch.tensor(array, requires_grad=True) for array in self.arrays]
        return xs, [
            torch.tensor(blob, dtype=torch.float64, requires_grad=True) for blob in self.blobs
        ]

    def gradients(self, *upstream):
        """Gradients of every bottom, then every blob; upstream: one array a top, or ones."""
        xs, blobs = self._double()
        tops = self.layer.forward(xs, blobs)
        upstream = upstream or [np.ones(top.shape) for top in tops]
        found = torch.autograd.grad(
            [top for top in tops if top.requires_grad],
            xs + blobs,
            [
                torch.tensor(np.asarray(u, np.float64)).reshape(top.shape)
                for u, top in zip(upstream, tops, strict=True)
                if top.requires_grad
            ],
            allow_unused=True,
        )
        return [None if g is None else g.numpy() for g in found]

    def check_gradients(self, bottoms=(0,), blobs=True, tolerance=1e-6, seed=0):
        """Backward against central differences, for a random gradient of the tops."""
        xs, params = self._double()
        random = np.random.default_rng(seed)
        with torch.no_grad():
            weights = [
                torch.tensor(random.uniform(-1, 1, top.shape))
                for top in self.layer.forward(xs, params)
            ]
        analytic = self.gradients(*[w.numpy() for w in weights])
        places = [*bottoms, *(range(len(xs), len(xs) + len(params)) if blobs else ())]
        for place in places:
            value = (xs + params)[place].detach()
            numeric = np.zeros(value.shape)
            for index in np.ndindex(*value.shape):
                sides = []
                for shift in (1e-6, -1e-6):
                    kept = value[index].item()
                    value[index] = kept + shift
                    with torch.no_grad():
                        tops = self.layer.forward(xs, params)
                    sides.append(
                        sum((t * w).sum().item() for t, w in zip(tops, weights, strict=True))
                    )
                    value[index] = kept
                numeric[index] = (sides[0] - sides[1]) / 2e-6
            np.testing.assert_allclose(
                analytic[place], numeric, rtol=1e-4, atol=tolerance, err_msg=f"input {place}"
            )


@pytest.fixture
def build():
    """net_from, for tests of whole nets."""
    return net_from


@pytest.fixture
def one_layer():
    """OneLayer, for tests of single layers."""
    return OneLayer


# --- the caffe command on a tiny data set ---

TINY_NET = (
    DATA
    + """\
layer {{
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  param {{ lr_mult: 1 decay_mult: 1 }} param {{ lr_mult: 2 decay_mult: 0 }}
  convolution_param {{ num_output: 4 kernel_size: 3 weight_filler {{ type: "xavier" }} }}
}}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "drop" type: "Dropout" bottom: "conv" top: "conv" }}
layer {{
  name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param {{ num_output: 3 weight_filler {{ type: "xavier" }} }}
}}
"""
    + LOSS
)

TINY_SOLVER = {
    "net": '"net.prototxt"',
    "test_iter": "2",
    "test_interval": "4",
    "base_lr": "0.1",
    "momentum": "0.9",
    "weight_decay": "0.001",
    "lr_policy": '"fixed"',
    "display": "1",
    "max_iter": "8",
    "snapshot_prefix": '"s"',
    "random_seed": "3",
}


@pytest.fixture(scope="session")
def tiny_lmdbs(tmp_path_factory):
    """A folder with train_lmdb and test_lmdb. Not to be changed."""
    folder = tmp_path_factory.mktemp("tiny")
    write_lmdbs(folder)
    return folder


@pytest.fixture
def work(tmp_path, tiny_lmdbs, monkeypatch):
    """An empty current directory but for net.prototxt, a net on the tiny data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(TINY_NET.format(folder=tiny_lmdbs))
    return tmp_path


@pytest.fixture
def write_solver(work):
    """write_solver(name="solver", field=value, ...) -> its path.

    Values are prototxt, a list is a repeated field, None leaves a field out.
    """

    def write(name="solver", **fields):
        lines = []
        for key, value in {**TINY_SOLVER, **fields}.items():
            values = value if isinstance(value, list) else [value]
            separator = "" if key.endswith(("_param", "_state")) else ":"
            lines += [f"{key}{separator} {v}" for v in values if v is not None]
        (work / f"{name}.prototxt").write_text("\n".join(lines) + "\n")
        return f"{name}.prototxt"

    return write


class Result:
    """What a call of the command gave: its exit status, its stdout and its log."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err
        starts = list(PREFIX.finditer(err))
        ends = [match.start() for match in starts[1:]] + [len(err)]
        #: (severity, file:line, message), a message of several lines in one
        self.lines = [
            (match["severity"], match["source"], err[match.end() : end].rstrip("\n"))
            for match, end in zip(starts, ends, strict=False)  # no end without a start
        ]
        self.messages = [line[2] for line in self.lines]

    def starting(self, *words):
        """The messages that start with one of `words`, in order."""
        return [message for message in self.messages if message.startswith(words)]

    def trained(self):
        """What training printed, without times: losses, learning rates, outputs, tests."""
        words = ("Iteration", "    Train net output", "    Test net output", "Test loss")
        return [SPEED.sub("", line) for line in self.starting(*words)]


@pytest.fixture
def caffe(work, capfd):
    """caffe("train", "-solver", ...) -> Result, in this process."""

    def call(*words):
        capfd.readouterr()
        status = main([str(word) for word in words])
        return Result(status, *capfd.readouterr())

    return call


@pytest.fixture
def read_result():
    """Result itself, for the output of a process."""
    return Result


@pytest.fixture
def on_line():
    """on_line(text, action): call `action` once, before the first log line with `text`."""
    waiting = []

    def write(line):
        for text, action in [pair for pair in waiting if pair[0] in line]:
            waiting.remove((text, action))
            action()
        sys.stderr.write(line + "\n")

    def add(text, action):
        waiting.append((text, action))
        glog.log.through(write)

    yield add
    glog.log.through(None)
    assert not waiting, f"never logged: {waiting}"
