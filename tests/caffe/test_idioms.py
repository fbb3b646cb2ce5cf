"""What people do with pycaffe, as short scripts whose numbers are checked."""

import lmdb
import numpy as np
import pytest

import caffe
from caffe import layers as L
from caffe import params as P

RANDOM = np.random.RandomState()


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers, whichever ran before."""
    RANDOM.seed(0)


def fill(net, scale=0.5, seed=1):
    """Give every parameter random values, and return them by layer."""
    random = np.random.RandomState(seed)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = random.uniform(-scale, scale, blob.data.shape)
    return {name: [blob.data.copy() for blob in blobs] for name, blobs in net.params.items()}


def convolved(x, weight, bias):
    """A 3x3 convolution of (C, H, W) without padding."""
    height, width = x.shape[1] - 2, x.shape[2] - 2
    out = np.empty((len(weight), height, width))
    for i in range(height):
        for j in range(width):
            out[:, i, j] = (weight * x[:, i : i + 3, j : j + 3]).sum((1, 2, 3)) + bias
    return out


IMAGE_NET = """
name: "features" force_backward: true
input: "data" input_dim: 1 input_dim: 2 input_dim: 5 input_dim: 5
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 3 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 3 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"
  inner_product_param { num_output: 4 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def test_features_of_images_one_by_one(net):
    extractor = net(IMAGE_NET)
    weights = fill(extractor)
    features = []
    for image in RANDOM.uniform(-1, 1, (3, 2, 5, 5)):
        extractor.blobs["data"].data[...] = image
        prob = extractor.forward()["prob"]
        features.append(extractor.blobs["pool"].data[0].flatten())
        expected = convolved(image, *weights["conv"]).clip(0).max((1, 2))
        np.testing.assert_allclose(features[-1], expected, rtol=1e-5)
        assert prob.sum() == pytest.approx(1)
    assert len({tuple(row) for row in features}) == 3  # each its own, though the blob is one


def test_saliency_is_the_gradient_of_a_class(net):
    classifier = net(IMAGE_NET)
    fill(classifier)
    image = RANDOM.uniform(-1, 1, (1, 2, 5, 5))
    classifier.forward(data=image)
    label = np.zeros((1, 4))
    label[0, 2] = 1
    classifier.blobs["fc"].diff[...] = label
    saliency = classifier.backward(start="fc")["data"].copy()
    for index in (0, 0, 2, 2), (0, 1, 4, 0):
        slope = []
        for step in 1e-3, -1e-3:
            moved = image.copy()
            moved[index] += step
            classifier.forward(data=moved)
            slope.append(classifier.blobs["fc"].data[0, 2])
        assert (slope[0] - slope[1]) / 2e-3 == pytest.approx(saliency[index], abs=1e-3)


def test_a_dream_climbs(net):
    """DeepDream: forward to a layer, its data as its diff, and back into the image."""
    dreamer = net(IMAGE_NET)
    fill(dreamer)
    source = dreamer.blobs["data"]
    source.reshape(1, 2, 8, 8)
    source.data[...] = RANDOM.uniform(-1, 1, (1, 2, 8, 8))
    heights = []
    for _ in range(4):
        dreamer.forward(end="conv")
        target = dreamer.blobs["conv"]
        heights.append(float((target.data**2).sum() / 2))
        target.diff[...] = target.data
        dreamer.backward(start="conv")
        gradient = source.diff[0]
        source.data[0] += 0.05 / np.abs(gradient).mean() * gradient
    assert heights == sorted(heights) and heights[-1] > 1.5 * heights[0]


def test_fully_connected_layers_become_convolutions(net, write, folder):
    classifier = net(
        IMAGE_NET.replace(
            'kernel_size: 3 } }\nlayer { name: "fc', 'kernel_size: 2 } }\nlayer { name: "fc'
        )
    )
    fill(classifier)
    classifier.save("fc.caffemodel")
    text = (folder / "net.prototxt").read_text()
    text = text.replace("input_dim: 5 input_dim: 5", "input_dim: 7 input_dim: 6")
    inner = 'name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"\n  inner_product_param { num_output: 4 }'
    assert inner in text
    text = text.replace(
        inner,
        'name: "fc-conv" type: "Convolution" bottom: "pool" top: "fc"\n'
        "  convolution_param { num_output: 4 kernel_size: 2 }",
    )
    full = caffe.Net(write("full.prototxt", text), "fc.caffemodel", caffe.TEST)
    full.params["fc-conv"][0].data.flat = classifier.params["fc"][0].data.flat
    full.params["fc-conv"][1].data[...] = classifier.params["fc"][1].data
    image = RANDOM.uniform(-1, 1, (1, 2, 7, 6))
    scores = full.forward(data=image, blobs=["fc"])["fc"]
    for y, x in ((0, 0), (2, 1)):
        part = classifier.forward(data=image[:, :, y : y + 5, x : x + 5], blobs=["fc"])["fc"]
        np.testing.assert_allclose(scores[0, :, y, x], part[0], rtol=1e-4, atol=1e-6)


def test_finetuning_keeps_the_fixed_and_learns_the_new(write):
    body = """layer { name: "in" type: "Input" top: "x" top: "t"
        input_param { shape { dim: 8 dim: 3 } shape { dim: 8 } } }
      layer { name: "fixed" type: "InnerProduct" bottom: "x" top: "h" param { lr_mult: 0 }
        param { lr_mult: 0 } inner_product_param { num_output: 6 } }
      layer { name: "tanh" type: "TanH" bottom: "h" top: "h" }
      layer { name: "%s" type: "InnerProduct" bottom: "h" top: "y" param { lr_mult: 10 }
        inner_product_param { num_output: 2 } }
      layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "t" top: "loss" }
      layer { name: "accuracy" type: "Accuracy" bottom: "y" bottom: "t" top: "accuracy" }"""
    old = caffe.Net(write("old.prototxt", body % "old"), caffe.TEST)
    weights = fill(old, scale=1)
    old.save("old.caffemodel")
    write("new.prototxt", body % "new")
    solver = caffe.get_solver(
        write(
            "solver.prototxt",
            'net: "new.prototxt" base_lr: 0.05 lr_policy: "fixed" max_iter: 90 '
            "snapshot_after_train: false",
        )
    )
    solver.net.copy_from("old.caffemodel")
    x = RANDOM.normal(size=(8, 3))
    solver.net.blobs["x"].data[...], solver.net.blobs["t"].data[...] = x, x[:, 0] > 0
    losses = []
    for _ in range(60):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
    assert losses[0] == pytest.approx(np.log(2), rel=1e-5) and losses[-1] < losses[0] / 3
    assert solver.net.blobs["accuracy"].data == 1
    np.testing.assert_array_equal(solver.net.params["fixed"][0].data, weights["fixed"][0])
    hidden = np.tanh(x @ weights["fixed"][0].T + weights["fixed"][1])
    np.testing.assert_allclose(solver.net.blobs["h"].data, hidden, rtol=1e-5, atol=1e-6)


LOSS_LAYER = """
import caffe
import numpy as np


class Distance(caffe.Layer):
    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise Exception("Need two inputs to compute distance.")

    def reshape(self, bottom, top):
        if bottom[0].count != bottom[1].count:
            raise Exception("Inputs must have the same dimension.")
        self.diff = np.zeros_like(bottom[0].data, dtype=np.float32)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.diff[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.diff**2) / bottom[0].num / 2.0

    def backward(self, top, propagate_down, bottom):
        for i in range(2):
            if propagate_down[i]:
                sign = 1 if i == 0 else -1
                bottom[i].diff[...] = sign * top[0].diff * self.diff / bottom[i].num
"""


def test_a_loss_in_python_trains_as_the_built_in_one(write):
    write("distance.py", LOSS_LAYER)
    body = """layer { name: "in" type: "DummyData" top: "x" top: "t" dummy_data_param {
        shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 } data_filler { value: 1 }
        data_filler { value: -1 } } }
      layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 2 } }
      layer { name: "loss" bottom: "y" bottom: "t" top: "loss" loss_weight: 2 %s }"""
    trained = []
    for kind in (
        'type: "Python" python_param { module: "distance" layer: "Distance" }',
        'type: "EuclideanLoss"',
    ):
        write("net.prototxt", body % kind)
        solver = caffe.SGDSolver(
            write(
                "solver.prototxt",
                'net: "net.prototxt" base_lr: 0.05 momentum: 0.9 lr_policy: "fixed" max_iter: 9',
            )
        )
        fill(solver.net)
        solver.net.blobs["x"].data[...] = np.arange(12).reshape(4, 3) / 12
        solver.step(5)
        trained.append(
            [
                solver.net.params["fc"][0].data.copy(),
                solver.net.blobs["y"].diff.copy(),
                float(solver.net.blobs["loss"].data.sum()),
            ]
        )
    for mine, built_in in zip(*trained, strict=True):
        np.testing.assert_allclose(mine, built_in, rtol=1e-4)


DATA_LAYER = """
import caffe
import numpy as np


class Rows(caffe.Layer):
    def setup(self, bottom, top):
        params = eval(self.param_str)
        self.rows = np.arange(params["count"] * 2).reshape(-1, 2)
        self.batch, self.at = params["batch"], 0

    def reshape(self, bottom, top):
        top[0].reshape(self.batch, 2)
        top[1].reshape(self.batch)

    def forward(self, bottom, top):
        for i in range(self.batch):
            top[0].data[i, ...] = self.rows[self.at]
            top[1].data[i] = self.at % 2
            self.at = (self.at + 1) % len(self.rows)

    def backward(self, top, propagate_down, bottom):
        pass
"""


def test_a_data_layer_in_python_feeds_one_batch_after_the_other(write, net):
    write("rows.py", DATA_LAYER)
    fed = net("""layer { name: "data" type: "Python" top: "x" top: "t" python_param {
        module: "rows" layer: "Rows" param_str: "{'count': 5, 'batch': 2}" } }
      layer { name: "sum" type: "Reduction" bottom: "x" top: "sum" reduction_param { axis: 1 } }""")
    seen = [fed.forward()["sum"].copy() for _ in range(3)]
    np.testing.assert_array_equal(seen, [[1, 5], [9, 13], [17, 1]])
    assert fed.layers[0].at == 1 and fed.inputs == []
    np.testing.assert_array_equal(fed.blobs["t"].data, [0, 0])
    fed.layers[0].batch = 3
    assert fed.forward()["sum"].shape == (3,)


def test_an_lmdb_written_by_a_script_is_read_by_a_data_layer(net):
    images = RANDOM.randint(0, 256, (4, 3, 6, 6)).astype(np.uint8)
    with lmdb.open("db", map_size=1 << 22) as database, database.begin(write=True) as writer:
        for i, image in enumerate(images):
            datum = caffe.io.array_to_datum(image, i + 3)
            writer.put(b"%08d" % i, datum.SerializeToString())
    reader = net("""layer { name: "data" type: "Data" top: "data" top: "label"
      transform_param { scale: 0.5 mean_value: 10 } data_param { source: "db" batch_size: 3
        backend: LMDB } }""")
    labels = [reader.forward()["label"].copy() for _ in range(2)]
    np.testing.assert_array_equal(labels, [[3, 4, 5], [6, 3, 4]])
    np.testing.assert_allclose(reader.blobs["data"].data[0], (images[3] - 10.0) / 2)


def test_a_netspec_is_written_trained_and_tested(write):
    def spec(batch, phase):
        n = caffe.NetSpec()
        n.data, n.label = L.MemoryData(batch_size=batch, channels=1, height=6, width=6, ntop=2)
        n.conv = L.Convolution(
            n.data, kernel_size=3, num_output=4, weight_filler=dict(type="xavier")
        )
        n.pool = L.Pooling(n.conv, kernel_size=2, stride=2, pool=P.Pooling.MAX)
        n.relu = L.ReLU(n.pool, in_place=True)
        n.score = L.InnerProduct(n.relu, num_output=2, weight_filler=dict(type="xavier"))
        n.loss = L.SoftmaxWithLoss(n.score, n.label)
        if phase == caffe.TEST:
            n.accuracy = L.Accuracy(n.score, n.label)
        return str(n.to_proto())

    write("train.prototxt", spec(10, caffe.TRAIN))
    write("test.prototxt", spec(20, caffe.TEST))
    settings = caffe.proto.caffe_pb2.SolverParameter(
        train_net="train.prototxt",
        base_lr=0.1,
        momentum=0.9,
        lr_policy="fixed",
        max_iter=60,
        random_seed=1,
        snapshot_after_train=False,
    )
    solver = caffe.SGDSolver(write("solver.prototxt", str(settings)))
    labels = np.arange(40, dtype=np.float32) % 2
    images = RANDOM.uniform(0, 1, (40, 1, 6, 6)).astype(np.float32)
    images[labels == 1, :, :3] += 1
    solver.net.set_input_arrays(images, labels)
    solver.solve()
    test = caffe.Net("test.prototxt", caffe.TEST)
    solver.share_weights(test)
    test.set_input_arrays(images, labels)
    accuracy = np.mean([float(test.forward()["accuracy"]) for _ in range(2)])
    assert solver.iter == 60 and accuracy == 1
