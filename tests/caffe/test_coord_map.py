"""caffe.coord_map: where pixels go through convolutions, poolings and crops."""

import pytest

from caffe import net_spec
from caffe.coord_map import coord_map_from_to, crop

L, P = net_spec.layers, net_spec.params


def spec(pool=2, up=2, **conv):
    n = net_spec.NetSpec()
    n.data = L.Input(shape={"dim": [1, 1, 60, 60]})
    n.conv = L.Convolution(n.data, num_output=4, **{"kernel_size": 3, **conv})
    n.pool = L.Pooling(n.conv, pool=P.Pooling.MAX, kernel_size=pool, stride=pool)
    up = {"num_output": 4, "kernel_size": 2 * up, "stride": up}
    n.up = L.Deconvolution(n.pool, convolution_param=up)
    return n


def test_pooling_and_upsampling_of_one_factor_are_the_identity():
    n = spec()
    assert coord_map_from_to(n.up, n.data) == (1, 1, 0)
    assert coord_map_from_to(n.pool, n.data)[1:] == (2, 1.5)
    assert coord_map_from_to(n.data, n.pool)[1:] == (0.5, -0.75)
    n = spec(pool=4, up=4)
    assert coord_map_from_to(n.up, n.data) == (1, 1, -1)


def test_padding_and_dilation_move_the_origin():
    n = spec(pad=3)
    assert coord_map_from_to(n.up, n.data)[2] == -3
    n = spec(dilation=2)
    assert coord_map_from_to(n.up, n.data)[2] == 1


def test_a_crop_layer_of_what_lies_over_the_other():
    n = spec(pad=5)
    n.score = L.ReLU(n.up)
    n.cut = crop(n.score, n.data)
    layer = n.to_proto().layer[-1]
    assert (layer.type, list(layer.bottom)) == ("Crop", ["score", "data"])
    assert (layer.crop_param.axis, list(layer.crop_param.offset)) == (2, [5])
    assert coord_map_from_to(n.cut, n.data) == (1, 1, 0)


def test_what_cannot_be_aligned():
    n = spec()
    n.ip = L.InnerProduct(n.up, num_output=2)
    with pytest.raises(RuntimeError, match="are they connected by spatial layers"):
        coord_map_from_to(n.ip, n.data)
    n = spec(pool=3)
    with pytest.raises(AssertionError, match="scale mismatch on crop"):
        crop(n.up, n.data)
    n = spec()
    n.big = L.Deconvolution(n.data, num_output=1, kernel_size=1, pad=2)
    with pytest.raises(AssertionError, match="cannot crop negative offset"):
        crop(n.big, n.data)
    with pytest.raises(AssertionError, match="use kernel_size"):
        coord_map_from_to(L.Convolution(n.data, num_output=1, kernel_h=3, kernel_w=1), n.data)
