"""A net for use gives what the layers give, and never with weights that are no longer the net's."""

import gc
from pathlib import Path

import numpy as np
import pytest
import torch

import runner
from netgen import nets, schema
from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner.net.inference import FEW, OFTEN, Prepared, can_prepare
from runner.net.scripted import Segment, scripted

CONVOLUTION = 'type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 pad: 1 }'
INPUT = """layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 2 dim: 4 dim: 6 dim: 6 } } } """
NORMAL = """layer { name: "bn" type: "BatchNorm" bottom: "a" top: "a" }
layer { name: "scale" type: "Scale" bottom: "a" top: "a" scale_param { bias_term: true } } """
RELU = 'layer { name: "relu" type: "ReLU" bottom: "a" top: "a" } '
SUM = 'layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "data" top: "s" } '
RELU_S = RELU.replace('"a"', '"s"')
IN_PLACE = SUM.replace('top: "s"', 'top: "a"')  # as in Caffe, that is another sum
TWO = f'layer {{ name: "b" bottom: "data" top: "b" {CONVOLUTION} }} '


def net_of(*parts):
    text = INPUT + f'layer {{ name: "a" bottom: "data" top: "a" {CONVOLUTION} }} ' + "".join(parts)
    net = runner.Net(schema.parse_text(text, caffe_pb.NetParameter), seed=1)
    random = np.random.default_rng(0)
    for layer, blobs in net.params.items():
        for blob in blobs:
            blob[...] = random.uniform(0.5, 1.5, blob.shape) if layer == "bn" else (
                random.standard_normal(blob.shape)
            )  # fmt: skip
    gc.collect()
    return net


def images(*shape):
    return np.random.default_rng(2).standard_normal(shape).astype(np.float32)


def by_layers(net, **inputs):
    """Every blob as the layers give it, one by one."""
    net._fill(inputs)
    kept = {}
    with torch.no_grad():
        net.engine.forward(kept=kept)
    return {name: value.numpy() for name, value in kept.items()}


def agree(found, wanted):
    for name, value in found.items():
        np.testing.assert_allclose(value, wanted[name], rtol=1e-5, atol=1e-5 * abs(value).max())


@pytest.mark.parametrize(
    ("parts", "count"),
    [
        ((), 1),
        ((RELU,), 1),
        ((NORMAL, RELU), 1),
        ((SUM,), 1),
        ((NORMAL, SUM, RELU_S), 1),
        ((RELU, NORMAL), 3),  # what is normalised is no longer the convolution's
        ((SUM, NORMAL.replace('"a"', '"s"')), 3),
        ((SUM.replace('"Eltwise"', '"Eltwise" eltwise_param { coeff: 1 coeff: 2 }'),), 2),
        ((IN_PLACE,), 2),
        ((RELU.replace('"ReLU"', '"ReLU" relu_param { negative_slope: 0.1 }'),), 2),
        ((TWO, SUM.replace('"data"', '"b"'), RELU_S), 2),
        ((SUM.replace('"data"', '"a"'),), 2),
        ((NORMAL, TWO.replace('"data"', '"a"'), SUM.replace('"data"', '"b"'), RELU_S), 2),
    ],
)
def test_layers_are_joined_and_give_the_same(parts, count):
    net, x = net_of(*parts), images(2, 4, 6, 6)
    agree(net.forward(data=x), by_layers(net, data=x))
    (prepared,) = net._prepared.values()
    assert len(prepared._calls) == count


def test_blobs_that_are_asked_for_are_not_joined_away():
    net = net_of(SUM, 'layer { name: "r" type: "ReLU" bottom: "s" top: "r" }')
    x = images(2, 4, 6, 6)
    wanted = by_layers(net, data=x)
    agree(net.forward(["a", "s", "r"], data=x), wanted)
    agree(net.forward(["data"], data=x), wanted)
    agree(net.forward(data=x), wanted)


@pytest.mark.parametrize("name", sorted(nets.NETS))
def test_bundled_nets_of_every_batch(name):
    path = Path(__file__).parents[2] / "prototxt" / f"{name.replace('-', '_')}_deploy.prototxt"
    net = runner.Net(path, seed=3)
    ((data, shape),) = net.inputs.items()
    assert can_prepare(net.engine)
    for batch in (1, 3, 1):
        x = images(batch, *shape[1:])
        agree(net.forward(**{data: x}), by_layers(net, **{data: x}))


def test_weights_that_are_written_to_count_from_then_on():
    net, x = net_of(NORMAL, RELU), images(2, 4, 6, 6)
    before = net.forward(data=x)["a"]
    net.params["a"][0][...] *= 2  # an array that is gone at once
    after = net.forward(data=x)["a"]
    assert abs(after - before).max() > 0.1
    agree({"a": after}, by_layers(net, data=x))
    assert net._prepared


def test_weights_that_somebody_holds_may_change_at_any_time():
    net, x = net_of(), images(2, 4, 6, 6)
    row = net.params["a"][0][1:2, :, 0]  # a view of a view
    for _ in range(3):
        row += 1
        agree(net.forward(data=x), by_layers(net, data=x))
    assert not net._prepared
    row += 1
    del row
    gc.collect()
    agree(net.forward(data=x), by_layers(net, data=x))
    assert net._prepared


def test_weights_that_are_loaded(tmp_path):
    net, other, x = net_of(RELU), net_of(RELU), images(2, 4, 6, 6)
    other.params["a"][1][...] += 1
    other.save(tmp_path / "other.caffemodel")
    net.forward(data=x)
    runner.load_weights(net, tmp_path / "other.caffemodel")
    agree(net.forward(data=x), by_layers(other, data=x))


def test_weights_that_the_engine_changes():
    net, x = net_of(RELU), images(2, 4, 6, 6)
    net.forward(data=x)
    for write in (net.engine.nodes[-2].blobs[0].add_, net.engine.parameters.data.add_):
        write(1.0)
        agree(net.forward(data=x), by_layers(net, data=x))


def test_a_batch_that_does_not_fit_is_refused_as_ever():
    net = net_of('layer { name: "flat" type: "InnerProduct" bottom: "a" top: "flat" '
                 "inner_product_param { num_output: 2 axis: 0 } }")  # fmt: skip
    net.forward(data=images(2, 4, 6, 6))
    for _ in range(2):
        with pytest.raises(CaffeError, match="its parameters are made for bottom shape 2 4 6 6"):
            net.forward(data=images(1, 4, 6, 6))


def test_nets_that_are_not_steady_run_layer_by_layer():
    random = 'layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 1 } } }'
    assert not can_prepare(net_of(random).engine)
    train = runner.Net(schema.parse_text(INPUT, caffe_pb.NetParameter), phase="TRAIN")
    assert not can_prepare(train.engine)
    assert can_prepare(net_of().engine)


def test_one_path_serves_every_batch():
    net = net_of(NORMAL, RELU)
    prepared = Prepared(net.engine, ["a"], 1)
    for batch in (2, 5):
        x = images(batch, 4, 6, 6)
        wanted = by_layers(net, data=x)
        with torch.inference_mode():
            agree({"a": prepared()["a"].numpy()}, wanted)


CROP = """layer { name: "pool" type: "Pooling" bottom: "a" top: "p" pooling_param { kernel_size: 2 } }
layer { name: "crop" type: "Crop" bottom: "a" bottom: "p" top: "c" crop_param { axis: 2 offset: 1 } }
"""


def test_what_only_lends_its_size_is_not_computed():
    net, x = net_of(CROP), images(3, 4, 6, 6)
    wanted = by_layers(net, data=x)
    agree(net.forward(data=x), wanted)
    (prepared,) = net._prepared.values()
    assert [call.node.name for call in prepared._calls] == ["a", "crop"]
    assert net.forward(["p"], data=x)["p"].shape == (3, 4, 5, 5)


@pytest.mark.parametrize("bottom", ["data", "a", "p"])
@pytest.mark.parametrize("transpose", [False, True])
def test_inner_products_of_images_and_rows(bottom, transpose):
    pool = CROP.partition("\n")[0].replace("kernel_size: 2", "global_pooling: true")
    fields = f"num_output: 3 transpose: {str(transpose).lower()}"
    flat = f'layer {{ name: "f" type: "InnerProduct" bottom: "{bottom}" top: "f" '
    again = 'layer { name: "g" type: "InnerProduct" bottom: "f" top: "g" '
    again += "inner_product_param { num_output: 2 bias_term: false } }"
    net = net_of(pool, f"{flat} inner_product_param {{ {fields} }} }}", again)
    x = images(2, 4, 6, 6)
    agree(net.forward(data=x), by_layers(net, data=x))


def repeated(net, x, times=OFTEN + 1):
    """The outputs of the last of so many passes, and the path that they took."""
    for _ in range(times):
        found = net.forward(data=x)
    (prepared,) = net._prepared.values()
    return found, prepared


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (NORMAL, RELU),
        (TWO, SUM.replace('"data"', '"b"'), RELU_S),
        (NORMAL, TWO.replace('"data"', '"a"'), SUM.replace('"data"', '"b"'), RELU_S),
        (RELU, CROP, TWO.replace('"data"', '"c"')),
    ],
)
def test_passes_that_are_repeated_are_scripted_and_give_the_same(parts):
    net, x = net_of(*parts), images(2, 4, 6, 6)
    found, prepared = repeated(net, x)
    agree(found, by_layers(net, data=x))
    (steps,) = prepared._scripts.values()
    assert any(isinstance(step, Segment) for step in steps)
    x = images(3, 4, 6, 6)
    agree(net.forward(data=x), by_layers(net, data=x))


def test_scripts_are_of_the_weights_that_the_net_has():
    net, x = net_of(NORMAL, RELU), images(1, 4, 6, 6)
    before, _ = repeated(net, x)
    net.params["a"][0][...] *= 2
    after, prepared = repeated(net, x)
    assert prepared._scripts and abs(after["a"] - before["a"]).max() > 0.1
    agree(after, by_layers(net, data=x))


def test_what_is_no_number_goes_through_scripts_as_through_layers():
    net, x = net_of(RELU, TWO.replace('"data"', '"a"')), images(1, 4, 6, 6)
    _, prepared = repeated(net, x)
    assert all(prepared._scripts.values())
    x[0, 1, 0, 0], x[0, 2, 5, 5], x[0, 0, 5, 0] = np.nan, np.inf, -np.inf
    found, wanted = net.forward(data=x), by_layers(net, data=x)
    assert np.isnan(wanted["b"]).any() and np.isfinite(wanted["b"]).any()
    np.testing.assert_array_equal(np.isnan(found["b"]), np.isnan(wanted["b"]))
    finite = np.isfinite(wanted["b"])
    np.testing.assert_allclose(found["b"][finite], wanted["b"][finite], rtol=1e-4, atol=1e-4)


def test_many_images_are_not_scripted():
    net = net_of(RELU)
    _, prepared = repeated(net, images(FEW + 1, 4, 6, 6))
    assert not prepared._scripts


def test_scripts_that_differ_are_not_taken():
    net, x = net_of(RELU), images(1, 4, 6, 6)
    net.forward(data=x)
    (prepared,) = net._prepared.values()
    (call,) = prepared._calls
    values = {number: torch.from_numpy(x) for number in call.bottoms}
    with torch.inference_mode():
        assert scripted([call], call.tops, dict(values)) is not None
        right = call.plain
        call.plain = lambda image: right(image) * 1.001
        assert scripted([call], call.tops, dict(values)) is None
    assert not torch.jit.onednn_fusion_enabled()
