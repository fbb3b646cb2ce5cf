"""tools/verify_split.py on nets that were split, with and without their data."""

import json

import lmdb
import numpy as np
import pytest

import runner
from caffe_tools import verify_split
from netgen import nets, schema
from netgen.errors import CaffeError
from netgen.growth.plan import LayerPlan, Plan
from netgen.growth.split import split_net
from netgen.growth.start import Init
from netgen.growth.transfer import transfer_weights
from netgen.schema import caffe_pb

IMAGES = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A narrow net, its child by `preserve` and by `study`, deploy nets, and test records."""
    folder = tmp_path_factory.mktemp("verify")
    random = np.random.default_rng(0)
    env = lmdb.open(str(folder / "cifar10_test_lmdb"), map_size=1 << 22)
    with env.begin(write=True) as transaction:
        for i in range(IMAGES):
            datum = caffe_pb.Datum(channels=3, height=32, width=32, label=i)
            datum.float_data.extend(random.normal(size=3 * 32 * 32).tolist())
            transaction.put(b"%05d" % i, datum.SerializeToString())
    env.close()
    options = nets.NetOptions(width=0.05, test_batch_size=3, data=str(folder))
    net = nets.build_net("baseline", options)
    plan = Plan(
        tuple(LayerPlan(name, "residual", (0, 3), (1, 2, 4)) for name in ("conv1", "conv2"))
    )
    deploy = nets.build_net("baseline", options, deploy=True)
    weights = runner.Net(deploy, seed=1).to_proto()
    for name, built in (("parent", net), ("deploy", deploy)):
        schema.write_text(built, folder / f"{name}.prototxt")
        schema.write_text(split_net(built, plan).child, folder / f"{name}_child.prototxt")
    schema.write_binary(weights, folder / "parent.caffemodel")
    for init in ("preserve", "study"):
        new = transfer_weights(split_net(net, plan), weights, Init(init))
        schema.write_binary(new, folder / f"{init}.caffemodel")
    return folder


@pytest.fixture
def verify(folder, capsys, monkeypatch):
    """verify(net, init, *arguments): lines printed; CaffeError where it would exit with 1."""
    monkeypatch.chdir(folder)

    def run(name="parent", init="preserve", *arguments):
        files = [
            f"{name}.prototxt",
            "parent.caffemodel",
            f"{name}_child.prototxt",
            f"{init}.caffemodel",
        ]
        assert verify_split.main([*files, *map(str, arguments)]) == 0
        return capsys.readouterr().out.splitlines()

    return run


def test_preserve_passes_a_tight_tolerance(verify):
    lines = verify("parent", "preserve", "--tolerance", 1e-5, "--iterations", 2)
    assert lines[0].split() == ["parent", "child"]
    assert [line.split()[0] for line in lines[1:4]] == ["parameters", "multiply-adds", "accuracy"]
    assert lines[4] == "difference of pool, relative to the largest value:"
    assert lines[5].endswith("(3 images)")
    assert lines[6].endswith("(6 images)")


def test_numbers(verify):
    result = json.loads("".join(verify("parent", "study", "--json", "--iterations", 2)))
    # conv1: 3 new kernels of 3x3x3, 3 -> 3 and 5 -> 5 of 1x1, biases; conv2: kernels of 5x3x3
    added = (3 * 27 + 3) + (9 + 3) + (25 + 5) + (3 * 45 + 3) + (9 + 3) + (25 + 5)
    assert result["child"]["parameters"] - result["parent"]["parameters"] == added
    products = 32 * 32 * (3 * 27 + 9 + 25 + 3 * 45 + 9 + 25)
    assert (
        result["child"]["multiply_adds_per_image"] - result["parent"]["multiply_adds_per_image"]
    ) == products
    for kind, images in (("random", 3), ("real", IMAGES)):
        assert result[kind]["images"] == images
        assert 1e-3 < result[kind]["difference"] < 10


def test_accuracies_and_difference_are_those_of_the_nets(verify, folder):
    """By hand: the test nets run on their own data, their pool blobs kept."""
    result = json.loads("".join(verify("parent", "study", "--json", "--iterations", 2)))["real"]
    pools, accuracies = [], []
    for net, weights in (("parent", "parent"), ("parent_child", "study")):
        param = schema.read_net(folder / f"{net}.prototxt")
        param.layer.add(name="keep", type="Power", bottom=["pool"], top=["kept"])
        built = runner.Net(param, weights=folder / f"{weights}.caffemodel")
        batches = [built.forward() for _ in range(2)]
        pools.append(np.stack([batch["kept"] for batch in batches]))
        accuracies.append(sum(batch["accuracy"].item() for batch in batches) / 2)
    assert result["accuracies"]["accuracy"] == pytest.approx(accuracies)
    assert result["largest"] == pytest.approx(np.abs(pools[0]).max())
    worst = np.abs(pools[0] - pools[1]).max()
    assert result["difference"] == pytest.approx(worst / result["largest"])


def test_deploy_nets_have_no_real_input(verify):
    lines = verify("deploy", "preserve", "--tolerance", 1e-5)
    assert "difference of prob, relative to the largest value:" in lines
    assert lines[-1] == "  no real input: its data comes from Input"


def test_a_missing_lmdb_is_told(folder, verify):
    for name in ("parent", "parent_child"):
        text = (folder / f"{name}.prototxt").read_text()
        (folder / f"gone_{name}.prototxt").write_text(text.replace("cifar10_test", "gone"))
    (folder / "gone_parent_child.prototxt").rename(folder / "gone_child.prototxt")
    (folder / "gone_parent.prototxt").rename(folder / "gone.prototxt")
    assert verify("gone")[-1] == f"  no real input: {folder}/gone_lmdb is not there"


def test_a_difference_above_the_tolerance_is_status_1(folder, tool):
    status, out, err = tool(
        "verify_split",
        "parent.prototxt",
        "parent.caffemodel",
        "parent_child.prototxt",
        "study.caffemodel",
        "--tolerance",
        1e-5,
        "--iterations",
        1,
        cwd=folder,
    )
    assert status == 1
    assert "random input" in out
    assert err.startswith("verify_split: the scores differ by ")
    assert err.endswith(" of the largest, more than the tolerance of 1e-05\n")


@pytest.mark.parametrize(
    ("files", "error"),
    [
        (
            ("parent.prototxt", "parent.caffemodel", "parent_child.prototxt", "parent.caffemodel"),
            "parent.caffemodel: has no weights, or NaN, for conv1_split1, conv1_split2, ",
        ),
        (
            ("parent.prototxt", "parent.caffemodel", "deploy.prototxt", "parent.caffemodel"),
            "parent.prototxt and deploy.prototxt have different inputs: ",
        ),
        (
            ("no.prototxt", "parent.caffemodel", "parent.prototxt", "parent.caffemodel"),
            "File not found: no.prototxt",
        ),
    ],
)
@pytest.mark.usefixtures("verify")
def test_errors_are_one_line(files, error):
    with pytest.raises(CaffeError) as caught:
        verify_split.main(list(files))
    assert str(caught.value).startswith(error)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["a", "b", "c"], "the following arguments are required: CHILD.caffemodel"),
        (["a", "b", "c", "d", "--iterations", "0"], "--iterations 0: at least one is needed"),
    ],
)
def test_wrong_usage(arguments, error, capsys):
    with pytest.raises(SystemExit) as caught:
        verify_split.main(arguments)
    assert caught.value.code == 1
    assert capsys.readouterr().err == f"verify_split: {error} (--help tells more)\n"
