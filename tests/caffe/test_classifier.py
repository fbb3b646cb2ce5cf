"""Classifier and Detector on image files: ten crops, the centre, windows, beside NumPy's sums."""

import numpy as np
import pytest
from PIL import Image

import caffe

pytest.importorskip("skimage", reason="an extra of caffe.io.resize_image")

NET = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 4 dim: 3 dim: 6 dim: 6 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
  inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
SETTINGS = {"mean": np.array([100.0, 110.0, 120.0]), "raw_scale": 255, "channel_swap": (2, 1, 0)}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """deploy.prototxt, its weights and two images of 8 x 9 pixels; returns the weights."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deploy.prototxt").write_text(NET)
    caffe.set_random_seed(1)
    net = caffe.Net("deploy.prototxt", caffe.TEST)
    net.save("net.caffemodel")
    rng = np.random.RandomState(2)
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.randint(0, 256, (8, 9, 3)).astype(np.uint8)).save(name)
    return [blob.data.copy() for blob in net.params["fc"]]


def probabilities(weights, crops):
    """Softmax of the inner product of RGB crops (N, 6, 6, 3) in 0..1, as the settings say."""
    weight, bias = weights
    pixels = crops[..., ::-1] * 255 - SETTINGS["mean"]
    scores = pixels.transpose(0, 3, 1, 2).reshape(len(crops), -1) @ weight.T + bias
    shares = np.exp(scores - scores.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def test_oversampling_is_the_mean_of_ten_crops(files):
    classifier = caffe.Classifier(
        "deploy.prototxt", "net.caffemodel", image_dims=(8, 9), **SETTINGS
    )
    images = [caffe.io.load_image(name) for name in ("a.png", "b.png")]
    prediction = classifier.predict(images)
    wanted = [probabilities(files, caffe.io.oversample([i], (6, 6))).mean(0) for i in images]
    np.testing.assert_allclose(prediction, wanted, atol=1e-5)
    centre = np.stack([image[1:7, 1:7] for image in images])
    np.testing.assert_allclose(
        classifier.predict(images, oversample=False), probabilities(files, centre), atol=1e-5
    )
    assert list(classifier.image_dims) == [8, 9] and list(classifier.crop_dims) == [6, 6]


def test_windows_of_images(files):
    detector = caffe.Detector("deploy.prototxt", "net.caffemodel", **SETTINGS)
    windows = [("a.png", [(0, 1, 6, 7), (2, 3, 8, 9)]), ("b.png", [(1, 1, 7, 7)])]
    found = detector.detect_windows(windows)
    assert [(f["filename"], f["window"]) for f in found] == [
        (name, window) for name, their in windows for window in their
    ]
    crops = [
        caffe.io.load_image(name)[y0:y1, x0:x1]
        for name, their in windows
        for y0, x0, y1, x1 in their
    ]
    np.testing.assert_allclose(
        [f["prediction"] for f in found], probabilities(files, np.stack(crops)), atol=1e-5
    )


def test_context_around_a_window_shows_the_mean_where_there_is_no_image(files):
    detector = caffe.Detector("deploy.prototxt", "net.caffemodel", context_pad=1, **SETTINGS)
    crop = detector.crop(caffe.io.load_image("a.png"), (0, 0, 4, 4))
    assert crop.shape == (6, 6, 3)
    mean = SETTINGS["mean"][::-1] / 255
    np.testing.assert_allclose(crop[0], np.tile(mean, (6, 1)), atol=1e-6)
    np.testing.assert_allclose(crop[:, 0], np.tile(mean, (6, 1)), atol=1e-6)
    assert not np.allclose(crop[3, 3], mean)
