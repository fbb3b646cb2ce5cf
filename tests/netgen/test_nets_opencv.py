"""OpenCV 4's dnn module reads every bundled deploy net, and computes what our engine computes."""

import numpy as np
import pytest
from trained import as_trained

from netgen import nets, schema
from netgen.schema import caffe_pb

cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not needed, only compared")
CAN_READ = hasattr(cv2.dnn, "readNetFromCaffe")


@pytest.mark.skipif(not CAN_READ, reason="this OpenCV has no Caffe importer: it needs 4.x")
@pytest.mark.parametrize("name", nets.NETS)
def test_opencv_computes_what_the_engine_computes(name, tmp_path):
    param = nets.build_net(name, nets.NetOptions(width=0.25), deploy=True)
    net = as_trained(param)
    schema.write_text(param, tmp_path / "deploy.prototxt")
    net.save(tmp_path / "net.caffemodel")
    read = cv2.dnn.readNetFromCaffe(
        str(tmp_path / "deploy.prototxt"), str(tmp_path / "net.caffemodel")
    )
    (data, shape), scores = *net.inputs.items(), param.layer[-1].bottom[0]
    image = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    wanted = net.forward([scores, "prob"], **{data: image})
    read.setInput(image, data)
    for blob, layer in ((scores, param.layer[-2].name), ("prob", "prob")):
        found = read.forward(layer)
        assert np.abs(found - wanted[blob]).max() < 1e-5 * np.abs(wanted[blob]).max()


def test_resnet20s_shortcut_is_the_same_without_constants():
    """The deploy net crops to a pooling's size and subtracts, the trained one has constants."""
    ours = nets.build_net("resnet20", nets.NetOptions(width=0.25), deploy=True)
    trained = {
        layer.name: layer
        for layer in nets.build_net("resnet20", nets.NetOptions(width=0.25)).layer
        if layer.type in ("DummyData", "Power")
    }
    other = caffe_pb.NetParameter()
    other.CopyFrom(ours)
    for layer in other.layer:
        if layer.name in trained:
            layer.CopyFrom(trained.pop(layer.name))
    assert not trained and ours != other
    image = np.random.default_rng(3).normal(size=(1, 3, 32, 32)).astype(np.float32)
    found = [as_trained(param).forward(["fc"], data=image)["fc"] for param in (ours, other)]
    assert np.abs(found[0]).max() > 0.1
    np.testing.assert_allclose(*found, rtol=1e-6, atol=1e-6)  # one is folded, the other is not
