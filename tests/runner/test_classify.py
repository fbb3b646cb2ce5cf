"""caffe classify: pictures get the very probabilities that caffe test gives of their records."""

import json
import re
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from data_prep import Dataset, ImageOptions, Options, build_dataset, build_images
from netgen import schema
from netgen.schema import caffe_pb
from runner import Net

NAMES = tuple(f"kind {number}" for number in range(10))
COUNT = 5  # test images

DEPLOY = """
name: "small"
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {dims} }} }} }}
layer {{
  name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param {{ num_output: 10 weight_filler {{ type: "gaussian" std: {std} }} }}
}}
layer {{ name: "prob" type: "Softmax" bottom: "ip" top: "prob" }}
"""
DATA = """layer {{
  name: "data" type: "Data" top: "data" top: "label" transform_param {{ {transform} }}
  data_param {{ source: "set/cifar10_test_lmdb" backend: LMDB batch_size: 1 }}
}}
layer {{ name: "silence" type: "Silence" bottom: "label" }}"""


@dataclass
class Case:
    """A kind of data set, how a net reads it, and the flags that tell classify."""

    channels: int
    options: Options
    transform: str
    flags: tuple
    std: float = 0.002  # of the weights: the probabilities differ, and none is 0


RAW = {"scale": None, "zca_bias": None}
CASES = {
    "whitened": Case(
        3, Options(pad=2), "crop_size: 8", ("-preprocessing", "set/preprocessing.npz"), 0.01
    ),
    "contrast": Case(
        3,
        Options(pad=2, zca_bias=None),
        'crop_size: 8 mean_file: "set/mean.binaryproto"',
        ("-mean", "set/mean.binaryproto"),
        0.05,
    ),
    "mean": Case(
        3,
        Options(pad=0, **RAW),
        'mean_file: "set/mean.binaryproto"',
        ("-mean", "set/mean.binaryproto"),
    ),
    "padded": Case(
        3,
        Options(pad=3, **RAW),
        'crop_size: 8 mean_file: "set/mean.binaryproto" scale: 0.5',
        ("-transform", "net.prototxt"),
        0.004,
    ),
    "mean values": Case(
        3,
        Options(pad=1, **RAW),
        "crop_size: 8 mean_value: 104 mean_value: 117 mean_value: 123",
        ("-transform", "net.prototxt"),
    ),
    "grey": Case(
        1, Options(pad=0, **RAW), "scale: 0.00390625", ("-transform", "net.prototxt"), 0.5
    ),
    "no mean": Case(
        1, Options(pad=2, **RAW), "crop_size: 8", ("-preprocessing", "set/preprocessing.npz")
    ),
}


class Made:
    """A data set, its test images as pictures, a net for it and the net's weights."""

    def __init__(self, folder, case, batch=1):
        self.folder, self.case = folder, case
        random = np.random.default_rng(5)
        size = case.channels * 64
        images = random.integers(0, 256, (40 + COUNT, size), np.uint8)
        labels = random.integers(0, 10, len(images)).astype(np.uint8)
        parts = images[:40], labels[:40], images[40:], labels[40:]
        data = Dataset("cifar10", *parts, NAMES, image_shape=(case.channels, 8, 8))
        build_dataset("cifar10", lambda: data, case.options, folder / "set")
        self.pictures = [f"{number}.png" for number in range(COUNT)]
        for path, image in zip(self.pictures, data.test_images, strict=True):
            pixels = image.reshape(case.channels, 8, 8).transpose(1, 2, 0).squeeze()
            Image.fromarray(pixels).save(folder / path)
        dims = f"dim: {batch} dim: {case.channels} dim: 8 dim: 8"
        deploy = DEPLOY.format(dims=dims, std=case.std)
        (folder / "deploy.prototxt").write_text(deploy)
        layers = deploy.split("\n")
        layers[2] = DATA.format(transform=case.transform)
        (folder / "net.prototxt").write_text("\n".join(layers))
        Net(folder / "deploy.prototxt", seed=7).save(folder / "w.caffemodel")

    words = ("classify", "-model", "deploy.prototxt", "-weights", "w.caffemodel")


@pytest.fixture
def make(work):
    return lambda name, **options: Made(work, CASES[name], **options)


def of_records(caffe, count=COUNT):
    """(count, 10): the probabilities that caffe test logs of each record."""
    words = ("-model", "net.prototxt", "-weights", "w.caffemodel", "-iterations", count)
    logged = "\n".join(caffe("test", *words).messages)
    found = re.findall(r"^Batch (\d+), prob = (.+)$", logged, re.M)
    return np.array([float(value) for _, value in found]).reshape(count, 10)


@pytest.mark.parametrize("name", CASES)
def test_a_picture_is_what_its_record_is(make, caffe, name):
    made = make(name)
    expected = of_records(caffe)
    result = caffe(*made.words, *made.case.flags, "--json", *made.pictures)
    assert (result.status, result.err) == (0, "")
    told = json.loads(result.out)
    assert [entry["image"] for entry in told] == made.pictures
    for entry, row in zip(told, expected, strict=True):
        best = np.argsort(-row)[:5]
        assert [top["class"] for top in entry["predictions"]] == best.tolist()
        assert [top["label"] for top in entry["predictions"]] == [NAMES[i] for i in best]
        found = [top["probability"] for top in entry["predictions"]]
        # caffe test prints six digits; whitening's last bits depend on how many are whitened.
        assert found == pytest.approx(row[best].tolist(), rel=1e-3 if name == "whitened" else 2e-5)
    assert expected.std() > 0.02 and expected.max() < 0.99


@pytest.mark.parametrize("gray", [False, True])
def test_pictures_of_a_folder_a_class(caffe, work, gray):
    """data_prep images, of files of any size, colours and kind; with the flags that it takes."""
    random = np.random.default_rng(3)
    paths = []
    for part in ("train", "test"):
        for name, ending in (("cat", "jpg"), ("dog", "png"), ("dog", "bmp")):
            path = work / "pics" / part / name / f"{ending}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (*random.integers(6, 40, 2), 3), np.uint8)
            picture = Image.fromarray(pixels)
            (picture.convert("L") if ending == "png" else picture).save(path)
            paths += [path] if part == "test" else []
    options = ImageOptions(height=8, width=10, gray=gray, pad=1)
    build_images(work / "pics", options, work / "set")
    dims = f"dim: 1 dim: {1 if gray else 3} dim: 10 dim: 12"
    deploy = DEPLOY.format(dims=dims, std=0.002)
    (work / "deploy.prototxt").write_text(deploy)
    layers = deploy.split("\n")
    transform = 'mean_file: "set/mean.binaryproto" scale: 0.5'
    layers[2] = DATA.format(transform=transform).replace("cifar10_test", "test")
    (work / "net.prototxt").write_text("\n".join(layers))
    Net(work / "deploy.prototxt", seed=7).save(work / "w.caffemodel")
    expected = of_records(caffe, 3)
    flags = ("-transform", "net.prototxt", "-json")
    told = json.loads(caffe(*Made.words, *flags, *sorted(paths)).out)
    for entry, row in zip(told, expected, strict=True):
        best = np.argsort(-row)[:5].tolist()
        assert [top["class"] for top in entry["predictions"]] == best
        names = {0: "cat", 1: "dog"}
        assert [top["label"] for top in entry["predictions"]] == [names.get(i) for i in best]
        found = [top["probability"] for top in entry["predictions"]]
        assert found == pytest.approx(row[best].tolist(), rel=2e-5)


def test_it_looks_as_caffes_example_does(make, caffe):
    made = make("mean", batch=3)  # five pictures: a batch of three and one of two
    result = caffe(*made.words, *made.case.flags, *made.pictures)
    expected = of_records(caffe)
    lines = []
    for path, row in zip(made.pictures, expected, strict=True):
        lines.append(f"---------- Prediction for {path} ----------")
        lines += [f'{row[i]:.4f} - "{NAMES[i]}"' for i in np.argsort(-row)[:5]]
    assert (result.status, result.out.splitlines()) == (0, lines)


def test_labels_of_a_file_go_before_those_of_the_data_set(make, caffe, work):
    made = make("mean")
    (work / "labels.txt").write_bytes("".join(f"n0{i} Käse {i}\r\n" for i in range(10)).encode())
    words = (*made.words, *made.case.flags)
    result = caffe(*words, "-labels", "labels.txt", "0.png")
    assert re.fullmatch(r'0\.\d{4} - "n0(\d) Käse \1"', result.out.splitlines()[1])
    (work / "labels.txt").write_text("a\nb\n")
    told = caffe(*words, "-labels", "labels.txt", "0.png")
    assert told.status == 1 and told.messages == [
        "Number of labels is different from the output layer dimension. "
        "(labels.txt has 2 lines, 'prob' 10 values)"
    ]


def test_pictures_of_other_sizes_and_kinds_are_brought_to_the_input(make, caffe, work):
    """As OpenCV reads and resizes them, B, G, R; without any mean, with classes by number."""
    made = make("mean")
    pixels = np.random.default_rng(1).integers(0, 256, (20, 13, 4), np.uint8)
    Image.fromarray(pixels).save(work / "large.png")
    Image.fromarray(pixels[:, :, 0]).save(work / "grey.png")
    result = caffe(*made.words, "-json", "large.png", "grey.png")
    cv2 = pytest.importorskip("cv2")
    batch = []
    for path in ("large.png", "grey.png"):
        image = cv2.resize(cv2.imread(str(work / path)), (8, 8))
        batch.append(image.transpose(2, 0, 1).astype(np.float32))
    net = Net(work / "deploy.prototxt", weights=work / "w.caffemodel")
    rows = net.forward(data=np.stack(batch))["prob"]
    for entry, row in zip(json.loads(result.out), rows, strict=True):
        best = int(row.argmax())
        first = entry["predictions"][0]
        assert (first["class"], first["label"]) == (best, None)
        assert first["probability"] == pytest.approx(float(row[best]), rel=1e-5)
    lines = caffe(*made.words, "large.png").out.splitlines()
    assert lines[1] == f'{rows[0].max():.4f} - "{rows[0].argmax()}"'


def test_a_mean_image_larger_than_the_input_is_the_size_of_the_records(make, caffe, work):
    """Pictures are resized to it, and the centre of both is taken, as with ImageNet's 256 and 227."""
    made = make("mean")
    mean = np.random.default_rng(2).uniform(0, 255, (3, 12, 11)).astype(np.float32)
    blob = caffe_pb.BlobProto(num=1, channels=3, height=12, width=11, data=mean.ravel())
    schema.write_binary(blob, work / "mean.binaryproto")
    pixels = np.random.default_rng(1).integers(0, 256, (12, 11, 3), np.uint8)
    Image.fromarray(pixels).save(work / "0.png")
    bgr = pixels[:, :, ::-1].transpose(2, 0, 1) - mean
    net = Net(work / "deploy.prototxt", weights=work / "w.caffemodel")
    [row] = net.forward(data=bgr[None, :, 2:10, 1:9])["prob"]
    result = caffe(*made.words, "-mean", "mean.binaryproto", "0.png")
    assert result.out.splitlines()[1] == f'{row.max():.4f} - "{row.argmax()}"'
    np.save(work / "mean.npy", mean.astype(float))  # as ilsvrc_2012_mean.npy
    assert caffe(*made.words, "-mean", "mean.npy", "0.png").out == result.out


def test_a_mean_of_numpy_may_be_a_value_a_channel(make, caffe, work):
    """As Caffe's scripts take it, of np.load("ilsvrc_2012_mean.npy").mean(1).mean(1)."""
    made = make("mean values")
    np.save(work / "values.npy", np.array([104, 117, 123]))
    with_values = caffe(*made.words, "-json", "-mean", "values.npy", "0.png")
    blob = caffe_pb.BlobProto(num=1, channels=3, height=1, width=1, data=[104, 117, 123])
    schema.write_binary(blob, work / "values.binaryproto")
    assert (
        with_values.out == caffe(*made.words, "-json", "-mean", "values.binaryproto", "0.png").out
    )


def test_more_pictures_than_fit_a_batch_keep_their_order(make, caffe, work):
    made = make("mean")
    wanted = [f"{number % COUNT}.png" for number in range(40)]
    wanted[20] = "absent.png"
    told = json.loads(caffe(*made.words, *made.case.flags, "--json", *wanted).out)
    assert [entry["image"] for entry in told] == wanted
    alone = {
        name: json.loads(caffe(*made.words, *made.case.flags, "--json", name).out)[0]
        for name in set(wanted)
    }
    for entry in told:
        if "error" in entry:
            assert entry == alone[entry["image"]]
            continue
        for found, single in zip(
            entry["predictions"], alone[entry["image"]]["predictions"], strict=True
        ):
            assert found["class"] == single["class"]
            assert found["probability"] == pytest.approx(single["probability"], rel=1e-5)


def test_pictures_that_cannot_be_read_are_told_and_the_others_classified(make, caffe, work):
    made = make("mean")
    (work / "text.png").write_text("no picture")
    (work / "folder").mkdir()
    files = ["absent.png", "0.png", "text.png", "folder"]
    result = caffe(*made.words, *made.case.flags, *files)
    assert result.status == 1 and result.out.count("Prediction for") == 1
    assert result.err.splitlines() == [
        "caffe: absent.png: No such file or directory",
        "caffe: text.png: cannot identify image file",
        "caffe: folder: Is a directory",
    ]
    told = json.loads(caffe(*made.words, *made.case.flags, "--json", *files).out)
    assert [sorted(entry) for entry in told] == [
        ["error", "image"],
        ["image", "predictions"],
        ["error", "image"],
        ["error", "image"],
    ]


def test_a_picture_that_breaks_off_is_read_as_far_as_it_goes(make, caffe, work):
    made = make("mean")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(work / "whole.jpg")
    content = (work / "whole.jpg").read_bytes()
    (work / "cut.jpg").write_bytes(content[: len(content) * 2 // 3])
    result = caffe(*made.words, "cut.jpg")
    assert result.status == 0 and "Prediction for cut.jpg" in result.out
    [(severity, _, line)] = result.lines
    assert severity == "W" and line.startswith("cut.jpg: ") and "what is missing is grey" in line


def test_scores_are_called_so(make, caffe, work):
    made = make("mean")
    net = (work / "deploy.prototxt").read_text().splitlines()
    (work / "deploy.prototxt").write_text("\n".join(net[:-1]))
    result = caffe(*made.words, "0.png")
    assert result.status == 0 and result.messages == [
        "'ip' comes from a layer of type InnerProduct, not Softmax: what is printed are scores, "
        "not probabilities"
    ]
    told = json.loads(caffe(*made.words, "0.png", "--json").out)[0]["predictions"]
    shown = [float(line.split()[0]) for line in result.out.splitlines()[1:]]
    assert [top["score"] for top in told] == pytest.approx(shown, abs=1e-4)
    assert shown == sorted(shown, reverse=True)


def test_layers_without_weights_are_told(make, caffe, work):
    made = make("mean")
    text = (work / "deploy.prototxt").read_text()
    (work / "deploy.prototxt").write_text(text.replace('name: "ip"', 'name: "other"'))
    result = caffe(*made.words, "0.png")
    assert result.messages == [
        "w.caffemodel: no weights of other, which have what their fillers drew"
    ]


INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { %s } } }'
PROB = 'layer { name: "prob" type: "Softmax" bottom: "data" top: "prob" }'


@pytest.mark.parametrize("net, reason", [
    (INPUT % "dim: 1 dim: 2 dim: 1 dim: 1" + PROB,
     "Input layer should have 1 or 3 channels. (the net's input is 2x1x1)"),
    (INPUT % "dim: 1 dim: 3" + PROB, "net.prototxt: input 'data' is 1x3, pictures need NxCxHxW"),
    (INPUT % "dim: 1 dim: 3 dim: 4 dim: 4" + PROB,
     "net 'n': output 'prob' is 1x3x4x4, classes need NxK"),
    (INPUT % "dim: 1 dim: 3 dim: 1 dim: 1" + PROB + PROB.replace("prob", "two"),
     "net 'n': Network should have exactly one output. (prob, two)"),
    (INPUT % "dim: 1 dim: 3 dim: 1 dim: 1" + PROB
     + (INPUT % "dim: 1").replace('"data"', '"more"'),
     "net.prototxt: Network should have exactly one input. (data, more)"),
    ('layer { name: "d" type: "DummyData" top: "data" dummy_data_param { shape { dim: 1 } } }',
     "net.prototxt: it has no Input layer; classify takes a deploy net, and -transform names the "
     "net that was trained"),
])  # fmt: skip
def test_nets_that_do_not_classify(caffe, work, net, reason):
    (work / "net.prototxt").write_text(f'name: "n" {net}')
    told = caffe("classify", "-model", "net.prototxt", "-weights", "w", "0.png")
    assert (told.status, told.messages, told.out) == (1, [reason], "")


def test_of_several_outputs_the_probabilities_are_taken(make, caffe, work):
    made = make("mean")
    more = 'layer { name: "map" type: "Pooling" bottom: "data" top: "map" '
    more += "pooling_param { kernel_size: 2 } }"
    with (work / "deploy.prototxt").open("a") as file:
        file.write(more)
    result = caffe(*made.words, *made.case.flags, "0.png")
    assert result.status == 0
    row = of_records(caffe)[0]
    assert result.out.splitlines()[1] == f'{row.max():.4f} - "{NAMES[row.argmax()]}"'


@pytest.mark.parametrize("words, reason", [
    (("-mean", "set/mean.binaryproto", "-preprocessing", "other.npz"),
     "-mean set/mean.binaryproto is 3x8x8, the records are 3x10x10"),
    (("-preprocessing", "grey.npz"),
     "the net's input is 3x8x8, the records of its data set 1x8x8"),
    (("-mean", "grey.binaryproto"),
     "Number of channels of mean file doesn't match input layer. "
     "(-mean grey.binaryproto is 1x8x8, the net's input 3x8x8)"),
    (("-mean", "small.binaryproto"),
     "records of 3x4x8 are smaller than the net's input, 3x8x8"),
    (("-mean", "absent"), "File not found: absent"),
    (("-mean", "absent.npy"), "File not found: absent.npy"),
    (("-mean", "text.npy"), "text.npy: no mean file of NumPy: "),
    (("-mean", "words.npy"), "words.npy: no mean file of NumPy: a mean is one array of numbers"),
    (("-mean", "wide.npy"), "wide.npy: it is 2x3x8x8, a mean image is 1xCxHxW"),
    (("-mean", "two.binaryproto"), "two.binaryproto: it is 2x3x8x8, a mean image is 1xCxHxW"),
    (("-mean", "set/mean.binaryproto", "-transform", "net.prototxt"),
     "-mean and -transform both tell of the mean: give one of them"),
    (("-transform", "deploy.prototxt"),
     "deploy.prototxt: no layer reads data in phase TEST; -transform needs a trained net"),
    (("-transform", "crops.prototxt"), "crops.prototxt crops to 6x6, the net's input is 3x8x8"),
    (("-preprocessing", "w.caffemodel"), r"w.caffemodel: not a preprocessing.npz: "),
    (("-precision", "auto"), "-precision auto times training steps: it is for caffe train"),
    (("-gpu", "0"), "Cannot use GPU in CPU-only Caffe: check mode."),
])  # fmt: skip
def test_contradictions_are_one_line(make, caffe, work, words, reason):
    if words[0] == "-gpu":
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a GPU")
    made = make("mean")
    for name, shape in (("grey", (1, 8, 8)), ("small", (3, 4, 8))):
        mean = caffe_pb.BlobProto(num=1, data=[0] * int(np.prod(shape)))
        mean.channels, mean.height, mean.width = shape
        schema.write_binary(mean, work / f"{name}.binaryproto")
    (work / "text.npy").write_text("no array")
    np.save(work / "words.npy", np.array(["a mean"]))
    np.save(work / "wide.npy", np.zeros((2, 3, 8, 8)))
    two = caffe_pb.BlobProto(num=2, channels=3, height=8, width=8, data=[0] * 384)
    schema.write_binary(two, work / "two.binaryproto")
    schema.Preprocessing(image_shape=(3, 8, 8), pad=1).save(work / "other.npz")
    schema.Preprocessing(image_shape=(1, 8, 8), channel_order="GRAY").save(work / "grey.npz")
    text = (work / "net.prototxt").read_text()
    (work / "crops.prototxt").write_text(text.replace("mean_file", "crop_size: 6 mean_file"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PyTorch says where it looks for a GPU
        told = caffe(*made.words, *words, "0.png")
    assert told.status == 1 and told.out == ""
    assert len(told.messages) == 1 and told.messages[0].startswith(reason)


def test_what_is_lacking_is_named(caffe, work):
    for words, wanted in (
        ((), "-model DEPLOY"),
        (("-model", "a"), "-weights W"),
        (("-model", "a", "-weights", "b"), "IMAGE..."),
    ):
        told = caffe("classify", *words)
        assert told.status == 1 and told.messages[0].startswith(f"caffe classify needs {wanted}")
    assert caffe("classify", "-json=perhaps", "a.png").err.endswith(
        "illegal value 'perhaps' specified for bool flag 'json'\n"
    )
