"""The protocol of Python layers: what is called when, with what."""

import numpy as np
import pytest

import caffe

MODULE = '''
import caffe


class Tell(caffe.Layer):
    """Notes every call; the top is the bottom plus one."""

    def __init__(self, param, *rest):
        super().__init__(param, *rest)
        self.log = []

    def setup(self, bottom, top):
        self.log.append(("setup", len(top[0].shape), self.param_str, self.phase))

    def reshape(self, bottom, top):
        self.log.append("reshape")
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        self.log.append("forward")
        top[0].data[...] = bottom[0].data + 1

    def backward(self, top, propagate_down, bottom):
        self.log.append(("backward", list(propagate_down)))
        bottom[0].diff[...] = top[0].diff * 3


class Fail(Tell):
    def forward(self, bottom, top):
        raise ZeroDivisionError("here")


class Half:
    """No layer at all."""


class NoBackward(caffe.Layer):
    def reshape(self, bottom, top):
        top[0].reshape()

    def forward(self, bottom, top):
        top[0].data[...] = 2
'''
INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
LAYER = """layer { name: "%s" type: "Python" bottom: "%s" top: "%s" %s
  python_param { module: "told" layer: "%s" param_str: "some" } }\n"""


@pytest.fixture(autouse=True)
def told(write):
    write("told.py", MODULE)


@pytest.mark.parametrize("phase, name", [(caffe.TRAIN, "TRAIN"), (caffe.TEST, "TEST")])
def test_the_phase_is_a_number_with_a_name(net, phase, name):
    """The number is stock Caffe's; its str that of Faster R-CNN's, whose layers look it up."""
    seen = net(INPUT + LAYER % ("p", "x", "y", "", "Tell"), phase).layers[1].phase
    assert seen == phase and [10, 11][seen] == 10 + phase
    assert str(seen) == name and f"{seen:d}" == str(phase)


def test_the_order_of_calls(net):
    made = net("force_backward: true\n" + INPUT + LAYER % ("one", "x", "y", "", "Tell"))
    layer = made.layers[1]
    assert layer is made.layer_dict["one"] and layer.type == "Python"
    assert layer.log == [("setup", 0, "some", caffe.TEST), "reshape"]
    del layer.log[:]
    made.blobs["x"].reshape(1, 3)
    out = made.forward(x=np.zeros((1, 3)))
    np.testing.assert_array_equal(out["y"], [[1, 1, 1]])
    made.reshape()
    back = made.backward(y=np.ones((1, 3)))
    np.testing.assert_array_equal(back["x"], [[3, 3, 3]])
    assert layer.log == ["reshape", "forward", "reshape", ("backward", [True])]


def test_force_backward_goes_over_propagate_down(net):
    text = INPUT + LAYER % ("one", "x", "y", "propagate_down: false", "Tell")
    made = net("force_backward: true\n" + text)
    made.backward()
    assert made.layers[1].log[-1] == ("backward", [True])
    skipped = net(text)
    skipped.backward()
    assert skipped.layers[1].log[-1] == "reshape"


def test_exceptions_come_out_as_they_are(net):
    made = net(INPUT + LAYER % ("one", "x", "y", "", "Fail"))
    with pytest.raises(ZeroDivisionError, match="^here$"):
        made.forward()
    half = net("force_backward: true\n" + INPUT + LAYER % ("one", "x", "y", "", "NoBackward"))
    assert half.forward()["y"] == 2
    with pytest.raises(AttributeError, match="backward"):
        half.backward()


def test_in_place_it_works_on_one_blob(net):
    made = net(INPUT + LAYER % ("one", "x", "x", "", "Tell"))
    view = made.blobs["x"].data
    for expected in 1, 2:
        made.forward()
        np.testing.assert_array_equal(view, np.full((2, 3), expected))


def test_it_works_on_the_nets_own_blobs(net):
    made = net(
        INPUT + LAYER % ("one", "x", "y", "", "Tell") + LAYER % ("two", "y", "z", "", "Tell")
    )
    made.after_forward(lambda i: made.blobs["y"].data.fill(10) if i == 1 else None)
    np.testing.assert_array_equal(made.forward()["z"], np.full((2, 3), 11))
