"""Python layers in the engine's own passes and in the `caffe` command."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from tests.runner import conftest

MODULE = '''
import caffe
import numpy as np


class Feed(caffe.Layer):
    """Two tops, batches of another size each time."""

    def setup(self, bottom, top):
        self.size, self.at = eval(self.param_str), 0

    def reshape(self, bottom, top):
        self.now = self.size + self.at % 2
        top[0].reshape(self.now, 3)
        top[1].reshape(self.now, 2)

    def forward(self, bottom, top):
        random = np.random.RandomState(self.at)
        self.at += 1
        top[0].data[...] = random.uniform(-1, 1, (self.now, 3))
        top[1].data[...] = 2 * top[0].data[:, :2] - 1

    def backward(self, top, propagate_down, bottom):
        raise AssertionError("nothing is below")


class Affine(caffe.Layer):
    """A factor and a term for everything, which learn."""

    def setup(self, bottom, top):
        self.blobs.add_blob(1)
        self.blobs.add_blob(1)
        self.blobs[0].data[...] = 0.5

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data * self.blobs[0].data + self.blobs[1].data

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum()
        self.blobs[1].diff[...] += top[0].diff.sum()
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff * self.blobs[0].data


class Half(caffe.Layer):
    """Half the mean squared distance of its bottoms' rows."""

    def setup(self, bottom, top):
        self.phase_there = self.phase

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.difference = bottom[0].data - bottom[1].data
        top[0].data[...] = (self.difference**2).sum() / bottom[0].num / 2

    def backward(self, top, propagate_down, bottom):
        assert list(propagate_down) == [True, False]
        bottom[0].diff[...] = top[0].diff[0] * self.difference / bottom[0].num
'''
LAYER = 'layer {{ name: "{0}" type: "Python" {1} python_param {{ module: "layers_of_mine" layer: "{2}" {3} }} }}\n'
FC = """layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y" inner_product_param {
  num_output: 2 weight_filler { type: "constant" value: 0.1 } } }\n"""
DATA = LAYER.format("data", 'top: "x" top: "t"', "Feed", 'param_str: "4"')
LOSS = LAYER.format("loss", 'bottom: "z" bottom: "t" top: "loss" loss_weight: 1', "Half", "")
AFFINE = LAYER.format("affine", 'bottom: "y" top: "z" param { lr_mult: 2 }', "Affine", "")
BUILT_IN = """layer { name: "affine" type: "Scale" bottom: "y" top: "z" param { lr_mult: 2 }
    scale_param { axis: 0 num_axes: 0 filler { type: "constant" value: 0.5 } bias_term: true } }
  layer { name: "loss" type: "EuclideanLoss" bottom: "z" bottom: "t" top: "loss" }"""


@pytest.fixture
def mine(work, monkeypatch):
    """The current folder with layers_of_mine.py in it, which nothing has imported."""
    (work / "layers_of_mine.py").write_text(MODULE)
    (work / "net.prototxt").write_text(DATA + FC + AFFINE + LOSS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield work
    sys.modules.pop("layers_of_mine", None)


def losses(result):
    return [
        float(m.split("loss = ")[1].split()[0]) for m in result.starting("    Train net output")
    ]


def test_they_train_as_layers_of_the_engine_do(caffe, mine, write_solver):
    solver = write_solver(test_iter=None, test_interval=None, iter_size=2)
    ours = caffe("train", "-solver", solver)
    assert ours.status == 0
    sys.modules.pop("layers_of_mine")
    (mine / "net.prototxt").write_text(DATA + FC + BUILT_IN)
    theirs = caffe("train", "-solver", solver)
    assert losses(ours)[-1] < losses(ours)[0] / 2
    np.testing.assert_allclose(losses(ours), losses(theirs), rtol=1e-4)


def test_they_are_tested_timed_and_saved(caffe, mine, write_solver):
    trained = caffe("train", "-solver", write_solver())
    assert trained.status == 0 and trained.starting("    Test net output #0: loss")
    scored = caffe(
        "test", "-model", "net.prototxt", "-weights", "s_iter_8.caffemodel", "-iterations", "2"
    )
    assert scored.status == 0
    (shown,) = [m for m in scored.messages if m.startswith("loss = ")]
    assert float(shown.split()[2]) < 0.5 * losses(trained)[0]
    timed = caffe("time", "-model", "net.prototxt", "-iterations", "2")
    assert timed.status == 0 and any("affine\tbackward" in m for m in timed.messages)


def test_a_layer_that_fails_shows_where(caffe, mine):
    (mine / "layers_of_mine.py").write_text(MODULE.replace("self.size + self.at % 2", "self.sizes"))
    with pytest.raises(AttributeError, match="'Feed' object has no attribute 'sizes'"):
        caffe("time", "-model", "net.prototxt")


@pytest.mark.parametrize(
    "change, kind, words",
    [
        (('module: "layers_of_mine"', 'module: "layers_of_yours"'), ModuleNotFoundError, "yours"),
        (('layer: "Half"', 'layer: "Whole"'), AttributeError, "Whole"),
    ],
)
def test_a_layer_that_is_not_there(caffe, mine, change, kind, words):
    (mine / "net.prototxt").write_text((DATA + FC + AFFINE + LOSS).replace(*change))
    with pytest.raises(kind, match=words):
        caffe("time", "-model", "net.prototxt")


def test_more_param_than_it_has_blobs(caffe, mine):
    text = DATA + FC + AFFINE.replace("param {", "param { } param { } param {", 1) + LOSS
    (mine / "net.prototxt").write_text(text)
    result = caffe("time", "-model", "net.prototxt")
    assert result.status == 1
    assert "Too many params specified for layer affine (3 vs. 2)" in result.messages[-1]


def test_import_caffe_finds_this_one_in_the_command(mine):
    """Also where another package of that name comes first on the path."""
    other = mine / "elsewhere" / "caffe"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise SystemExit('the other caffe')")
    code = (
        "import sys; sys.path.insert(0, 'elsewhere'); from runner.commands.cli import main; "
        "sys.exit(main(['time', '-model', 'net.prototxt', '-iterations', '1']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]


def test_several_workers_train_on_what_their_layers_feed(mine, write_solver):
    """Each worker's layer may ask which one it is."""
    (mine / "layers_of_mine.py").write_text(
        MODULE.replace("RandomState(self.at)", "RandomState(self.at + 100 * caffe.solver_rank())")
        + "\n\nassert caffe.solver_count() == 2\n"
    )
    write_solver(test_iter=None, test_interval=None, max_iter=40)
    code = "import sys; from runner.commands.cli import main; sys.exit(main(sys.argv[1:]))"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, "train", "-solver", "solver.prototxt"],
            env={**os.environ, **place, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    ended = [worker.communicate(timeout=120)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], ended[0][-800:] + ended[1][-800:]
    shown = losses(conftest.Result(0, "", ended[0]))
    assert shown[-1] < shown[0] / 2
