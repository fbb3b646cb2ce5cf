"""What each arm must keep: the parent's function or not, and how many parameters it has."""

import numpy as np
import pytest

import runner
from netgen import schema
from netgen.commands import transfer
from netgen.commands.render import render
from netgen.describe import describe
from netgen.errors import CaffeError
from netgen.growth import Init, LayerPlan, Plan, split_net, to_json, transfer_weights
from netgen.growth.transfer import arrays
from netgen.schema import caffe_pb
from study import net2wider, solver
from study.gradient import gradient, main
from study.wider_net import closest, parameters

WORDS = ["--batch-size", "4", "--test-batch-size", "5", "--input-dropout", "0", "--dropout", "0"]
PLAN = Plan(
    tuple(
        LayerPlan(name, "residual", tuple(range(half)), tuple(range(half, 2 * half)))
        for name, half in (("conv2", 4), ("conv5", 8))
    )
)


@pytest.fixture
def parent(records, tmp_path):
    """The net, its weights, and its solver, all as files."""
    words = ["baseline", "--width", "0.0833333", "--data", str(records), *WORDS]
    net = tmp_path / "net.prototxt"
    net.write_text(render(words).replace("transform_param {", "transform_param { scale: 0.01"))
    path = tmp_path / "solver.prototxt"
    text = render(
        ["solver", "baseline", "--net", str(net), "--max-iter", "20", "--random-seed", "5"]
    )
    path.write_text(text)
    training = runner.Solver(str(path))
    weights = tmp_path / "weights.caffemodel"
    schema.write_binary(training.net.to_proto(), weights)
    return net, weights, path


def scores(net, weights):
    """What a net computes of random images, deployed."""
    deploy = caffe_pb.NetParameter(name="deploy")
    deploy.layer.add(name="data", type="Input", top=["data"]).input_param.shape.add(
        dim=[3, 3, 32, 32]
    )
    deploy.layer.extend(
        x for x in net.layer if x.type not in ("Data", "SoftmaxWithLoss", "Accuracy")
    )
    images = np.random.default_rng(1).normal(size=(3, 3, 32, 32)).astype(np.float32)
    (found,) = runner.Net(deploy, weights=weights).forward(data=images).values()
    return found


def child(parent, init):
    split = split_net(schema.read_net(parent[0]), PLAN)
    return split.child, transfer_weights(split, schema.read_caffemodel(parent[1]), init)


def steepness(net, weights, tmp_path):
    """The length of the loss's gradient in the weights of residual_post of conv2."""
    schema.write_text(net, tmp_path / "child.prototxt")
    schema.write_binary(weights, tmp_path / "child.caffemodel")
    param = caffe_pb.SolverParameter(net=str(tmp_path / "child.prototxt"), random_seed=1)
    found = gradient(param, str(tmp_path / "child.caffemodel"), 6)
    return np.linalg.norm(arrays(found)["conv2_split2_residual_post"][0])


def test_residual_pre_from_a_filler_or_a_gradient_keeps_function_and_net(parent, tmp_path):
    before = scores(schema.read_net(parent[0]), schema.read_caffemodel(parent[1]))
    assert (
        main(
            [str(parent[2]), "--weights", str(parent[1]), "--batches", "6"]
            + ["-o", str(tmp_path / "g")]
        )
        == 0
    )
    found = arrays(schema.read_caffemodel(tmp_path / "g"))
    inits = [Init("preserve"), Init("preserve", pre="filler", seed=2)]
    inits.append(Init("preserve", pre="gradient", gradient=found))
    steep, counts, nets = {}, set(), set()
    for init in inits:
        net, weights = child(parent, init)
        assert np.abs(scores(net, weights) - before).max() < 1e-5 * np.abs(before).max()
        steep[init.pre] = steepness(net, weights, tmp_path)
        counts.add(sum(b.size for blobs in arrays(weights).values() for b in blobs))
        nets.add(schema.to_text(net))
        pre = arrays(weights)["conv2_split2_residual_pre"]
        slow = arrays(weights)["conv2_split2"][0]
        if init.pre == "gradient":
            rows = pre[0].reshape(4, -1).astype(float)
            length = np.sqrt((slow**2).sum() / 4)
            assert np.linalg.norm(rows, axis=1) == pytest.approx([length] * 4)
            assert rows @ rows.T / length**2 == pytest.approx(np.eye(4), abs=1e-5)
        if init.pre == "filler":
            assert pre[0].std() == pytest.approx(np.sqrt(2 / 72), rel=0.2)
    assert len(counts) == len(nets) == 1  # and tpm's own is among them
    assert steep["gradient"] > 1.5 * steep["filler"]


def test_the_gradient_is_that_of_the_loss(parent):
    """Against the change of the loss along it."""
    net, weights, path = parent
    param = schema.read_solver(path)
    found = arrays(gradient(param, str(weights), 1))
    given = schema.read_caffemodel(weights)
    blobs = arrays(given)

    def loss(step):
        moved = caffe_pb.NetParameter()
        moved.CopyFrom(given)
        for layer in moved.layer:
            if layer.name == "conv5":
                moved_blob = blobs["conv5"][0] - step * found["conv5"][0]
                schema.array_to_blob(moved_blob, layer.blobs[0])
        schema.write_binary(moved, str(weights) + ".moved")
        plain = caffe_pb.SolverParameter(
            net=str(net), base_lr=1e-12, lr_policy="fixed", random_seed=5
        )
        training = runner.Solver(plain, weights=str(weights) + ".moved")
        training.step(1)
        return training.loss

    squared = float((found["conv5"][0].astype(float) ** 2).sum())
    step = 0.02 / squared  # the loss is to fall by 0.02
    assert (loss(-step / 2) - loss(step / 2)) / step == pytest.approx(squared, rel=0.05)


def test_gradients_that_do_not_fit_are_one_line(parent, tmp_path):
    net, weights, _ = parent
    plan = tmp_path / "plan.json"
    plan.write_text(to_json(PLAN))
    empty = tmp_path / "empty.caffemodel"
    schema.write_binary(caffe_pb.NetParameter(name="n"), empty)
    common = ("transfer", net, weights, "--plan", plan, "-o", tmp_path / "o")
    for words, wanted in (
        (("--residual-pre", "gradient"), "--residual-pre gradient and --gradient go together"),
        (("--gradient", empty), "--residual-pre gradient and --gradient go together"),
        (
            ("--residual-pre", "gradient", "--gradient", empty),
            f"{weights}: there is no gradient of layer 'conv2'",
        ),
    ):
        with pytest.raises(CaffeError) as error:
            transfer.main([*map(str, (*common[1:], *words))])
        assert str(error.value) == wanted


def test_net2wider_keeps_the_function_at_the_childs_parameters(parent, tmp_path, capsys):
    net, weights, _ = parent
    wanted = parameters(child(parent, Init("preserve"))[0])
    wide = tmp_path / "wide.prototxt"
    wide.write_text(closest(wanted, ["baseline", *WORDS])[1])
    out = tmp_path / "wide.caffemodel"
    assert net2wider.main([str(net), str(weights), str(wide), "--seed", "3", "-o", str(out)]) == 0
    made, start = schema.read_net(wide), schema.read_caffemodel(out)
    count = sum(b.size for blobs in arrays(start).values() for b in blobs)
    assert (
        count == parameters(made) and abs(count / wanted - 1) < 0.05
    )  # of 8 channels, one more is much
    before = scores(schema.read_net(net), schema.read_caffemodel(weights))
    assert np.abs(scores(made, start) - before).max() < 1e-6 * np.abs(before).max()
    # Copies are read with different weights, so that their gradients differ.
    first, second = (arrays(start)[name][0] for name in ("conv1", "conv2"))
    copies = [
        (i, j) for j in range(8, len(first)) for i in range(8) if (first[i] == first[j]).all()
    ]
    assert len(copies) == len(first) - 8 > 0
    for i, j in copies:
        assert not np.allclose(second[:, i], second[:, j], rtol=0.01)


def test_net2wider_through_norms_and_inner_products_and_what_it_refuses(tmp_path):
    text = """name: "n" layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 2
    dim: 6 dim: 6 } } } layer { name: "c" type: "Convolution" bottom: "x" top: "c"
    convolution_param { num_output: %d kernel_size: 3 weight_filler { type: "xavier" } } }
    layer { name: "b" type: "BatchNorm" bottom: "c" top: "c" }
    layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }
    layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
    layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { kernel_size: 2 } }
    layer { name: "i" type: "InnerProduct" bottom: "p" top: "i" inner_product_param {
      num_output: %d weight_filler { type: "xavier" } } }
    layer { name: "j" type: "InnerProduct" bottom: "i" top: "j" inner_product_param {
      num_output: 3 weight_filler { type: "xavier" } } }"""
    narrow, wide = (schema.parse_text(text % n, caffe_pb.NetParameter) for n in ((3, 4), (5, 7)))
    x = np.random.default_rng(0).normal(size=(2, 2, 6, 6)).astype(np.float32)
    before = runner.Net(narrow)
    for blob in before.params["b"]:
        blob += 1 + np.arange(blob.size)
    start = net2wider.widened(narrow, wide, before.to_proto())
    after = runner.Net(wide, weights=start).forward(x=x)["j"]
    assert after == pytest.approx(before.forward(x=x)["j"], abs=1e-5)
    for change, wanted in (
        ('type: "BatchNorm"', r"^layer 'b' is of type LRN, which does not treat each channel on"),
        ('name: "s"', "^its layers are not the parent's"),
    ):
        other = text.replace(change, 'type: "LRN"' if "Batch" in change else 'name: "t"')
        with pytest.raises(CaffeError, match=wanted):
            net2wider.widened(
                schema.parse_text(
                    (other if "LRN" in other else text) % (3, 4), caffe_pb.NetParameter
                ),
                schema.parse_text(other % (5, 7), caffe_pb.NetParameter),
                before.to_proto(),
            )
    with pytest.raises(CaffeError, match=r"^layer 'c' is not wider .*\(3 outputs, 5\)"):
        net2wider.widened(wide, narrow, start)


def test_a_restart_of_equal_cost_is_as_much_longer_as_the_child_is_dearer(parent, tmp_path):
    net, _, path = parent
    grown = tmp_path / "grown.prototxt"
    schema.write_text(child(parent, Init())[0], grown)
    out = tmp_path / "longer.prototxt"
    words = [str(path), "--net", str(net), "--iterations", "1000", "--cost-of", str(grown)]
    assert solver.main([*words, "--prefix", "p", "-o", str(out)]) == 0
    made = schema.read_solver(out)
    costs = [
        describe(schema.read_net(p), caffe_pb.TRAIN)["totals"]["multiply_adds"]
        for p in (grown, net)
    ]
    assert made.max_iter == pytest.approx(1000 * costs[0] / costs[1], abs=10)
    assert made.max_iter > 1050
    assert made.max_iter % made.test_interval == 0 and made.max_iter // made.test_interval >= 10
    drops = [at / made.max_iter for at in made.stepvalue]
    assert drops == pytest.approx([200 / 350, 250 / 350, 300 / 350], abs=0.05)
    assert (made.net, made.snapshot_prefix, made.lr_policy) == (str(net), "p", "multistep")
