"""The names that scripts import, and where they import them from."""

import pytest

import caffe


def test_the_compiled_modules_name_has_the_classes_too():
    from caffe import _caffe, pycaffe

    assert _caffe.Net is pycaffe.Net is caffe.Net
    assert _caffe.SGDSolver is caffe.SGDSolver and _caffe.Layer is caffe.Layer
    for name in _caffe._CLASSES:
        assert getattr(_caffe, name) is not None
    assert pycaffe.SGDSolver is caffe.SGDSolver and pycaffe.Timer is caffe.Timer
    for module in (_caffe, pycaffe):
        with pytest.raises(AttributeError, match="has no attribute 'Nett'"):
            _ = module.Nett
