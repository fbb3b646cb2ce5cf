"""Bundled nets for pictures of one's own: other classes, other sizes, and the files of `fit`."""

import json
import re

import numpy as np
import pytest

from netgen import graph, nets, schema
from netgen.cli import main
from netgen.commands.fit import Pictures
from netgen.describe import describe
from netgen.errors import CaffeError
from netgen.nets import NetOptions
from netgen.schema import caffe_pb

#: The smallest image that each net takes: one pixel less leaves nothing for its last layers.
SMALLEST = {
    "allcnn-a": 9,
    "allcnn-b": 9,
    "allcnn-c": 9,
    "baseline": 9,
    "msplit1": 9,
    "msplit2": 9,
    "cifar10_full": 8,
    "lenet": 13,
    "resnet20": 4,
}


def shapes(net, phase=caffe_pb.TEST, record=None):
    """{blob: shape} of a net."""
    infos = graph.infer(graph.in_phase(net, phase), phase, record)
    return {
        top: shape for i in infos for top, shape in zip(i.layer.top, i.shapes.tops, strict=True)
    }


@pytest.mark.parametrize("name", nets.NETS)
@pytest.mark.parametrize("sides", [(32, 32), (48, 64), (96, 96)])
def test_every_net_takes_other_classes_and_sizes(name, sides):
    options = NetOptions(classes=7, image_size=sides, image_channels=1, images="data/mine")
    deploy = nets.build_net(name, options, deploy=True)
    found = shapes(deploy)
    assert found["data"] == (1, 1, *sides)
    assert found["prob"] in ((1, 7), (1, 7, 1, 1))
    net = nets.build_net(name, options)
    for phase, part in ((caffe_pb.TRAIN, "train"), (caffe_pb.TEST, "test")):
        (data,) = (x for x in graph.in_phase(net, phase).layer if x.type == "Data")
        assert data.data_param.source == f"data/mine/{part}_lmdb"
        transform = data.transform_param
        assert transform.mean_file == "data/mine/mean.binaryproto"
        assert transform.crop_size in ((0, sides[0]) if sides[0] == sides[1] else (0,))
        found = shapes(net, phase, (1, *sides))
        assert found["data"][1:] == (1, *sides) and found["loss"] == ()


@pytest.mark.parametrize("name", nets.NETS)
def test_sizes_that_are_too_small_are_refused(name):
    least = SMALLEST[name]
    nets.build_net(name, NetOptions(image_size=least))
    with pytest.raises(CaffeError, match=f"^{name}: images of {least - 1}x{least - 1} do not fit"):
        nets.build_net(name, NetOptions(image_size=least - 1))


def test_resnet_halves_its_images_twice():
    for size in (30, (32, 34)):
        with pytest.raises(CaffeError, match="their sides must be multiples of 4"):
            nets.build_net("resnet20", NetOptions(image_size=size))


def test_without_these_options_nothing_changes():
    for name in nets.NETS:
        for deploy in (False, True):
            plain = nets.build_net(name, NetOptions(), deploy)
            assert nets.build_net(name, NetOptions(classes=10), deploy) == plain


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"classes": 1}, "classes must be a whole number of at least 2, not 1"),
        ({"image_size": 0}, "image size must be a whole number of at least 1, not 0"),
        ({"image_channels": 0}, "image channels must be"),
        ({"images": "a", "data": "b"}, "data and images both say where the records are"),
    ],
)
def test_options_that_are_refused(options, told):
    with pytest.raises(CaffeError, match=told):
        nets.build_net("baseline", NetOptions(**options))


def test_flags(capsys):
    flags = ["--classes", "5", "--image-size", "48x64", "--images", "mine"]
    assert main(["allcnn-c", "--deploy", *flags]) == 0
    text = capsys.readouterr().out
    head = "# python -m netgen allcnn-c --deploy --images mine --classes 5 --image-size 48x64\n"
    assert text.startswith(head)
    net = schema.parse_text(text, caffe_pb.NetParameter)
    assert net.layer[0].input_param.shape[0].dim[:] == [1, 3, 48, 64]
    with pytest.raises(SystemExit):
        main(["allcnn-c", "--image-size", "48x"])
    assert "'48x' is not a size in pixels, 32 or 48x64" in capsys.readouterr().err


# --- fit ---


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """pictures(...): data/mine's manifest as data_prep images writes it."""
    monkeypatch.chdir(tmp_path)

    def write(shape=(3, 32, 32), pad=0, train=1600, test=400, **more):
        manifest = {
            "format": "data_prep 1",
            "dataset": "images",
            "options": {"pad": pad},
            "label_names": ["bee", "cat", "dog"],
            "databases": {
                "train_lmdb": {"records": train, "shape": list(shape)},
                "test_lmdb": {"records": test, "shape": list(shape)},
            },
        }
        folder = tmp_path / "data" / "mine"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").write_text(json.dumps(manifest | more))
        return folder

    return write


def fit(*words):
    assert main(["fit", *words]) == 0
    return (
        schema.read_net("mine/train_val.prototxt"),
        schema.read_net("mine/deploy.prototxt"),
        schema.read_solver("mine/solver.prototxt"),
    )


def test_fit_writes_net_deploy_net_and_solver(pictures, capsys):
    pictures()
    net, deploy, solver = fit("allcnn-c", "data/mine/")
    train, test = (x for x in net.layer if x.type == "Data")
    assert (train.data_param.batch_size, test.data_param.batch_size) == (128, 100)
    assert train.data_param.source == "data/mine/train_lmdb"
    assert train.transform_param.mirror and train.transform_param.crop_size == 32
    assert train.transform_param.scale == 1 / 64
    assert deploy.layer[0].input_param.shape[0].dim[:] == [1, 3, 32, 32]
    assert shapes(deploy)["prob"] == (1, 3, 1, 1)
    assert solver.net == "mine/train_val.prototxt" and solver.snapshot_prefix == "mine/allcnn_c"
    assert (solver.max_iter, solver.test_iter[:]) == (4375, [4])  # 350 epochs of 1,600 by 128
    assert (solver.test_interval, solver.display, solver.snapshot) == (87, 43, 875)
    assert solver.stepvalue[:] == [2500, 3125, 3750] and solver.base_lr == np.float32(0.05)
    told = capsys.readouterr()
    assert told.err.splitlines() == [
        f"wrote mine/{name}.prototxt" for name in ("train_val", "deploy", "solver")
    ]
    parameters = describe(deploy, caffe_pb.TEST)["totals"]["parameters"]
    assert f"mine: allcnn-c for 3 classes of 3x32x32, {parameters:,} parameters; " in told.out
    assert "4,375 iterations of 128 are 350 epochs of 1,600 pictures" in told.out
    assert "caffe train -solver mine/solver.prototxt" in told.out
    assert "-weights mine/allcnn_c_iter_4375.caffemodel IMAGE" in told.out


def test_names_with_blanks(pictures, capsys):
    pictures()
    assert main(["fit", "lenet", "data/mine", "-o", "my nets", "--max-iter", "7"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[1] == "train:    caffe train -solver 'my nets/solver.prototxt'"
    assert told[2].endswith("-weights 'my nets/lenet_iter_7.caffemodel' IMAGE")
    assert schema.read_solver("my nets/solver.prototxt").net == "my nets/train_val.prototxt"


def test_every_file_begins_with_the_command_that_writes_it(pictures, capsys):
    pictures((1, 28, 28))
    fit("lenet", "data/mine", "--width", "0.5", "--max-iter", "100")
    for name in ("train_val", "deploy", "solver"):
        with open(f"mine/{name}.prototxt") as file:
            text = file.read()
        words = re.match(r"# python -m netgen (.*)", text)[1].split()
        capsys.readouterr()
        assert main(words) == 0
        assert capsys.readouterr().out == text


@pytest.mark.parametrize(
    ("name", "shape", "pad", "seen", "crop"),
    [
        ("allcnn-c", (3, 42, 42), 5, (3, 32, 32), 32),
        ("resnet20", (3, 40, 40), 4, (3, 32, 32), 32),
        ("resnet20", (1, 32, 48), 0, (1, 32, 48), 0),
        ("cifar10_full", (3, 36, 36), 2, (3, 36, 36), 0),  # is not published with crops
        ("lenet", (1, 28, 28), 0, (1, 28, 28), 0),
    ],
)
def test_zeros_around_are_for_crops(pictures, name, shape, pad, seen, crop):
    pictures(shape, pad)
    net, deploy, _ = fit(name, "data/mine")
    assert tuple(deploy.layer[0].input_param.shape[0].dim[1:]) == seen
    assert [x.transform_param.crop_size for x in net.layer[:2]] == [crop, crop]
    assert shapes(net, caffe_pb.TRAIN, shape)["data"][1:] == seen


@pytest.mark.parametrize(
    ("test", "batch", "iterations"),
    [(400, 100, 4), (60, 60, 1), (150, 75, 2), (397, 100, 4), (7, 7, 1)],
)
def test_the_test_batch_divides_the_test_pictures(pictures, test, batch, iterations):
    pictures(test=test)
    net, _, solver = fit("cifar10_full", "data/mine", "-o", "mine")
    assert net.layer[1].data_param.batch_size == batch and solver.test_iter[:] == [iterations]


def test_few_pictures_and_flags_of_ones_own(pictures):
    pictures(train=60, test=20)
    net, _, solver = fit(
        "resnet20", "data/mine", "--max-iter", "10", "--test-interval", "5", "--base-lr", "0.02"
    )
    assert net.layer[0].data_param.batch_size == 60
    assert (solver.max_iter, solver.test_interval, solver.snapshot) == (10, 5, 2)
    assert solver.base_lr == np.float32(0.02)
    net, _, _ = fit("resnet20", "data/mine", "--batch-size", "30")
    assert net.layer[0].data_param.batch_size == 30


def test_folders_that_nothing_fits(pictures, capsys):
    folder = pictures((3, 8, 8))

    def told(*words):
        assert main(["fit", *words]) == 1
        return capsys.readouterr().err

    assert "netgen: allcnn-c: images of 8x8 do not fit the net: layer 'conv7'" in told(
        "allcnn-c", "data/mine"
    )
    assert "Unknown net: 'nosuch'" in told("nosuch", "data/mine")
    line = told("lenet", "data/none")
    assert (
        "no manifest.json; this makes one: python -m data_prep images PICTURES -o data/none" in line
    )
    pictures(dataset="mnist")
    assert "was made by `python -m data_prep mnist`" in told("lenet", "data/mine")
    for damage in (
        {"databases": {}},
        {"label_names": 3},
        {"options": {"pad": "x"}},
        {"options": []},
    ):
        pictures(**damage)
        assert "manifest.json: damaged" in told("lenet", "data/mine")
    (folder / "manifest.json").write_text("{")
    assert "manifest.json: not JSON" in told("lenet", "data/mine")
    with pytest.raises(CaffeError, match="damaged"):
        (folder / "manifest.json").write_text("[]")
        Pictures.of(str(folder))
