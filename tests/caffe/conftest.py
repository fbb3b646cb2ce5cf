import os
import sys

import pytest

import caffe


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Every test works in a folder of its own, where Python layers are found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        module = getattr(sys.modules[name], "__file__", None) or ""
        if os.path.dirname(module) == str(tmp_path):
            del sys.modules[name]


@pytest.fixture
def write(folder):
    """A function that writes a text file into the test's folder and returns its name."""

    def write(name, text):
        (folder / name).write_text(text)
        return name

    return write


@pytest.fixture(params=["memory", "mirror"])
def arrays(request, monkeypatch):
    """What a blob's arrays are: the memory it computes on, or as with a GPU a copy on the host."""
    if request.param == "mirror":
        memory = type(caffe.Blob().data_memory)
        monkeypatch.setattr(memory, "mirrors", staticmethod(lambda device: True))
    return request.param


@pytest.fixture
def net(write, arrays):
    """A function that makes a caffe.Net of a prototxt's text."""

    def net(text, phase=caffe.TEST, **keywords):
        return caffe.Net(write("net.prototxt", text), phase, **keywords)

    return net
