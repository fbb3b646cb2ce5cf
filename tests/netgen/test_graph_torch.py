"""The window formulas against torch's on random geometries (shapes only: the meta device)."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from netgen import graph
from netgen.schema import caffe_pb

EXAMPLES = settings(max_examples=60, deadline=None)
SIZES = st.tuples(st.integers(1, 20), st.integers(1, 20))


def image(sizes):
    return torch.empty(1, 2, *sizes, device="meta")


def shapes(kind, sizes, **params):
    layer = caffe_pb.LayerParameter(type=kind, name="l", bottom=["x"], top=["y"], **params)
    return graph.layer_shapes(layer, [(1, 2, *sizes)], caffe_pb.TRAIN)


@EXAMPLES
@given(SIZES, st.integers(1, 5), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3))
def test_convolution_and_deconvolution(sizes, kernel, stride, pad, dilation):
    param = caffe_pb.ConvolutionParameter(
        num_output=3, kernel_size=[kernel], stride=[stride], pad=[pad], dilation=[dilation]
    )
    options = dict(stride=stride, padding=pad, dilation=dilation)
    extent = dilation * (kernel - 1) + 1
    if min(sizes) + 2 * pad >= extent:
        found = shapes("Convolution", sizes, convolution_param=param)
        weight = torch.empty(found.params[0], device="meta")
        assert found.tops == [F.conv2d(image(sizes), weight, **options).shape]
    if all(stride * (size - 1) + extent - 2 * pad > 0 for size in sizes):
        found = shapes("Deconvolution", sizes, convolution_param=param)
        weight = torch.empty(found.params[0], device="meta")
        assert found.tops == [F.conv_transpose2d(image(sizes), weight, **options).shape]
    else:
        with pytest.raises(graph.NetError, match="output would be empty"):
            shapes("Deconvolution", sizes, convolution_param=param)


@EXAMPLES
@given(SIZES, st.integers(1, 5), st.integers(1, 5), st.integers(0, 2), st.booleans())
def test_pooling(sizes, kernel, stride, pad, ceil):
    # torch clips the last window also without padding (Caffe: only with), which shows only
    # where windows leave gaps; and it allows padding up to half a window.
    stride, pad = min(stride, kernel), min(pad, kernel // 2)
    mode = caffe_pb.PoolingParameter.CEIL if ceil else caffe_pb.PoolingParameter.FLOOR
    param = caffe_pb.PoolingParameter(kernel_size=kernel, stride=stride, pad=pad, round_mode=mode)
    if min(sizes) + 2 * pad >= kernel:
        expected = F.max_pool2d(image(sizes), kernel, stride, pad, ceil_mode=ceil).shape
        assert shapes("Pooling", sizes, pooling_param=param).tops == [expected]
